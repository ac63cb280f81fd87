//! Invoices in PostgreSQL, which several instances on several machines may share.
//!
//! A group first locks the ids that it names, also those of nothing yet, then the invoices that it
//! touches, then the series that it numbers in, each in one order; so two groups never wait for each
//! other, and what is read after a lock is what the other committed. What two groups still do to
//! each other, such as using one request id for two invoices, the table's constraints refuse: the
//! later group is undone, its commands are tried alone, and find what the other did.

use ::store::{
    Unavailable,
    postgres::{self, Session, ToSql},
};

use super::{
    Filter, Outcome, Page, Place,
    page::Reading,
    row::{Moved, Row, state_word, type_word},
};
use crate::domain::{Books, Command, Key, Micros, Operation, Record};

/// How much of a page is read at once, as the server keeps it: a page of large invoices is full
/// before it is all read. Texts that say one thing over and over are kept in a ninetieth.
const CHUNK_BYTES_MAX: i64 = 256 << 10;

/// How many credit notes are read at once; the largest are some megabytes each.
const NOTES_CHUNK: i64 = 16;

/// The migrations of the schema.
pub(super) const MIGRATIONS: &[&str] = &[include_str!("schema_1_postgres.sql")];

/// The columns as they are read, `serial` first.
macro_rules! columns {
    () => {
        "serial, invoice_id, revision, state, document_type, series, sequence, party_id, \
         reference, metadata::text, currency, total, payable, amount_paid, amount_credited, \
         credited_after, credits, credit_notes::text, create_time, finalize_time, paid_time, \
         void_time, uncollectible_time, void_reason, due_time, content::text"
    };
}

/// The rows of `$1`, a JSON array of [`Row`]s, as `given`.
macro_rules! given {
    () => {
        "ROWS FROM (json_to_recordset($1::text::json) AS (
             invoice_id text, revision bigint, state text, document_type text, series text,
             sequence bigint, party_id text, reference text, metadata text, currency text,
             total bigint, payable bigint, amount_paid bigint, amount_credited bigint,
             credited_after bigint, credits text, credit_notes text, create_time bigint,
             finalize_time bigint, paid_time bigint, void_time bigint, uncollectible_time bigint,
             void_reason text, due_time bigint, content text)) WITH ORDINALITY AS given"
    };
}

/// The ids of `$1` and those of the invoices that credit notes among them credit.
macro_rules! wanted {
    () => {
        "ARRAY(SELECT unnest($1::text[])
               UNION SELECT credits FROM invoice
               WHERE invoice_id = ANY($1) AND credits IS NOT NULL)"
    };
}

/// Does a group of commands.
pub(super) async fn execute(
    server: &Session,
    commands: &[Command],
) -> Result<Vec<Outcome>, Unavailable> {
    let mut ids: Vec<&str> = commands.iter().flat_map(Command::ids).collect();
    ids.sort_unstable();
    ids.dedup();
    // In the order of what is locked. Ids of one hash only wait for each other.
    server
        .query(
            "SELECT pg_advisory_xact_lock(hash) FROM (
                 SELECT DISTINCT hashtextextended(id, 7) AS hash
                 FROM unnest($1::text[]) AS id ORDER BY hash) AS ordered",
            &[&ids],
        )
        .await?;
    let read = concat!(
        "SELECT ",
        columns!(),
        " FROM invoice WHERE invoice_id = ANY(",
        wanted!(),
        ") ORDER BY invoice_id FOR UPDATE"
    );
    let rows = server.query(read, &[&ids]).await?;
    let records: Vec<Record> = rows.iter().map(record).collect::<Result<_, _>>()?;
    let mut books = Books::new(records, requests(server, commands).await?);
    let needed = books.series_needed(commands);
    if !needed.is_empty() {
        let names: Vec<&str> = needed.iter().map(String::as_str).collect();
        for (name, last, time) in series(server, &names).await? {
            books.last_number(name, last, time);
        }
    }
    for id in books.notes_needed(commands) {
        notes(server, &id, &mut books).await?;
    }
    let outcomes = commands.iter().map(|c| books.decide(c)).collect();
    save(server, &books).await?;
    Ok(outcomes)
}

