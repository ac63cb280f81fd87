//! Loading and saving the books in a SQLite file.

use ::store::{
    Unavailable,
    rusqlite::{Connection, OptionalExtension as _, params},
};

use crate::domain::{
    Books, Call, Command, Earlier, Finished, Head, Kind, Needs, Numbered as _, Reason, Refusal,
    Remembered,
};

use super::{
    fill,
    reader::{Param, Reader, at_once},
    rows::{self, select_holding, select_transaction},
};

const BY_ID: &str = select_transaction!(
    "FROM journal j",
    "WHERE j.transaction_id = $1 AND j.kind <= 3"
);
const BY_SEQUENCE: &str = select_transaction!("FROM journal j", "WHERE j.sequence = $1");
const DUE: &str = "SELECT sequence FROM hold WHERE expire_time <= $1 ORDER BY expire_time";
const HOLDING: &str = select_holding!("WHERE a.account_id = $1");

/// The part of the books that the commands touch, with what has expired released.
pub(super) fn load(
    file: &Connection,
    memory: &mut Remembered,
    commands: &[Command],
) -> Result<(Head, Books), Unavailable> {
    let reader = file;
    let needs = Needs::of(commands);
    let head = read_head(file)?;
    let mut books = Books::new(head, needs.now);
    books.put_remembered(std::mem::take(memory));
    load_refusals(file, &needs, &mut books)?;
    for (call, request_id) in &needs.requests {
        load_request(file, *call, request_id, &mut books)?;
    }
    // Almost always there is none yet.
    let mut recorded = file.prepare_cached("SELECT 1 FROM journal WHERE transaction_id = ?1")?;
    for id in &needs.transactions {
        if !recorded.exists([id])? {
            continue;
        }
        if let Some(row) = at_once(reader.row(BY_ID, &[Param::Text(id)]))? {
            load_transaction(reader, &row, &mut books)?;
        }
    }
    let mut due = Vec::new();
    for row in at_once(reader.rows(DUE, &[Param::Int(books.time())]))? {
        let sequence = Param::Int(row.int(0)?);
        if let Some(row) = at_once(reader.row(BY_SEQUENCE, &[sequence]))? {
            due.push(load_transaction(reader, &row, &mut books)?);
        }
    }
    for id in needs.accounts {
        if !books.has_account(id) {
            load_account(reader, id, &mut books)?;
        }
    }
    let on_legs = books.transactions().flat_map(|t| &t.legs);
    let on_legs: Vec<String> = on_legs.map(|leg| leg.account_id().to_owned()).collect();
    for id in on_legs {
        if !books.has_account(&id) {
            load_account(reader, &id, &mut books)?;
        }
    }
    const TOTALS: &str =
        "SELECT currency, debits, credits, pending_debits, pending_credits FROM total";
    for row in at_once(reader.rows(TOTALS, &[]))? {
        let numbers = [row.int(1)?, row.int(2)?, row.int(3)?, row.int(4)?];
        let currency = row.currency(0)?;
        books.put_total(currency, crate::domain::Counters::of_row(currency, numbers));
    }
    books.expire(&due);
    Ok((head, books))
}

fn read_head(file: &Connection) -> Result<Head, Unavailable> {
    let read = || at_once(file.row(rows::HEAD, &[]));
    if let Some(head) = read()?.map(|row| rows::head(&row)).transpose()?.flatten() {
        return Ok(head);
    }
    // A file of the first version, opened for the first time since.
    fill::hashes(file)?;
    let head = read()?.map(|row| rows::head(&row)).transpose()?.flatten();
    head.ok_or_else(|| Unavailable::damaged("no head"))
}

fn load_transaction(
    reader: &Connection,
    row: &super::reader::Cells,
    books: &mut Books,
) -> Result<String, Unavailable> {
    let (mut record, posted_at) = rows::transaction(row)?;
    at_once(rows::load_legs(reader, &mut record, posted_at))?;
    let id = record.transaction_id.clone();
    books.put_transaction(record);
    Ok(id)
}

fn load_account(reader: &Connection, id: &str, books: &mut Books) -> Result<(), Unavailable> {
    if let Some(row) = at_once(reader.row(HOLDING, &[Param::Text(id)]))? {
        books.put_account(id, rows::holding(&row)?);
    }
    Ok(())
}

