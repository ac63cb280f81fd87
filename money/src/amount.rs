//! The amount itself: checked arithmetic, decimal strings.

use std::fmt;

use crate::{Currency, Error, Rounding};

/// An exact amount in one currency, held as an integer number of smallest units.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    minor: i128,
    currency: Currency,
}

impl Money {
    /// The amount of `minor` smallest units.
    #[must_use]
    pub const fn from_minor(minor: i128, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// Nothing, in a currency.
    #[must_use]
    pub const fn zero(currency: Currency) -> Self {
        Self::from_minor(0, currency)
    }

    /// The number of smallest units.
    #[must_use]
    pub const fn minor(&self) -> i128 {
        self.minor
    }

    /// The currency.
    #[must_use]
    pub const fn currency(&self) -> Currency {
        self.currency
    }

    /// Whether it is nothing.
    #[must_use]
    pub const fn is_zero(&self) -> bool {
        self.minor == 0
    }

    /// Whether it is above nothing.
    #[must_use]
    pub const fn is_positive(&self) -> bool {
        self.minor > 0
    }

    /// Whether it is below nothing.
    #[must_use]
    pub const fn is_negative(&self) -> bool {
        self.minor < 0
    }

    /// The sum.
    ///
    /// # Errors
    /// [`Error::CurrencyMismatch`], [`Error::Overflow`].
    pub fn checked_add(self, other: Self) -> Result<Self, Error> {
        self.zip(other, i128::checked_add)
    }

    /// The difference.
    ///
    /// # Errors
    /// [`Error::CurrencyMismatch`], [`Error::Overflow`].
    pub fn checked_sub(self, other: Self) -> Result<Self, Error> {
        self.zip(other, i128::checked_sub)
    }

    /// The amount times a whole number.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub fn checked_mul(self, times: i128) -> Result<Self, Error> {
        let minor = self.minor.checked_mul(times).ok_or(Error::Overflow)?;
        Ok(Self::from_minor(minor, self.currency))
    }

