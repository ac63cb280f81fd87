//! An assessment for people: plain text, narrow enough to print.

use std::fmt::Write as _;

use mizan_contracts::{
    r#type::v1::Money,
    zakat::v1::{
        Alternative, AssessRequest, AssessResponse, Date, HawlResult, Metal, Part, PartKind,
        PartState,
    },
};
use zakat_svc::domain::ratio::Ratio;

use super::words::Words;
use crate::terminal::table;

/// The width of a page: what a terminal has, and a sheet of A4 in a type one can read.
const WIDTH: usize = 80;

/// The most alternatives that are printed: the largest herd has five hundred.
const ALTERNATIVES_SHOWN_MAX: usize = 8;

/// The whole report, in the first language of the request.
pub(crate) fn text(
    request: &AssessRequest,
    answer: &AssessResponse,
    owner: Option<&str>,
) -> String {
    let words = Words::of(request.languages.first().map_or("en", String::as_str));
    let mut page = format!("{}\n\n", words.title);
    head(&mut page, words, request, answer, owner);
    if !answer.assets.is_empty() {
        section(&mut page, words.owned);
        owned(&mut page, words, answer);
    }
    section(&mut page, words.due);
    due(&mut page, words, answer);
    if !answer.steps.is_empty() {
        section(&mut page, words.why);
        why(&mut page, answer);
    }
    if !answer.sources.is_empty() {
        section(&mut page, words.sources);
        for source in &answer.sources {
            let text = format!("[{}] {} {}", source.source_id, source.title, source.url);
            wrapped(&mut page, text.trim_end(), "    ");
        }
    }
    page.push('\n');
    for notice in &answer.notice {
        wrapped(&mut page, &notice.text, "");
    }
    page
}

/// The amount and its currency.
pub(crate) fn amount(amount: Option<&Money>) -> String {
    match Money::read(amount) {
        Ok(amount) => amount.to_string(),
        Err(_) => String::new(),
    }
}

/// An exact figure for people: one that has no end is cut, and says so.
fn readable(exact: &str) -> String {
    Ratio::parse_fraction(exact).map_or_else(|_| exact.to_owned(), Ratio::to_readable)
}

/// `2026-03-01`.
pub(crate) fn date(date: Option<&Date>) -> String {
    date.map_or_else(String::new, |date| {
        format!("{:04}-{:02}-{:02}", date.year, date.month, date.day)
    })
}

fn head(
    page: &mut String,
    words: &Words,
    request: &AssessRequest,
    answer: &AssessResponse,
    owner: Option<&str>,
) {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push([name.to_owned(), value]);
    if let Some(owner) = owner {
        row(words.owner, owner.to_owned());
    }
    let version = format!("{} {}", words.version, answer.policy_version);
    row(words.policy, format!("{}, {version}", answer.policy_id));
    let mut day = date(answer.valuation_date.as_ref());
    if let Some(hijri) = &answer.valuation_date_hijri {
        let _ = write!(
            day,
            " ({:04}-{:02}-{:02} AH)",
            hijri.year, hijri.month, hijri.day
        );
    }
    row(words.day, day);
    row(words.currency, request.currency_code.clone());
    for price in &request.prices {
        let metal = match price.metal() {
            Metal::Gold => words.gold,
            Metal::Silver => words.silver,
            Metal::Unspecified => "",
        };
        row(metal, format!("{} {}", price.price_per_gram, words.a_gram));
    }
    if let Some(hawl) = &answer.hawl {
        row(words.hawl, year(words, hawl));
        if !hawl.calendar.is_empty() {
            row(words.calendar, hawl.calendar.clone());
        }
    }
    page.push_str(&table(&rows));
}

fn year(words: &Words, hawl: &HawlResult) -> String {
    let state = if hawl.is_complete {
        words.complete
    } else {
        words.incomplete
    };
    let days = [
        (words.from, &hawl.start),
        (words.over_on, &hawl.completed),
        (words.next_over_on, &hawl.completes),
    ];
    let days = days
        .iter()
        .filter(|(_, day)| day.is_some())
        .map(|(what, day)| format!("{what} {}", date(day.as_ref())));
    let days: Vec<String> = days.collect();
    if days.is_empty() {
        return format!("{state}, {}", words.as_stated);
    }
    format!("{state}: {}", days.join(", "))
}

