//! Invoices in a SQLite file that several instances may share: everything is decided under the
//! file's write lock, so no number is given twice and none is left out.

use std::sync::LazyLock;

use ::store::{
    Unavailable,
    rusqlite::{self, Connection, OptionalExtension as _, ToSql, params, params_from_iter},
};

use super::{
    Filter, Outcome, Page, Place,
    page::Reading,
    row::{COLUMNS, Moved, Row, state_word, type_word},
};
use crate::domain::{Books, Command, Key, Micros, Record};

/// The migrations of the file.
pub(super) const MIGRATIONS: &[&str] =
    &[include_str!("schema_1.sql"), include_str!("schema_2.sql")];

static INSERT: LazyLock<String> =
    LazyLock::new(|| format!("INSERT INTO invoice ({COLUMNS}) VALUES ({})", places(1)));
static EDIT: LazyLock<String> = LazyLock::new(|| {
    let columns = COLUMNS.trim_start_matches("invoice_id, ");
    let places = places(2);
    format!("UPDATE invoice SET ({columns}) = ({places}) WHERE invoice_id = ?1")
});
static FIND: LazyLock<String> =
    LazyLock::new(|| format!("SELECT serial, {COLUMNS} FROM invoice WHERE invoice_id = ?1"));

/// Does a group of commands.
pub(super) fn execute(
    file: &Connection,
    commands: &[Command],
) -> Result<Vec<Outcome>, Unavailable> {
    let mut books = Books::new(records(file, commands)?, requests(file, commands)?);
    for series in books.series_needed(commands) {
        let last = file
            .prepare_cached(
                "SELECT s.last, i.finalize_time FROM series AS s
                 LEFT JOIN invoice AS i ON i.series = s.name AND i.sequence = s.last
                 WHERE s.name = ?1",
            )?
            .query_row([&series], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let (number, time): (i64, Option<i64>) = last.unwrap_or_default();
        books.last_number(series, number, time.map(Micros));
    }
    for id in books.notes_needed(commands) {
        let sql = format!(
            "SELECT serial, {COLUMNS} FROM invoice WHERE credits = ?1 AND +state <> 'void'"
        );
        // One at a time: only what they come to is kept.
        for row in file.prepare_cached(&sql)?.query_map([&id], read)? {
            let note = row?.1.record().map_err(Unavailable::damaged)?;
            books.credited_before(&note);
        }
    }
    let outcomes = commands.iter().map(|c| books.decide(c)).collect();
    save(file, &books)?;
    Ok(outcomes)
}

/// The records that commands name, and the invoices that credit notes among them credit.
fn records(file: &Connection, commands: &[Command]) -> Result<Vec<Record>, Unavailable> {
    let mut ids: Vec<&str> = commands.iter().flat_map(Command::ids).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut records = Vec::with_capacity(ids.len());
    let mut credited = Vec::new();
    for id in &ids {
        let Some(record) = find(file, id)? else {
            continue;
        };
        if let Record::Invoice(invoice) = &record {
            credited.extend(invoice.credits.clone());
        }
        records.push(record);
    }
    credited.sort_unstable();
    credited.dedup();
    credited.retain(|id| !ids.contains(&id.as_str()));
    for id in credited {
        records.extend(find(file, &id)?);
    }
    Ok(records)
}

fn requests(file: &Connection, commands: &[Command]) -> Result<Vec<(Key, Vec<u8>)>, Unavailable> {
    let mut find =
        file.prepare_cached("SELECT body FROM request WHERE operation = ?1 AND request_id = ?2")?;
    let mut requests = Vec::new();
    for command in commands {
        let key = command.key();
        let body = find
            .query_row([key.0.word(), &key.1], |row| row.get(0))
            .optional()?;
        requests.extend(body.map(|body| (key, body)));
    }
    Ok(requests)
}

fn save(file: &Connection, books: &Books) -> Result<(), Unavailable> {
    for record in books.added() {
        let row = Row::of(record).map_err(Unavailable::damaged)?;
        file.prepare_cached(&INSERT)?
            .execute(params_from_iter(row.values()))?;
    }
    for invoice in books.edited() {
        let row = Row::invoice(invoice).map_err(Unavailable::damaged)?;
        file.prepare_cached(&EDIT)?
            .execute(params_from_iter(row.values()))?;
    }
    for invoice in books.moved() {
        let moved = Moved::of(invoice).map_err(Unavailable::damaged)?;
        file.prepare_cached(
            "UPDATE invoice SET revision = ?2, state = ?3, sequence = ?4, amount_paid = ?5,
                 amount_credited = ?6, credited_after = ?7, credit_notes = ?8, finalize_time = ?9,
                 paid_time = ?10, void_time = ?11, uncollectible_time = ?12, void_reason = ?13
             WHERE invoice_id = ?1",
        )?
        .execute(params![
            moved.invoice_id,
            moved.revision,
            moved.state,
            moved.sequence,
            moved.amount_paid,
            moved.amount_credited,
            moved.credited_after,
            moved.credit_notes,
            moved.finalize_time,
            moved.paid_time,
            moved.void_time,
            moved.uncollectible_time,
            moved.void_reason,
        ])?;
    }
    for paid in books.payments() {
        let amount = i64::try_from(paid.payment.amount().minor());
        file.prepare_cached(
            "INSERT INTO payment (invoice_id, revision, amount, reference, pay_time)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            paid.invoice_id,
            paid.revision,
            amount.map_err(|e| Unavailable::damaged(e.to_string()))?,
            paid.reference,
            paid.time.0
        ])?;
    }
    for (name, last) in books.numbered() {
        file.prepare_cached(
            "INSERT INTO series (name, last) VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET last = excluded.last",
        )?
        .execute(params![name, last])?;
    }
    for (operation, request_id, body) in books.done() {
        file.prepare_cached(
            "INSERT INTO request (operation, request_id, body) VALUES (?1, ?2, ?3)",
        )?
        .execute(params![operation.word(), request_id, body])?;
    }
    Ok(())
}

