//! Dates as spreadsheets write them: the day first, or the year first.

use jiff::{civil::Date, tz::TimeZone};
use prost_types::Timestamp;

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// Midnight UTC of a cell such as `05/04/2016`, `2016-04-05`, `5-Apr-16` or `05.04.2016`, with or
/// without a time of day after it. `None` when it is not such a date.
pub(crate) fn read(cell: &str) -> Option<Timestamp> {
    let date = civil(cell)?;
    let midnight = date.to_zoned(TimeZone::UTC).ok()?.timestamp();
    Some(Timestamp {
        seconds: midnight.as_second(),
        nanos: 0,
    })
}

fn civil(cell: &str) -> Option<Date> {
    let mut parts = cell
        .split(|c: char| !c.is_alphanumeric())
        .filter(|part| !part.is_empty());
    let first = parts.next()?;
    let second = parts.next()?;
    // `2016-04-05T00:00:00`: the time of day hangs on the day.
    let third = parts.next()?.split('T').next()?;
    let month = month(second)?;
    match first.len() {
        4 => date(first, month, third),
        1 | 2 => date(&full_year(third)?, month, first),
        _ => None,
    }
}

fn date(year: &str, month: i8, day: &str) -> Option<Date> {
    Date::new(year.parse().ok()?, month, day.parse().ok()?).ok()
}

/// The month of a number or of an English name of which at least three letters are there.
fn month(part: &str) -> Option<i8> {
    if let Ok(number) = part.parse() {
        return Some(number);
    }
    let part = part.to_lowercase();
    let part = if part == "sept" { "sep" } else { &part };
    let index = MONTHS
        .iter()
        .position(|name| part.len() >= 3 && name.starts_with(part))?;
    i8::try_from(index + 1).ok()
}

/// A year of four digits; two digits are of this century.
fn full_year(part: &str) -> Option<String> {
    match part.len() {
        2 => Some(format!("20{part}")),
        4 => Some(part.to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_spelling_of_a_day_is_its_midnight() {
        for cell in [
            "05/04/2016",
            "5/4/2016",
            "05/04/16",
            "2016-04-05",
            "2016/04/05",
            "05-04-2016",
            "05.04.2016",
            "5-Apr-16",
            "05-Apr-2016",
            "5 April 2016",
            "05/04/2016 00:00",
            "2016-04-05T00:00:00",
            "2016-04-05 13:00:00",
        ] {
            let read = read(cell).map(|t| (t.seconds, t.nanos));
            assert_eq!(read, Some((1_459_814_400, 0)), "{cell:?}");
        }
        assert_eq!(read("1 Sept 2016"), read("01/09/2016"));
    }

    #[test]
    fn what_is_no_day_is_none() {
        for cell in [
            "",
            "soon",
            "31/02/2016",
            "04/13/2016",
            "0/1/2016",
            "05/04",
            "42461",
            "5-Foo-16",
            "05/04/216",
            "1/2/3/4/5",
            "é/é/é",
        ] {
            assert_eq!(read(cell), None, "{cell:?}");
        }
    }

    proptest! {
        #[test]
        fn any_cell_is_answered(cell in "\\PC{0,24}") {
            let _ = read(&cell);
        }
    }
}
