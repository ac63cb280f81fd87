//! Readers: a few read-only connections, handed round.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::{Unavailable, inline, open};

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
}

impl Readers {
    pub(crate) fn new(path: &Path) -> Self {
        let shared = Shared {
            path: path.to_owned(),
            idle: Mutex::default(),
            turns: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
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
            shared.idle.lock().push(connection);
            answer
        };
        if inline::here() {
            return read();
        }
        tokio::task::spawn_blocking(read)
            .await
            .unwrap_or_else(|_| Err(Unavailable::stopped().into()))
    }
}
