//! Invoices in a file that several instances may share.
//!
//! Everything that a mutation decides is decided inside one write, under the file's write lock:
//! whether the request was seen before, where the invoice stands, which number is next. A refused
//! write is undone whole, so a refused request leaves nothing behind, not even its id.

mod error;
mod rows;
#[cfg(test)]
mod tests;
mod words;

use std::path::Path;

use ::store::{
    Database, OpenError,
    rusqlite::{Connection, OptionalExtension as _, named_params, params},
};

use crate::domain::{Invoice, Micros, Payment, Record, Refusal, State, Tombstone};

pub use error::Error;

const MIGRATIONS: &[&str] = &[include_str!("schema.sql")];

/// The mutations, by the words they are remembered under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// CreateInvoice.
    Create,
    /// FinalizeInvoice.
    Finalize,
    /// RecordInvoicePayment.
    Pay,
    /// VoidInvoice.
    Void,
}

impl Operation {
    const fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Finalize => "finalize",
            Self::Pay => "pay",
            Self::Void => "void",
        }
    }
}

/// A mutation's request, as it is remembered.
#[derive(Debug, Clone)]
pub struct Request {
    /// The caller's id of it.
    pub request_id: String,
    /// Which invoice it is about.
    pub invoice_id: String,
    /// The etag that the invoice must have; any, if empty.
    pub etag: String,
    /// The request as it was asked, in its canonical encoding.
    pub body: Vec<u8>,
    /// When it was asked.
    pub now: Micros,
}

/// Which invoices to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only those in this state.
    pub state: Option<State>,
    /// Only those with this reference; all, if empty.
    pub reference: String,
}

/// Some of a list, newest first.
#[derive(Debug)]
pub struct Page {
    /// The invoices.
    pub records: Vec<Record>,
    /// Where the next page starts; none on the last.
    pub next: Option<i64>,
}

/// The invoices of a file.
#[derive(Debug, Clone)]
pub struct Invoices {
    database: Database,
}

impl Invoices {
    /// Opens the file, creating it when missing.
    ///
    /// # Errors
    /// When the file cannot be opened or written.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let database = Database::open(path, MIGRATIONS)?;
        Ok(Self { database })
    }

    /// One invoice.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Unavailable`].
    pub async fn get(&self, invoice_id: String) -> Result<Record, Error> {
        self.database
            .read(move |connection| {
                let found = rows::find(connection, &invoice_id)?;
                found.map(|(_, record)| record).ok_or(Error::NotFound)
            })
            .await
    }

    /// At most `limit` invoices that were created before the place `before`, newest first.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn list(&self, filter: Filter, before: i64, limit: u32) -> Result<Page, Error> {
        self.database
            .read(move |connection| list(connection, &filter, before, limit))
            .await
    }

    /// Keeps a new draft under the id of its request.
    ///
    /// # Errors
    /// [`Refusal::Voided`] when the void came first, [`Error::RequestIdReused`],
    /// [`Error::Unavailable`].
    pub async fn create(&self, request: Request, draft: Invoice) -> Result<Record, Error> {
        self.once(Operation::Create, request, move |connection, _| {
            if rows::insert(connection, &draft)? {
                Ok(draft.into())
            } else {
                // The request is new and yet its id is taken: only a tombstone does that.
                Err(Refusal::Voided.into())
            }
        })
        .await
    }

    /// Opens a draft and numbers it.
    ///
    /// # Errors
    /// As the state machine says; [`Error::NotFound`], [`Error::EtagMismatch`],
    /// [`Error::RequestIdReused`], [`Error::Unavailable`].
    pub async fn finalize(&self, request: Request) -> Result<Record, Error> {
        self.once(Operation::Finalize, request, |connection, request| {
            let (serial, invoice) = current(connection, request)?;
            let sequence = rows::next_sequence(connection, invoice.document.document_type)?;
            let invoice = invoice.finalize(sequence, request.now)?;
            rows::update(connection, serial, &invoice)?;
            Ok(invoice.into())
        })
        .await
    }

    /// Applies a payment to an open invoice.
    ///
    /// # Errors
    /// As for [`finalize`](Self::finalize).
    pub async fn pay(
        &self,
        request: Request,
        payment: Payment,
        reference: String,
    ) -> Result<Record, Error> {
        self.once(Operation::Pay, request, move |connection, request| {
            let (serial, invoice) = current(connection, request)?;
            let invoice = invoice.pay(payment, request.now)?;
            rows::update(connection, serial, &invoice)?;
            rows::insert_payment(
                connection,
                serial,
                &invoice,
                payment,
                &reference,
                request.now,
            )?;
            Ok(invoice.into())
        })
        .await
    }

    /// Cancels an invoice; with `allow_missing`, one that is yet to be created too.
    ///
    /// # Errors
    /// As for [`finalize`](Self::finalize).
    pub async fn void(
        &self,
        request: Request,
        reason: String,
        allow_missing: bool,
    ) -> Result<Record, Error> {
        self.once(Operation::Void, request, move |connection, request| {
            match current(connection, request) {
                Ok((serial, invoice)) => {
                    let invoice = invoice.void(reason, request.now)?;
                    rows::update(connection, serial, &invoice)?;
                    Ok(invoice.into())
                }
                Err(Error::NotFound) if allow_missing => {
                    // Whoever has an etag has seen the invoice, and none is ever deleted.
                    if !request.etag.is_empty() {
                        return Err(Error::EtagMismatch);
                    }
                    let tombstone = Tombstone {
                        id: request.invoice_id.clone(),
                        void_time: request.now,
                        void_reason: reason,
                    };
                    rows::insert_tombstone(connection, &tombstone)?;
                    Ok(Record::Tombstone(tombstone))
                }
                Err(other) => Err(other),
            }
        })
        .await
    }

    /// Does `work` unless the request was done before, and remembers that it is done now. A
    /// repeated request is answered with the invoice as it stands today.
    async fn once(
        &self,
        operation: Operation,
        request: Request,
        work: impl FnOnce(&Connection, &Request) -> Result<Record, Error> + Send + 'static,
    ) -> Result<Record, Error> {
        self.database
            .write(move |connection| {
                if remember(connection, operation, &request)? {
                    work(connection, &request)
                } else {
                    repeat(connection, operation, &request)
                }
            })
            .await
    }
}

