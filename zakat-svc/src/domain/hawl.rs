//! The hawl: whether a year has passed over wealth that reaches the nisab.
//!
//! ```text
//!              reaches the nisab             anniversary, nisab reached
//! no year runs ────────────────► a year runs ───────────────────────► complete, the next year runs
//!      ▲                             │
//!      └──── it breaks: ─────────────┘   any dip (majority), or
//!                                        nothing left, or below on the anniversary (Hanafi)
//! ```
//! The level of a day counts for the whole of it, so a dip on the anniversary itself is a dip.

use serde::Deserialize;

use super::date::{Date, DateError};

/// What a dip below the nisab within the year does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dip {
    /// It ends the year; another begins when the nisab is regained.
    Breaks,
    /// Nothing, unless all is lost: only the two ends of the year count.
    EndsOnly,
}

/// Which year.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Year {
    /// Twelve Hijri months.
    #[default]
    Lunar,
    /// A solar year, of books that are kept by it.
    Solar,
}

/// How wealth stood to the nisab from a day on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// The day.
    pub date: Date,
    /// Whether wealth reached the nisab.
    pub reaches: bool,
    /// Whether nothing at all was left.
    pub is_zero: bool,
}

/// What is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// The owner says whether a year has passed.
    Stated(bool),
    /// The nisab has been owned without a break since this day.
    Since(Date),
    /// Levels in the order of their days.
    History(Vec<Level>),
}

/// What comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Whether a year has passed.
    pub is_complete: bool,
    /// When the year began: the one that is over, else the one that runs.
    pub start: Option<Date>,
    /// When the last year that is over was over.
    pub completed: Option<Date>,
    /// When the year that runs will be over, if one runs and the calendar reaches that far.
    pub completes: Option<Date>,
}

impl Year {
    /// The day on which a year that began on `start` is over.
    fn over(self, start: Date) -> Result<Date, DateError> {
        match self {
            Self::Lunar => start.after_lunar_year(),
            Self::Solar => start.after_solar_year(),
        }
    }
}

/// Finds out whether a year has passed by the valuation date.
///
/// # Errors
/// [`DateError::NotGuaranteed`] when a lunar year is asked for outside the calendar's range.
pub fn find(known: &Known, on: Date, dip: Dip, year: Year) -> Result<Outcome, DateError> {
    match known {
        Known::Stated(is_complete) => Ok(Outcome {
            is_complete: *is_complete,
            start: None,
            completed: None,
            completes: None,
        }),
        Known::Since(date) => {
            let level = Level {
                date: *date,
                reaches: true,
                is_zero: false,
            };
            walk(&[level], on, dip, year)
        }
        Known::History(levels) => walk(levels, on, dip, year),
    }
}

fn walk(levels: &[Level], on: Date, dip: Dip, year: Year) -> Result<Outcome, DateError> {
    if year == Year::Lunar {
        on.to_hijri()?;
    }
    let mut run = Run {
        dip,
        year,
        start: None,
        over: None,
    };
    for (index, level) in levels.iter().enumerate() {
        // The day before the next entry, or the valuation date, is the last of this level.
        let last = match levels.get(index + 1) {
            Some(next) => next.date.plus_days(-1)?.min(on),
            None => on,
        };
        if level.date <= on {
            run.pass(*level, last)?;
        }
    }
    let completes = match run.start {
        Some(start) => run.next(start, on)?.or_else(|| year.over(start).ok()),
        None => None,
    };
    Ok(Outcome {
        is_complete: run.over.is_some(),
        start: run.over.map(|(start, _)| start).or(run.start),
        completed: run.over.map(|(_, end)| end),
        completes,
    })
}

/// The year that runs, as levels pass.
struct Run {
    dip: Dip,
    year: Year,
    start: Option<Date>,
    /// The last year that was completed.
    over: Option<(Date, Date)>,
}

impl Run {
    fn pass(&mut self, level: Level, last: Date) -> Result<(), DateError> {
        let breaks = match self.dip {
            Dip::Breaks => !level.reaches,
            Dip::EndsOnly => level.is_zero,
        };
        if breaks {
            self.start = None;
        }
        if self.start.is_none() && level.reaches {
            self.start = Some(level.date);
        }
        while let Some(start) = self.start {
            let Some(end) = self.next(start, last)? else {
                return Ok(());
            };
            self.start = level.reaches.then_some(end);
            if level.reaches {
                self.over = Some((start, end));
            }
        }
        Ok(())
    }