/// The parameters from this one to the last column's.
fn places(first: usize) -> String {
    let last = COLUMNS.split(',').count();
    let places: Vec<_> = (first..=last).map(|n| format!("?{n}")).collect();
    places.join(", ")
}

/// One record.
pub(super) fn find(file: &Connection, id: &str) -> Result<Option<Record>, Unavailable> {
    let row = file
        .prepare_cached(&FIND)?
        .query_row([id], read)
        .optional()?;
    row.map(|(_, row)| row.record().map_err(Unavailable::damaged))
        .transpose()
}

/// A page of a list.
pub(super) fn list(file: &Connection, filter: &Filter, place: Place) -> Result<Page, Unavailable> {
    let mut conditions: Vec<&str> = Vec::new();
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    let mut limit = |condition, value: Box<dyn ToSql>| {
        conditions.push(condition);
        values.push(value);
    };
    // An index that leaves rows out is used only where the query says that it does not want them.
    if let Some(reference) = &filter.reference {
        limit(
            "reference <> '' AND reference = ?",
            Box::new(reference.clone()),
        );
    }
    if let Some(party) = &filter.party_id {
        limit("party_id <> '' AND party_id = ?", Box::new(party.clone()));
    }
    if let Some(credits) = &filter.credits {
        limit("credits = ?", Box::new(credits.clone()));
    }
    if let Some(number) = &filter.number {
        let (series, sequence) = super::number(number);
        limit("series = ?", Box::new(series));
        limit("sequence = ?", Box::new(sequence));
    }
    if let Some(at) = filter.overdue_at {
        limit("state = 'open' AND due_time <= ?", Box::new(at.0));
    }
    if let Some(state) = filter.state {
        // The index on states is for those who ask for nothing narrower.
        let narrower = filter.reference.is_some() || filter.party_id.is_some();
        let condition = if narrower { "+state = ?" } else { "state = ?" };
        limit(condition, Box::new(state_word(state)));
    }
    if let Some(document_type) = filter.document_type {
        limit("document_type = ?", Box::new(type_word(document_type)));
    }
    for (key, value) in &filter.metadata {
        let condition = "EXISTS (SELECT 1 FROM json_each(metadata) AS pair WHERE pair.key = ?";
        limit(condition, Box::new(key.clone()));
        limit("pair.value = ?)", Box::new(value.clone()));
    }
    for (span, from, until) in [
        (&filter.created, "create_time >= ?", "create_time < ?"),
        (&filter.finalized, "finalize_time >= ?", "finalize_time < ?"),
        (&filter.due, "due_time >= ?", "due_time < ?"),
    ] {
        if let Some(time) = span.from {
            limit(from, Box::new(time.0));
        }
        if let Some(time) = span.until {
            limit(until, Box::new(time.0));
        }
    }
    let (after, order) = if place.oldest_first {
        ("serial > ?", "serial ASC")
    } else {
        ("serial < ?", "serial DESC")
    };
    limit(after, Box::new(place.after));
    let mut reading = Reading::new(place);
    values.push(Box::new(reading.ahead()));
    let sql = format!(
        "SELECT serial, {COLUMNS} FROM invoice WHERE {} ORDER BY {order} LIMIT ?",
        conditions.join(" AND ")
    );
    let mut statement = file.prepare_cached(&sql)?;
    // Row by row: what is beyond a page of large ones is never read.
    for row in statement.query_map(params_from_iter(values), read)? {
        let (serial, row) = row?;
        if !reading.take(serial, row).map_err(Unavailable::damaged)? {
            break;
        }
    }
    Ok(reading.page())
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<(i64, Row)> {
    let read = Row {
        invoice_id: row.get(1)?,
        revision: row.get(2)?,
        state: row.get(3)?,
        document_type: row.get(4)?,
        series: row.get(5)?,
        sequence: row.get(6)?,
        party_id: row.get(7)?,
        reference: row.get(8)?,
        metadata: row.get(9)?,
        currency: row.get(10)?,
        total: row.get(11)?,
        payable: row.get(12)?,
        amount_paid: row.get(13)?,
        amount_credited: row.get(14)?,
        credited_after: row.get(15)?,
        credits: row.get(16)?,
        credit_notes: row.get(17)?,
        create_time: row.get(18)?,
        finalize_time: row.get(19)?,
        paid_time: row.get(20)?,
        void_time: row.get(21)?,
        uncollectible_time: row.get(22)?,
        void_reason: row.get(23)?,
        due_time: row.get(24)?,
        content: row.get(25)?,
    };
    Ok((row.get(0)?, read))
}

impl Row {
    /// The values in the order of [`COLUMNS`].
    fn values(&self) -> [&dyn ToSql; 25] {
        [
            &self.invoice_id,
            &self.revision,
            &self.state,
            &self.document_type,
            &self.series,
            &self.sequence,
            &self.party_id,
            &self.reference,
            &self.metadata,
            &self.currency,
            &self.total,
            &self.payable,
            &self.amount_paid,
            &self.amount_credited,
            &self.credited_after,
            &self.credits,
            &self.credit_notes,
            &self.create_time,
            &self.finalize_time,
            &self.paid_time,
            &self.void_time,
            &self.uncollectible_time,
            &self.void_reason,
            &self.due_time,
            &self.content,
        ]
    }
}
