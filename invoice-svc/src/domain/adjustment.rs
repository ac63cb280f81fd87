//! Allowances and charges: on a line (BG-27, BG-28) or on the document (BG-20, BG-21).

use money::{Money, Rounding};

use super::{Decimal, Invalid, Problem, ROUNDING, tax::PERCENT_PLACES};

/// The largest percentage of an allowance or a charge.
pub const PERCENT_MAX: Decimal = Decimal::whole(1000);

/// How an allowance or a charge was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// So much.
    Amount(Money),
    /// So many percent of an amount: of what the adjustment is on, unless it says of what.
    Percent {
        /// The percentage.
        percent: Decimal,
        /// Of what.
        base: Option<Money>,
    },
}

/// An allowance or a charge as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adjustment {
    /// How much.
    pub size: Size,
    /// Why.
    pub reason: String,
    /// The code of the reason.
    pub reason_code: String,
}

/// An allowance or a charge, worked out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adjusted {
    /// What was asked.
    pub asked: Adjustment,
    /// How much that is.
    pub amount: Money,
    /// What a percentage is of.
    pub base: Option<Money>,
}

impl Adjustment {
    /// The amount: a percentage is of `whole` unless it says of what, and rounded on its own.
    ///
    /// # Errors
    /// [`Invalid`] for a percentage out of bounds, another currency than `whole`'s, or what does
    /// not fit.
    pub fn of(self, whole: Money) -> Result<Adjusted, Invalid> {
        let same_currency = |field: &str, money: Money| {
            if money.currency() == whole.currency() {
                Ok(())
            } else {
                Err(Invalid::new(field, Problem::OtherCurrency))
            }
        };
        let (amount, base) = match self.size {
            Size::Amount(amount) => {
                same_currency("amount", amount)?;
                (amount, None)
            }
            Size::Percent { percent, base } => {
                if let Some(base) = base {
                    same_currency("base", base)?;
                }
                let of = base.unwrap_or(whole);
                (share(percent, of)?, Some(of))
            }
        };
        Ok(Adjusted {
            asked: self,
            amount,
            base,
        })
    }
}

fn share(percent: Decimal, of: Money) -> Result<Money, Invalid> {
    if !(Decimal::ZERO..=PERCENT_MAX).contains(&percent) {
        return Err(Invalid::new("percent", Problem::PercentOutOfRange));
    }
    if !percent.fits_places(PERCENT_PLACES) {
        return Err(Invalid::new("percent", Problem::PercentTooFine));
    }
    self::percent(of, percent, ROUNDING).map_err(|_| Invalid::new("percent", Problem::TooLarge))
}

/// So many percent of an amount, rounded once.
pub(super) fn percent(
    of: Money,
    percent: Decimal,
    rounding: Rounding,
) -> Result<Money, money::Error> {
    /// How many millionths a hundred is.
    const HUNDRED: i128 = 100_000_000;
    of.checked_mul_ratio(percent.millionths().into(), HUNDRED, rounding)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn euros(minor: i128) -> Money {
        Money::from_minor(minor, "EUR".parse().unwrap())
    }

    fn percent_of(percent: &str, base: Option<i128>, whole: i128) -> Result<i128, Problem> {
        let size = Size::Percent {
            percent: percent.parse().unwrap(),
            base: base.map(euros),
        };
        let asked = Adjustment {
            size,
            reason: String::new(),
            reason_code: String::new(),
        };
        let adjusted = asked.of(euros(whole));
        adjusted.map(|a| a.amount.minor()).map_err(|e| e.problem)
    }

    #[test]
    fn a_percentage_is_of_the_whole_or_of_what_it_says() {
        assert_eq!(percent_of("20", Some(100_000), 1), Ok(20_000));
        assert_eq!(percent_of("12.5", None, 100), Ok(13), "half away from zero");
        assert_eq!(percent_of("12.5", None, -100), Ok(-13), "for both signs");
        assert_eq!(percent_of("1000", None, 5), Ok(50));
        assert_eq!(
            percent_of("1000.0001", None, 5),
            Err(Problem::PercentOutOfRange)
        );
        assert_eq!(percent_of("-1", None, 5), Err(Problem::PercentOutOfRange));
        assert_eq!(percent_of("0.00001", None, 5), Err(Problem::PercentTooFine));
        assert_eq!(percent_of("1", None, i128::MAX), Err(Problem::TooLarge));
    }

    #[test]
    fn currencies_do_not_mix() {
        let dollar = Money::from_minor(1, "USD".parse().unwrap());
        let percent = Decimal::ONE;
        for (field, size) in [
            ("amount", Size::Amount(dollar)),
            (
                "base",
                Size::Percent {
                    percent,
                    base: Some(dollar),
                },
            ),
        ] {
            let asked = Adjustment {
                size,
                reason: String::new(),
                reason_code: String::new(),
            };
            let refused = asked.of(euros(1)).unwrap_err();
            assert_eq!(
                (refused.field.as_str(), refused.problem),
                (field, Problem::OtherCurrency)
            );
        }
    }
}
