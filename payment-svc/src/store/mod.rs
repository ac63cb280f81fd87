//! The payments' store: what was accepted, how far it got, and who works on it.
//!
//! A payment is worked on by one process at a time. A worker counts in a row of its own for as long
//! as it lives; a payment whose worker has no row is free, and taking it over moves its version, so
//! that a worker that was only paused cannot write any more.
//!
//! Both back-ends load the rows that a group of commands touches, let [`decide`] decide, and write
//! what changed.

mod error;
mod journal;
mod postgres;
mod reads;
mod rows;
mod sqlite;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use mizan::request::first_difference;
use store::{Location, OpenError, Unavailable, Writes, postgres::Session, rusqlite::Connection};

pub(crate) use error::Error;

use crate::domain::{Body, Command, Outcome, Payment, State, decide};

/// A handle to the store.
#[derive(Debug, Clone)]
pub(crate) struct Store(store::Store<Payments>);

/// Which payments to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) state: Option<State>,
    pub(crate) reference: String,
    pub(crate) refund_of: String,
    pub(crate) from_micros: Option<i64>,
    pub(crate) until_micros: Option<i64>,
}

/// What is unfinished.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    pub(crate) counts: BTreeMap<u8, i64>,
    /// How long the oldest payment has been compensating.
    pub(crate) compensating_age_seconds: i64,
    /// How long ago the oldest transaction was recorded whose payment is not marked paid.
    pub(crate) recorded_age_seconds: i64,
    /// How long ago the oldest payment was accepted that goes on by itself.
    pub(crate) unfinished_age_seconds: i64,
}

/// How payments are written in each back-end.
#[derive(Debug)]
struct Payments;

impl Writes for Payments {
    type Command = Command;
    type Outcome = Outcome;
    type Memory = ();
    /// A payment is eight writes in a row, of this and other services, by many callers at once.
    const GATHER: Duration = Duration::from_millis(2);
    const SQLITE: &'static [&'static str] = &[
        include_str!("schema/sqlite_1.sql"),
        include_str!("schema/sqlite_2.sql"),
        include_str!("schema/sqlite_3.sql"),
    ];
    const POSTGRES: &'static [&'static str] = &[
        include_str!("schema/postgres_1.sql"),
        include_str!("schema/postgres_2.sql"),
    ];

    fn in_file(
        file: &Connection,
        _: &mut (),
        commands: &[Command],
    ) -> Result<Vec<Outcome>, Unavailable> {
        let mut set = sqlite::load(file, commands)?;
        let outcomes = decide(&mut set, commands, differs);
        sqlite::save(file, &set)?;
        sqlite::note_workers(file, commands)?;
        Ok(outcomes)
    }

    async fn on_server(
        server: &Session,
        commands: &[Command],
    ) -> Result<Vec<Outcome>, Unavailable> {
        let mut set = postgres::load(server, commands).await?;
        let outcomes = decide(&mut set, commands, differs);
        postgres::save(server, &set).await?;
        postgres::note_workers(server, commands).await?;
        Ok(outcomes)
    }
}

/// The field in which two requests of a kind differ.
pub(crate) fn differs(body: &Body, one: &[u8], other: &[u8]) -> Option<String> {
    let message = match body {
        Body::Payment(_) => "mizan.payment.v1.ProcessPaymentRequest",
        Body::Refund(_) => "mizan.payment.v1.RefundPaymentRequest",
    };
    first_difference(message, one, other)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function in map_err"
)]
fn damaged(error: rows::Damaged) -> Unavailable {
    Unavailable::damaged(error.to_string())
}

impl Store {
    pub(crate) async fn open(location: &Location) -> Result<Self, OpenError> {
        store::Store::open(location).await.map(Self)
    }

    /// Does what waits already and nothing more, and closes the store.
    pub(crate) async fn close(&self) {
        self.0.close().await;
    }

    pub(crate) async fn write(&self, command: Command) -> Result<Outcome, Error> {
        Ok(self.0.execute(command).await?)
    }

    pub(crate) async fn get(&self, id: String) -> Result<Option<Payment>, Error> {
        Ok(self.0.read(reads::Get(id)).await??)
    }

    /// Payments before `before`, newest first, each with its place.
    pub(crate) async fn list(
        &self,
        filter: Filter,
        before: i64,
        most: u32,
    ) -> Result<Vec<(i64, Payment)>, Error> {
        let page = reads::List {
            filter,
            before,
            most,
        };
        Ok(self.0.read(page).await??)
    }

    /// The workers that are not known to be gone, each with how far it has counted.
    pub(crate) async fn workers(&self) -> Result<Vec<(String, i64)>, Error> {
        Ok(self.0.read(reads::Workers).await?)
    }

    /// The unfinished payments of a worker, each with its version.
    pub(crate) async fn of_worker(&self, worker: String) -> Result<Vec<(String, i64)>, Error> {
        Ok(self.0.read(reads::OfWorker(worker)).await?)
    }

    /// Whether there are unfinished payments whose workers are gone.
    pub(crate) async fn anything_free(&self) -> Result<bool, Error> {
        Ok(self.0.read(reads::AnythingFree).await?)
    }

    /// What is unfinished, with ages at `now`, in microseconds since 1970.
    pub(crate) async fn figures(&self, now: i64) -> Result<Figures, Error> {
        Ok(self.0.read(reads::FiguresAt(now)).await?)
    }
}

/// The earliest times among the unfinished payments: of acceptance, and of what was decided.
#[derive(Debug, Default)]
struct Oldest {
    unfinished: Option<i64>,
    compensating: Option<i64>,
    recorded: Option<i64>,
}

impl Figures {
    /// Adds a row of the count by state.
    fn count(
        counts: &mut BTreeMap<u8, i64>,
        oldest: &mut Oldest,
        state: i64,
        count: i64,
        created: Option<i64>,
        turned: Option<i64>,
    ) {
        let Some(state) = State::from_number(state) else {
            return;
        };
        counts.insert(state as u8, count);
        if !state.is_at_rest() {
            oldest.unfinished = earliest(oldest.unfinished, created);
        }
        match state {
            State::Compensating => oldest.compensating = turned,
            State::Recorded => oldest.recorded = turned,
            _ => {}
        }
    }

    fn new(counts: BTreeMap<u8, i64>, oldest: &Oldest, now: i64) -> Self {
        let age = |since: Option<i64>| {
            since.map_or(0, |since| now.saturating_sub(since).max(0) / 1_000_000)
        };
        Self {
            counts,
            compensating_age_seconds: age(oldest.compensating),
            recorded_age_seconds: age(oldest.recorded),
            unfinished_age_seconds: age(oldest.unfinished),
        }
    }

    pub(crate) fn in_state(&self, state: State) -> i64 {
        self.counts.get(&(state as u8)).copied().unwrap_or_default()
    }
}

fn earliest(one: Option<i64>, other: Option<i64>) -> Option<i64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
