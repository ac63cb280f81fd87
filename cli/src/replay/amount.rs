//! Amounts as spreadsheets write them, read exactly.

use money::{Currency, Money};

/// Signs that are written before or after an amount, and the currencies they may stand for.
const SIGNS: &[(&str, &[&str])] = &[
    (
        "£",
        &["GBP", "GIP", "FKP", "SHP", "EGP", "SYP", "LBP", "SDG"],
    ),
    ("€", &["EUR"]),
    (
        "$",
        &[
            "USD", "AUD", "CAD", "NZD", "SGD", "HKD", "MXN", "BND", "FJD", "JMD", "TTD", "BBD",
        ],
    ),
    ("¥", &["JPY", "CNY"]),
    ("₹", &["INR"]),
];

/// Why a cell is no amount that can be paid. `Display` is a clause that fits after "amount ...".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("is missing")]
    Missing,
    #[error("is not a number: {0:?}")]
    NotANumber(String),
    #[error("is in another currency: {0:?}")]
    OtherCurrency(String),
    #[error("has digits finer than the currency's smallest unit: {0:?}")]
    TooFine(String),
    #[error("is too large: {0:?}")]
    TooLarge(String),
    #[error("is zero")]
    Zero,
}

/// Reads a cell such as `1,234.50`, `£1,234.50`, `(12.00)`, `12.00-`, `-£5` or `1.234,50`.
/// The amount is never zero; one below zero is a refund.
pub(crate) fn read(cell: &str, currency: Currency) -> Result<Money, Unreadable> {
    if cell.trim().is_empty() {
        return Err(Unreadable::Missing);
    }
    let shown = || cell.trim().to_owned();
    let Some((negative, number)) = unsigned(cell, currency)? else {
        return Err(Unreadable::NotANumber(shown()));
    };
    let Some(plain) = ungrouped(&number) else {
        return Err(Unreadable::NotANumber(shown()));
    };
    let amount = Money::parse(&plain, currency).map_err(|e| match e {
        money::Error::TooFine => Unreadable::TooFine(shown()),
        money::Error::Overflow => Unreadable::TooLarge(shown()),
        _ => Unreadable::NotANumber(shown()),
    })?;
    if amount.is_zero() {
        return Err(Unreadable::Zero);
    }
    match negative {
        true => amount
            .checked_neg()
            .map_err(|_| Unreadable::TooLarge(shown())),
        false => Ok(amount),
    }
}

/// Whether the amount is below zero, and its digits with their separators. `None` when it has
/// more than one mark of being below zero, or a stray one.
fn unsigned(cell: &str, currency: Currency) -> Result<Option<(bool, String)>, Unreadable> {
    let mut text = cell.trim();
    let mut negatives = 0;
    // Each round takes one sign or one currency from either end, so `-£5`, `£-5`, `(£5)`, `5 GBP-`.
    loop {
        let rest = text.trim();
        if let Some(inner) = rest.strip_prefix('(').and_then(|r| r.strip_suffix(')')) {
            negatives += 1;
            text = inner;
        } else if let Some(inner) = rest
            .strip_prefix(is_minus)
            .or_else(|| rest.strip_suffix(is_minus))
        {
            negatives += 1;
            text = inner;
        } else if let Some(inner) = rest.strip_prefix('+') {
            text = inner;
        } else if let Some(inner) = without_currency(rest, currency)
            .ok_or_else(|| Unreadable::OtherCurrency(cell.trim().to_owned()))?
        {
            text = inner;
        } else {
            return Ok((negatives < 2).then(|| (negatives == 1, rest.to_owned())));
        }
    }
}

fn is_minus(c: char) -> bool {
    // The hyphen, and what word processors make of it: minus sign, en dash.
    matches!(c, '-' | '\u{2212}' | '\u{2013}')
}

/// The text without a currency at either end: `Some(None)` when there is none there, `None` when
/// it is not the currency that is wanted.
#[expect(
    clippy::option_option,
    reason = "absent, fine and foreign are three answers"
)]
fn without_currency(text: &str, currency: Currency) -> Option<Option<&str>> {
    for (sign, codes) in SIGNS {
        let inner = text.strip_prefix(sign).or_else(|| text.strip_suffix(sign));
        if let Some(inner) = inner {
            return codes.contains(&currency.code()).then_some(Some(inner));
        }
    }
    let letters = |part: &str| part.len() == 3 && part.bytes().all(|b| b.is_ascii_alphabetic());
    let ends = [
        text.split_at_checked(3),
        text.len()
            .checked_sub(3)
            .and_then(|at| text.split_at_checked(at))
            .map(|(rest, code)| (code, rest)),
    ];
    for (code, rest) in ends.into_iter().flatten() {
        if letters(code) && rest.chars().any(|c| c.is_ascii_digit()) {
            return code
                .eq_ignore_ascii_case(currency.code())
                .then_some(Some(rest));
        }
    }
    Some(None)
}

