//! Exact decimals that are no money: quantities and percentages.

use std::{fmt, str::FromStr};

/// How many decimal digits a [`Decimal`] has.
const PLACES: usize = 6;

/// How many of its units make one.
const SCALE: i64 = 1_000_000;

/// An exact decimal number with six places, held as a whole number of millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal(i64);

/// Why a text is no [`Decimal`]. `Display` is a clause that fits after the field's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDecimal {
    /// Not digits with at most one point and one sign.
    #[error("is not a decimal number such as 2.5")]
    NotANumber,
    /// More than six places that are not zero.
    #[error("has more than {PLACES} decimals")]
    TooFine,
    /// More than fits.
    #[error("is too large")]
    TooLarge,
}

impl Decimal {
    /// One.
    pub const ONE: Self = Self::whole(1);
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// A whole number of at most 12 digits.
    #[must_use]
    pub const fn whole(number: i32) -> Self {
        Self(number as i64 * SCALE)
    }

    /// So many millionths.
    #[must_use]
    pub const fn from_millionths(millionths: i64) -> Self {
        Self(millionths)
    }

    /// The number in millionths.
    #[must_use]
    pub const fn millionths(self) -> i64 {
        self.0
    }

    /// The number, if it is whole.
    #[must_use]
    pub const fn to_whole(self) -> Option<i64> {
        if self.0 % SCALE == 0 {
            Some(self.0 / SCALE)
        } else {
            None
        }
    }

    /// Whether it has at most so many places.
    #[must_use]
    pub const fn fits_places(self, places: u32) -> bool {
        self.0 % (SCALE / 10_i64.pow(places)) == 0
    }
}

impl FromStr for Decimal {
    type Err = InvalidDecimal;

    /// Reads digits, at most one point, at most one leading sign: no grouping, no exponent.
    fn from_str(text: &str) -> Result<Self, InvalidDecimal> {
        let (negative, digits) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            _ => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let plain = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !plain(whole) || !plain(fraction) || digits.ends_with('.') {
            return Err(InvalidDecimal::NotANumber);
        }
        let (kept, surplus) = fraction.split_at(fraction.len().min(PLACES));
        if surplus.bytes().any(|b| b != b'0') {
            return Err(InvalidDecimal::TooFine);
        }
        let padding = std::iter::repeat_n(b'0', PLACES - kept.len());
        let mut millionths: i64 = 0;
        for digit in whole.bytes().chain(kept.bytes()).chain(padding) {
            millionths = millionths
                .checked_mul(10)
                .and_then(|m| m.checked_add(i64::from(digit - b'0')))
                .ok_or(InvalidDecimal::TooLarge)?;
        }
        Ok(Self(if negative { -millionths } else { millionths }))
    }
}

impl fmt::Display for Decimal {
    /// The shortest spelling: `2.5`, `-3`, `0.000001`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.unsigned_abs();
        let scale = SCALE.unsigned_abs();
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}{}", magnitude / scale)?;
        match magnitude % scale {
            0 => Ok(()),
            rest => {
                let places = format!("{rest:0PLACES$}");
                write!(f, ".{}", places.trim_end_matches('0'))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_are_read_exactly_and_written_shortly() {
        for (text, millionths, written) in [
            ("2.5", 2_500_000, "2.5"),
            ("-3", -3_000_000, "-3"),
            ("0.000001", 1, "0.000001"),
            ("-0.10", -100_000, "-0.1"),
            ("1.5000000000", 1_500_000, "1.5"),
            ("007", 7_000_000, "7"),
            ("-0", 0, "0"),
        ] {
            let decimal: Decimal = text.parse().unwrap();
            assert_eq!(decimal.millionths(), millionths, "{text}");
            assert_eq!(decimal.to_string(), written, "{text}");
        }
    }

    #[test]
    fn what_is_no_decimal_is_told_why() {
        for text in [
            "", "-", ".", ".5", "5.", "+5", "1,5", "1e3", "--1", "1.2.3", "½", "1 ",
        ] {
            let read = text.parse::<Decimal>();
            assert_eq!(read, Err(InvalidDecimal::NotANumber), "{text:?}");
        }
        assert_eq!("0.0000001".parse::<Decimal>(), Err(InvalidDecimal::TooFine));
        assert_eq!(
            "99999999999999".parse::<Decimal>(),
            Err(InvalidDecimal::TooLarge)
        );
    }

    #[test]
    fn places_are_counted_without_the_zeros_at_the_end() {
        let decimal: Decimal = "7.125000".parse().unwrap();
        assert!(decimal.fits_places(3) && !decimal.fits_places(2));
        assert_eq!(decimal.to_whole(), None);
        assert_eq!(Decimal::whole(-3).to_whole(), Some(-3));
    }

    proptest! {
        #[test]
        fn a_decimal_reads_back_as_itself(millionths in any::<i64>()) {
            prop_assume!(millionths != i64::MIN);
            let decimal = Decimal::from_millionths(millionths);
            prop_assert_eq!(decimal.to_string().parse(), Ok(decimal));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,30}") {
            let _ = text.parse::<Decimal>();
        }
    }
}
