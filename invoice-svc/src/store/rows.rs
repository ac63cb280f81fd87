//! Invoices to rows and back. Each function runs one statement, or one a line.

use money::{Currency, Money};
use store::rusqlite::{
    self, Connection, OptionalExtension as _, Row, ToSql, named_params, params,
    types::{FromSqlError, Type},
};

use crate::domain::{
    Document, DocumentType, Invoice, Line, Lines, Micros, Party, Payment, Record, Standing,
    Tombstone,
};

/// The columns that [`read`] takes.
const COLUMNS: &str = "serial, invoice_id, revision, state, document_type, sequence, party_id, \
    party_name, reference, metadata, currency, total, amount_paid, create_time, finalize_time, \
    paid_time, void_time, void_reason";

/// The place of a row in the order of creation.
pub(super) type Serial = i64;

pub(super) fn find(
    connection: &Connection,
    invoice_id: &str,
) -> rusqlite::Result<Option<(Serial, Record)>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM invoice WHERE invoice_id = ?1"
        ))?
        .query_row([invoice_id], |row| read(connection, row))
        .optional()
}

/// The rows that `condition`, which may use the parameters, selects; newest first.
pub(super) fn select(
    connection: &Connection,
    condition: &str,
    parameters: &[(&str, &dyn ToSql)],
) -> rusqlite::Result<Vec<(Serial, Record)>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM invoice WHERE {condition} ORDER BY serial DESC LIMIT :limit"
        ))?
        .query_map(parameters, |row| read(connection, row))?
        .collect()
}

/// Writes a new invoice; false, and nothing written, when the id is taken.
pub(super) fn insert(connection: &Connection, invoice: &Invoice) -> rusqlite::Result<bool> {
    let document = &invoice.document;
    let written = connection
        .prepare_cached(
            "INSERT INTO invoice (invoice_id, revision, state, document_type, party_id, party_name,
                 reference, metadata, currency, total, amount_paid, create_time, void_reason)
             VALUES (:invoice_id, :revision, :state, :document_type, :party_id, :party_name,
                 :reference, :metadata, :currency, :total, 0, :create_time, '')
             ON CONFLICT (invoice_id) DO NOTHING",
        )?
        .execute(named_params! {
            ":invoice_id": invoice.id,
            ":revision": invoice.revision,
            ":state": invoice.standing.state(),
            ":document_type": document.document_type,
            ":party_id": document.party.id,
            ":party_name": document.party.name,
            ":reference": document.reference,
            ":metadata": serde_json::to_string(&document.metadata).map_err(unwritable)?,
            ":currency": document.lines.total().currency().code(),
            ":total": minor(document.lines.total())?,
            ":create_time": invoice.create_time,
        })?;
    if written == 0 {
        return Ok(false);
    }
    insert_lines(connection, connection.last_insert_rowid(), &document.lines)?;
    Ok(true)
}

fn insert_lines(connection: &Connection, serial: Serial, lines: &Lines) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO invoice_line (serial, position, description, quantity, unit_price)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for (line, position) in lines.iter().zip(1_i64..) {
        insert.execute(params![
            serial,
            position,
            line.description(),
            line.quantity(),
            minor(line.unit_price())?
        ])?;
    }
    Ok(())
}

pub(super) fn insert_tombstone(
    connection: &Connection,
    tombstone: &Tombstone,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO invoice (invoice_id, revision, state, party_id, party_name, reference,
                 metadata, total, amount_paid, void_time, void_reason)
             VALUES (?1, 1, 'void', '', '', '', '{}', 0, 0, ?2, ?3)",
        )?
        .execute(params![
            tombstone.id,
            tombstone.void_time,
            tombstone.void_reason
        ])?;
    Ok(())
}

