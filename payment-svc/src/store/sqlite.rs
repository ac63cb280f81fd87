//! The payments in a SQLite file.

use std::collections::{BTreeMap, BTreeSet};

use store::{
    Unavailable,
    rusqlite::{self, Connection, OptionalExtension as _, Row as SqlRow, params},
};

use super::{
    Figures, Filter, Oldest, damaged,
    rows::{Damaged, Fixed, Raw, RefusalRow, columns, journal_of, turned},
};
use crate::domain::{Change, Command, Payment, Refused, Row, Set, State};

/// The rows that the commands touch.
pub(super) fn load(c: &Connection, commands: &[Command]) -> Result<Set, Unavailable> {
    let mut set = Set {
        latest_micros: latest(c)?,
        ..Set::default()
    };
    let mut ids: BTreeSet<&str> = commands.iter().filter_map(Command::payment_id).collect();
    for of in commands.iter().filter_map(Command::refund_of) {
        ids.insert(of);
        if !set.refunded.contains_key(of) {
            set.refunded.insert(of.to_owned(), refunded(c, of)?);
        }
    }
    for id in commands.iter().filter_map(Command::refund_id) {
        if let Some(before) = refused(c, id)? {
            set.refused.insert(id.to_owned(), before);
        }
    }
    for id in ids {
        if let Some(row) = find(c, id)? {
            set.rows.insert(id.to_owned(), row.row().map_err(damaged)?);
        }
    }
    let most: u32 = commands
        .iter()
        .map(|command| match command {
            Command::TakeOver { most, .. } => *most,
            _ => 0,
        })
        .fold(0, u32::saturating_add);
    if most > 0 {
        for raw in free(c, most)? {
            let id = raw.id.clone();
            match raw.row() {
                Ok(row) => {
                    set.rows.entry(id.clone()).or_insert(row);
                    set.free.push(id);
                }
                // It must not keep the others from being finished: said, and left for a person.
                Err(error) => tracing::error!(%error, "a payment is stuck"),
            }
        }
    }
    Ok(set)
}

/// Writes what changed.
pub(super) fn save(c: &Connection, set: &Set) -> Result<(), Unavailable> {
    // In the order of acceptance.
    let mut new: Vec<&Row> = set
        .rows
        .values()
        .filter(|r| r.change == Change::New)
        .collect();
    new.sort_by_key(|row| row.payment.create_micros);
    for row in new {
        insert(c, row)?;
    }
    for row in set.rows.values().filter(|r| r.change == Change::Changed) {
        update(c, row)?;
    }
    for (id, refused) in set.refused.iter().filter(|(_, refused)| refused.is_new) {
        let row = RefusalRow::of(&refused.refusal);
        c.prepare_cached(
            "INSERT INTO refused (request_id, request, reason, state, left_minor, currency)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            id,
            refused.request,
            row.reason,
            row.state,
            row.left_minor,
            row.currency
        ])?;
    }
    Ok(())
}

/// What a refund was told, if it was refused.
fn refused(c: &Connection, id: &str) -> Result<Option<Refused>, Unavailable> {
    let found = c
        .prepare_cached(
            "SELECT request, reason, state, left_minor, currency FROM refused WHERE request_id = ?1",
        )?
        .query_row([id], |row| {
            let refusal = RefusalRow {
                reason: row.get(1)?,
                state: row.get(2)?,
                left_minor: row.get(3)?,
                currency: row.get(4)?,
            };
            Ok((row.get::<_, Vec<u8>>(0)?, refusal))
        })
        .optional()?;
    let refused = found.map(|(request, refusal)| refusal.refused(id, request));
    refused.transpose().map_err(damaged)
}

fn insert(c: &Connection, row: &Row) -> Result<(), Unavailable> {
    let payment = &row.payment;
    let fixed = Fixed::of(payment);
    let failure = payment.failure.as_ref();
    c.prepare_cached(
        "INSERT INTO payment
             (payment_id, request, intent, reference, refund_of, refund_minor, state, failure_step,
              failure_reason, failure_message, journal, turned_micros, version, worker,
              create_micros, update_micros)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
    )?
    .execute(params![
        payment.intent.id,
        row.request,
        fixed.intent,
        payment.intent.reference,
        fixed.refund_of,
        fixed.refund_minor,
        payment.state as i64,
        failure.map(|f| &f.step),
        failure.map(|f| &f.reason),
        failure.map(|f| &f.message),
        journal_of(payment),
        turned(payment),
        payment.version,
        row.worker,
        payment.create_micros,
        payment.update_micros,
    ])?;
    Ok(())
}

fn update(c: &Connection, row: &Row) -> Result<(), Unavailable> {
    let payment = &row.payment;
    let failure = payment.failure.as_ref();
    c.prepare_cached(
        "UPDATE payment SET state = ?1, failure_step = ?2, failure_reason = ?3,
             failure_message = ?4, journal = ?5, turned_micros = ?6, version = ?7, worker = ?8,
             update_micros = ?9
         WHERE payment_id = ?10",
    )?
    .execute(params![
        payment.state as i64,
        failure.map(|f| &f.step),
        failure.map(|f| &f.reason),
        failure.map(|f| &f.message),
        journal_of(payment),
        turned(payment),
        payment.version,
        row.worker,
        payment.update_micros,
        payment.intent.id,
    ])?;
    Ok(())
}

