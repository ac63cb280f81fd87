//! Accounts: their types, their two sides, what has gone through them.

use money::{Currency, Error, Money};

/// The side of an account that an amount is put on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The left side.
    Debit,
    /// The right side.
    Credit,
}

/// What an account stands for; this decides on which side its balance grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountType {
    /// What is owned: grows by debits.
    Asset,
    /// What is owed: grows by credits.
    Liability,
    /// What the owners put in and left in: grows by credits.
    Equity,
    /// What is earned: grows by credits.
    Income,
    /// What is spent: grows by debits.
    Expense,
}

impl AccountType {
    /// The side on which the balance grows.
    #[must_use]
    pub const fn grows_by(self) -> Side {
        match self {
            Self::Asset | Self::Expense => Side::Debit,
            Self::Liability | Self::Equity | Self::Income => Side::Credit,
        }
    }

    /// What an account of this type holds after `turnover`; below zero when more went against the
    /// side on which it grows.
    ///
    /// # Errors
    /// [`Error::Overflow`] when the difference does not fit.
    pub fn balance(self, turnover: &Turnover) -> Result<Money, Error> {
        match self.grows_by() {
            Side::Debit => turnover.debits.checked_sub(turnover.credits),
            Side::Credit => turnover.credits.checked_sub(turnover.debits),
        }
    }
}

/// All that went through an account, or through a currency, side by side. Both sides only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turnover {
    /// The sum of the debits.
    pub debits: Money,
    /// The sum of the credits.
    pub credits: Money,
}

impl Turnover {
    /// Nothing yet.
    #[must_use]
    pub const fn zero(currency: Currency) -> Self {
        Self {
            debits: Money::zero(currency),
            credits: Money::zero(currency),
        }
    }

    /// With `amount` added to one side.
    ///
    /// # Errors
    /// [`Error::CurrencyMismatch`], [`Error::Overflow`].
    pub fn plus(self, side: Side, amount: Money) -> Result<Self, Error> {
        Ok(match side {
            Side::Debit => Self {
                debits: self.debits.checked_add(amount)?,
                ..self
            },
            Side::Credit => Self {
                credits: self.credits.checked_add(amount)?,
                ..self
            },
        })
    }

    /// Debits less credits.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub fn difference(&self) -> Result<Money, Error> {
        self.debits.checked_sub(self.credits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_says_on_which_side_a_balance_grows() {
        let gbp: Currency = "GBP".parse().unwrap();
        let turnover = Turnover {
            debits: Money::from_minor(30, gbp),
            credits: Money::from_minor(100, gbp),
        };
        for (account_type, minor) in [
            (AccountType::Asset, -70),
            (AccountType::Expense, -70),
            (AccountType::Liability, 70),
            (AccountType::Equity, 70),
            (AccountType::Income, 70),
        ] {
            let balance = account_type.balance(&turnover).unwrap();
            assert_eq!(balance.minor(), minor, "{account_type:?}");
        }
    }
}