fn load_refusals(
    file: &Connection,
    needs: &Needs<'_>,
    books: &mut Books,
) -> Result<(), Unavailable> {
    let mut kept = file.prepare_cached(
        "SELECT call, body, reason, field, description FROM refused
         WHERE space = ?1 AND request_id = ?2",
    )?;
    for (space, request_id) in &needs.refusals {
        let found = kept.query_row(params![space.number(), request_id], |row| {
            let text = |column| row.get::<_, String>(column);
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, Vec<u8>>(1)?,
                text(2)?,
                text(3)?,
                text(4)?,
            ))
        });
        if let Some((call, body, reason, field, description)) = found.optional()? {
            let earlier = refused(call, body, &reason, field, description)?;
            books.put_earlier(*space, *request_id, earlier);
        }
    }
    Ok(())
}

/// A refusal as it is kept.
pub(super) fn refused(
    call: i64,
    body: Vec<u8>,
    reason: &str,
    field: String,
    description: String,
) -> Result<Earlier, Unavailable> {
    let unknown = || Unavailable::damaged("a refusal of another version");
    let refusal = Refusal {
        reason: Reason::from_word(reason).ok_or_else(unknown)?,
        field,
        description,
    };
    let call = Call::from_number(call).ok_or_else(unknown)?;
    Ok(Earlier::Refused(call, body.into(), refusal))
}

/// The kind of the entry that a call leaves, but for those that record transactions.
pub(super) const fn entry_of(call: Call) -> Option<Kind> {
    match call {
        Call::CloseAccount => Some(Kind::Close),
        Call::ReopenAccount => Some(Kind::Reopen),
        Call::Post => Some(Kind::Post),
        Call::Void => Some(Kind::Void),
        Call::CreateAccount | Call::Record | Call::Reverse => None,
    }
}

fn load_request(
    file: &Connection,
    call: Call,
    request_id: &str,
    books: &mut Books,
) -> Result<(), Unavailable> {
    let body = match entry_of(call) {
        None => file
            .prepare_cached("SELECT body FROM account WHERE request_id = ?1")?
            .query_row([request_id], |row| row.get::<_, Vec<u8>>(0))
            .optional()?,
        Some(kind) => file
            .prepare_cached("SELECT body FROM journal WHERE kind = ?1 AND request_id = ?2")?
            .query_row(params![kind.number(), request_id], |row| row.get(0))
            .optional()?,
    };
    if let Some(body) = body {
        books.put_earlier(call, request_id, Earlier::Done(body.into()));
    }
    Ok(())
}

