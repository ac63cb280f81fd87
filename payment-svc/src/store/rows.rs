//! Rows to payments.

use mizan_contracts::payment::v1::ProcessPaymentRequest;
use prost::Message as _;
use store::rusqlite::{self, Connection, OptionalExtension as _, Row, params};

use super::{Error, Filter};
use crate::{
    domain::{Failure, Payment, State},
    request,
};

const COLUMNS: &str = "payment_id, request, state, failure_step, failure_reason, failure_message,
    version, worker, create_micros, update_micros, place";

/// A payment and what belongs to its row alone.
pub(super) struct Stored {
    pub(super) payment: Payment,
    pub(super) request: Vec<u8>,
    pub(super) worker: String,
    place: i64,
}

struct Raw {
    id: String,
    request: Vec<u8>,
    state: i64,
    failure: Option<Failure>,
    version: i64,
    worker: String,
    create_micros: i64,
    update_micros: i64,
    place: i64,
}

pub(super) fn find(c: &Connection, id: &str) -> Result<Option<Stored>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM payment WHERE payment_id = ?1");
    let raw = c.prepare_cached(&sql)?.query_row([id], raw).optional()?;
    raw.map(Raw::read).transpose()
}

/// Unfinished payments whose workers are gone. One that cannot be read must not keep the others
/// from being finished: it is said, and left for a person.
pub(super) fn free(c: &Connection, most: u32, now: i64) -> Result<Vec<Payment>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM payment WHERE state IN (1, 2, 3, 5)
             AND worker NOT IN (SELECT worker FROM worker WHERE until_micros >= ?1)
         LIMIT ?2"
    );
    let mut statement = c.prepare_cached(&sql)?;
    let rows = statement.query_map(params![now, most], raw)?;
    let mut readable = Vec::new();
    for row in rows {
        match row?.read() {
            Ok(stored) => readable.push(stored.payment),
            Err(error) => tracing::error!(%error, "a payment is stuck"),
        }
    }
    Ok(readable)
}

pub(super) fn list(
    c: &Connection,
    filter: &Filter,
    before: i64,
    most: u32,
) -> Result<Vec<(i64, Payment)>, Error> {
    let mut sql = format!("SELECT {COLUMNS} FROM payment WHERE place < ?1");
    let state = filter.state.map_or(0, |state| state as i64);
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
    sql += " ORDER BY place DESC LIMIT ?4";
    let rows = all(c, &sql, params![before, state, filter.reference, most])?;
    Ok(rows
        .into_iter()
        .map(|row| (row.place, row.payment))
        .collect())
}

fn all(c: &Connection, sql: &str, params: impl rusqlite::Params) -> Result<Vec<Stored>, Error> {
    let mut statement = c.prepare_cached(sql)?;
    let rows = statement.query_map(params, raw)?;
    rows.map(|row| row?.read()).collect()
}

fn raw(row: &Row<'_>) -> rusqlite::Result<Raw> {
    let step: Option<String> = row.get(3)?;
    let failure = match step {
        None => None,
        Some(step) => Some(Failure {
            step,
            reason: row.get(4)?,
            message: row.get(5)?,
        }),
    };
    Ok(Raw {
        id: row.get(0)?,
        request: row.get(1)?,
        state: row.get(2)?,
        failure,
        version: row.get(6)?,
        worker: row.get(7)?,
        create_micros: row.get(8)?,
        update_micros: row.get(9)?,
        place: row.get(10)?,
    })
}

impl Raw {
    fn read(self) -> Result<Stored, Error> {
        let damaged = || Error::Damaged(self.id.clone());
        let request = ProcessPaymentRequest::decode(&*self.request).map_err(|_| damaged())?;
        let payment = Payment {
            intent: request::intent(&request).map_err(|_| damaged())?,
            state: State::from_number(self.state).ok_or_else(damaged)?,
            failure: self.failure,
            version: self.version,
            create_micros: self.create_micros,
            update_micros: self.update_micros,
        };
        Ok(Stored {
            payment,
            request: self.request,
            worker: self.worker,
            place: self.place,
        })
    }
}
