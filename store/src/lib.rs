//! A service's own SQLite file.
//!
//! *Problem.* One durable commit costs one `fsync`, about 0.2 ms, whoever calls; and SQLite has one
//! writer at a time, across all processes that share the file.
//!
//! *What it does.* One writer thread runs the waiting writes in one transaction, each in a
//! savepoint of its own, commits once, and only then answers all of them: callers share a sync, a
//! failed write undoes only itself, and nothing is acknowledged before it is durable. Reads run on
//! their own connections and never wait for the writer (WAL). Migrations are embedded and run when
//! the file is opened.
//!
//! *What it does not do.* It knows no table and no business word, and it never retries: when the
//! file cannot be written, every caller is told [`Unavailable`] and nothing is half-written.

mod error;
mod inline;
mod migrate;
mod open;
mod read;
mod write;

pub use error::{OpenError, Unavailable};
#[doc(hidden)]
pub use inline::simulate_on_this_thread;
pub use rusqlite;

use std::path::Path;

/// A database file: a clonable handle to its writer and its readers.
#[derive(Clone, Debug)]
pub struct Database(Ways);

/// How work reaches the file.
#[derive(Clone, Debug)]
enum Ways {
    Threads {
        writer: write::Writer,
        readers: read::Readers,
    },
    Inline(inline::Inline),
}

impl Database {
    /// Opens the file, creating it and its folder when missing, and runs the migrations that it has
    /// not seen. `migrations` only ever grows: step n brings version n to n + 1.
    ///
    /// # Errors
    /// [`OpenError`] says which path and what SQLite or the system said.
    pub fn open(path: &Path, migrations: &[&str]) -> Result<Self, OpenError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| OpenError::folder(folder, e))?;
        }
        let mut connection = open::writable(path).map_err(|e| OpenError::file(path, e))?;
        migrate::run(&mut connection, migrations).map_err(|e| OpenError::file(path, e))?;
        let connection = match inline::Inline::of(connection) {
            Ok(inline) => return Ok(Self(Ways::Inline(inline))),
            Err(connection) => connection,
        };
        Ok(Self(Ways::Threads {
            writer: write::Writer::start(connection).map_err(|e| OpenError::folder(path, e))?,
            readers: read::Readers::new(path),
        }))
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
        match &self.0 {
            Ways::Threads { writer, .. } => writer.run(job).await,
            Ways::Inline(inline) => inline.write(job).await,
        }
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
        match &self.0 {
            Ways::Threads { readers, .. } => readers.run(job).await,
            Ways::Inline(inline) => inline.read(job),
        }
    }
}
