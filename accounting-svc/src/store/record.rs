//! Recording a transaction: the write that everything here is for.

use std::collections::BTreeMap;

use ::store::{
    Unavailable,
    rusqlite::{Connection, OptionalExtension as _, params},
};

use crate::{
    domain::{Books, Holding, Transaction, Turnover},
    store::{
        Micros, Outcome, columns,
        refusals::{self, Call},
    },
};

/// A transaction to record.
#[derive(Debug, Clone)]
pub struct NewTransaction {
    /// The caller's id of the request, which becomes the transaction's.
    pub request_id: String,
    /// What moves.
    pub transaction: Transaction,
    /// The caller's own reference; may be empty.
    pub reference: String,
    /// When it happened, if the caller says.
    pub effective_time: Option<Micros>,
    /// The request in its canonical encoding.
    pub body: Vec<u8>,
    /// Now.
    pub now: Micros,
}

/// Where and when a transaction was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The place in the journal, from 1, without gaps.
    pub sequence: i64,
    /// When; never before the transaction that precedes it.
    pub record_time: Micros,
}

pub(super) fn record(
    file: &Connection,
    new: &NewTransaction,
) -> Result<Outcome<Receipt>, Unavailable> {
    if let Some(earlier) = find_earlier(file, new)? {
        return Ok(earlier);
    }
    let (mut books, keys) = load(file, &new.transaction)?;
    if let Err(refusal) = books.post(&new.transaction) {
        return refusals::remember(
            file,
            Call::RecordTransaction,
            &new.request_id,
            &new.body,
            refusal,
            new.now,
        );
    }
    let receipt = next(file, new.now)?;
    insert_legs(file, &new.transaction, &keys, receipt.sequence)?;
    seal(file, new, receipt)?;
    save(file, &books, &keys)?;
    Ok(Outcome::Done(receipt))
}

/// What became of the id before, if it was used.
fn find_earlier(
    file: &Connection,
    new: &NewTransaction,
) -> Result<Option<Outcome<Receipt>>, Unavailable> {
    let recorded = file
        .prepare_cached(
            "SELECT sequence, record_time, body FROM journal WHERE transaction_id = ?1",
        )?
        .query_row([&new.request_id], |row| {
            let receipt = Receipt {
                sequence: row.get(0)?,
                record_time: row.get(1)?,
            };
            Ok((receipt, row.get::<_, Vec<u8>>(2)?))
        })
        .optional()?;
    match recorded {
        Some((receipt, first)) if first == new.body => Ok(Some(Outcome::Done(receipt))),
        Some((_, first)) => Ok(Some(Outcome::Reused(first))),
        None => refusals::find(file, Call::RecordTransaction, &new.request_id, &new.body),
    }
}

/// The file's own numbers of accounts, by their ids.
type Keys<'a> = BTreeMap<&'a str, i64>;

/// The part of the books that the transaction touches.
fn load<'a>(
    file: &Connection,
    transaction: &'a Transaction,
) -> Result<(Books, Keys<'a>), Unavailable> {
    let mut books = Books::new();
    let mut keys = Keys::new();
    let mut account = file.prepare_cached(
        "SELECT account_key, currency, debits, credits
         FROM account JOIN turnover USING (account_key) WHERE account_id = ?1",
    )?;
    let mut total = file.prepare_cached("SELECT debits, credits FROM total WHERE currency = ?1")?;
    for leg in transaction.legs() {
        if !keys.contains_key(leg.account_id()) {
            let found = account
                .query_row([leg.account_id()], |row| {
                    let currency = columns::currency(1, row.get_ref(1)?.as_str()?)?;
                    let turnover = columns::turnover(currency, row.get(2)?, row.get(3)?);
                    Ok((row.get::<_, i64>(0)?, Holding { currency, turnover }))
                })
                .optional()?;
            if let Some((key, holding)) = found {
                keys.insert(leg.account_id(), key);
                books.put_account(leg.account_id(), holding);
            }
        }
        let currency = leg.amount().currency();
        if books.total(currency).is_none() {
            let found = total
                .query_row([currency.code()], |row| {
                    Ok(columns::turnover(currency, row.get(0)?, row.get(1)?))
                })
                .optional()?;
            books.put_total(found.unwrap_or_else(|| Turnover::zero(currency)));
        }
    }
    Ok((books, keys))
}

/// The next place in the journal. The record time never goes back, even when the clock does or
/// differs between the instances.
fn next(file: &Connection, now: Micros) -> Result<Receipt, Unavailable> {
    let last = file
        .prepare_cached("SELECT sequence, record_time FROM journal ORDER BY sequence DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (sequence, record_time): (i64, Micros) = last.unwrap_or((0, Micros::MIN));
    Ok(Receipt {
        sequence: sequence.saturating_add(1),
        record_time: record_time.max(now),
    })
}

fn insert_legs(
    file: &Connection,
    transaction: &Transaction,
    keys: &Keys<'_>,
    sequence: i64,
) -> Result<(), Unavailable> {
    let mut insert = file.prepare_cached(
        "INSERT INTO leg (sequence, position, account_key, currency, side, amount)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for (position, leg) in (0_i64..).zip(transaction.legs()) {
        insert.execute(params![
            sequence,
            position,
            keys.get(leg.account_id()),
            leg.amount().currency().code(),
            columns::side_number(leg.side()),
            columns::minor(leg.amount())?
        ])?;
    }
    Ok(())
}

/// Writes the journal row; the database refuses it unless the legs balance.
fn seal(file: &Connection, new: &NewTransaction, receipt: Receipt) -> Result<(), Unavailable> {
    file.prepare_cached(
        "INSERT INTO journal
             (sequence, transaction_id, reference, effective_time, record_time, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        receipt.sequence,
        new.request_id,
        new.reference,
        new.effective_time.unwrap_or(receipt.record_time),
        receipt.record_time,
        new.body
    ])?;
    Ok(())
}

/// Writes back the part of the books that was loaded.
fn save(file: &Connection, books: &Books, keys: &Keys<'_>) -> Result<(), Unavailable> {
    let mut account = file
        .prepare_cached("UPDATE turnover SET debits = ?2, credits = ?3 WHERE account_key = ?1")?;
    for (account_id, holding) in books.accounts() {
        account.execute(params![
            keys.get(account_id),
            columns::minor(holding.turnover.debits)?,
            columns::minor(holding.turnover.credits)?
        ])?;
    }
    let mut total = file.prepare_cached(
        "INSERT INTO total (currency, debits, credits) VALUES (?1, ?2, ?3)
         ON CONFLICT (currency) DO UPDATE SET debits = ?2, credits = ?3",
    )?;
    for (currency, turnover) in books.totals() {
        total.execute(params![
            currency.code(),
            columns::minor(turnover.debits)?,
            columns::minor(turnover.credits)?
        ])?;
    }
    Ok(())
}
