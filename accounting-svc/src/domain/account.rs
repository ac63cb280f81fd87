//! Accounts: their types, their two sides, what has gone through them.

use money::{Currency, Error, Money};

use crate::domain::MINOR_MAX;

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

impl Side {
    /// The other one.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Debit => Self::Credit,
            Self::Credit => Self::Debit,
        }
    }
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

/// What an account must never come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Anything goes.
    None,
    /// Posted and pending debits stay within the posted credits.
    DebitsWithinCredits,
    /// Posted and pending credits stay within the posted debits.
    CreditsWithinDebits,
}

/// Whether an amount counts for good, or is set aside until it is posted or released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// For good.
    Posted,
    /// Set aside.
    Pending,
}

/// The four counters of an account or a currency: two sides, posted and pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// For good; both sides only grow.
    pub posted: Turnover,
    /// Set aside.
    pub pending: Turnover,
}

impl Counters {
    /// Nothing yet.
    #[must_use]
    pub const fn zero(currency: Currency) -> Self {
        Self {
            posted: Turnover::zero(currency),
            pending: Turnover::zero(currency),
        }
    }

    /// With `amount` added to one side.
    ///
    /// # Errors
    /// [`Error::CurrencyMismatch`]; [`Error::Overflow`] also when posted and pending of a side
    /// together are more than [`MINOR_MAX`], so that what is pending can always be posted.
    pub fn plus(mut self, stage: Stage, side: Side, amount: Money) -> Result<Self, Error> {
        let part = match stage {
            Stage::Posted => &mut self.posted,
            Stage::Pending => &mut self.pending,
        };
        *part = part.plus(side, amount)?;
        let both = self
            .posted
            .side(side)
            .checked_add(self.pending.side(side))?;
        if both.minor() > MINOR_MAX {
            return Err(Error::Overflow);
        }
        Ok(self)
    }

    /// With `amount` no longer pending on one side.
    ///
    /// # Errors
    /// [`Error::CurrencyMismatch`]; [`Error::Overflow`] when less is pending.
    pub fn release(mut self, side: Side, amount: Money) -> Result<Self, Error> {
        let left = self.pending.side(side).checked_sub(amount)?;
        if left.is_negative() {
            return Err(Error::Overflow);
        }
        match side {
            Side::Debit => self.pending.debits = left,
            Side::Credit => self.pending.credits = left,
        }
        Ok(self)
    }

    /// Whether the counters are within a limit. What is pending counts against it and never for it:
    /// it may still be released.
    #[must_use]
    pub fn within(&self, limit: Limit) -> bool {
        let held = |side: Side| {
            let (posted, pending) = (self.posted.side(side), self.pending.side(side));
            posted.minor().saturating_add(pending.minor())
        };
        match limit {
            Limit::None => true,
            Limit::DebitsWithinCredits => held(Side::Debit) <= self.posted.credits.minor(),
            Limit::CreditsWithinDebits => held(Side::Credit) <= self.posted.debits.minor(),
        }
    }

    /// Whether nothing is pending.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.pending.debits.is_zero() && self.pending.credits.is_zero()
    }
}

/// All that went through an account, or through a currency, side by side.
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

    /// One of the two.
    #[must_use]
    pub const fn side(&self, side: Side) -> Money {
        match side {
            Side::Debit => self.debits,
            Side::Credit => self.credits,
        }
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

    fn counters(numbers: [i128; 4]) -> Counters {
        let [debits, credits, pending_debits, pending_credits] =
            numbers.map(|n| Money::from_minor(n, "GBP".parse().unwrap()));
        Counters {
            posted: Turnover { debits, credits },
            pending: Turnover {
                debits: pending_debits,
                credits: pending_credits,
            },
        }
    }

    #[test]
    fn what_is_pending_counts_against_a_limit_and_never_for_it() {
        use Limit::{CreditsWithinDebits, DebitsWithinCredits};
        // debits, credits, pending debits, pending credits
        for (numbers, debits_within, credits_within) in [
            ([0, 0, 0, 0], true, true),
            ([5, 5, 0, 0], true, true),
            ([6, 5, 0, 0], false, true),
            ([5, 6, 0, 0], true, false),
            ([3, 5, 2, 0], true, false),
            ([3, 5, 3, 0], false, false),
            ([6, 5, 0, 1], false, true),
            ([6, 5, 0, 2], false, false),
        ] {
            let counters = counters(numbers);
            assert!(counters.within(Limit::None));
            let got = [DebitsWithinCredits, CreditsWithinDebits].map(|l| counters.within(l));
            assert_eq!(got, [debits_within, credits_within], "{numbers:?}");
        }
    }

    #[test]
    fn no_more_is_released_than_is_pending() {
        let gbp = |minor| Money::from_minor(minor, "GBP".parse().unwrap());
        let some = counters([0, 0, 5, 0]);
        assert!(some.release(Side::Debit, gbp(5)).unwrap().is_settled());
        assert_eq!(some.release(Side::Debit, gbp(6)), Err(Error::Overflow));
        assert_eq!(some.release(Side::Credit, gbp(1)), Err(Error::Overflow));
    }

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
