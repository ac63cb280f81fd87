//! The handle to a store in either back-end.

use std::{fmt, path::Path};

use crate::{
    Location, OpenError, Unavailable, file,
    group::Queue,
    inline,
    keeper::Keeper,
    postgres, read,
    seam::{Query, Writes},
    wait::Closer,
};

/// A service's state: a clonable handle to its writer and its readers.
pub struct Store<W: Writes> {
    queue: Queue<W>,
    closer: Closer,
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
                let (queue, closer, readers) = postgres::open::<W>(url, schema).await?;
                Ok(Self {
                    queue,
                    closer,
                    readers: Readers::Server(readers),
                })
            }
        }
    }

    fn open_file(path: &Path) -> Result<Self, OpenError> {
        let (keeper, anchor) = Keeper::open(path, W::SQLITE)?;
        let (queue, closer) = file::start(keeper).map_err(|e| OpenError::folder(path, e))?;
        Ok(Self {
            queue,
            closer,
            readers: Readers::File(read::Readers::new(path, anchor)),
        })
    }

    /// Does what waits already and nothing more, and closes the store: after the last process that
    /// had it, a file is whole without its log. Later calls, of clones too, are [`Unavailable`].
    /// Takes some seconds at most.
    pub async fn close(&self) {
        match &self.readers {
            Readers::File(readers) => crate::close(readers, self.closer.close()).await,
            Readers::Server(readers) => {
                readers.close();
                crate::within_bounds(self.closer.close()).await;
            }
        }
    }

    /// How many groups of writes the store lacks of those that were acknowledged. Always none on a
    /// server, which answers for its own log.
    ///
    /// # Errors
    /// [`Unavailable`] when it cannot be read.
    pub async fn missing(&self) -> Result<u64, Unavailable> {
        match &self.readers {
            Readers::File(readers) => readers.missing().await,
            Readers::Server(_) => Ok(0),
        }
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
            closer: self.closer.clone(),
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
