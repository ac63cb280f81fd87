//! An assessment for people: plain text, narrow enough to print.

use std::fmt::Write as _;

use mizan_contracts::{
    r#type::v1::Money,
    zakat::v1::{
        Alternative, AssessRequest, AssessResponse, Date, HawlResult, Item, Part, PartKind,
        PartState,
    },
};
use zakat_svc::domain::ratio::Ratio;

use crate::terminal::table;

/// The width of a page.
const WIDTH: usize = 96;

/// The most alternatives that are printed: the largest herd has five hundred.
const ALTERNATIVES_SHOWN_MAX: usize = 8;

/// The whole report.
pub(crate) fn text(
    request: &AssessRequest,
    answer: &AssessResponse,
    owner: Option<&str>,
) -> String {
    let mut page = String::from("ZAKAT ASSESSMENT\n\n");
    head(&mut page, request, answer, owner);
    if !answer.assets.is_empty() {
        section(&mut page, "What is owned");
        owned(&mut page, answer);
    }
    section(&mut page, "What is due");
    due(&mut page, answer);
    if !answer.steps.is_empty() {
        section(&mut page, "Why");
        why(&mut page, answer);
    }
    if !answer.sources.is_empty() {
        section(&mut page, "Sources");
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

fn head(page: &mut String, request: &AssessRequest, answer: &AssessResponse, owner: Option<&str>) {
    let mut rows = Vec::new();
    if let Some(owner) = owner {
        rows.push(["owner".to_owned(), owner.to_owned()]);
    }
    let policy = format!("{}, version {}", answer.policy_id, answer.policy_version);
    rows.push(["policy".to_owned(), policy]);
    let mut day = date(answer.valuation_date.as_ref());
    if let Some(hijri) = &answer.valuation_date_hijri {
        let _ = write!(
            day,
            " ({:04}-{:02}-{:02} AH)",
            hijri.year, hijri.month, hijri.day
        );
    }
    rows.push(["day".to_owned(), day]);
    rows.push(["currency".to_owned(), request.currency_code.clone()]);
    for price in &request.prices {
        let metal = price
            .metal()
            .as_str_name()
            .trim_start_matches("METAL_")
            .to_lowercase();
        rows.push([metal, format!("{} a gram", price.price_per_gram)]);
    }
    if let Some(hawl) = &answer.hawl {
        rows.push(["hawl".to_owned(), year(hawl)]);
    }
    page.push_str(&table(&rows));
}

fn year(hawl: &HawlResult) -> String {
    let state = if hawl.is_complete {
        "complete"
    } else {
        "not complete"
    };
    let days = [
        ("from", &hawl.start),
        ("over on", &hawl.completed),
        ("next over on", &hawl.completes),
    ];
    let days = days
        .iter()
        .filter(|(_, day)| day.is_some())
        .map(|(what, day)| format!("{what} {}", date(day.as_ref())));
    let days: Vec<String> = days.collect();
    if days.is_empty() {
        return format!("{state}, as stated");
    }
    format!("{state}: {} ({})", days.join(", "), hawl.calendar)
}

fn owned(page: &mut String, answer: &AssessResponse) {
    let mut rows = vec![["ASSET", "VALUE", "COUNTED", "RULE"].map(str::to_owned)];
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
        let _ = writeln!(
            page,
            "Debts taken off: {}",
            readable(&answer.liabilities_deducted)
        );
    }
}

fn due(page: &mut String, answer: &AssessResponse) {
    let mut rows = vec![["PART", "OF", "NISAB", "RATE", "", "DUE"].map(str::to_owned)];
    for part in &answer.parts {
        let state = match part.state() {
            PartState::Due => "due".to_owned(),
            PartState::NotDue => "not due".to_owned(),
            PartState::HawlIncomplete => "year not over".to_owned(),
            PartState::NotComputed => format!("missing: {}", part.missing.join(", ")),
            PartState::Unspecified => String::new(),
        };
        let due = match part.state() {
            PartState::Due => owed(part),
            _ => String::new(),
        };
        rows.push([
            name(part),
            readable(&part.base),
            readable(&part.nisab),
            part.rate.clone(),
            state,
            due,
        ]);
    }
    page.push_str(&table(&rows));
    let _ = writeln!(
        page,
        "\nTOTAL DUE IN MONEY  {}",
        amount(answer.total_due.as_ref())
    );
    if !answer.is_computed_wholly {
        page.push_str("Some parts could not be computed: the total is of the others.\n");
    }
}

fn name(part: &Part) -> String {
    let kind = part
        .kind()
        .as_str_name()
        .trim_start_matches("PART_KIND_")
        .to_lowercase();
    match (part.kind(), part.asset_ids.as_slice()) {
        (PartKind::Wealth | PartKind::Metal, _) => kind,
        (_, [id]) => format!("{kind} {id}"),
        _ => kind,
    }
}

fn owed(part: &Part) -> String {
    let shown = part.alternatives.iter().take(ALTERNATIVES_SHOWN_MAX);
    let mut in_kind: Vec<String> = shown.map(in_kind).collect();
    let more = part
        .alternatives
        .len()
        .saturating_sub(ALTERNATIVES_SHOWN_MAX);
    if more > 0 {
        in_kind.push(format!("one of {more} more"));
    }
    let money = amount(part.due.as_ref());
    if !money.is_empty() {
        in_kind.push(money);
    }
    in_kind.join(" or ")
}

fn in_kind(alternative: &Alternative) -> String {
    let items = alternative.items.iter().map(|item| {
        let name = match item.item() {
            Item::CropKg => "kg of the harvest".to_owned(),
            Item::StapleKg => "kg of staple food".to_owned(),
            Item::BintMakhad => "bint makhad".to_owned(),
            Item::BintLabun => "bint labun".to_owned(),
            Item::Jadhaah => "jadha'ah".to_owned(),
            Item::Tabi => "tabi'".to_owned(),
            item @ (Item::Unspecified | Item::Sheep | Item::Hiqqah | Item::Musinnah) => item
                .as_str_name()
                .trim_start_matches("ITEM_")
                .to_lowercase(),
        };
        format!("{} {name}", item.quantity)
    });
    items.collect::<Vec<_>>().join(" and ")
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
    let _ = write!(
        page,
        "\n{}\n{}\n",
        title.to_uppercase(),
        "-".repeat(title.chars().count())
    );
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
            "4 hiqqah or 5 bint labun",
            "70 kg of the harvest or 140.00 USD",
            "TOTAL DUE IN MONEY  ",
            "[islamqa-88168]",
            "not a fatwa",
        ] {
            assert!(page.contains(line), "{line:?} is not in\n{page}");
        }
    }

    #[test]
    fn lines_fit_a_page_but_for_addresses_and_tables() {
        let page = report("majority-gold-85", "en");
        let (_, prose) = page.split_once("WHY").unwrap();
        for line in prose.lines().filter(|line| !line.contains("http")) {
            assert!(line.chars().count() <= WIDTH, "{line}");
            assert_eq!(line.trim_end(), line);
        }
    }

    #[test]
    fn it_speaks_indonesian_and_arabic() {
        assert!(report("majority-gold-85", "id").contains("bukan fatwa"));
        assert!(report("majority-gold-85", "ar").contains("وليس فتوى"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let page = report("hanafi-silver-595", "en");
        assert!(page.contains("missing: prices[silver]"), "{page}");
        assert!(page.contains("Some parts could not be computed"));
    }
}
