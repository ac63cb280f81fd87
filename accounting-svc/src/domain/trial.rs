//! The trial balance: what all accounts of a currency add up to.

use std::collections::BTreeMap;

use money::{Currency, Error, Money};

use crate::domain::{Side, Turnover};

/// The sums over all accounts of one currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CurrencyTotal {
    /// Both sides.
    pub turnover: Turnover,
    /// Debits less credits: zero, or the books are wrong.
    pub difference: Money,
}

/// The totals per currency, by code, of what went through each account.
///
/// # Errors
/// [`Error::Overflow`] when a sum does not fit; [`crate::domain::Books`] never lets it come to that.
pub fn totals<'a>(
    accounts: impl IntoIterator<Item = &'a Turnover>,
) -> Result<BTreeMap<Currency, CurrencyTotal>, Error> {
    let mut sums: BTreeMap<Currency, Turnover> = BTreeMap::new();
    for account in accounts {
        let currency = account.debits.currency();
        let sum = sums
            .entry(currency)
            .or_insert_with(|| Turnover::zero(currency));
        *sum = sum
            .plus(Side::Debit, account.debits)?
            .plus(Side::Credit, account.credits)?;
    }
    sums.into_iter()
        .map(|(currency, turnover)| {
            let difference = turnover.difference()?;
            Ok((
                currency,
                CurrencyTotal {
                    turnover,
                    difference,
                },
            ))
        })
        .collect()
}
