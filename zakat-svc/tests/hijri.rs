//! The Hijri calendar against a table from other hands.
#![allow(clippy::unwrap_used, reason = "tests")]

use zakat_svc::domain::date::{Date, HijriDate};

/// The table's header says where it comes from.
const TABLE: &str = include_str!("data/umm-al-qura-1420-1450.txt");

struct Month {
    year: i32,
    month: u8,
    first: Date,
    length: i64,
}

fn months() -> Vec<Month> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let parts: Vec<&str> = line.split(' ').collect();
            Month {
                year: parts[0].parse().unwrap(),
                month: parts[1].parse().unwrap(),
                first: Date::parse(parts[2]).unwrap(),
                length: parts[3].parse().unwrap(),
            }
        })
        .collect()
}

#[test]
fn every_month_of_thirty_one_years_begins_on_its_day_and_has_its_length() {
    let months = months();
    assert_eq!(months.len(), 31 * 12);
    for month in &months {
        let first = HijriDate {
            year: month.year,
            month: month.month,
            day: 1,
        };
        assert_eq!(first.to_gregorian(), Ok(month.first));
        assert_eq!(month.first.to_hijri(), Ok(first));
        let last = month.first.plus_days(month.length - 1).unwrap();
        let day = u8::try_from(month.length).unwrap();
        assert_eq!(last.to_hijri(), Ok(HijriDate { day, ..first }));
        // And the month has no day more.
        let beyond = HijriDate {
            day: day + 1,
            ..first
        };
        assert!(beyond.to_gregorian().is_err(), "{beyond}");
    }
}

#[test]
fn a_hawl_is_354_or_355_days_as_the_year_is() {
    let months = months();
    let (mut short, mut long) = (0, 0);
    for (index, month) in months.iter().enumerate() {
        let Some(next) = months.get(index + 12) else {
            continue;
        };
        let length = next.first.days_since(month.first).unwrap();
        assert_eq!(month.first.after_lunar_year(), Ok(next.first));
        match length {
            354 => short += 1,
            355 => long += 1,
            other => panic!("{other} days from {}", month.first),
        }
    }
    // Both kinds are met, and often.
    assert!(short > 100 && long > 100, "{short} and {long}");
}

/// What a rule of 354 days costs: it drifts, and never back.
#[test]
fn a_rule_of_354_days_is_early() {
    let start = Date::parse("2019-05-06").unwrap();
    let (mut calendar, mut ruled) = (start, start);
    for _ in 0..10 {
        calendar = calendar.after_lunar_year().unwrap();
        ruled = ruled.plus_days(354).unwrap();
    }
    assert_eq!(start.to_hijri().unwrap().to_string(), "1440-09-01 AH");
    assert_eq!(calendar.to_hijri().unwrap().to_string(), "1450-09-01 AH");
    assert_eq!(calendar.days_since(ruled), Ok(3));
}
