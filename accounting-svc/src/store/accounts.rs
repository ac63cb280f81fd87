//! Accounts: created once, never changed.

use ::store::{
    Unavailable,
    rusqlite::{Connection, OptionalExtension as _, params},
};
use money::Currency;

use crate::{
    domain::{AccountType, Refusal},
    store::{
        Micros, Outcome, columns,
        refusals::{self, Call},
    },
};

/// An account to create.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// The caller's id of the request.
    pub request_id: String,
    /// The account's id.
    pub account_id: String,
    /// On which side it grows.
    pub account_type: AccountType,
    /// The one currency it is kept in.
    pub currency: Currency,
    /// The request in its canonical encoding.
    pub body: Vec<u8>,
    /// Now.
    pub now: Micros,
}

/// An account as it was created.
#[derive(Debug, Clone)]
pub struct SavedAccount {
    /// When it was created.
    pub create_time: Micros,
    /// The request in its canonical encoding.
    pub body: Vec<u8>,
}

pub(super) fn create(file: &Connection, new: &NewAccount) -> Result<Outcome<Micros>, Unavailable> {
    if let Some(earlier) = find_earlier(file, new)? {
        return Ok(earlier);
    }
    let taken = file
        .prepare_cached("SELECT 1 FROM account WHERE account_id = ?1")?
        .exists([&new.account_id])?;
    if taken {
        return refusals::remember(
            file,
            Call::CreateAccount,
            &new.request_id,
            &new.body,
            Refusal::account_exists(),
            new.now,
        );
    }
    file.prepare_cached(
        "INSERT INTO account (account_id, type, currency, create_time, request_id, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        new.account_id,
        columns::type_number(new.account_type),
        new.currency.code(),
        new.now,
        new.request_id,
        new.body
    ])?;
    file.prepare_cached("INSERT INTO turnover (account_key, debits, credits) VALUES (?1, 0, 0)")?
        .execute([file.last_insert_rowid()])?;
    Ok(Outcome::Done(new.now))
}

/// What became of the id before, if it was used.
fn find_earlier(
    file: &Connection,
    new: &NewAccount,
) -> Result<Option<Outcome<Micros>>, Unavailable> {
    let created = file
        .prepare_cached("SELECT create_time, body FROM account WHERE request_id = ?1")?
        .query_row([&new.request_id], saved)
        .optional()?;
    match created {
        Some(first) if first.body == new.body => Ok(Some(Outcome::Done(first.create_time))),
        Some(first) => Ok(Some(Outcome::Reused(first.body))),
        None => refusals::find(file, Call::CreateAccount, &new.request_id, &new.body),
    }
}

pub(super) fn get(
    file: &Connection,
    account_id: &str,
) -> Result<Option<SavedAccount>, Unavailable> {
    Ok(file
        .prepare_cached("SELECT create_time, body FROM account WHERE account_id = ?1")?
        .query_row([account_id], saved)
        .optional()?)
}

fn saved(row: &::store::rusqlite::Row<'_>) -> ::store::rusqlite::Result<SavedAccount> {
    Ok(SavedAccount {
        create_time: row.get(0)?,
        body: row.get(1)?,
    })
}
