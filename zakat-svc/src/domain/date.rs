//! Days, in the Gregorian calendar and in that of Umm al-Qura.
//!
//! ```text
//! guaranteed   1 Muharram 1420 (17 April 1999) to the last day of 1450 AH (13 May 2029)
//! ```
//! Within those years the calendar's published tables agree with each other, month for month
//! (`tests/hijri.rs`). Before and after they do not, so a question about such a day is refused
//! and never answered with a guess.

use std::fmt;

use icu_calendar::{
    Date as IcuDate, Gregorian,
    cal::{Hijri, hijri::UmmAlQura},
};

use serde::{Deserialize, Deserializer, de};

/// The calendar and the version of its data: to be kept with every date that was found by it.
pub const CALENDAR: &str = "umm-al-qura/icu4x-2.4.0/1420-1450";

/// The years AH whose months are certain.
pub const YEARS_FIRST_LAST: (i32, i32) = (1420, 1450);

/// The years that are read at all. Dates are only compared and shown outside the guaranteed range.
const GREGORIAN_YEARS: std::ops::RangeInclusive<i32> = 1900..=2200;

/// A day of the Gregorian calendar.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    year: i32,
    month: u8,
    day: u8,
}

/// A day of the calendar of Umm al-Qura, within the guaranteed years.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HijriDate {
    /// The year AH.
    pub year: i32,
    /// 1 to 12; Ramadan is 9.
    pub month: u8,
    /// 1 to 30.
    pub day: u8,
}

/// Why a day was refused. `Display` is a clause that fits after a field's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DateError {
    /// No such day.
    #[error("is not a day of the Gregorian calendar between 1900 and 2200")]
    NoSuchDay,
    /// A day whose Hijri date is not certain.
    #[error(
        "is outside the range in which the Hijri calendar is certain, 1999-04-17 to 2029-05-13"
    )]
    NotGuaranteed,
}

impl Date {
    /// A day.
    ///
    /// # Errors
    /// [`DateError::NoSuchDay`].
    pub fn new(year: i32, month: i32, day: i32) -> Result<Self, DateError> {
        let part = |value: i32| u8::try_from(value).map_err(|_| DateError::NoSuchDay);
        let (month, day) = (part(month)?, part(day)?);
        if !GREGORIAN_YEARS.contains(&year) {
            return Err(DateError::NoSuchDay);
        }
        IcuDate::try_new_gregorian(year, month, day).map_err(|_| DateError::NoSuchDay)?;
        Ok(Self { year, month, day })
    }

    /// Reads `2026-03-01`.
    ///
    /// # Errors
    /// [`DateError::NoSuchDay`].
    pub fn parse(text: &str) -> Result<Self, DateError> {
        let mut parts = text.splitn(3, '-');
        let mut part = |length: usize| {
            let part = parts.next().filter(|part| part.len() == length);
            let part = part.filter(|part| part.bytes().all(|b| b.is_ascii_digit()));
            part.and_then(|part| part.parse::<i32>().ok())
                .ok_or(DateError::NoSuchDay)
        };
        Self::new(part(4)?, part(2)?, part(2)?)
    }

    /// The year.
    #[must_use]
    pub const fn year(self) -> i32 {
        self.year
    }

    /// The month, 1 to 12.
    #[must_use]
    pub const fn month(self) -> u8 {
        self.month
    }

    /// The day of the month.
    #[must_use]
    pub const fn day(self) -> u8 {
        self.day
    }

    /// The same day in the Hijri calendar.
    ///
    /// # Errors
    /// [`DateError::NotGuaranteed`].
    pub fn to_hijri(self) -> Result<HijriDate, DateError> {
        let hijri = self.icu()?.to_calendar(Hijri::new_umm_al_qura());
        HijriDate::of_icu(&hijri)
    }

    /// The day after so many days.
    ///
    /// # Errors
    /// [`DateError::NoSuchDay`] when that leaves the years that are read.
    pub fn plus_days(self, days: i64) -> Result<Self, DateError> {
        // More than the years that are read have, and few enough for the calendar's arithmetic.
        if days.unsigned_abs() > 200_000 {
            return Err(DateError::NoSuchDay);
        }
        let day = self.icu()?.to_rata_die() + days;
        Self::of_icu(&IcuDate::from_rata_die(day, Gregorian))
    }

    /// How many days lie from `earlier` to this day.
    ///
    /// # Errors
    /// Never for a day that exists.
    pub fn days_since(self, earlier: Self) -> Result<i64, DateError> {
        Ok(self.icu()?.to_rata_die() - earlier.icu()?.to_rata_die())
    }

    /// The day on which twelve Hijri months are over: the same Hijri date a year later, or the
    /// last day of that month where it has no thirtieth.
    ///
    /// # Errors
    /// [`DateError::NotGuaranteed`] when either day is outside the range.
    pub fn after_lunar_year(self) -> Result<Self, DateError> {
        let hijri = self.to_hijri()?;
        let next = HijriDate {
            year: hijri.year + 1,
            ..hijri
        };
        next.to_gregorian().or_else(|_| {
            HijriDate {
                day: next.day - 1,
                ..next
            }
            .to_gregorian()
        })
    }