    /// The anniversary, if it is not after `last`.
    fn next(&self, start: Date, last: Date) -> Result<Option<Date>, DateError> {
        match self.year.over(start) {
            Ok(end) => Ok((end <= last).then_some(end)),
            // The start is certain and its anniversary is beyond the calendar: it is still to come,
            // since the valuation date is within.
            Err(DateError::NotGuaranteed) if start.to_hijri().is_ok() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn day(text: &str) -> Date {
        Date::parse(text).unwrap()
    }

    /// Wealth against a nisab of 100.
    fn history(entries: &[(&str, i32)]) -> Known {
        let level = |(date, wealth): &(&str, i32)| Level {
            date: day(date),
            reaches: *wealth >= 100,
            is_zero: *wealth == 0,
        };
        Known::History(entries.iter().map(level).collect())
    }

    fn complete(known: &Known, on: &str, dip: Dip) -> bool {
        find(known, day(on), dip, Year::Lunar).unwrap().is_complete
    }

    /// Oracle O20.
    #[test]
    fn a_hawl_is_complete_on_the_day_and_not_the_day_before() {
        let since = Known::Since(day("2026-01-01"));
        assert!(!complete(&since, "2026-12-20", Dip::Breaks));
        assert!(complete(&since, "2026-12-21", Dip::Breaks));
        let outcome = find(&since, day("2026-12-20"), Dip::Breaks, Year::Lunar).unwrap();
        assert_eq!(outcome.completes, Some(day("2026-12-21")));
        assert_eq!(outcome.start, Some(day("2026-01-01")));
    }

    #[test]
    fn a_dip_breaks_the_year_for_the_majority_and_not_for_the_hanafis() {
        let dipped = history(&[("2024-03-11", 120), ("2024-09-01", 60), ("2024-10-01", 150)]);
        // 1 Ramadan 1446.
        assert!(!complete(&dipped, "2025-03-01", Dip::Breaks));
        assert!(complete(&dipped, "2025-03-01", Dip::EndsOnly));
        let outcome = find(&dipped, day("2025-03-01"), Dip::Breaks, Year::Lunar).unwrap();
        assert_eq!(outcome.start, Some(day("2024-10-01")));
        // 28 Rabi' al-Awwal a year later.
        assert_eq!(outcome.completes, Some(day("2025-09-20")));
        assert!(complete(&dipped, "2025-09-20", Dip::Breaks));
    }

    #[test]
    fn losing_everything_breaks_the_year_for_the_hanafis_too() {
        let lost = history(&[("2024-03-11", 120), ("2024-09-01", 0), ("2024-10-01", 150)]);
        assert!(!complete(&lost, "2025-03-01", Dip::EndsOnly));
    }

    #[test]
    fn below_on_the_anniversary_the_year_is_not_complete_and_starts_when_regained() {
        let late = history(&[("2024-03-11", 120), ("2025-02-20", 60), ("2025-04-01", 150)]);
        for dip in [Dip::Breaks, Dip::EndsOnly] {
            let outcome = find(&late, day("2025-05-01"), dip, Year::Lunar).unwrap();
            assert_eq!(
                (outcome.is_complete, outcome.start),
                (false, Some(day("2025-04-01")))
            );
        }
    }

    #[test]
    fn a_dip_on_the_anniversary_itself_counts() {
        let dipped = history(&[("2024-03-11", 120), ("2025-03-01", 60)]);
        for dip in [Dip::Breaks, Dip::EndsOnly] {
            assert!(!complete(&dipped, "2025-03-01", dip));
        }
    }

    #[test]
    fn years_follow_each_other_by_the_calendar() {
        let since = Known::Since(HijriYear(1440).first());
        let outcome = find(&since, day("2026-02-18"), Dip::Breaks, Year::Lunar).unwrap();
        assert_eq!(outcome.completed, Some(day("2026-02-18")));
        assert_eq!(outcome.start, Some(day("2025-03-01")));
        assert_eq!(outcome.completes, Some(day("2027-02-08")));
    }

    struct HijriYear(i32);
    impl HijriYear {
        /// The first of its Ramadan.
        fn first(self) -> Date {
            let hijri = crate::domain::date::HijriDate {
                year: self.0,
                month: 9,
                day: 1,
            };
            hijri.to_gregorian().unwrap()
        }
    }

    #[test]
    fn a_solar_year_needs_no_hijri_calendar() {
        let since = Known::Since(day("2035-01-01"));
        let solar = find(&since, day("2036-01-01"), Dip::Breaks, Year::Solar).unwrap();
        assert!(solar.is_complete);
        let lunar = find(&since, day("2036-01-01"), Dip::Breaks, Year::Lunar);
        assert_eq!(lunar, Err(DateError::NotGuaranteed));
    }

    #[test]
    fn what_is_stated_needs_no_calendar() {
        let outcome = find(
            &Known::Stated(true),
            day("2100-01-01"),
            Dip::Breaks,
            Year::Lunar,
        );
        assert!(outcome.unwrap().is_complete);
    }

    #[test]
    fn at_the_end_of_the_calendar_a_year_that_is_not_over_is_not_over() {
        let outcome = find(
            &Known::Since(day("2029-05-01")),
            day("2029-05-13"),
            Dip::Breaks,
            Year::Lunar,
        );
        let outcome = outcome.unwrap();
        assert_eq!((outcome.is_complete, outcome.completes), (false, None));
    }

    proptest! {
        /// Entries that change nothing change nothing.
        #[test]
        fn repeating_a_level_changes_nothing(wealth in proptest::collection::vec(0..200_i32, 1..12), gap in 20_i64..200) {
            let mut date = day("2010-01-01");
            let (mut plain, mut doubled) = (Vec::new(), Vec::new());
            for value in wealth {
                let level = Level { date, reaches: value >= 100, is_zero: value < 20 };
                plain.push(level);
                doubled.push(level);
                doubled.push(Level { date: date.plus_days(7).unwrap(), ..level });
                date = date.plus_days(gap).unwrap();
            }
            let on = date.plus_days(3).unwrap();
            for dip in [Dip::Breaks, Dip::EndsOnly] {
                prop_assert_eq!(
                    find(&Known::History(plain.clone()), on, dip, Year::Lunar),
                    find(&Known::History(doubled.clone()), on, dip, Year::Lunar)
                );
            }
        }

        /// Whatever completes a year under the stricter rule completes one under the other, unless
        /// the dip moved the start.
        #[test]
        fn without_a_dip_the_rules_agree(days in 1_i64..3000) {
            let start = day("2010-01-01");
            let on = start.plus_days(days).unwrap();
            let one = find(&Known::Since(start), on, Dip::Breaks, Year::Lunar).unwrap();
            let two = find(&Known::Since(start), on, Dip::EndsOnly, Year::Lunar).unwrap();
            prop_assert_eq!(one, two);
            prop_assert_eq!(one.is_complete, days >= 354 && start.after_lunar_year().unwrap() <= on);
        }
    }
}