/// What the commands say of workers.
pub(super) fn note_workers(c: &Connection, commands: &[Command]) -> Result<(), Unavailable> {
    for command in commands {
        match command {
            Command::Beat { worker } => c
                .prepare_cached(
                    "INSERT INTO worker (worker, beats) VALUES (?1, 1)
                     ON CONFLICT (worker) DO UPDATE SET beats = beats + 1",
                )?
                .execute([worker])?,
            Command::Bury { worker, beats } => c
                .prepare_cached("DELETE FROM worker WHERE worker = ?1 AND beats = ?2")?
                .execute(params![worker, beats])?,
            Command::Leave { worker } => c
                .prepare_cached("DELETE FROM worker WHERE worker = ?1")?
                .execute([worker])?,
            _ => 0,
        };
    }
    Ok(())
}

fn latest(c: &Connection) -> Result<i64, Unavailable> {
    let latest: Option<i64> = c
        .prepare_cached("SELECT create_micros FROM payment ORDER BY place DESC LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(latest.unwrap_or(0))
}

fn refunded(c: &Connection, of: &str) -> Result<i128, Unavailable> {
    let sum: i64 = c
        .prepare_cached(
            "SELECT COALESCE(SUM(refund_minor), 0) FROM payment
             WHERE refund_of = ?1 AND state NOT IN (6, 7)",
        )?
        .query_row([of], |row| row.get(0))?;
    Ok(sum.into())
}

fn find(c: &Connection, id: &str) -> Result<Option<Raw>, Unavailable> {
    let sql = concat!("SELECT ", columns!(), " FROM payment WHERE payment_id = ?1");
    Ok(c.prepare_cached(sql)?.query_row([id], raw).optional()?)
}

/// Unfinished payments whose workers are gone.
fn free(c: &Connection, most: u32) -> Result<Vec<Raw>, Unavailable> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM payment WHERE state IN (1, 2, 3, 5)
             AND worker NOT IN (SELECT worker FROM worker)
         LIMIT ?1"
    );
    let mut statement = c.prepare_cached(sql)?;
    let rows = statement.query_map([most], raw)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn anything_free(c: &Connection) -> Result<bool, Unavailable> {
    Ok(c.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM payment WHERE state IN (1, 2, 3, 5)
             AND worker NOT IN (SELECT worker FROM worker))",
    )?
    .query_row([], |row| row.get(0))?)
}

pub(super) fn get(
    c: &Connection,
    id: &str,
) -> Result<Result<Option<Payment>, Damaged>, Unavailable> {
    Ok(find(c, id)?.map(Raw::payment).transpose())
}

pub(super) fn workers(c: &Connection) -> Result<Vec<(String, i64)>, Unavailable> {
    let mut statement = c.prepare_cached("SELECT worker, beats FROM worker")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn of_worker(c: &Connection, worker: &str) -> Result<Vec<(String, i64)>, Unavailable> {
    let mut statement = c.prepare_cached(
        "SELECT payment_id, version FROM payment WHERE state IN (1, 2, 3, 5) AND worker = ?1",
    )?;
    let rows = statement.query_map([worker], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn figures(c: &Connection, now: i64) -> Result<Figures, Unavailable> {
    let mut counts = BTreeMap::new();
    let mut oldest = Oldest::default();
    let mut statement = c.prepare_cached(
        "SELECT state, COUNT(*), MIN(create_micros), MIN(turned_micros) FROM payment
         WHERE state IN (1, 2, 3, 5, 8) GROUP BY state",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        Figures::count(
            &mut counts,
            &mut oldest,
            row.get(0)?,
            row.get(1)?,
            row.get(2)?,
            row.get(3)?,
        );
    }
    Ok(Figures::new(counts, &oldest, now))
}

pub(super) type Page = Result<Vec<(i64, Payment)>, Damaged>;

pub(super) fn list(
    c: &Connection,
    filter: &Filter,
    before: i64,
    most: u32,
) -> Result<Page, Unavailable> {
    let mut sql = concat!("SELECT ", columns!(), " FROM payment WHERE place < ?1").to_owned();
    let state = filter.state.map_or(0, |state: State| state as i64);
    // Spelt out by what is asked for, so that the index that fits is used.
    sql += if state == 0 {
        " AND ?2 = 0"
    } else {
        " AND state = ?2"
    };
    sql += if filter.reference.is_empty() {
        " AND ?3 = ''"
    } else {
        " AND reference = ?3"
    };
    sql += if filter.refund_of.is_empty() {
        " AND ?4 = ''"
    } else {
        " AND refund_of = ?4"
    };
    sql += " AND create_micros >= ?5 AND create_micros < ?6 ORDER BY place DESC LIMIT ?7";
    let mut statement = c.prepare_cached(&sql)?;
    let rows = statement.query_map(
        params![
            before,
            state,
            filter.reference,
            filter.refund_of,
            filter.from_micros.unwrap_or(i64::MIN),
            filter.until_micros.unwrap_or(i64::MAX),
            most
        ],
        raw,
    )?;
    let raws: Vec<Raw> = rows.collect::<rusqlite::Result<_>>()?;
    let payments = raws.into_iter().map(|raw| Ok((raw.place, raw.payment()?)));
    Ok(payments.collect())
}

fn raw(row: &SqlRow<'_>) -> rusqlite::Result<Raw> {
    Ok(Raw {
        id: row.get(0)?,
        request: row.get(1)?,
        intent: row.get(2)?,
        refund_of: row.get(3)?,
        state: row.get(4)?,
        failure_step: row.get(5)?,
        failure_reason: row.get(6)?,
        failure_message: row.get(7)?,
        journal: row.get(8)?,
        version: row.get(9)?,
        worker: row.get(10)?,
        create_micros: row.get(11)?,
        update_micros: row.get(12)?,
        place: row.get(13)?,
    })
}
