//! Readers: a few read-only connections, handed round.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::{Unavailable, anchor::Anchor, inline, open, stamp};

/// The most reads at once; further ones wait for a turn.
const CONNECTIONS_MAX: usize = 4;

#[derive(Clone, Debug)]
pub(crate) struct Readers {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    /// Connections that nobody uses now; opened as needed, kept for the next reader.
    idle: Mutex<Vec<Connection>>,
    turns: Arc<Semaphore>,
    anchor: Arc<Anchor>,
}

impl Readers {
    pub(crate) fn new(path: &Path, anchor: Arc<Anchor>) -> Self {
        let shared = Shared {
            path: path.to_owned(),
            idle: Mutex::default(),
            turns: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            anchor,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    pub(crate) async fn run<T, E, F>(&self, job: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Unavailable> + Send + 'static,
    {
        let shared = self.shared.clone();
        let Ok(turn) = self.shared.turns.clone().acquire_owned().await else {
            return Err(Unavailable::stopped().into());
        };
        let read = move || {
            // Kept by the read, not by the caller: one who leaves does not end it.
            let _turn = turn;
            let idle = shared.idle.lock().pop();
            let connection = match idle {
                Some(connection) => connection,
                None => open::read_only(&shared.path).map_err(Unavailable::from)?,
            };
            // One snapshot for all statements of the job.
            let snapshot = connection
                .unchecked_transaction()
                .map_err(Unavailable::from)?;
            let answer = job(&connection);
            drop(snapshot);
            let mut idle = shared.idle.lock();
            if !shared.turns.is_closed() {
                idle.push(connection);
            }
            answer
        };
        if inline::here() {
            return read();
        }
        tokio::task::spawn_blocking(read)
            .await
            .unwrap_or_else(|_| Err(Unavailable::stopped().into()))
    }

    /// Waits for the reads that go on, begins no more, and closes the connections.
    pub(crate) async fn close(&self) {
        let all = u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX);
        // Behind those who wait already. It fails only when another has closed them.
        let turns = self.shared.turns.acquire_many(all).await;
        self.close_now();
        drop(turns);
    }

    /// The same without waiting: a read that goes on closes its connection itself.
    pub(crate) fn close_now(&self) {
        let mut idle = self.shared.idle.lock();
        self.shared.turns.close();
        idle.clear();
    }

    /// How many commits the file lacks of those that were acknowledged.
    pub(crate) async fn missing(&self) -> Result<u64, Unavailable> {
        let anchor = self.shared.anchor.clone();
        self.run(move |file| {
            // Before the file, which may be ahead of it and never behind.
            let known = anchor.read();
            let known = known.map_err(|error| Unavailable::damaged(error.to_string()))?;
            let Some(known) = known else { return Ok(0) };
            let held = stamp::read(file)?.filter(|held| held.life == known.life);
            let held = held.map_or(0, |held| held.commits);
            Ok(known.acknowledged.saturating_sub(held))
        })
        .await
    }
}