    /// The amount with the other sign.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub fn checked_neg(self) -> Result<Self, Error> {
        self.checked_mul(-1)
    }

    /// The amount times the fraction `numerator / denominator`, rounded as named to a whole
    /// smallest unit. Multiplies first, so nothing is lost before the one rounding.
    ///
    /// # Errors
    /// [`Error::Overflow`], also for a denominator of zero.
    pub fn checked_mul_ratio(
        self,
        numerator: i128,
        denominator: i128,
        rounding: Rounding,
    ) -> Result<Self, Error> {
        let product = self.minor.checked_mul(numerator).ok_or(Error::Overflow)?;
        let minor = rounding.divide(product, denominator)?;
        Ok(Self::from_minor(minor, self.currency))
    }

    /// Reads a plain decimal number such as `-1234.5`: digits, at most one point, at most one
    /// leading sign. No grouping, no exponent, no currency sign.
    ///
    /// # Errors
    /// [`Error::NotANumber`], [`Error::TooFine`] unless the surplus digits are zeros,
    /// [`Error::Overflow`].
    pub fn parse(text: &str, currency: Currency) -> Result<Self, Error> {
        let (negative, digits) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction)
        {
            return Err(Error::NotANumber);
        }
        let places = currency.exponent() as usize;
        let (kept, surplus) = fraction.split_at(fraction.len().min(places));
        if surplus.bytes().any(|b| b != b'0') {
            return Err(Error::TooFine);
        }
        let mut minor: i128 = 0;
        let padding = std::iter::repeat_n(b'0', places - kept.len());
        for digit in whole.bytes().chain(kept.bytes()).chain(padding) {
            minor = minor
                .checked_mul(10)
                .and_then(|m| m.checked_add(i128::from(digit - b'0')))
                .ok_or(Error::Overflow)?;
        }
        Ok(Self::from_minor(
            if negative { -minor } else { minor },
            currency,
        ))
    }

    /// The number alone, with as many decimals as the currency has: `-0.05`, `1200.00`, `300`.
    #[must_use]
    pub fn to_decimal(&self) -> String {
        let scale = self.currency.scale().unsigned_abs();
        let magnitude = self.minor.unsigned_abs();
        let sign = if self.minor < 0 { "-" } else { "" };
        let whole = magnitude / scale;
        match self.currency.exponent() as usize {
            0 => format!("{sign}{whole}"),
            places => format!("{sign}{whole}.{:0places$}", magnitude % scale),
        }
    }

    fn zip(self, other: Self, op: impl Fn(i128, i128) -> Option<i128>) -> Result<Self, Error> {
        if self.currency != other.currency {
            return Err(Error::CurrencyMismatch);
        }
        let minor = op(self.minor, other.minor).ok_or(Error::Overflow)?;
        Ok(Self::from_minor(minor, self.currency))
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.to_decimal(), self.currency)
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn currency(code: &str) -> Currency {
        code.parse().unwrap()
    }

    #[test]
    fn decimals_are_read_exactly() {
        for (text, code, minor) in [
            ("12.34", "GBP", 1_234),
            ("-0.01", "GBP", -1),
            ("8151.9", "GBP", 815_190),
            ("2240", "GBP", 224_000),
            ("+.5", "GBP", 50),
            ("7.", "GBP", 700),
            ("1.500", "GBP", 150),
            ("300", "JPY", 300),
            ("1.234", "KWD", 1_234),
            ("-0", "GBP", 0),
        ] {
            assert_eq!(
                Money::parse(text, currency(code)).unwrap().minor(),
                minor,
                "{text} {code}"
            );
        }
    }

    #[test]
    fn what_is_not_exact_is_refused() {
        let cases = [
            ("", "GBP", Error::NotANumber),
            (".", "GBP", Error::NotANumber),
            ("-", "GBP", Error::NotANumber),
            ("1,000", "GBP", Error::NotANumber),
            ("1e3", "GBP", Error::NotANumber),
            ("--1", "GBP", Error::NotANumber),
            ("1.2.3", "GBP", Error::NotANumber),
            ("£1", "GBP", Error::NotANumber),
            ("0.001", "GBP", Error::TooFine),
            ("0.1", "JPY", Error::TooFine),
            (
                "999999999999999999999999999999999999999999",
                "GBP",
                Error::Overflow,
            ),
        ];
        for (text, code, error) in cases {
            assert_eq!(
                Money::parse(text, currency(code)),
                Err(error),
                "{text} {code}"
            );
        }
    }

    #[test]
    fn an_amount_has_one_sign_and_nothing_has_none() {
        for (minor, signs) in [
            (-1, [false, false, true]),
            (0, [true, false, false]),
            (1, [false, true, false]),
        ] {
            let money = Money::from_minor(minor, currency("GBP"));
            let got = [money.is_zero(), money.is_positive(), money.is_negative()];
            assert_eq!(got, signs, "{minor}");
        }
    }

    #[test]
    fn it_is_shown_to_people_and_in_debug_with_its_currency() {
        for (minor, code, shown) in [
            (0, "GBP", "0.00 GBP"),
            (-5, "GBP", "-0.05 GBP"),
            (300, "JPY", "300 JPY"),
            (1_200_001, "KWD", "1200.001 KWD"),
        ] {
            let money = Money::from_minor(minor, currency(code));
            assert_eq!(money.to_string(), shown);
            assert_eq!(format!("{money:?}"), shown);
            assert_eq!(format!("{:?}", money.currency()), code);
        }
    }

    #[test]
    fn currencies_do_not_mix() {
        let pound = Money::from_minor(1, currency("GBP"));
        let dollar = Money::from_minor(1, currency("USD"));
        assert_eq!(pound.checked_add(dollar), Err(Error::CurrencyMismatch));
    }

    #[test]
    fn overflow_is_an_error_and_not_a_wrap() {
        let most = Money::from_minor(i128::MAX, currency("GBP"));
        assert_eq!(
            most.checked_add(Money::from_minor(1, currency("GBP"))),
            Err(Error::Overflow)
        );
        assert_eq!(most.checked_mul(2), Err(Error::Overflow));
        assert_eq!(
            Money::from_minor(i128::MIN, currency("GBP")).checked_neg(),
            Err(Error::Overflow)
        );
    }

    proptest! {
        #[test]
        fn a_decimal_reads_back_as_itself(minor in any::<i64>(), code in prop::sample::select(vec!["GBP", "JPY", "KWD", "CLF"])) {
            let money = Money::from_minor(i128::from(minor), currency(code));
            prop_assert_eq!(Money::parse(&money.to_decimal(), currency(code)), Ok(money));
        }

        #[test]
        fn parsing_never_panics(text in "\\PC{0,40}") {
            let _ = Money::parse(&text, currency("GBP"));
        }
    }
}
