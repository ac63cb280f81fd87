//! What the registry keeps: durable before acknowledged, read once at the start.
//!
//! *Which store.* The SQLite file of the `store` package, as the services use it, not `redb`: its
//! careful fifty lines around a commit (one sync for all who wait, nothing half-written, full sync)
//! are there and tested, and 33,000 rows a second in groups of 64 are more than a registry ever
//! sees. A person can look into it with a tool that everybody has. The price is C in the build,
//! which the services pay already.
//!
//! *What is written.* Registrations, maintenance, and the status of checks when it changes. Never a
//! heartbeat, a report or a result that says the same as before.

mod journal;
mod record;

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use store::{Database, OpenError, Unavailable};

pub(crate) use journal::{Journal, Pending};

use crate::catalogue::{Stored, UnixMillis};
use crate::metrics::Metrics;

/// The file's name within the data directory.
pub const FILE: &str = "registry.db";

const MIGRATIONS: &[&str] = &[include_str!("schema.sql")];

/// How far the revision that is written down is ahead of those given out, so that it is written
/// rarely: at a thousand changes a second, every nine minutes.
const AHEAD: u64 = 1 << 20;

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeepError {
    /// The file cannot be opened.
    #[error(transparent)]
    Open(OpenError),
    /// The file is not what was written to it, or lacks what was acknowledged.
    #[error(
        "{0}; or move it, and all whose names begin with its name, away to begin anew: instances that run register again by themselves"
    )]
    Lost(OpenError),
    /// Another registry uses it.
    #[error("{} is used by another registry", .0.display())]
    Taken(PathBuf),
    /// The lock beside it cannot be taken.
    #[error("cannot lock {}", path.display())]
    Lock {
        /// The lock's file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// The file cannot be read or written.
    #[error("cannot use {}", path.display())]
    Unavailable {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        cause: Unavailable,
    },
    /// The file does not hold what was written to it.
    #[error(
        "{} is damaged: {what}. Restore it; or move it, and all whose names begin with its name, away to begin anew: instances that run register again by themselves",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

impl From<OpenError> for KeepError {
    fn from(error: OpenError) -> Self {
        if error.is_damage() {
            Self::Lost(error)
        } else {
            Self::Open(error)
        }
    }
}

/// An opened store: what was kept, and where to go on writing.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) journal: Journal,
    /// Names the life of the registry that the store belongs to.
    pub(crate) epoch: String,
    /// Above every revision that was given out.
    pub(crate) first_revision: u64,
    pub(crate) stored: Vec<Stored>,
}

/// Opens, checks and reads `registry.db` in this folder, for this process alone.
pub(crate) async fn open(
    data: &Path,
    now: UnixMillis,
    metrics: Metrics,
) -> Result<Kept, KeepError> {
    let path = data.join(FILE);
    let lock = data.join("registry.lock");
    // Nothing is served yet that this could hold up. Creates the folder too.
    let database = Database::open(&path, MIGRATIONS)?;
    let lock = take(&lock)?;
    let read = database.read(record::read).await;
    let read = read.map_err(|error| error.in_file(&path))?;
    let first_revision = now.0.max(read.revision.saturating_add(1));
    let epoch = read.epoch.clone();
    let upto = first_revision.saturating_add(AHEAD);
    let written = database
        .write(move |c| {
            record::bound_cache(c)?;
            record::begin_life(c, &epoch, upto)
        })
        .await;
    written.map_err(|error: record::Error| error.in_file(&path))?;
    Ok(Kept {
        journal: Journal::start(database, upto, lock, metrics),
        epoch: read.epoch,
        first_revision,
        stored: read.stored,
    })
}

/// Holds the lock for as long as the file is open.
fn take(path: &Path) -> Result<File, KeepError> {
    let failed = |cause| KeepError::Lock {
        path: path.to_owned(),
        cause,
    };
    let opened = OpenOptions::new()
        .mode(0o600)
        .create(true)
        .truncate(false)
        .write(true)
        .open(path);
    let file = opened.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(KeepError::Taken(path.to_owned())),
        Err(std::fs::TryLockError::Error(cause)) => Err(failed(cause)),
    }
}

#[cfg(test)]
mod tests;
