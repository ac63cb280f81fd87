//! The books: what every account and every currency has turned over, and what they refuse.

use std::collections::BTreeMap;

use money::Currency;

use crate::domain::{Leg, MINOR_MAX, Reason, Refusal, Transaction, Turnover};

/// What is recorded about one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    /// The one currency it is kept in.
    pub currency: Currency,
    /// What went through it.
    pub turnover: Turnover,
}

/// The accounts and currencies that a transaction touches, or all of them. The store loads the part
/// that a transaction needs, posts, and writes the same part back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Books {
    accounts: BTreeMap<String, Holding>,
    /// One per currency. Every account of a currency has turned over at most this, so the limit is
    /// checked here alone, and the trial balance always fits.
    totals: BTreeMap<Currency, Turnover>,
}

impl Books {
    /// No account, nothing recorded.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts in what is recorded about an account.
    pub fn put_account(&mut self, account_id: impl Into<String>, holding: Holding) {
        self.accounts.insert(account_id.into(), holding);
    }

    /// Puts in what all accounts of a currency have turned over.
    pub fn put_total(&mut self, total: Turnover) {
        self.totals.insert(total.debits.currency(), total);
    }

    /// What all accounts of a currency have turned over, if it was put in or posted.
    #[must_use]
    pub fn total(&self, currency: Currency) -> Option<&Turnover> {
        self.totals.get(&currency)
    }

    /// The accounts, by id.
    pub fn accounts(&self) -> impl Iterator<Item = (&str, &Holding)> {
        self.accounts.iter().map(|(id, holding)| (&**id, holding))
    }

    /// The turnover of each currency, by code.
    pub fn totals(&self) -> impl Iterator<Item = (Currency, &Turnover)> {
        self.totals.iter().map(|(code, total)| (*code, total))
    }

    /// Posts a transaction, whole or not at all.
    ///
    /// # Errors
    /// The [`Refusal`] that comes first in the order of precedence; then nothing has changed.
    pub fn post(&mut self, transaction: &Transaction) -> Result<(), Refusal> {
        let legs = transaction.legs();
        self.check_accounts(legs)?;
        self.check_currencies(legs)?;
        let totals = self.add_totals(legs)?;
        self.totals.extend(totals);
        for leg in legs {
            // Neither can fail: the account was found above, and its sums are within the total's.
            if let Some(holding) = self.accounts.get_mut(leg.account_id())
                && let Ok(turnover) = holding.turnover.plus(leg.side(), leg.amount())
            {
                holding.turnover = turnover;
            }
        }
        Ok(())
    }

    fn check_accounts(&self, legs: &[Leg]) -> Result<(), Refusal> {
        let unknown = |leg: &Leg| !self.accounts.contains_key(leg.account_id());
        match legs.iter().position(unknown) {
            None => Ok(()),
            Some(index) => Err(Refusal::leg(
                Reason::AccountNotFound,
                index,
                "account_id",
                format!("names no account: {}", legs[index].account_id()),
            )),
        }
    }

    fn check_currencies(&self, legs: &[Leg]) -> Result<(), Refusal> {
        for (index, leg) in legs.iter().enumerate() {
            let currency = leg.amount().currency();
            if let Some(holding) = self.accounts.get(leg.account_id())
                && holding.currency != currency
            {
                let (id, kept) = (leg.account_id(), holding.currency);
                return Err(Refusal::leg(
                    Reason::CurrencyMismatch,
                    index,
                    "amount.currency_code",
                    format!("is {currency}, but account {id} is kept in {kept}"),
                ));
            }
        }
        Ok(())
    }

    /// The totals of the currencies touched, with the legs added.
    fn add_totals(&self, legs: &[Leg]) -> Result<BTreeMap<Currency, Turnover>, Refusal> {
        let mut totals = BTreeMap::new();
        for (index, leg) in legs.iter().enumerate() {
            let currency = leg.amount().currency();
            let total = totals.entry(currency).or_insert_with(|| {
                let recorded = self.totals.get(&currency).copied();
                recorded.unwrap_or_else(|| Turnover::zero(currency))
            });
            match total.plus(leg.side(), leg.amount()) {
                Ok(sum) if sum.debits.minor().max(sum.credits.minor()) <= MINOR_MAX => *total = sum,
                Ok(_) | Err(_) => {
                    return Err(Refusal::leg(
                        Reason::BalanceOverflow,
                        index,
                        "amount",
                        format!("would make the sums of {currency} too large to hold"),
                    ));
                }
            }
        }
        Ok(totals)
    }
}

#[cfg(test)]
mod tests;