/// Writes what changed; the head goes last and seals it.
pub(super) fn save(file: &Connection, finished: &Finished) -> Result<(), Unavailable> {
    let changes = &finished.changes;
    if changes.is_empty() {
        return Ok(());
    }
    save_accounts(file, finished)?;
    save_entries(file, finished)?;
    let mut turnover = file.prepare_cached(
        "UPDATE turnover SET debits = ?2, credits = ?3, pending_debits = ?4, pending_credits = ?5,
                closed = ?6 WHERE account_key = ?1",
    )?;
    for holding in finished.touched() {
        let [debits, credits, pending_debits, pending_credits] =
            holding.row().ok_or_else(too_large)?;
        turnover.execute(params![
            holding.key,
            debits,
            credits,
            pending_debits,
            pending_credits,
            holding.record.closed
        ])?;
    }
    let mut total = file.prepare_cached(
        "INSERT INTO total (currency, debits, credits, pending_debits, pending_credits)
         VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (currency) DO UPDATE SET
             debits = ?2, credits = ?3, pending_debits = ?4, pending_credits = ?5",
    )?;
    for (currency, counters) in finished.totals() {
        let [debits, credits, pending_debits, pending_credits] =
            counters.row().ok_or_else(too_large)?;
        total.execute(params![
            currency.code(),
            debits,
            credits,
            pending_debits,
            pending_credits
        ])?;
    }
    let mut refused = file.prepare_cached(
        "INSERT INTO refused
             (space, request_id, call, reason, field, description, record_time, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for one in &changes.refusals {
        refused.execute(params![
            one.call.space().number(),
            one.request_id,
            one.call.number(),
            one.refusal.reason.as_str(),
            one.refusal.field,
            one.refusal.description,
            one.record_time,
            &*one.body
        ])?;
    }
    let head = &finished.head;
    let legs: usize = changes.entries.iter().map(|entry| entry.legs.len()).sum();
    file.prepare_cached(
        "UPDATE head SET sequence = ?1, record_time = ?2, transactions = ?3, hash = ?4,
                accounts = ?5, accounts_hash = ?6, legs = legs + ?7",
    )?
    .execute(params![
        head.sequence,
        head.record_time,
        head.transactions,
        head.hash,
        head.accounts,
        head.accounts_hash,
        i64::try_from(legs).unwrap_or(i64::MAX)
    ])?;
    Ok(())
}

fn save_accounts(file: &Connection, finished: &Finished) -> Result<(), Unavailable> {
    for row in &finished.changes.accounts {
        file.prepare_cached(
            "INSERT INTO account (account_key, account_id, type, currency, limits, create_time,
                                  request_id, body, hash)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            row.key,
            row.new.account_id,
            row.new.account_type.number(),
            row.new.currency.code(),
            row.new.limit.number(),
            row.create_time,
            row.request_id,
            &*row.body,
            row.hash
        ])?;
        let holding = finished.holding(&row.new.account_id);
        let [debits, credits, pending_debits, pending_credits] =
            holding.and_then(|h| h.row()).ok_or_else(too_large)?;
        file.prepare_cached(
            "INSERT INTO turnover (account_key, debits, credits, pending_debits, pending_credits,
                                   closed, limits)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            row.key,
            debits,
            credits,
            pending_debits,
            pending_credits,
            holding.is_some_and(|h| h.record.closed),
            row.new.limit.number()
        ])?;
    }
    Ok(())
}

fn save_entries(file: &Connection, finished: &Finished) -> Result<(), Unavailable> {
    let changes = &finished.changes;
    let mut leg = file.prepare_cached(
        "INSERT INTO leg (sequence, position, account_key, currency, side, amount)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let mut journal = file.prepare_cached(
        "INSERT INTO journal (sequence, kind, transaction_id, request_id, target, reference,
                              effective_time, record_time, expire_time, body, hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    for entry in &changes.entries {
        for moved in &entry.legs {
            leg.execute(params![
                entry.sequence,
                moved.position,
                moved.account_key,
                moved.currency.code(),
                moved.side.number(),
                moved.minor
            ])?;
        }
        let (transaction_id, request_id) = ids(entry);
        journal.execute(params![
            entry.sequence,
            entry.kind.number(),
            transaction_id,
            request_id,
            entry.target,
            entry.reference,
            entry.effective_time,
            entry.record_time,
            entry.expire_time,
            &*entry.body,
            entry.hash
        ])?;
    }
    let mut hold =
        file.prepare_cached("INSERT INTO hold (sequence, expire_time) VALUES (?1, ?2)")?;
    for (sequence, expire_time) in &changes.held {
        hold.execute(params![sequence, expire_time])?;
    }
    let mut release = file.prepare_cached("DELETE FROM hold WHERE sequence = ?1")?;
    for sequence in &changes.released {
        release.execute([sequence])?;
    }
    let mut label =
        file.prepare_cached("INSERT INTO label (key, value, sequence) VALUES (?1, ?2, ?3)")?;
    for (sequence, key, value) in &changes.labels {
        label.execute(params![key, value, sequence])?;
    }
    Ok(())
}

/// What an entry has in `transaction_id`, and in `request_id`. The former of an entry that records
/// no transaction is a word that is no id.
pub(super) fn ids(entry: &crate::domain::Entry) -> (std::borrow::Cow<'_, str>, Option<&str>) {
    match entry.kind {
        Kind::Record | Kind::Pend | Kind::Reverse => (entry.request_id.as_str().into(), None),
        Kind::Post | Kind::Void | Kind::Close | Kind::Reopen => {
            let word = no_transaction(entry.sequence);
            (word.into(), Some(&entry.request_id))
        }
    }
}

/// A word that is no id, and no other entry's.
pub(super) fn no_transaction(sequence: i64) -> String {
    format!("/{sequence}")
}

pub(super) fn too_large() -> Unavailable {
    Unavailable::damaged("a sum that does not fit")
}
