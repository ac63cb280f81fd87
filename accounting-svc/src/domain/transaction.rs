//! Transactions: balanced by construction.

use std::collections::BTreeMap;

use money::{Currency, Money};

use crate::domain::{Side, Turnover};

/// The most smallest units that one amount, one account side or one currency side may have: what a
/// 64-bit column holds exactly.
pub const MINOR_MAX: i128 = i64::MAX as i128;

/// One movement: one account, one side, an amount above zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leg {
    account_id: String,
    side: Side,
    amount: Money,
}

/// Why an amount cannot be moved. `Display` is a clause that fits after a field's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAmount {
    /// Zero or below; what goes the other way belongs on the other side.
    #[error("must be above zero")]
    NotPositive,
    /// More than [`MINOR_MAX`].
    #[error("is too large")]
    TooLarge,
}

impl Leg {
    /// A movement of `amount` on one side of an account.
    ///
    /// # Errors
    /// [`InvalidAmount`] says what is wrong with the amount.
    pub fn new(
        account_id: impl Into<String>,
        side: Side,
        amount: Money,
    ) -> Result<Self, InvalidAmount> {
        if !amount.is_positive() {
            return Err(InvalidAmount::NotPositive);
        }
        if amount.minor() > MINOR_MAX {
            return Err(InvalidAmount::TooLarge);
        }
        Ok(Self {
            account_id: account_id.into(),
            side,
            amount,
        })
    }

    /// The account.
    #[must_use]
    pub fn account_id(&self) -> &str {
        &self.account_id
    }

    /// Which side of it.
    #[must_use]
    pub const fn side(&self) -> Side {
        self.side
    }

    /// How much; above zero.
    #[must_use]
    pub const fn amount(&self) -> Money {
        self.amount
    }
}

/// What moves, whole or not at all: per currency, its debits equal its credits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    legs: Vec<Leg>,
}

/// Why legs make no transaction. `Display` is a clause that fits after a field's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTransaction {
    /// Fewer than two: nothing can balance.
    #[error("must be at least 2")]
    TooFew,
    /// One side of a currency adds up to more than [`MINOR_MAX`].
    #[error("add up to too much {0}")]
    TooLarge(Currency),
    /// The first currency, by code, of which debits and credits differ.
    #[error(
        "do not balance in {}: {} by {}",
        difference.currency(),
        if difference.is_negative() { "credits exceed debits" } else { "debits exceed credits" },
        difference.to_decimal().trim_start_matches('-'),
    )]
    Unbalanced {
        /// Debits less credits; not zero.
        difference: Money,
    },
}

impl Transaction {
    /// The transaction of these legs.
    ///
    /// # Errors
    /// [`InvalidTransaction`], of several currencies at fault the first by code.
    pub fn new(legs: Vec<Leg>) -> Result<Self, InvalidTransaction> {
        if legs.len() < 2 {
            return Err(InvalidTransaction::TooFew);
        }
        let mut sums: BTreeMap<Currency, Turnover> = BTreeMap::new();
        for leg in &legs {
            let currency = leg.amount.currency();
            let sum = sums
                .entry(currency)
                .or_insert_with(|| Turnover::zero(currency));
            *sum = sum
                .plus(leg.side, leg.amount)
                .map_err(|_| InvalidTransaction::TooLarge(currency))?;
        }
        for (currency, sum) in sums {
            if sum.debits.minor().max(sum.credits.minor()) > MINOR_MAX {
                return Err(InvalidTransaction::TooLarge(currency));
            }
            match sum.difference() {
                Ok(difference) if difference.is_zero() => {}
                Ok(difference) => return Err(InvalidTransaction::Unbalanced { difference }),
                Err(_) => return Err(InvalidTransaction::TooLarge(currency)),
            }
        }
        Ok(Self { legs })
    }

    /// Its movements, in the caller's order; at least two.
    #[must_use]
    pub fn legs(&self) -> &[Leg] {
        &self.legs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leg(side: Side, minor: i128, code: &str) -> Leg {
        Leg::new("a", side, Money::from_minor(minor, code.parse().unwrap())).unwrap()
    }

    fn refusal(legs: Vec<Leg>) -> String {
        Transaction::new(legs).unwrap_err().to_string()
    }

    #[test]
    fn only_an_amount_above_zero_that_fits_is_moved() {
        let gbp: Currency = "GBP".parse().unwrap();
        for (minor, error) in [
            (0, InvalidAmount::NotPositive),
            (-1, InvalidAmount::NotPositive),
            (MINOR_MAX + 1, InvalidAmount::TooLarge),
        ] {
            let made = Leg::new("a", Side::Debit, Money::from_minor(minor, gbp));
            assert_eq!(made, Err(error), "{minor}");
        }
        assert!(Leg::new("a", Side::Debit, Money::from_minor(MINOR_MAX, gbp)).is_ok());
    }

    #[test]
    fn each_currency_balances_on_its_own() {
        use Side::{Credit, Debit};
        let legs = vec![
            leg(Debit, 100, "GBP"),
            leg(Credit, 40, "GBP"),
            leg(Credit, 60, "GBP"),
            leg(Debit, 7, "JPY"),
            leg(Credit, 7, "JPY"),
        ];
        assert!(Transaction::new(legs).is_ok());
        // The numbers agree, the currencies do not.
        assert_eq!(
            refusal(vec![leg(Debit, 100, "GBP"), leg(Credit, 100, "USD")]),
            "do not balance in GBP: debits exceed credits by 1.00"
        );
    }

    #[test]
    fn an_imbalance_names_the_currency_and_the_difference() {
        use Side::{Credit, Debit};
        assert_eq!(
            refusal(vec![leg(Debit, 100, "GBP"), leg(Credit, 101, "GBP")]),
            "do not balance in GBP: credits exceed debits by 0.01"
        );
        assert_eq!(
            refusal(vec![leg(Debit, 5, "JPY"), leg(Debit, 5, "JPY")]),
            "do not balance in JPY: debits exceed credits by 10"
        );
    }

    #[test]
    fn one_leg_is_no_transaction() {
        assert_eq!(refusal(vec![]), "must be at least 2");
        assert_eq!(
            refusal(vec![leg(Side::Debit, 1, "GBP")]),
            "must be at least 2"
        );
    }

    #[test]
    fn sums_that_do_not_fit_are_refused() {
        use Side::{Credit, Debit};
        let legs = vec![
            leg(Debit, MINOR_MAX, "JPY"),
            leg(Debit, 1, "JPY"),
            leg(Credit, MINOR_MAX, "JPY"),
            leg(Credit, 1, "JPY"),
        ];
        assert_eq!(refusal(legs), "add up to too much JPY");
    }
}
