//! The ledger in a SQLite file or on PostgreSQL: what is recorded, and the one way to record more.
//!
//! A group of commands is one database transaction: the part of the books that they touch is
//! loaded, [`crate::domain::Books`] decides, and what changed is saved. Both back-ends share every
//! rule; they differ in how they load and save (`file.rs`, `server.rs`). Both databases guard
//! themselves too: they refuse a transaction that does not balance, a gap in the sequence, an
//! account beyond its limit, and any change of what is recorded.
//!
//! Of several instances, each group takes its turn: at the file's write lock, or at the row of the
//! journal's head. So accounts that everybody writes to are no place to wait for each other.
//!
//! Requests are kept as opaque bytes.

mod accounts;
mod balances;
mod bands;
mod file;
mod fill;
mod journal;
mod reader;
mod rows;
mod server;
mod verify;

use ::store::{Location, OpenError, Query, Store, Unavailable, Writes, postgres, rusqlite};

pub(crate) use self::journal::LABELS_MAX;
pub use self::{
    accounts::{AccountFilter, AccountPage, SavedAccount},
    balances::{AsOf, CurrencyTotal, SavedBalance, Trial},
    journal::{Filter, Order, Page},
    verify::Verified,
};
use self::{
    accounts::{GetAccount, ListAccounts},
    balances::{GetBalance, GetTrial},
    journal::{GetTransaction, ListTransactions},
    verify::Verify,
};
use crate::domain::{
    Books, Command, Content, Fault, Finished, Kind, Micros, Outcome, Remembered, TransactionRecord,
};

/// The file's name within the data directory.
pub const FILE: &str = "accounting.db";

/// The schema on a server.
pub const SCHEMA: &str = "accounting";

/// How the ledger is written.
#[derive(Debug)]
pub struct LedgerWrites;

impl Writes for LedgerWrites {
    type Command = Command;
    type Outcome = Vec<Outcome>;
    type Memory = Remembered;

    const SQLITE: &'static [&'static str] = &[
        include_str!("sqlite_1.sql"),
        include_str!("sqlite_2.sql"),
        include_str!("sqlite_3.sql"),
    ];
    const POSTGRES: &'static [&'static str] = &[
        include_str!("postgres_1.sql"),
        include_str!("postgres_2.sql"),
    ];

    fn in_file(
        file: &rusqlite::Connection,
        memory: &mut Remembered,
        commands: &[Command],
    ) -> Result<Vec<Vec<Outcome>>, Unavailable> {
        let (head, mut books) = file::load(file, memory, commands)?;
        let outcomes = decide(&mut books, commands);
        let finished = sound(books.finish(head))?;
        file::save(file, &finished)?;
        *memory = finished.remembered();
        Ok(outcomes)
    }

    async fn on_server(
        server: &postgres::Session,
        commands: &[Command],
    ) -> Result<Vec<Vec<Outcome>>, Unavailable> {
        let (head, mut books) = server::load(server, commands).await?;
        let outcomes = decide(&mut books, commands);
        server::save(server, &sound(books.finish(head))?).await?;
        Ok(outcomes)
    }
}

/// What may be saved.
fn sound(finished: Finished) -> Result<Finished, Unavailable> {
    match finished.contradiction {
        Some(what) => Err(Unavailable::damaged(what)),
        None => Ok(finished),
    }
}

fn decide(books: &mut Books, commands: &[Command]) -> Vec<Vec<Outcome>> {
    commands.iter().map(|c| books.apply(c)).collect()
}

/// The ledger of one store. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Ledger {
    store: Store<LedgerWrites>,
}

impl Ledger {
    /// Opens the store, making what is missing, and brings it to this version.
    ///
    /// # Errors
    /// [`OpenError`] says which file or server and why.
    pub async fn open(location: &Location) -> Result<Self, OpenError> {
        let store = Store::open(location).await?;
        Ok(Self { store })
    }

    /// Does what waits already and nothing more, and closes the store: a file is whole without its
    /// log after the last process that had it.
    pub async fn close(&self) {
        self.store.close().await;
    }

    /// Does a command; one outcome for each of its requests.
    ///
    /// # Errors
    /// [`Unavailable`]: to be repeated with the same request ids.
    pub async fn execute(&self, command: Command) -> Result<Vec<Outcome>, Unavailable> {
        self.store.execute(command).await
    }

    /// One account, if it exists.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn account(&self, account_id: String) -> Result<Option<SavedAccount>, Unavailable> {
        self.store.read(GetAccount(account_id)).await
    }

    /// The next page of accounts, in the order they were created.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn accounts(&self, filter: AccountFilter) -> Result<AccountPage, Unavailable> {
        self.store.read(ListAccounts(filter)).await
    }

    /// One transaction, if it was recorded, and the books' own time at which its state is so, where
    /// the caller's clock says `now`. Only a reversal has its legs.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn transaction(
        &self,
        transaction_id: String,
        now: Micros,
    ) -> Result<Option<(TransactionRecord, Micros)>, Unavailable> {
        let get = GetTransaction {
            transaction_id,
            now,
        };
        self.store.read(get).await
    }

    /// The next page of transactions.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn transactions(&self, filter: Filter) -> Result<Page, Unavailable> {
        self.store.read(ListTransactions(filter)).await
    }

    /// What one account holds, if it exists.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn balance(
        &self,
        account_id: String,
        as_of: AsOf,
    ) -> Result<Option<SavedBalance>, Unavailable> {
        self.store.read(GetBalance { account_id, as_of }).await
    }

    /// A page of what the accounts hold, after the account of this key, and the totals of all.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn trial(
        &self,
        after: Option<i64>,
        limit: usize,
        now: Micros,
    ) -> Result<Trial, Unavailable> {
        self.store.read(GetTrial { after, limit, now }).await
    }

    /// Checks the journal after a place, at most so many entries of it; at its end also the
    /// accounts, what is kept beside the journal, and that nothing is missing which was acknowledged.
    /// `content` reads the requests.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn verify(
        &self,
        after: i64,
        limit: i64,
        content: fn(Kind, &[u8]) -> Option<Content>,
    ) -> Result<Verified, Unavailable> {
        let verify = Verify {
            after,
            limit,
            content,
        };
        let mut verified = self.store.read(verify).await?;
        if verified.complete {
            let missing = self.store.missing().await?;
            verified.faults.extend(Fault::of_missing(missing));
        }
        Ok(verified)
    }
}

/// Reads written once for both back-ends.
macro_rules! reads {
    ($query:ty => $output:ty) => {
        impl Query for $query {
            type Output = $output;

            fn in_file(self, file: &rusqlite::Connection) -> Result<Self::Output, Unavailable> {
                reader::at_once(self.read(file))
            }

            async fn on_server(
                self,
                server: &postgres::Session,
            ) -> Result<Self::Output, Unavailable> {
                self.read(server).await
            }
        }
    };
}

reads!(GetAccount => Option<SavedAccount>);
reads!(ListAccounts => AccountPage);
reads!(GetTransaction => Option<(TransactionRecord, Micros)>);
reads!(ListTransactions => Page);
reads!(GetBalance => Option<SavedBalance>);
reads!(GetTrial => Trial);
reads!(Verify => Verified);

#[cfg(test)]
mod guards;
#[cfg(test)]
mod tests;
