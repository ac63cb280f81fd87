//! Where a service keeps its state: a SQLite file of its own, or PostgreSQL.
//!
//! *Problem.* One durable commit costs one sync, and on a server some round trips too, whoever
//! calls. A service's rules should neither know which of the two it is, nor pay that price for each
//! caller.
//!
//! *What it does.* [`Store`] gathers the commands that wait, lets the service do them in one
//! transaction ([`Writes`]), commits once, and only then answers all of them: callers share a sync,
//! and nothing is acknowledged before it is durable. While one group commits, the next one gathers.
//! A group that fails is undone, and each of its commands tried alone, so a command that the
//! database refuses fails by itself. Reads ([`Query`]) run on their own connections, each one
//! consistent snapshot, and never wait for the writer. Migrations are embedded and run when the
//! store is opened.
//!
//! A SQLite file that is damaged, that was replaced, or that lacks the end of what was acknowledged is
//! refused when it is opened: commits are counted in it, and noted beside it. Closed in order, it is
//! one whole file. [`backup`] copies files that are in use, and puts copies back.
//!
//! [`Database`] is the same for a SQLite file alone, with closures instead of commands.
//!
//! *What it does not do.* It knows no table and no business word, and beyond what the server asks to
//! be repeated it does not retry: when the store cannot be written, every caller is told
//! [`Unavailable`] and nothing is half-written.

mod anchor;
pub mod backup;
mod check;
mod error;
mod file;
mod group;
mod handle;
mod inline;
mod keeper;
mod location;
mod migrate;
mod open;
pub mod postgres;
mod read;
mod seam;
mod stamp;
#[cfg(feature = "testing")]
pub mod testing;
mod wait;
mod write;

pub use error::{OpenError, Unavailable};
pub use handle::Store;
#[doc(hidden)]
pub use inline::simulate_on_this_thread;
pub use location::Location;
pub use rusqlite;
pub use seam::{Query, Writes};

use std::{path::Path, time::Duration};

use tokio::time::timeout;

/// The longest that closing takes: a read that hangs, or a disk, holds up no stop for longer.
const CLOSE_MAX: Duration = Duration::from_secs(10);

/// A database file: a clonable handle to its writer and its readers.
#[derive(Clone, Debug)]
pub struct Database {
    writer: write::Writer,
    readers: read::Readers,
}

impl Database {
    /// Opens the file, creating it and its folder when missing, and runs the migrations that it has
    /// not seen. `migrations` only ever grows: step n brings version n to n + 1.
    ///
    /// # Errors
    /// [`OpenError`] says which path and what SQLite or the system said.
    pub fn open(path: &Path, migrations: &[&str]) -> Result<Self, OpenError> {
        let (keeper, anchor) = keeper::Keeper::open(path, migrations)?;
        Ok(Self {
            writer: write::Writer::start(keeper).map_err(|e| OpenError::folder(path, e))?,
            readers: read::Readers::new(path, anchor),
        })
    }

    /// Does what waits already and nothing more, and closes the file: after the last process that
    /// had it, it is whole without its log. Later calls, of clones too, are [`Unavailable`]. Takes
    /// some seconds at most.
    pub async fn close(&self) {
        close(&self.readers, self.writer.close()).await;
    }

    /// Runs `job` inside a transaction and returns its answer once that is durable. A job that
    /// answers with an error is undone, and the error is returned after the commit of its group,
    /// since it may rest on what others of the group wrote.
    ///
    /// # Errors
    /// [`Unavailable`] when the file cannot be written: then nothing was.
    pub async fn write<T, E, F>(&self, job: F) -> Result<T, E>
    where
        F: FnOnce(&rusqlite::Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Unavailable> + Send + 'static,
    {
        self.writer.run(job).await
    }

    /// Runs `job` on a read-only connection: one consistent snapshot, never blocked by the writer.
    ///
    /// # Errors
    /// The job's own; [`Unavailable`] when the file cannot be read.
    pub async fn read<T, E, F>(&self, job: F) -> Result<T, E>
    where
        F: FnOnce(&rusqlite::Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Unavailable> + Send + 'static,
    {
        self.readers.run(job).await
    }
}

/// Closes the readers of a file, then its writer.
async fn close(readers: &read::Readers, writer: impl Future<Output = ()>) {
    within_bounds(async {
        // Half of the time is left for the log.
        if timeout(CLOSE_MAX / 2, readers.close()).await.is_err() {
            readers.close_now();
        }
        writer.await;
    })
    .await;
}

async fn within_bounds(closing: impl Future<Output = ()>) {
    if timeout(CLOSE_MAX, closing).await.is_err() {
        tracing::warn!("the store is left open: it does not come to its end");
    }
}
