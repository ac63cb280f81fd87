//! Exact numbers: fractions of integers, so that 1/40 and 22/24 lose nothing.
//!
//! Every step that could leave 128 bits is checked and says so; nothing wraps and nothing rounds
//! but [`Ratio::round`], which is told how.

use std::{cmp::Ordering, fmt};

use money::{Currency, Money, Rounding};
use serde::{Deserialize, Deserializer, de};

/// The most digits that a number of a request or a policy may have, point left out. Weights,
/// prices and quantities are far shorter; two of them multiplied stay within 128 bits.
pub const DIGITS_MAX: usize = 18;

/// An exact number.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ratio {
    /// Carries the sign.
    numerator: i128,
    /// Above zero; shares no factor with the numerator.
    denominator: i128,
}

/// Why a number could not be had. `Display` is a clause that fits after a field's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NumberError {
    /// Not a plain decimal.
    #[error("is not a decimal number")]
    NotANumber,
    /// More digits than are read.
    #[error("has more than 18 digits")]
    TooManyDigits,
    /// A result does not fit.
    #[error("is too large to compute with")]
    Overflow,
}

type Result<T> = std::result::Result<T, NumberError>;

impl Ratio {
    /// Nothing.
    pub const ZERO: Self = Self::whole(0);
    /// One.
    pub const ONE: Self = Self::whole(1);

    /// A whole number.
    #[must_use]
    pub const fn whole(value: i128) -> Self {
        Self {
            numerator: value,
            denominator: 1,
        }
    }

    /// A fraction.
    ///
    /// # Errors
    /// [`NumberError::Overflow`], also for a denominator of zero.
    pub fn new(numerator: i128, denominator: i128) -> Result<Self> {
        if denominator == 0 || numerator == i128::MIN || denominator == i128::MIN {
            return Err(NumberError::Overflow);
        }
        let sign = if denominator < 0 { -1 } else { 1 };
        Ok(Self::reduced(numerator * sign, denominator * sign))
    }

