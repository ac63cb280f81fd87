//! The payments' file: what was accepted, how far it got, and who works on it.
//!
//! A payment is worked on by one process at a time. A worker shows that it lives by a row of its
//! own; a payment whose worker does not live is free, and taking it over moves its version, so that
//! a worker that was only paused cannot write any more.

mod error;
mod rows;

use std::path::Path;

use mizan::request::first_difference;
use store::{
    Database, OpenError,
    rusqlite::{Connection, OptionalExtension as _, params},
};

pub(crate) use error::Error;

use crate::domain::{Intent, Payment, State};

const MIGRATIONS: &[&str] = &[include_str!("schema.sql")];

/// The full name of the message that a payment's request is stored as.
const REQUEST: &str = "mizan.payment.v1.ProcessPaymentRequest";

/// A handle to the file, for one worker.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    database: Database,
    worker: String,
}

/// What became of a request to pay.
#[derive(Debug)]
pub(crate) enum Accepted {
    /// This worker has it now: it is new, or its worker is gone.
    Mine(Payment),
    /// It is final, or another worker, or this one already, works on it.
    Known(Payment),
    /// The id was used for another request; names the first field that differs.
    Differs(String),
}

/// Which payments to list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(crate) state: Option<State>,
    pub(crate) reference: String,
}

impl Store {
    pub(crate) fn open(data: &Path, worker: String) -> Result<Self, OpenError> {
        let database = Database::open(&data.join("payment.db"), MIGRATIONS)?;
        Ok(Self { database, worker })
    }

    /// Joins the workers of the file, until `until`, and forgets those that died before `now`: what
    /// they left is free with or without their rows.
    pub(crate) async fn join(&self, now: i64, until: i64) -> Result<(), Error> {
        let forget = move |c: &Connection| {
            c.execute("DELETE FROM worker WHERE until_micros < ?1", [now])?;
            Ok::<_, Error>(())
        };
        self.database.write(forget).await?;
        self.show_alive(until).await
    }

    /// Makes a new payment durable, or finds the one that has the id.
    pub(crate) async fn accept(
        &self,
        intent: Intent,
        request: Vec<u8>,
        now: i64,
    ) -> Result<Accepted, Error> {
        let worker = self.worker.clone();
        let accept = move |c: &Connection| {
            let known = rows::find(c, &intent.id)?;
            let Some(row) = known else {
                return Ok(Accepted::Mine(insert(c, intent, &request, &worker, now)?));
            };
            if let Some(field) = first_difference(REQUEST, &row.request, &request) {
                return Ok(Accepted::Differs(field));
            }
            if row.payment.state.is_final() || is_alive(c, &row.worker, now)? {
                return Ok(Accepted::Known(row.payment));
            }
            Ok(Accepted::Mine(claim(c, row.payment, &worker, now)?))
        };
        self.database.write(accept).await
    }

    /// Writes how far a payment got. `None` when another worker took it over meanwhile: then
    /// nothing was written, and this worker must let go of it.
    pub(crate) async fn advance(
        &self,
        payment: Payment,
        now: i64,
    ) -> Result<Option<Payment>, Error> {
        let advance = move |c: &Connection| {
            let failure = payment.failure.as_ref();
            let changed = c
                .prepare_cached(
                    "UPDATE payment SET state = ?1, failure_step = ?2, failure_reason = ?3,
                         failure_message = ?4, version = version + 1, update_micros = ?5
                     WHERE payment_id = ?6 AND version = ?7",
                )?
                .execute(params![
                    payment.state as i64,
                    failure.map(|f| &f.step),
                    failure.map(|f| &f.reason),
                    failure.map(|f| &f.message),
                    now,
                    payment.intent.id,
                    payment.version,
                ])?;
            if changed == 0 {
                return Ok(None);
            }
            let version = payment.version + 1;
            Ok(Some(Payment {
                version,
                update_micros: now,
                ..payment
            }))
        };
        self.database.write(advance).await
    }

    /// Takes over up to `most` unfinished payments whose workers are gone.
    pub(crate) async fn take_over(&self, most: u32, now: i64) -> Result<Vec<Payment>, Error> {
        if !self.anything_free(most, now).await? {
            return Ok(Vec::new());
        }
        let worker = self.worker.clone();
        let take = move |c: &Connection| {
            let free = rows::free(c, most, now)?;
            free.into_iter()
                .map(|payment| claim(c, payment, &worker, now))
                .collect()
        };
        self.database.write(take).await
    }

    /// Looked at every second, so it must not write: only a finding does.
    async fn anything_free(&self, most: u32, now: i64) -> Result<bool, Error> {
        self.database
            .read(move |c| Ok(!rows::free(c, most, now)?.is_empty()))
            .await
    }

