//! What went through the accounts.

use ::store::{
    Unavailable,
    rusqlite::{self, Connection, OptionalExtension as _, Row},
};

use crate::{
    domain::{AccountType, Turnover},
    store::columns,
};

/// What went through one account.
#[derive(Debug, Clone)]
pub struct SavedBalance {
    /// The account.
    pub account_id: String,
    /// On which side it grows.
    pub account_type: AccountType,
    /// Both sides.
    pub turnover: Turnover,
}

/// What went through every account, at one moment.
#[derive(Debug, Clone)]
pub struct Trial {
    /// Every account, by id.
    pub balances: Vec<SavedBalance>,
    /// How many transactions are recorded.
    pub transactions: i64,
}

pub(super) fn get(
    file: &Connection,
    account_id: &str,
) -> Result<Option<SavedBalance>, Unavailable> {
    Ok(file
        .prepare_cached(
            "SELECT account_id, type, currency, debits, credits
             FROM account JOIN turnover USING (account_key) WHERE account_id = ?1",
        )?
        .query_row([account_id], balance)
        .optional()?)
}

pub(super) fn trial(file: &Connection) -> Result<Trial, Unavailable> {
    let balances = file
        .prepare_cached(
            "SELECT account_id, type, currency, debits, credits
             FROM account JOIN turnover USING (account_key) ORDER BY account_id",
        )?
        .query_map([], balance)?
        .collect::<Result<_, _>>()?;
    // The sequence has no gaps, so its end is the count.
    let transactions = file
        .prepare_cached("SELECT coalesce(max(sequence), 0) FROM journal")?
        .query_row([], |row| row.get(0))?;
    Ok(Trial {
        balances,
        transactions,
    })
}

fn balance(row: &Row<'_>) -> rusqlite::Result<SavedBalance> {
    let currency = columns::currency(2, row.get_ref(2)?.as_str()?)?;
    Ok(SavedBalance {
        account_id: row.get(0)?,
        account_type: columns::account_type(1, row.get(1)?)?,
        turnover: columns::turnover(currency, row.get(3)?, row.get(4)?),
    })
}
