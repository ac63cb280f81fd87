//! The ledger file: what is recorded, and the one way to record more.
//!
//! A write reads what it depends on, lets [`crate::domain`] decide and writes the outcome, all
//! inside one database transaction, because other instances write to the same file. The database
//! guards itself too: it refuses a transaction that does not balance, a gap in the sequence, and
//! any change of what is recorded (see `schema.sql`).
//!
//! Requests are kept as opaque bytes: this module compares them and hands them back, and knows
//! nothing of their encoding.

mod accounts;
mod balances;
mod columns;
mod journal;
mod record;
mod refusals;

use std::path::Path;

use ::store::{Database, OpenError, Unavailable};

pub use self::{
    accounts::{NewAccount, SavedAccount},
    balances::{SavedBalance, Trial},
    journal::{Filter, Page, SavedTransaction},
    record::{NewTransaction, Receipt},
};
use crate::domain::Refusal;

/// The file's name within the data directory.
pub const FILE: &str = "accounting.db";

const MIGRATIONS: &[&str] = &[include_str!("schema.sql")];

/// A moment, in microseconds since 1970.
pub type Micros = i64;

/// What became of a request that is to change something, now or when its id was first used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<T> {
    /// It was done.
    Done(T),
    /// The books refused it.
    Refused(Refusal),
    /// The id was used before with this other body.
    Reused(Vec<u8>),
}

/// The ledger of one file. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Ledger {
    database: Database,
}

impl Ledger {
    /// Opens [`FILE`] in a data directory, creating both when missing.
    ///
    /// # Errors
    /// [`OpenError`] says which path and why.
    pub fn open(data: &Path) -> Result<Self, OpenError> {
        Ok(Self {
            database: Database::open(&data.join(FILE), MIGRATIONS)?,
        })
    }

    /// Creates an account, once per request id.
    ///
    /// # Errors
    /// [`Unavailable`]: nothing was written.
    pub async fn create_account(&self, new: NewAccount) -> Result<Outcome<Micros>, Unavailable> {
        self.database
            .write(move |file| accounts::create(file, &new))
            .await
    }

    /// One account, if it exists.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn account(&self, account_id: String) -> Result<Option<SavedAccount>, Unavailable> {
        self.database
            .read(move |file| accounts::get(file, &account_id))
            .await
    }

    /// Records a transaction, once per request id.
    ///
    /// # Errors
    /// [`Unavailable`]: nothing was written.
    pub async fn record(&self, new: NewTransaction) -> Result<Outcome<Receipt>, Unavailable> {
        self.database
            .write(move |file| record::record(file, &new))
            .await
    }

    /// One transaction, if it was recorded.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn transaction(
        &self,
        transaction_id: String,
    ) -> Result<Option<SavedTransaction>, Unavailable> {
        self.database
            .read(move |file| journal::get(file, &transaction_id))
            .await
    }

    /// The next page of transactions, in the order they were recorded.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn transactions(&self, filter: Filter) -> Result<Page, Unavailable> {
        self.database
            .read(move |file| journal::list(file, &filter))
            .await
    }

    /// What went through one account, if it exists.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn balance(&self, account_id: String) -> Result<Option<SavedBalance>, Unavailable> {
        self.database
            .read(move |file| balances::get(file, &account_id))
            .await
    }

    /// What went through every account, all read at one moment.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn trial(&self) -> Result<Trial, Unavailable> {
        self.database.read(balances::trial).await
    }
}

#[cfg(test)]
mod tests;