/// Digits with at most one decimal point, from digits grouped in threes by commas, spaces,
/// apostrophes or points. A comma before one or two last digits is a decimal comma: `1.234,50`.
fn ungrouped(number: &str) -> Option<String> {
    let last = number.rfind([',', '.']);
    let decimal = last.filter(|at| {
        let digits = number.len() - at - 1;
        let is_comma = number[*at..].starts_with(',');
        let once = number.matches(&number[*at..=*at]).count() == 1;
        once && (!is_comma || matches!(digits, 1 | 2))
    });
    let (whole, fraction) = match decimal {
        Some(at) => (&number[..at], &number[at + 1..]),
        None => (number, ""),
    };
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let point = decimal.and_then(|at| number[at..].chars().next());
    let whole = without_groups(whole, point)?;
    (!whole.is_empty() || !fraction.is_empty()).then(|| format!("{whole}.{fraction}"))
}

/// The digits of a whole number; `None` unless all its groups but the first are of three digits
/// and one and the same separator, which is not the decimal point, is between them.
fn without_groups(whole: &str, point: Option<char>) -> Option<String> {
    let Some(separator) = whole.chars().find(|c| !c.is_ascii_digit()) else {
        return Some(whole.to_owned());
    };
    let known = matches!(separator, ',' | '.' | '\'' | '\u{2019}') || separator.is_whitespace();
    if !known || Some(separator) == point {
        return None;
    }
    let mut digits = String::with_capacity(whole.len());
    for (index, group) in whole.split(separator).enumerate() {
        let length = if index == 0 { 1..=3 } else { 3..=3 };
        if !length.contains(&group.len()) || !group.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        digits.push_str(group);
    }
    Some(digits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A cell, and what is said of it.
    type Case = (&'static str, fn(String) -> Unreadable);

    fn gbp() -> Currency {
        "GBP".parse().unwrap()
    }

    #[test]
    fn every_spelling_of_an_amount_is_read_exactly() {
        for (cell, pence) in [
            ("12.00", 1_200),
            ("8151.9", 815_190),
            ("2240", 224_000),
            ("-0.01", -1),
            (".5", 50),
            ("7.", 700),
            ("1,234.50", 123_450),
            ("£1,234.50", 123_450),
            ("£ 1,234,567.89", 123_456_789),
            ("(12.00)", -1_200),
            ("(£1,012.00)", -101_200),
            ("£(12.00)", -1_200),
            ("12.00-", -1_200),
            ("-£5", -500),
            ("£-5", -500),
            ("- 5", -500),
            ("\u{2212}5", -500),
            (" 1 234.50 ", 123_450),
            ("1\u{a0}234.50", 123_450),
            ("1'234.50", 123_450),
            ("1.234,50", 123_450),
            ("1.234.567,5", 123_456_750),
            ("12,50", 1_250),
            ("1,234", 123_400),
            ("+5.00", 500),
            ("5.00 GBP", 500),
            ("GBP 5.00", 500),
            ("gbp5", 500),
            ("12.5000", 1_250),
        ] {
            let read = read(cell, gbp()).map(|m| m.minor());
            assert_eq!(read, Ok(pence), "{cell:?}");
        }
    }

    #[test]
    fn what_cannot_be_paid_is_told_why() {
        use Unreadable::{Missing, NotANumber, OtherCurrency, TooFine, TooLarge, Zero};
        let cases: [Case; 22] = [
            ("", |_| Missing),
            (" ", |_| Missing),
            ("0", |_| Zero),
            ("-0.00", |_| Zero),
            ("£0", |_| Zero),
            ("-", NotANumber),
            (".", NotANumber),
            ("n/a", NotANumber),
            ("12.00.00", NotANumber),
            ("1,23.00", NotANumber),
            ("1,2345", NotANumber),
            ("1,234 567", NotANumber),
            ("--5", NotANumber),
            ("(-5)", NotANumber),
            ("-5-", NotANumber),
            ("1.2E+03", NotANumber),
            ("12 34", NotANumber),
            ("0.001", TooFine),
            ("1.234", TooFine),
            ("€5", OtherCurrency),
            ("5.00 USD", OtherCurrency),
            ("9999999999999999999999999999999999999999999", TooLarge),
        ];
        for (cell, error) in cases {
            assert_eq!(read(cell, gbp()), Err(error(cell.to_owned())), "{cell:?}");
        }
    }

    #[test]
    fn the_currency_decides_how_fine_and_which_sign() {
        let read = |cell, code: &str| read(cell, code.parse().unwrap()).map(|m| m.minor());
        assert_eq!(read("¥300", "JPY"), Ok(300));
        assert_eq!(read("1.234", "KWD"), Ok(1_234));
        assert!(read("300.5", "JPY").is_err());
        assert!(read("£300", "EUR").is_err());
    }

    proptest! {
        #[test]
        fn any_cell_is_answered(cell in "\\PC{0,30}") {
            let _ = read(&cell, gbp());
        }

        #[test]
        fn anything_like_an_amount_is_answered(cell in "[-+()£$€¥GBP0-9., '\u{a0}]{0,14}") {
            let _ = read(&cell, gbp());
        }

        #[test]
        fn grouping_changes_nothing(minor in 1_i64..1_000_000_000_000) {
            let plain = format!("{}.{:02}", minor / 100, minor % 100);
            let digits = (minor / 100).to_string();
            let mut grouped = String::new();
            for (index, digit) in digits.chars().enumerate() {
                if index > 0 && (digits.len() - index) % 3 == 0 {
                    grouped.push(',');
                }
                grouped.push(digit);
            }
            let grouped = format!("{grouped}.{:02}", minor % 100);
            prop_assert_eq!(read(&plain, gbp()), read(&grouped, gbp()));
        }
    }
}