/// Writes the request down; false, and nothing written, when its id is known. Whoever is refused
/// later is undone with this row.
fn remember(
    connection: &Connection,
    operation: Operation,
    request: &Request,
) -> Result<bool, Error> {
    let written = connection
        .prepare_cached(
            "INSERT INTO request (operation, request_id, body) VALUES (?1, ?2, ?3)
             ON CONFLICT (operation, request_id) DO NOTHING",
        )?
        .execute(params![operation.word(), request.request_id, request.body])?;
    Ok(written == 1)
}

fn repeat(
    connection: &Connection,
    operation: Operation,
    request: &Request,
) -> Result<Record, Error> {
    let body: Option<Vec<u8>> = connection
        .prepare_cached("SELECT body FROM request WHERE operation = ?1 AND request_id = ?2")?
        .query_row([operation.word(), &request.request_id], |row| row.get(0))
        .optional()?;
    match body {
        Some(body) if body != request.body => Err(Error::RequestIdReused(body)),
        _ => {
            let found = rows::find(connection, &request.invoice_id)?;
            found.map(|(_, record)| record).ok_or(Error::NotFound)
        }
    }
}

/// The invoice that a request is about, if its etag is still the current one.
fn current(connection: &Connection, request: &Request) -> Result<(i64, Invoice), Error> {
    let (serial, record) = rows::find(connection, &request.invoice_id)?.ok_or(Error::NotFound)?;
    if !request.etag.is_empty() && request.etag != record.etag() {
        return Err(Error::EtagMismatch);
    }
    Ok((serial, record.invoice()?))
}

fn list(connection: &Connection, filter: &Filter, before: i64, limit: u32) -> Result<Page, Error> {
    // One more than asked for tells whether there is a next page.
    let ahead = i64::from(limit) + 1;
    let Filter { state, reference } = filter;
    let mut found = match (state, reference.as_str()) {
        (None, "") => rows::select(
            connection,
            "serial < :before",
            named_params! { ":before": before, ":limit": ahead },
        )?,
        (Some(state), "") => rows::select(
            connection,
            "state = :state AND serial < :before",
            named_params! { ":state": state, ":before": before, ":limit": ahead },
        )?,
        // The index on references leaves out the empty one, and is used only where this says so.
        (None, reference) => rows::select(
            connection,
            "reference = :reference AND reference <> '' AND serial < :before",
            named_params! { ":reference": reference, ":before": before, ":limit": ahead },
        )?,
        (Some(state), reference) => rows::select(
            connection,
            "reference = :reference AND reference <> '' AND +state = :state AND serial < :before",
            named_params! {
                ":state": state, ":reference": reference, ":before": before, ":limit": ahead
            },
        )?,
    };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().map(|(serial, _)| *serial).filter(|_| more);
    let records = found.into_iter().map(|(_, record)| record).collect();
    Ok(Page { records, next })
}