async fn requests(
    server: &Session,
    commands: &[Command],
) -> Result<Vec<(Key, Vec<u8>)>, Unavailable> {
    let keys: Vec<Key> = commands.iter().map(Command::key).collect();
    let operations: Vec<&str> = keys.iter().map(|key| key.0.word()).collect();
    let ids: Vec<&str> = keys.iter().map(|key| key.1.as_str()).collect();
    let rows = server
        .query(
            "SELECT operation, request_id, body FROM request
             WHERE (operation, request_id) IN (SELECT * FROM unnest($1::text[], $2::text[]))",
            &[&operations, &ids],
        )
        .await?;
    let read = |row: &postgres::Row| {
        let operation = Operation::from_word(row.try_get(0)?);
        let operation = operation.ok_or_else(|| Unavailable::damaged("an unknown operation"))?;
        Ok(((operation, row.try_get(1)?), row.try_get(2)?))
    };
    rows.iter().map(read).collect()
}

/// The last numbers of series, which stay locked until the commit, and when each was given.
async fn series(
    server: &Session,
    names: &[&str],
) -> Result<Vec<(String, i64, Option<Micros>)>, Unavailable> {
    let lock = "SELECT name FROM series WHERE name = ANY($1) ORDER BY name FOR UPDATE";
    let rows = server.query(lock, &[&names]).await?;
    if rows.len() < names.len() {
        server
            .execute(
                "INSERT INTO series (name, last)
                 SELECT name, 0 FROM unnest($1::text[]) AS name ORDER BY name
                 ON CONFLICT (name) DO NOTHING",
                &[&names],
            )
            .await?;
        server.query(lock, &[&names]).await?;
    }
    // A statement of its own: one that had to wait for its lock sees the invoices of before.
    let rows = server
        .query(
            "SELECT s.name, s.last, i.finalize_time FROM series AS s
             LEFT JOIN invoice AS i ON i.series = s.name AND i.sequence = s.last
             WHERE s.name = ANY($1)",
            &[&names],
        )
        .await?;
    let read = |row: &postgres::Row| {
        let time: Option<i64> = row.try_get(2)?;
        Ok((row.try_get(0)?, row.try_get(1)?, time.map(Micros)))
    };
    rows.iter().map(read).collect()
}

/// Notes what the credit notes of an invoice took back; nobody adds or voids one, since the invoice
/// is locked.
async fn notes(server: &Session, id: &str, books: &mut Books) -> Result<(), Unavailable> {
    let read = concat!(
        "SELECT ",
        columns!(),
        " FROM invoice WHERE credits = $1 AND state <> 'void' AND serial > $2
          ORDER BY serial LIMIT $3"
    );
    let mut after = 0_i64;
    loop {
        let rows = server.query(read, &[&id, &after, &NOTES_CHUNK]).await?;
        let Some(last) = rows.last() else {
            return Ok(());
        };
        after = last.try_get(0)?;
        for row in &rows {
            books.credited_before(&record(row)?);
        }
    }
}