/// Writes what a change can change.
pub(super) fn update(
    connection: &Connection,
    serial: Serial,
    invoice: &Invoice,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE invoice SET revision = :revision, state = :state, sequence = :sequence,
                 amount_paid = :amount_paid, finalize_time = :finalize_time,
                 paid_time = :paid_time, void_time = :void_time, void_reason = :void_reason
             WHERE serial = :serial",
        )?
        .execute(named_params! {
            ":serial": serial,
            ":revision": invoice.revision,
            ":state": invoice.standing.state(),
            ":sequence": invoice.sequence,
            ":amount_paid": minor(invoice.standing.paid())?,
            ":finalize_time": invoice.finalize_time,
            ":paid_time": invoice.paid_time,
            ":void_time": invoice.void_time,
            ":void_reason": invoice.void_reason,
        })?;
    Ok(())
}

/// Keeps the payment that made this revision of the invoice.
pub(super) fn insert_payment(
    connection: &Connection,
    serial: Serial,
    invoice: &Invoice,
    payment: Payment,
    reference: &str,
    now: Micros,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO invoice_payment (serial, revision, amount, reference, pay_time)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            serial,
            invoice.revision,
            minor(payment.amount())?,
            reference,
            now
        ])?;
    Ok(())
}

/// The number after the last one given. Numbers are never taken back, and the caller holds the
/// file's write lock until it has used this one: no gap, no double, whoever shares the file.
pub(super) fn next_sequence(
    connection: &Connection,
    document_type: DocumentType,
) -> rusqlite::Result<i64> {
    connection
        .prepare_cached(
            "SELECT ifnull(max(sequence), 0) + 1 FROM invoice WHERE document_type = ?1",
        )?
        .query_row([document_type], |row| row.get(0))
}

fn read(connection: &Connection, row: &Row<'_>) -> rusqlite::Result<(Serial, Record)> {
    let serial = row.get("serial")?;
    let Some(document_type) = row.get("document_type")? else {
        let tombstone = Tombstone {
            id: row.get("invoice_id")?,
            void_time: row.get("void_time")?,
            void_reason: row.get("void_reason")?,
        };
        return Ok((serial, Record::Tombstone(tombstone)));
    };
    let currency: Currency = row
        .get_ref("currency")?
        .as_str()?
        .parse()
        .map_err(unreadable)?;
    let amount = |column| {
        row.get(column)
            .map(|minor: i64| Money::from_minor(minor.into(), currency))
    };
    let standing = Standing::restore(row.get("state")?, amount("total")?, amount("amount_paid")?);
    let metadata = row.get_ref("metadata")?.as_str()?;
    let invoice = Invoice {
        id: row.get("invoice_id")?,
        document: Document {
            document_type,
            party: Party {
                id: row.get("party_id")?,
                name: row.get("party_name")?,
            },
            lines: lines(connection, serial, currency)?,
            reference: row.get("reference")?,
            metadata: serde_json::from_str(metadata).map_err(unreadable)?,
        },
        standing: standing.ok_or(FromSqlError::InvalidType)?,
        sequence: row.get("sequence")?,
        revision: row.get("revision")?,
        create_time: row.get("create_time")?,
        finalize_time: row.get("finalize_time")?,
        paid_time: row.get("paid_time")?,
        void_time: row.get("void_time")?,
        void_reason: row.get("void_reason")?,
    };
    Ok((serial, invoice.into()))
}

fn lines(connection: &Connection, serial: Serial, currency: Currency) -> rusqlite::Result<Lines> {
    let lines = connection
        .prepare_cached(
            "SELECT description, quantity, unit_price FROM invoice_line
             WHERE serial = ?1 ORDER BY position",
        )?
        .query_map([serial], |row| {
            let unit_price: i64 = row.get(2)?;
            let unit_price = Money::from_minor(unit_price.into(), currency);
            Line::new(row.get(0)?, row.get(1)?, unit_price).map_err(unreadable)
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Lines::new(lines).map_err(unreadable)
}

/// The smallest units as the file keeps them. Whatever the domain lets in fits: a total does by
/// [`Lines`], and no price and no payment is more than its total.
fn minor(amount: Money) -> rusqlite::Result<i64> {
    i64::try_from(amount.minor()).map_err(unwritable)
}

fn unwritable(cause: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(cause.into())
}

fn unreadable(cause: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, cause.into())
}