fn owned(page: &mut String, words: &Words, answer: &AssessResponse) {
    let mut rows = vec![words.owned_columns.map(str::to_owned)];
    for asset in &answer.assets {
        rows.push([
            asset.asset_id.clone(),
            readable(&asset.value),
            readable(&asset.counted),
            asset.rule_id.clone(),
        ]);
    }
    page.push_str(&table(&rows));
    if answer.liabilities_deducted != "0" {
        let debts = readable(&answer.liabilities_deducted);
        let _ = writeln!(page, "{}: {debts}", words.debts_taken_off);
    }
}

fn due(page: &mut String, words: &Words, answer: &AssessResponse) {
    let mut rows = vec![words.due_columns.map(str::to_owned)];
    // What would not fit in a line of the table stands below it.
    let mut choices = String::new();
    for part in &answer.parts {
        let state = match part.state() {
            PartState::NotComputed => format!("{}: {}", words.missing, part.missing.join(", ")),
            state => words.state(state).to_owned(),
        };
        let due = match part.state() {
            PartState::Due if part.alternatives.len() > 1 => {
                let _ = write!(choices, "\n{}: {}\n", name(words, part), words.any_one_of);
                for line in owed(words, part) {
                    let _ = writeln!(choices, "  {line}");
                }
                words.any_one_of.trim_end_matches(':').to_owned() + " ↓"
            }
            PartState::Due => owed(words, part).join(words.or),
            _ => String::new(),
        };
        rows.push([
            name(words, part),
            readable(&part.base),
            readable(&part.nisab),
            part.rate.clone(),
            state,
            due,
        ]);
    }
    page.push_str(&table(&rows));
    page.push_str(&choices);
    let total = amount(answer.total_due.as_ref());
    let _ = writeln!(page, "\n{}  {total}", words.total);
    if !answer.is_computed_wholly {
        let _ = writeln!(page, "{}", words.not_wholly);
    }
}

fn name(words: &Words, part: &Part) -> String {
    let kind = words.part(part.kind());
    match (part.kind(), part.asset_ids.as_slice()) {
        (PartKind::Wealth | PartKind::Metal, _) => kind.to_owned(),
        (_, [id]) => format!("{kind} {id}"),
        _ => kind.to_owned(),
    }
}

/// The ways to give what is due, in money last.
fn owed(words: &Words, part: &Part) -> Vec<String> {
    let shown = part.alternatives.iter().take(ALTERNATIVES_SHOWN_MAX);
    let mut ways: Vec<String> = shown.map(|way| in_kind(words, way)).collect();
    let more = part
        .alternatives
        .len()
        .saturating_sub(ALTERNATIVES_SHOWN_MAX);
    if more > 0 {
        ways.push(words.more.replace("{}", &more.to_string()));
    }
    let money = amount(part.due.as_ref());
    if !money.is_empty() {
        ways.push(money);
    }
    ways
}

fn in_kind(words: &Words, alternative: &Alternative) -> String {
    let items = alternative.items.iter().map(|item| {
        let quantity = readable(&item.quantity);
        format!("{quantity} {}", words.item(item.item()))
    });
    items.collect::<Vec<_>>().join(words.and)
}

fn why(page: &mut String, answer: &AssessResponse) {
    for (index, step) in answer.steps.iter().enumerate() {
        for sentence in &step.sentences {
            let mut text = format!("{:>3}. {}", index + 1, sentence.text);
            if !step.source_ids.is_empty() {
                let _ = write!(text, " [{}]", step.source_ids.join(", "));
            }
            wrapped(page, &text, "     ");
        }
    }
}

fn section(page: &mut String, title: &str) {
    let _ = write!(page, "\n{}\n{}\n", title, "-".repeat(title.chars().count()));
}