    /// Shows that this worker lives until `until`.
    pub(crate) async fn show_alive(&self, until: i64) -> Result<(), Error> {
        let worker = self.worker.clone();
        let show = move |c: &Connection| {
            c.prepare_cached(
                "INSERT OR REPLACE INTO worker (worker, until_micros) VALUES (?1, ?2)",
            )?
            .execute(params![worker, until])?;
            Ok(())
        };
        self.database.write(show).await
    }

    /// Ends this worker: what it did not finish is free at once.
    pub(crate) async fn leave(&self) -> Result<(), Error> {
        let worker = self.worker.clone();
        let leave = move |c: &Connection| {
            c.execute("DELETE FROM worker WHERE worker = ?1", [worker])?;
            Ok(())
        };
        self.database.write(leave).await
    }

    pub(crate) async fn get(&self, id: String) -> Result<Option<Payment>, Error> {
        self.database
            .read(move |c| Ok(rows::find(c, &id)?.map(|row| row.payment)))
            .await
    }

    /// Payments before `before`, newest first, each with its place.
    pub(crate) async fn list(
        &self,
        filter: Filter,
        before: i64,
        most: u32,
    ) -> Result<Vec<(i64, Payment)>, Error> {
        self.database
            .read(move |c| rows::list(c, &filter, before, most))
            .await
    }
}

fn insert(
    c: &Connection,
    intent: Intent,
    request: &[u8],
    worker: &str,
    now: i64,
) -> Result<Payment, Error> {
    // Strictly later than the payment before it, whatever the clocks of the callers say: the order
    // of create times is the order of the list, so "before that one" has a meaning.
    let latest: Option<i64> = c
        .prepare_cached("SELECT create_micros FROM payment ORDER BY place DESC LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    let now = latest.map_or(now, |latest| now.max(latest + 1));
    c.prepare_cached(
        "INSERT INTO payment
             (payment_id, request, reference, state, version, worker, create_micros, update_micros)
         VALUES (?1, ?2, ?3, ?4, 1, ?5, ?6, ?6)",
    )?
    .execute(params![
        intent.id,
        request,
        intent.reference,
        State::Accepted as i64,
        worker,
        now
    ])?;
    Ok(Payment {
        intent,
        state: State::Accepted,
        failure: None,
        version: 1,
        create_micros: now,
        update_micros: now,
    })
}

/// Makes a payment this worker's. Inside a write transaction nobody else can.
fn claim(c: &Connection, payment: Payment, worker: &str, now: i64) -> Result<Payment, Error> {
    c.prepare_cached(
        "UPDATE payment SET worker = ?1, version = version + 1, update_micros = ?2 WHERE payment_id = ?3",
    )?
    .execute(params![worker, now, payment.intent.id])?;
    let version = payment.version + 1;
    Ok(Payment {
        version,
        update_micros: now,
        ..payment
    })
}

fn is_alive(c: &Connection, worker: &str, now: i64) -> Result<bool, Error> {
    let until: Option<i64> = c
        .prepare_cached("SELECT until_micros FROM worker WHERE worker = ?1")?
        .query_row([worker], |row| row.get(0))
        .optional()?;
    Ok(until.is_some_and(|until| until >= now))
}

#[cfg(test)]
mod tests {
    use mizan_contracts::{
        payment::v1::{Counterparty, ProcessPaymentRequest},
        r#type::v1::Money,
    };
    use prost::Message as _;

    use super::*;

    async fn accept(store: &Store, id: &str) {
        let request = ProcessPaymentRequest {
            request_id: id.to_owned(),
            amount: Some(Money {
                currency_code: "GBP".to_owned(),
                units: 1,
                nanos: 0,
            }),
            counterparty: Some(Counterparty {
                name: "A supplier".to_owned(),
                ..Counterparty::default()
            }),
            ..ProcessPaymentRequest::default()
        };
        let intent = crate::request::intent(&request).unwrap();
        let accepted = store.accept(intent, request.encode_to_vec(), 1).await;
        assert!(matches!(accepted.unwrap(), Accepted::Mine(_)));
    }

    #[tokio::test]
    async fn a_row_that_cannot_be_read_does_not_hold_up_the_recovery_of_others() {
        let folder = tempfile::tempdir().unwrap();
        let gone = Store::open(folder.path(), "gone".to_owned()).unwrap();
        accept(&gone, "damaged").await;
        accept(&gone, "sound").await;
        let damage = |c: &Connection| {
            let sql = "UPDATE payment SET request = x'ff' WHERE payment_id = 'damaged'";
            Ok::<_, Error>(c.execute(sql, [])?)
        };
        gone.database.write(damage).await.unwrap();
        let store = Store::open(folder.path(), "alive".to_owned()).unwrap();
        let taken = store.take_over(10, 2).await.unwrap();
        let taken: Vec<_> = taken.into_iter().map(|payment| payment.intent.id).collect();
        assert_eq!(taken, ["sound"]);
    }
}
