//! Where the invoices are: a SQLite file, or PostgreSQL.
//!
//! A group of commands is loaded, decided by [`Books`](crate::domain::Books), and what changed is
//! kept, all in one transaction. Both back-ends so share every rule.

#[cfg(test)]
mod clocks;
mod content;
mod error;
mod file;
#[cfg(test)]
mod guards;
mod page;
mod row;
mod server;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use ::store::{
    Location, OpenError, Query, Store, Unavailable, Writes, postgres::Session, rusqlite::Connection,
};

use crate::domain::{self, Command, DocumentType, Micros, Record, State};

pub use error::Error;
pub use page::{PAGE_BYTES_MAX, Page, Place};

/// What a command comes to.
type Outcome = Result<Record, domain::Error>;

/// From a time on, until before another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// From this time on.
    pub from: Option<Micros>,
    /// Until before this time.
    pub until: Option<Micros>,
}

/// Which invoices to list: those that all of this holds for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// In this state.
    pub state: Option<State>,
    /// Of this type.
    pub document_type: Option<DocumentType>,
    /// With this reference.
    pub reference: Option<String>,
    /// Of this party.
    pub party_id: Option<String>,
    /// With this number.
    pub number: Option<String>,
    /// A credit note of this invoice.
    pub credits: Option<String>,
    /// Overdue at this time.
    pub overdue_at: Option<Micros>,
    /// With all of these pairs.
    pub metadata: BTreeMap<String, String>,
    /// Created in this time.
    pub created: Span,
    /// Finalized in this time.
    pub finalized: Span,
    /// Due in this time.
    pub due: Span,
}

/// The series and the sequence of a number; what is no number names none that exists.
fn number(number: &str) -> (String, i64) {
    let parts = number.rsplit_once('-');
    let parts = parts.and_then(|(series, digits)| Some((series, digits.parse().ok()?)));
    match parts {
        Some((series, sequence)) if format!("{series}-{sequence:08}") == number => {
            (series.to_owned(), sequence)
        }
        _ => (String::new(), 0),
    }
}

/// The writes of both back-ends.
#[derive(Debug)]
enum Both {}

impl Writes for Both {
    type Command = Command;
    type Outcome = Outcome;
    type Memory = ();
    /// A payment is eight writes in a row, of this and other services, by many callers at once.
    const GATHER: Duration = Duration::from_millis(2);
    const SQLITE: &'static [&'static str] = file::MIGRATIONS;
    const POSTGRES: &'static [&'static str] = server::MIGRATIONS;

    fn in_file(
        file: &Connection,
        _: &mut (),
        commands: &[Command],
    ) -> Result<Vec<Outcome>, Unavailable> {
        file::execute(file, commands)
    }

    async fn on_server(
        server: &Session,
        commands: &[Command],
    ) -> Result<Vec<Outcome>, Unavailable> {
        server::execute(server, commands).await
    }
}

/// One invoice by its id.
struct Find(String);

impl Query for Find {
    type Output = Option<Record>;

    fn in_file(self, file: &Connection) -> Result<Self::Output, Unavailable> {
        file::find(file, &self.0)
    }

    async fn on_server(self, server: &Session) -> Result<Self::Output, Unavailable> {
        server::find(server, &self.0).await
    }
}

/// A page of a list.
struct List(Filter, Place);

impl Query for List {
    type Output = Page;

    fn in_file(self, file: &Connection) -> Result<Page, Unavailable> {
        file::list(file, &self.0, self.1)
    }

    async fn on_server(self, server: &Session) -> Result<Page, Unavailable> {
        server::list(server, &self.0, self.1).await
    }
}

/// The invoices of a store.
#[derive(Debug, Clone)]
pub struct Invoices {
    store: Store<Both>,
}

impl Invoices {
    /// Opens the store, making what is missing.
    ///
    /// # Errors
    /// When it cannot be opened or written.
    pub async fn open(location: &Location) -> Result<Self, OpenError> {
        let store = Store::open(location).await?;
        Ok(Self { store })
    }

    /// Does what waits already and nothing more, and closes the store: a file is whole without its
    /// log after the last process that had it.
    pub async fn close(&self) {
        self.store.close().await;
    }

    /// Does a command, unless it was done before.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Unavailable`].
    pub async fn execute(&self, command: Command) -> Result<Record, Error> {
        Ok(self.store.execute(command).await??)
    }

    /// One invoice.
    ///
    /// # Errors
    /// [`domain::Error::NotFound`], [`Error::Unavailable`].
    pub async fn get(&self, invoice_id: String) -> Result<Record, Error> {
        let found = self.store.read(Find(invoice_id)).await?;
        Ok(found.ok_or(domain::Error::NotFound)?)
    }

    /// A page of a list.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn list(&self, filter: Filter, place: Place) -> Result<Page, Error> {
        Ok(self.store.read(List(filter, place)).await?)
    }
}