/// Lines of at most the page's width, all but the first indented. A word that is longer, such as an
/// address, stands on a line of its own.
fn wrapped(page: &mut String, text: &str, indent: &str) {
    let lead = text.chars().take_while(|c| *c == ' ').count();
    let mut line = " ".repeat(lead);
    let mut length = lead;
    let mut is_fresh = true;
    for word in text.split_whitespace() {
        let wide = word.chars().count();
        if !is_fresh && length + 1 + wide > WIDTH {
            page.push_str(line.trim_end());
            page.push('\n');
            line = indent.to_owned();
            length = indent.chars().count();
            is_fresh = true;
        }
        if !is_fresh {
            line.push(' ');
            length += 1;
        }
        line.push_str(word);
        length += wide;
        is_fresh = false;
    }
    page.push_str(line.trim_end());
    page.push('\n');
}

#[cfg(test)]
mod tests {
    use zakat_svc::Assessor;

    use super::*;
    use crate::zakat::file::Said;

    fn report(policy: &str, language: &str) -> String {
        let file = format!(
            r#"{{ "policy": "{policy}", "date": "2026-03-01", "currency": "USD",
            "prices": {{ "gold": "100" }}, "hawl": {{ "since": "2024-06-01" }},
            "assets": [
                {{ "id": "bar", "kind": "gold", "grams": "100", "karat": 24 }},
                {{ "id": "camels", "kind": "camels", "count": 200, "husbandry": "grazing", "complete": true }},
                {{ "id": "barley", "kind": "crop", "kg": "700", "watering": "rain", "price": "2" }}
            ] }}"#
        );
        let request = Said::of_json(&file).unwrap().request(language).unwrap();
        let answer = Assessor::new().unwrap().assess(&request).unwrap();
        text(&request, &answer, Some("Aisha"))
    }

    #[test]
    fn the_report_says_what_is_due_and_why() {
        let page = report("majority-gold-85", "en");
        for line in [
            "owner     Aisha",
            "policy    majority-gold-85, version 1",
            "day       2026-03-01 (1447-09-12 AH)",
            "herd camels: any one of:\n  4 hiqqah\n  5 bint labun\n",
            "calendar  umm-al-qura/",
            "70 kg of the harvest or 140.00 USD",
            "TOTAL DUE IN MONEY  ",
            "[islamqa-88168]",
            "not a fatwa",
        ] {
            assert!(page.contains(line), "{line:?} is not in\n{page}");
        }
    }

    #[test]
    fn lines_fit_a_page_but_for_addresses() {
        for language in ["en", "id", "ar"] {
            let page = report("majority-gold-85", language);
            for line in page.lines().filter(|line| !line.contains("http")) {
                assert!(line.chars().count() <= WIDTH, "{line}");
                assert_eq!(line.trim_end(), line);
            }
        }
    }

    #[test]
    fn it_speaks_indonesian_and_arabic() {
        let page = report("majority-gold-85", "id");
        for text in ["PERHITUNGAN ZAKAT\n", "bukan fatwa", "4 hiqqah\n", "JUMLAH"] {
            assert!(page.contains(text), "{text} is not in\n{page}");
        }
        let page = report("majority-gold-85", "ar");
        for text in ["حساب الزكاة\n", "وليس فتوى", "4 حقة\n", "مجموع الواجب نقدا"]
        {
            assert!(page.contains(text), "{text} is not in\n{page}");
        }
    }

    /// The largest herd may be given in 501 ways; a page names eight.
    #[test]
    fn a_choice_of_hundreds_is_cut() {
        let file = r#"{ "policy": "maliki", "date": "2026-03-01", "currency": "USD", "assets": [
            { "id": "h", "kind": "camels", "count": 100000, "husbandry": "grazing", "complete": true },
            { "id": "family", "kind": "fitrah", "persons": 5 } ] }"#;
        let request = Said::of_json(file).unwrap().request("en").unwrap();
        let answer = Assessor::new().unwrap().assess(&request).unwrap();
        let page = text(&request, &answer, None);
        assert!(page.contains("  1972 hiqqah and 35 bint labun\n  or one of 493 more\n"));
        assert!(page.contains("≈10.883333 kg of staple food"), "{page}");
        assert!(page.lines().count() < 60, "{page}");
    }

    #[test]
    fn what_is_missing_is_named() {
        let page = report("hanafi-silver-595", "en");
        assert!(page.contains("missing: prices[silver]"), "{page}");
        assert!(page.contains("Some parts could not be computed"));
    }
}
