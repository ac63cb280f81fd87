//! The handle to a store in either back-end.

use std::{fmt, path::Path};

use crate::{
    Location, OpenError, Unavailable, file,
    group::Queue,
    inline, migrate, open, postgres, read,
    seam::{Query, Writes},
};

/// A service's state: a clonable handle to its writer and its readers.
pub struct Store<W: Writes> {
    queue: Queue<W>,
    readers: Readers,
}

#[derive(Clone)]
enum Readers {
    File(read::Readers),
    Server(postgres::Readers),
}

impl<W: Writes> Store<W> {
    /// Opens the store, making what is missing, and runs the migrations that it has not seen.
    /// Several processes may open one store at once.
    ///
    /// # Errors
    /// [`OpenError`] says which file or server, and what SQLite, PostgreSQL or the system said.
    pub async fn open(location: &Location) -> Result<Self, OpenError> {
        match location {
            Location::File(path) => {
                if inline::here() {
                    return Self::open_file(path);
                }
                let path = path.clone();
                tokio::task::spawn_blocking(move || Self::open_file(&path))
                    .await
                    .unwrap_or_else(|error| Err(OpenError::at("the file", error)))
            }
            Location::Server { url, schema } => {
                let (queue, readers) = postgres::open::<W>(url, schema).await?;
                Ok(Self {
                    queue,
                    readers: Readers::Server(readers),
                })
            }
        }
    }

    fn open_file(path: &Path) -> Result<Self, OpenError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| OpenError::folder(folder, e))?;
        }
        let mut connection = open::writable(path).map_err(|e| OpenError::file(path, e))?;
        migrate::run(&mut connection, W::SQLITE).map_err(|e| OpenError::file(path, e))?;
        Ok(Self {
            queue: file::start(connection).map_err(|e| OpenError::folder(path, e))?,
            readers: Readers::File(read::Readers::new(path)),
        })
    }

    /// Runs with others of its group in one transaction; answers once that is durable. A caller who
    /// leaves before his group begins has asked for nothing; after that, the write stands.
    ///
    /// # Errors
    /// [`Unavailable`]: to be repeated with the same request id.
    pub async fn execute(&self, command: W::Command) -> Result<W::Outcome, Unavailable> {
        self.queue.ask(command).await
    }

    /// Reads one consistent snapshot, never blocked by the writer.
    ///
    /// # Errors
    /// The query's own; [`Unavailable`] when the store cannot be read.
    pub async fn read<Q: Query>(&self, query: Q) -> Result<Q::Output, Unavailable> {
        match &self.readers {
            Readers::File(readers) => readers.run(|file| query.in_file(file)).await,
            Readers::Server(readers) => readers.run(query).await,
        }
    }
}

impl<W: Writes> Clone for Store<W> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
            readers: self.readers.clone(),
        }
    }
}

impl<W: Writes> fmt::Debug for Store<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match &self.readers {
            Readers::File(_) => "file",
            Readers::Server(_) => "server",
        };
        f.debug_tuple("Store").field(&place).finish()
    }
}