    /// Reads a plain decimal: digits, at most one point, at most one leading minus.
    ///
    /// # Errors
    /// [`NumberError::NotANumber`], [`NumberError::TooManyDigits`].
    pub fn parse(text: &str) -> Result<Self> {
        let (sign, digits) = match text.strip_prefix('-') {
            Some(digits) => (-1, digits),
            None => (1, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || digits.ends_with('.')
        {
            return Err(NumberError::NotANumber);
        }
        let whole = whole.trim_start_matches('0');
        let fraction = fraction.trim_end_matches('0');
        if whole.len() + fraction.len() > DIGITS_MAX {
            return Err(NumberError::TooManyDigits);
        }
        let mut numerator: i128 = 0;
        for digit in whole.bytes().chain(fraction.bytes()) {
            numerator = numerator * 10 + i128::from(digit - b'0');
        }
        let denominator = fraction.bytes().fold(1, |power: i128, _| power * 10);
        Ok(Self::reduced(sign * numerator, denominator))
    }

    /// Reads a decimal, or a fraction of two whole numbers such as "1/40".
    ///
    /// # Errors
    /// As [`Ratio::parse`]; [`NumberError::Overflow`] for a denominator of zero.
    pub fn parse_fraction(text: &str) -> Result<Self> {
        let Some((above, below)) = text.split_once('/') else {
            return Self::parse(text);
        };
        let (above, below) = (Self::parse(above)?, Self::parse(below)?);
        if above.denominator != 1 || below.denominator != 1 {
            return Err(NumberError::NotANumber);
        }
        Self::new(above.numerator, below.numerator)
    }

    /// An amount of money, in whole units of its currency.
    #[must_use]
    pub fn of_money(money: Money) -> Self {
        Self::reduced(money.minor(), money.currency().scale())
    }

    /// The sum.
    ///
    /// # Errors
    /// [`NumberError::Overflow`].
    pub fn plus(self, other: Self) -> Result<Self> {
        self.combine(other, i128::checked_add)
    }

    /// The difference.
    ///
    /// # Errors
    /// [`NumberError::Overflow`].
    pub fn minus(self, other: Self) -> Result<Self> {
        self.combine(other, i128::checked_sub)
    }

    /// The product.
    ///
    /// # Errors
    /// [`NumberError::Overflow`].
    pub fn times(self, other: Self) -> Result<Self> {
        // Crosswise first, so that the product is in lowest terms and as small as it can be.
        let one = common(self.numerator, other.denominator);
        let two = common(other.numerator, self.denominator);
        let above = (self.numerator / one).checked_mul(other.numerator / two);
        let below = (self.denominator / two).checked_mul(other.denominator / one);
        match (above, below) {
            (Some(numerator), Some(denominator)) => Ok(Self {
                numerator,
                denominator,
            }),
            _ => Err(NumberError::Overflow),
        }
    }

    /// The quotient.
    ///
    /// # Errors
    /// [`NumberError::Overflow`], also for a divisor of zero.
    pub fn over(self, other: Self) -> Result<Self> {
        self.times(Self::new(other.denominator, other.numerator)?)
    }

    /// Whether it is below zero.
    #[must_use]
    pub const fn is_negative(self) -> bool {
        self.numerator < 0
    }

    /// Whether it is zero.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.numerator == 0
    }

    /// The nearest multiple of `unit` in the direction named.
    ///
    /// # Errors
    /// [`NumberError::Overflow`], also for a unit of zero.
    pub fn round(self, unit: Self, rounding: Rounding) -> Result<Self> {
        let units = self.over(unit)?;
        let whole = rounding
            .divide(units.numerator, units.denominator)
            .map_err(|_| NumberError::Overflow)?;
        Self::whole(whole).times(unit)
    }

    /// The same as money: `None` unless it is a whole number of smallest units.
    ///
    /// # Errors
    /// [`NumberError::Overflow`].
    pub fn to_money(self, currency: Currency) -> Result<Option<Money>> {
        let minor = self.times(Self::whole(currency.scale()))?;
        Ok((minor.denominator == 1).then(|| Money::from_minor(minor.numerator, currency)))
    }

    /// For people: a decimal of at most six places, with `≈` in front where that is not all of it.
    #[must_use]
    pub fn to_readable(self) -> String {
        let exact = self.to_string();
        let places = exact.split_once('.').map_or(0, |(_, places)| places.len());
        if !exact.contains('/') && places <= 6 {
            return exact;
        }
        let millionth = Self {
            numerator: 1,
            denominator: 1_000_000,
        };
        match self.round(millionth, Rounding::HalfAwayFromZero) {
            Ok(rounded) => format!("≈{rounded}"),
            Err(_) => exact,
        }
    }

    /// The digits, and how many of them are behind the point; `None` for a fraction without an end,
    /// or with one further out than 128 bits hold.
    fn as_decimal(self) -> Option<(i128, usize)> {
        let mut rest = self.denominator;
        let mut count = |factor: i128| {
            let mut times = 0_u32;
            while rest % factor == 0 {
                rest /= factor;
                times += 1;
            }
            times
        };
        // 2^a × 5^b alone divides a power of ten.
        let places = count(2).max(count(5));
        if rest != 1 {
            return None;
        }
        let scale = 10_i128.checked_pow(places)? / self.denominator;
        let scaled = self.numerator.checked_mul(scale)?;
        Some((scaled, usize::try_from(places).ok()?))
    }

    fn combine(self, other: Self, op: impl Fn(i128, i128) -> Option<i128>) -> Result<Self> {
        if self.denominator == other.denominator {
            let sum = op(self.numerator, other.numerator).ok_or(NumberError::Overflow)?;
            return Ok(Self::reduced(sum, self.denominator));
        }
        let shared = common(self.denominator, other.denominator);
        let (grow, grow_other) = (other.denominator / shared, self.denominator / shared);
        let sum = (|| {
            let above = op(
                self.numerator.checked_mul(grow)?,
                other.numerator.checked_mul(grow_other)?,
            )?;
            Some((above, self.denominator.checked_mul(grow)?))
        })();
        let (above, below) = sum.ok_or(NumberError::Overflow)?;
        Ok(Self::reduced(above, below))
    }

    /// The denominator is above zero.
    fn reduced(numerator: i128, denominator: i128) -> Self {
        let shared = common(numerator, denominator);
        Self {
            numerator: numerator / shared,
            denominator: denominator / shared,
        }
    }
}

/// The greatest common divisor, at least one.
fn common(a: i128, b: i128) -> i128 {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    if a == 1 || b == 1 {
        return 1;
    }
    // Division of 128 bits is slow; most numbers are below 64 after a step or two.
    while b != 0 {
        if let (Ok(small_a), Ok(small_b)) = (u64::try_from(a), u64::try_from(b)) {
            return i128::from(common_small(small_a, small_b)).max(1);
        }
        (a, b) = (b, a % b);
    }
    // Of two numbers of which one is i128::MIN, 2^127 is the only divisor that does not fit.
    i128::try_from(a).unwrap_or(1).max(1)
}

fn common_small(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

impl Default for Ratio {
    /// Nothing.
    fn default() -> Self {
        Self::ZERO
    }
}

impl<'de> Deserialize<'de> for Ratio {
    /// From a string: a number of JSON could pass through a float on its way.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse_fraction(&text).map_err(|e| de::Error::custom(format!("{text:?} {e}")))
    }
}

impl Ord for Ratio {
    /// Never overflows: whole parts first, then what is left, upside down.
    fn cmp(&self, other: &Self) -> Ordering {
        let (mut a, mut b) = (*self, *other);
        let mut swapped = false;
        loop {
            let (whole_a, rest_a) = (
                a.numerator.div_euclid(a.denominator),
                a.numerator.rem_euclid(a.denominator),
            );
            let (whole_b, rest_b) = (
                b.numerator.div_euclid(b.denominator),
                b.numerator.rem_euclid(b.denominator),
            );
            let order = match whole_a.cmp(&whole_b) {
                Ordering::Equal if rest_a == 0 || rest_b == 0 => rest_a.cmp(&rest_b),
                Ordering::Equal => {
                    a = Self {
                        numerator: a.denominator,
                        denominator: rest_a,
                    };
                    b = Self {
                        numerator: b.denominator,
                        denominator: rest_b,
                    };
                    swapped = !swapped;
                    continue;
                }
                order => order,
            };
            return if swapped { order.reverse() } else { order };
        }
    }
}

impl PartialOrd for Ratio {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Ratio {
    /// A decimal where it has an end, else a fraction in lowest terms.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((scaled, places)) = self.as_decimal() else {
            return write!(f, "{}/{}", self.numerator, self.denominator);
        };
        let sign = if scaled < 0 { "-" } else { "" };
        let digits = scaled.unsigned_abs().to_string();
        if places == 0 {
            return write!(f, "{sign}{digits}");
        }
        let digits = format!("{digits:0>width$}", width = places + 1);
        let (whole, fraction) = digits.split_at(digits.len() - places);
        write!(f, "{sign}{whole}.{fraction}")
    }
}

