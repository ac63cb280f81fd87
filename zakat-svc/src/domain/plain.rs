//! The plain rule.
//!
//! ```text
//! wealth < nisab                     not eligible, nothing due
//! wealth ≥ nisab   EXCESS_OVER_NISAB eligible, 1/40 of (wealth − nisab)
//!                  WHOLE_WEALTH      eligible, 1/40 of wealth
//! ```

use money::{Error, Money, Rounding};

/// The rate, 2.5 %, as an exact fraction.
const RATE: (i128, i128) = (1, 40);

/// What the rate is taken of once wealth reaches the nisab.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Base {
    /// Of what exceeds the nisab.
    #[default]
    ExcessOverNisab,
    /// Of the whole wealth: the view of the majority of scholars.
    WholeWealth,
}

/// What the rule says about one wealth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zakat {
    /// Whether wealth reaches the nisab; equal is enough.
    pub is_eligible: bool,
    /// What is due: nothing when not eligible.
    pub due: Money,
}

/// Applies the rule. A fraction of the currency's smallest unit is rounded half up, once.
///
/// # Errors
/// [`Error::CurrencyMismatch`] when the two amounts differ in currency, [`Error::Overflow`] when
/// an intermediate figure does not fit. Neither amount may be negative; callers see to that.
pub fn calculate(wealth: Money, nisab: Money, base: Base) -> Result<Zakat, Error> {
    let excess = wealth.checked_sub(nisab)?;
    if excess.is_negative() {
        return Ok(Zakat {
            is_eligible: false,
            due: Money::zero(wealth.currency()),
        });
    }
    let rated = match base {
        Base::ExcessOverNisab => excess,
        Base::WholeWealth => wealth,
    };
    // Amounts are not negative here, so half away from zero is half up.
    let due = rated.checked_mul_ratio(RATE.0, RATE.1, Rounding::HalfAwayFromZero)?;
    Ok(Zakat {
        is_eligible: true,
        due,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BASES: [Base; 2] = [Base::ExcessOverNisab, Base::WholeWealth];

    fn amount(minor: i128, code: &str) -> Money {
        Money::from_minor(minor, code.parse().unwrap())
    }

    fn due(wealth: i128, nisab: i128, base: Base) -> (bool, i128) {
        let zakat = calculate(amount(wealth, "USD"), amount(nisab, "USD"), base).unwrap();
        (zakat.is_eligible, zakat.due.minor())
    }

    #[test]
    fn the_worked_example() {
        assert_eq!(
            due(10_000_000, 8_500_000, Base::ExcessOverNisab),
            (true, 37_500)
        );
        assert_eq!(
            due(10_000_000, 8_500_000, Base::WholeWealth),
            (true, 250_000)
        );
    }

    #[test]
    fn the_boundary_is_exact() {
        assert_eq!(due(8_499_999, 8_500_000, Base::WholeWealth), (false, 0));
        assert_eq!(due(8_500_000, 8_500_000, Base::ExcessOverNisab), (true, 0));
        assert_eq!(
            due(8_500_000, 8_500_000, Base::WholeWealth),
            (true, 212_500)
        );
    }

    #[test]
    fn half_a_smallest_unit_is_rounded_up() {
        for (excess, expected) in [(19, 0), (20, 1), (59, 1), (60, 2), (100, 3)] {
            assert_eq!(
                due(1_000 + excess, 1_000, Base::ExcessOverNisab),
                (true, expected),
                "1/40 of {excess}"
            );
        }
    }

    #[test]
    fn nothing_owned_and_no_threshold_is_eligible_for_nothing() {
        for base in BASES {
            assert_eq!(due(0, 0, base), (true, 0));
        }
    }

    #[test]
    fn currencies_do_not_mix_even_below_the_nisab() {
        let mixed = calculate(amount(1, "USD"), amount(2, "GBP"), Base::default());
        assert_eq!(mixed, Err(Error::CurrencyMismatch));
    }

    #[test]
    fn the_smallest_unit_is_the_currency_s_own() {
        let yen = calculate(amount(100, "JPY"), amount(0, "JPY"), Base::WholeWealth).unwrap();
        assert_eq!(yen.due.to_decimal(), "3");
        let dinar = calculate(amount(100_000, "KWD"), amount(0, "KWD"), Base::WholeWealth).unwrap();
        assert_eq!(dinar.due.to_decimal(), "2.500");
    }

    proptest! {
        #[test]
        fn more_wealth_never_owes_less(wealth in 0..i64::MAX, more in 0..i64::MAX, nisab in 0..i64::MAX) {
            let (wealth, more, nisab) = (i128::from(wealth), i128::from(more), i128::from(nisab));
            for base in BASES {
                prop_assert!(due(wealth + more, nisab, base).1 >= due(wealth, nisab, base).1);
            }
        }

        #[test]
        fn never_more_than_a_fortieth_of_wealth_and_half_a_unit(wealth in 0..i64::MAX, nisab in 0..i64::MAX) {
            let (wealth, nisab) = (i128::from(wealth), i128::from(nisab));
            for base in BASES {
                let (eligible, due) = due(wealth, nisab, base);
                prop_assert_eq!(eligible, wealth >= nisab);
                prop_assert!(eligible || due == 0);
                prop_assert!(due <= wealth);
                prop_assert!(due * 40 <= wealth + 20);
            }
        }

        #[test]
        fn off_the_exact_fortieth_by_at_most_half_a_unit(nisab in 0..i64::MAX, excess in 0..i64::MAX) {
            let (nisab, excess) = (i128::from(nisab), i128::from(excess));
            let (_, due) = due(nisab + excess, nisab, Base::ExcessOverNisab);
            // −20 < 40 × due − excess ≤ 20: the half itself goes up.
            prop_assert!((-19..=20).contains(&(due * 40 - excess)));
        }
    }
}