async fn save(server: &Session, books: &Books) -> Result<(), Unavailable> {
    let added = books.added().map(Row::of).collect::<Result<Vec<_>, _>>();
    let added = added.map_err(Unavailable::damaged)?;
    if !added.is_empty() {
        let insert = concat!(
            "INSERT INTO invoice (invoice_id, revision, state, document_type, series, sequence,
                 party_id, reference, metadata, currency, total, payable, amount_paid,
                 amount_credited, credited_after, credits, credit_notes, create_time,
                 finalize_time, paid_time, void_time, uncollectible_time, void_reason, due_time,
                 content)
             SELECT invoice_id, revision, state, document_type, series, sequence,
                 party_id, reference, metadata::jsonb, currency, total, payable, amount_paid,
                 amount_credited, credited_after, credits, credit_notes::jsonb, create_time,
                 finalize_time, paid_time, void_time, uncollectible_time, void_reason, due_time,
                 content::jsonb
             FROM ",
            given!(),
            " ORDER BY ordinality"
        );
        server.execute(insert, &[&json(&added)?]).await?;
    }
    let edited = books.edited().map(Row::invoice);
    let edited = edited.collect::<Result<Vec<_>, _>>();
    let edited = edited.map_err(Unavailable::damaged)?;
    if !edited.is_empty() {
        let update = concat!(
            "UPDATE invoice SET (revision, state, series, sequence, party_id, reference, metadata,
                 currency, total, payable, amount_paid, amount_credited, credited_after,
                 credit_notes, finalize_time, paid_time, void_time, uncollectible_time,
                 void_reason, due_time, content)
             = (given.revision, given.state, given.series, given.sequence, given.party_id,
                 given.reference, given.metadata::jsonb, given.currency, given.total,
                 given.payable, given.amount_paid, given.amount_credited, given.credited_after,
                 given.credit_notes::jsonb, given.finalize_time, given.paid_time,
                 given.void_time, given.uncollectible_time, given.void_reason, given.due_time,
                 given.content::jsonb)
             FROM ",
            given!(),
            " WHERE invoice.invoice_id = given.invoice_id"
        );
        server.execute(update, &[&json(&edited)?]).await?;
    }
    let moved = books.moved().map(Moved::of);
    let moved = moved.collect::<Result<Vec<_>, _>>();
    let moved = moved.map_err(Unavailable::damaged)?;
    if !moved.is_empty() {
        let update = "UPDATE invoice SET revision = given.revision, state = given.state,
                 sequence = given.sequence, amount_paid = given.amount_paid,
                 amount_credited = given.amount_credited, credited_after = given.credited_after,
                 credit_notes = given.credit_notes::jsonb, finalize_time = given.finalize_time,
                 paid_time = given.paid_time, void_time = given.void_time,
                 uncollectible_time = given.uncollectible_time, void_reason = given.void_reason
             FROM json_to_recordset($1::text::json) AS given (
                 invoice_id text, revision bigint, state text, sequence bigint,
                 amount_paid bigint, amount_credited bigint, credited_after bigint,
                 credit_notes text, finalize_time bigint, paid_time bigint, void_time bigint,
                 uncollectible_time bigint, void_reason text)
             WHERE invoice.invoice_id = given.invoice_id";
        server.execute(update, &[&json(&moved)?]).await?;
    }
    save_payments(server, books).await?;
    let (names, last): (Vec<&str>, Vec<i64>) = books.numbered().unzip();
    if !names.is_empty() {
        server
            .execute(
                "UPDATE series SET last = given.last
                 FROM unnest($1::text[], $2::bigint[]) AS given (name, last)
                 WHERE series.name = given.name",
                &[&names, &last],
            )
            .await?;
    }
    let (mut operations, mut ids, mut bodies) = (Vec::new(), Vec::new(), Vec::new());
    for (operation, request_id, body) in books.done() {
        operations.push(operation.word());
        ids.push(request_id);
        bodies.push(body);
    }
    if !ids.is_empty() {
        server
            .execute(
                "INSERT INTO request (operation, request_id, body)
                 SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[])",
                &[&operations, &ids, &bodies],
            )
            .await?;
    }
    Ok(())
}

async fn save_payments(server: &Session, books: &Books) -> Result<(), Unavailable> {
    let payments = books.payments();
    if payments.is_empty() {
        return Ok(());
    }
    let ids: Vec<&str> = payments.iter().map(|p| p.invoice_id.as_str()).collect();
    let revisions: Vec<i64> = payments.iter().map(|p| p.revision).collect();
    let amounts = payments
        .iter()
        .map(|p| super::content::minor(p.payment.amount()));
    let amounts: Vec<i64> = amounts
        .collect::<Result<_, _>>()
        .map_err(Unavailable::damaged)?;
    let references: Vec<&str> = payments.iter().map(|p| p.reference.as_str()).collect();
    let times: Vec<i64> = payments.iter().map(|p| p.time.0).collect();
    server
        .execute(
            "INSERT INTO payment (invoice_id, revision, amount, reference, pay_time)
             SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[])",
            &[&ids, &revisions, &amounts, &references, &times],
        )
        .await?;
    Ok(())
}

/// One record.
pub(super) async fn find(server: &Session, id: &str) -> Result<Option<Record>, Unavailable> {
    let sql = concat!("SELECT ", columns!(), " FROM invoice WHERE invoice_id = $1");
    let row = server.query_opt(sql, &[&id]).await?;
    row.as_ref().map(record).transpose()
}

/// What a list is limited to; what is not asked for is NULL, which the planner leaves out.
macro_rules! conditions {
    () => {
        " FROM invoice WHERE ($1::text IS NULL OR state = $1)
          AND ($2::text IS NULL OR document_type = $2)
          AND ($3::text IS NULL OR (reference <> '' AND reference = $3))
          AND ($4::text IS NULL OR (party_id <> '' AND party_id = $4))
          AND ($5::text IS NULL OR (series = $5 AND sequence = $6::bigint))
          AND ($7::text IS NULL OR credits = $7)
          AND ($8::bigint IS NULL OR (state = 'open' AND due_time <= $8))
          AND ($9::text IS NULL OR metadata @> ($9::text)::jsonb)
          AND ($10::bigint IS NULL OR create_time >= $10)
          AND ($11::bigint IS NULL OR create_time < $11)
          AND ($12::bigint IS NULL OR finalize_time >= $12)
          AND ($13::bigint IS NULL OR finalize_time < $13)
          AND ($14::bigint IS NULL OR due_time >= $14)
          AND ($15::bigint IS NULL OR due_time < $15)"
    };
}