impl fmt::Debug for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Ratio {
        Ratio::parse_fraction(text).unwrap()
    }

    #[test]
    fn reads_and_shows_decimals_and_fractions() {
        for (text, shown) in [
            ("85", "85"),
            ("0085.500", "85.5"),
            ("-0.05", "-0.05"),
            ("0", "0"),
            ("22/24", "11/12"),
            ("21/24", "0.875"),
            ("1/40", "0.025"),
            ("0.000000000000000001", "0.000000000000000001"),
            ("123456789012345678", "123456789012345678"),
        ] {
            assert_eq!(number(text).to_string(), shown);
        }
    }

    #[test]
    fn refuses_what_is_not_a_plain_number() {
        for text in [
            "", ".", "1.", ".5", "+1", "1e3", "1,5", "--1", "٣", "1/2/3", "1.5/2",
        ] {
            assert_eq!(
                Ratio::parse_fraction(text),
                Err(NumberError::NotANumber),
                "{text}"
            );
        }
        assert_eq!(
            Ratio::parse("1234567890123456789"),
            Err(NumberError::TooManyDigits)
        );
        assert_eq!(Ratio::parse_fraction("1/0"), Err(NumberError::Overflow));
    }

    #[test]
    fn readable_figures_say_when_they_are_not_all() {
        assert_eq!(number("11/12").to_readable(), "≈0.916667");
        assert_eq!(number("15.03125").to_readable(), "15.03125");
        assert_eq!(number("0.12345678").to_readable(), "≈0.123457");
    }

    #[test]
    fn rounding_goes_to_the_unit() {
        let due = number("15.03125");
        let cent = number("0.01");
        assert_eq!(due.round(cent, Rounding::Up).unwrap(), number("15.04"));
        assert_eq!(due.round(Ratio::ONE, Rounding::Down).unwrap(), number("15"));
        assert_eq!(
            due.round(Ratio::ZERO, Rounding::Up),
            Err(NumberError::Overflow)
        );
    }

    #[test]
    fn the_edges_are_errors_and_not_wraps() {
        let most = Ratio::whole(i128::MAX);
        assert_eq!(most.plus(Ratio::ONE), Err(NumberError::Overflow));
        assert_eq!(most.times(number("2")), Err(NumberError::Overflow));
        assert_eq!(Ratio::new(i128::MIN, 1), Err(NumberError::Overflow));
        assert_eq!(Ratio::ONE.over(Ratio::ZERO), Err(NumberError::Overflow));
        assert!(number("1/3") > number("0.333333333333333333"));
        assert!(Ratio::new(i128::MAX, i128::MAX - 1).unwrap() > Ratio::ONE);
    }

    proptest! {
        #[test]
        fn agrees_with_whole_numbers(a in -1_000_000_i128..1_000_000, b in 1_i128..10_000, c in -1_000_000_i128..1_000_000, d in 1_i128..10_000) {
            let (x, y) = (Ratio::new(a, b).unwrap(), Ratio::new(c, d).unwrap());
            prop_assert_eq!(x.plus(y).unwrap(), Ratio::new(a * d + c * b, b * d).unwrap());
            prop_assert_eq!(x.minus(y).unwrap(), Ratio::new(a * d - c * b, b * d).unwrap());
            prop_assert_eq!(x.times(y).unwrap(), Ratio::new(a * c, b * d).unwrap());
            prop_assert_eq!(x.cmp(&y), (a * d).cmp(&(c * b)));
        }

        #[test]
        fn what_is_shown_reads_back(a in -1_000_000_i128..1_000_000, b in 1_i128..10_000) {
            let x = Ratio::new(a, b).unwrap();
            let shown = x.to_string();
            if shown.len() < 16 {
                prop_assert_eq!(Ratio::parse_fraction(&shown).unwrap(), x);
            }
        }

        #[test]
        fn rounding_up_is_less_than_a_unit_above(a in 0_i128..1_000_000_000, b in 1_i128..10_000) {
            let x = Ratio::new(a, b).unwrap();
            let up = x.round(number("0.01"), Rounding::Up).unwrap();
            prop_assert!(up >= x && up.minus(x).unwrap() < number("0.01"));
        }
    }
}