    /// The same day a solar year later; the 28th for a 29 February.
    ///
    /// # Errors
    /// [`DateError::NoSuchDay`] when that leaves the years that are read.
    pub fn after_solar_year(self) -> Result<Self, DateError> {
        let (year, month, day) = (self.year + 1, i32::from(self.month), i32::from(self.day));
        Self::new(year, month, day).or_else(|_| Self::new(year, month, day - 1))
    }

    fn icu(self) -> Result<IcuDate<Gregorian>, DateError> {
        IcuDate::try_new_gregorian(self.year, self.month, self.day)
            .map_err(|_| DateError::NoSuchDay)
    }

    fn of_icu(date: &IcuDate<Gregorian>) -> Result<Self, DateError> {
        Self::new(
            date.year().extended_year(),
            date.month().ordinal.into(),
            date.day_of_month().0.into(),
        )
    }
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(|e| de::Error::custom(format!("{text:?} {e}")))
    }
}

impl HijriDate {
    /// The same day in the Gregorian calendar.
    ///
    /// # Errors
    /// [`DateError::NotGuaranteed`], also for a day that the calendar does not have.
    pub fn to_gregorian(self) -> Result<Date, DateError> {
        let (first, last) = YEARS_FIRST_LAST;
        if !(first..=last).contains(&self.year) {
            return Err(DateError::NotGuaranteed);
        }
        let hijri = IcuDate::try_new_hijri_with_calendar(
            self.year,
            self.month,
            self.day,
            Hijri::new_umm_al_qura(),
        )
        .map_err(|_| DateError::NotGuaranteed)?;
        Date::of_icu(&hijri.to_calendar(Gregorian))
    }

    fn of_icu(date: &IcuDate<Hijri<UmmAlQura>>) -> Result<Self, DateError> {
        let (first, last) = YEARS_FIRST_LAST;
        let year = date.year().extended_year();
        if !(first..=last).contains(&year) {
            return Err(DateError::NotGuaranteed);
        }
        Ok(Self {
            year,
            month: date.month().ordinal,
            day: date.day_of_month().0,
        })
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl fmt::Debug for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for HijriDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02} AH", self.year, self.month, self.day)
    }
}

impl fmt::Debug for HijriDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Date {
        Date::parse(text).unwrap()
    }

    #[test]
    fn only_days_that_exist_are_read() {
        assert_eq!(day("2024-02-29").to_string(), "2024-02-29");
        for text in [
            "2026-02-29",
            "2026-13-01",
            "2026-00-01",
            "2026-1-1",
            "2026-01",
            "1899-12-31",
            "2201-01-01",
            "",
            "2026-01-01x",
            "+026-01-01",
        ] {
            assert_eq!(Date::parse(text), Err(DateError::NoSuchDay), "{text}");
        }
    }

    #[test]
    fn the_agreed_firsts_of_ramadan() {
        for (gregorian, year) in [
            ("2024-03-11", 1445),
            ("2025-03-01", 1446),
            ("2026-02-18", 1447),
            ("2027-02-08", 1448),
        ] {
            let first = HijriDate {
                year,
                month: 9,
                day: 1,
            };
            assert_eq!(day(gregorian).to_hijri(), Ok(first));
            assert_eq!(first.to_gregorian(), Ok(day(gregorian)));
        }
    }

    #[test]
    fn the_guaranteed_range_ends_where_it_says() {
        assert_eq!(
            day("1999-04-17").to_hijri().unwrap().to_string(),
            "1420-01-01 AH"
        );
        assert_eq!(day("1999-04-16").to_hijri(), Err(DateError::NotGuaranteed));
        assert_eq!(day("2029-05-13").to_hijri().unwrap().year, 1450);
        assert_eq!(day("2029-05-14").to_hijri(), Err(DateError::NotGuaranteed));
        assert_eq!(
            day("2029-01-01").after_lunar_year(),
            Err(DateError::NotGuaranteed)
        );
    }

    #[test]
    fn a_thirtieth_that_the_next_year_lacks_is_its_last_day() {
        let mut seen = 0;
        for year in 1420..1450 {
            for month in 1..=12 {
                let last = HijriDate {
                    year,
                    month,
                    day: 30,
                };
                let Ok(gregorian) = last.to_gregorian() else {
                    continue;
                };
                let after = gregorian.after_lunar_year().unwrap();
                let hijri = after.to_hijri().unwrap();
                assert_eq!((hijri.year, hijri.month), (year + 1, month));
                // The day before the month that follows, now as then.
                assert_eq!(after.plus_days(1).unwrap().to_hijri().unwrap().day, 1);
                seen += i32::from(hijri.day == 29);
            }
        }
        assert!(seen > 20, "{seen}");
    }

    #[test]
    fn a_solar_year_of_a_leap_day() {
        assert_eq!(day("2024-02-29").after_solar_year(), Ok(day("2025-02-28")));
        assert_eq!(day("2026-01-01").after_solar_year(), Ok(day("2027-01-01")));
        for days in [i64::MIN, -200_000, 200_000, i64::MAX] {
            assert_eq!(day("2026-01-01").plus_days(days), Err(DateError::NoSuchDay));
        }
    }
}