/// The places of a list, with how much each invoice takes.
macro_rules! places {
    ($order:literal) => {
        concat!(
            "SELECT serial, (pg_column_size(metadata) + pg_column_size(credit_notes)
                 + coalesce(pg_column_size(content), 0))::bigint",
            conditions!(),
            $order
        )
    };
}

/// A page of a list: searched for once, then read in chunks, from one snapshot.
pub(super) async fn list(
    server: &Session,
    filter: &Filter,
    place: Place,
) -> Result<Page, Unavailable> {
    let sql = if place.oldest_first {
        places!(" AND serial > $16 ORDER BY serial ASC LIMIT $17")
    } else {
        places!(" AND serial < $16 ORDER BY serial DESC LIMIT $17")
    };
    let number = filter.number.as_deref().map(super::number);
    let (series, sequence) = number.unzip();
    let metadata = (!filter.metadata.is_empty()).then(|| json(&filter.metadata));
    let metadata = metadata.transpose()?;
    let times = [filter.created, filter.finalized, filter.due];
    let times = times.map(|span| [span.from, span.until].map(|time| time.map(|time| time.0)));
    let state = filter.state.map(state_word);
    let document_type = filter.document_type.map(type_word);
    let overdue_at = filter.overdue_at.map(|time| time.0);
    let mut reading = Reading::new(place);
    let ahead = reading.ahead();
    let params: [&(dyn ToSql + Sync); 17] = [
        &state,
        &document_type,
        &filter.reference,
        &filter.party_id,
        &series,
        &sequence,
        &filter.credits,
        &overdue_at,
        &metadata,
        &times[0][0],
        &times[0][1],
        &times[1][0],
        &times[1][1],
        &times[2][0],
        &times[2][1],
        &place.after,
        &ahead,
    ];
    let found = server.query(sql, &params).await?;
    let found = found.iter().map(|r| Ok((r.try_get(0)?, r.try_get(1)?)));
    let found = found.collect::<Result<Vec<(i64, i64)>, Unavailable>>()?;
    let mut rest = found.as_slice();
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(fitting(rest));
        rest = after;
        let serials: Vec<i64> = chunk.iter().map(|(serial, _)| *serial).collect();
        let read_chunk = concat!(
            "SELECT ",
            columns!(),
            " FROM invoice WHERE serial = ANY($1) ORDER BY CASE WHEN $2 THEN serial ELSE -serial END"
        );
        let rows = server
            .query(read_chunk, &[&serials, &place.oldest_first])
            .await?;
        for row in &rows {
            let goes_on = reading.take(row.try_get(0)?, read(row)?);
            if !goes_on.map_err(Unavailable::damaged)? {
                return Ok(reading.page());
            }
        }
    }
    Ok(reading.page())
}

/// How many of these are read at once: at least one.
fn fitting(found: &[(i64, i64)]) -> usize {
    let mut bytes = 0;
    let fits = |(_, size): &&(i64, i64)| {
        bytes += size;
        bytes <= CHUNK_BYTES_MAX
    };
    found.iter().take_while(fits).count().max(1)
}

fn record(row: &postgres::Row) -> Result<Record, Unavailable> {
    read(row)?.record().map_err(Unavailable::damaged)
}

fn read(row: &postgres::Row) -> Result<Row, Unavailable> {
    Ok(Row {
        invoice_id: row.try_get(1)?,
        revision: row.try_get(2)?,
        state: row.try_get(3)?,
        document_type: row.try_get(4)?,
        series: row.try_get(5)?,
        sequence: row.try_get(6)?,
        party_id: row.try_get(7)?,
        reference: row.try_get(8)?,
        metadata: row.try_get(9)?,
        currency: row.try_get(10)?,
        total: row.try_get(11)?,
        payable: row.try_get(12)?,
        amount_paid: row.try_get(13)?,
        amount_credited: row.try_get(14)?,
        credited_after: row.try_get(15)?,
        credits: row.try_get(16)?,
        credit_notes: row.try_get(17)?,
        create_time: row.try_get(18)?,
        finalize_time: row.try_get(19)?,
        paid_time: row.try_get(20)?,
        void_time: row.try_get(21)?,
        uncollectible_time: row.try_get(22)?,
        void_reason: row.try_get(23)?,
        due_time: row.try_get(24)?,
        content: row.try_get(25)?,
    })
}

fn json(value: &impl serde::Serialize) -> Result<String, Unavailable> {
    serde_json::to_string(value).map_err(|e| Unavailable::damaged(e.to_string()))
}
