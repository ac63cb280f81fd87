//! What a service gives a store: how its writes and its reads are done in each back-end.

use std::time::Duration;

use crate::{Unavailable, postgres};

/// How a service's writes are done in each back-end. A type without state: only a name for the pair.
pub trait Writes: Send + Sync + 'static {
    /// What one caller wants done.
    type Command: Send + Sync + 'static;
    /// What one caller is told; a refusal by a rule of the business is one too.
    type Outcome: Send + 'static;
    /// How long a group for a file waits for more commands before it begins, if the one before it
    /// had several. For services whose callers come back with many small writes, so that the commit
    /// costs more than what is in it.
    const GATHER: Duration = Duration::ZERO;
    /// Migrations of the file; only ever grow. Step n brings version n to n + 1.
    const SQLITE: &'static [&'static str];
    /// Migrations of the schema on the server; only ever grow. Tables are named without a schema.
    const POSTGRES: &'static [&'static str];

    /// Does the commands in order inside one transaction that is open already; one outcome each, in
    /// order.
    ///
    /// # Errors
    /// Undoes the whole group; then each command is tried alone, so that one which the database
    /// refuses (a constraint) fails by itself.
    fn in_file(
        file: &rusqlite::Connection,
        commands: &[Self::Command],
    ) -> Result<Vec<Self::Outcome>, Unavailable>;

    /// The same on a server. The transaction is READ COMMITTED, so what serialises the commands of
    /// several processes, a row that each of them locks, is locked first: then the statements after
    /// it see what the others committed.
    ///
    /// # Errors
    /// As [`Writes::in_file`].
    fn on_server(
        server: &postgres::Session,
        commands: &[Self::Command],
    ) -> impl Future<Output = Result<Vec<Self::Outcome>, Unavailable>> + Send;
}

/// A read: one consistent snapshot in either back-end.
pub trait Query: Send + 'static {
    /// What the caller is told.
    type Output: Send + 'static;

    /// Reads from a file, on a connection that cannot write.
    ///
    /// # Errors
    /// When it cannot be read.
    fn in_file(self, file: &rusqlite::Connection) -> Result<Self::Output, Unavailable>;

    /// Reads from a server, in a transaction that cannot write.
    ///
    /// # Errors
    /// When it cannot be read.
    fn on_server(
        self,
        server: &postgres::Session,
    ) -> impl Future<Output = Result<Self::Output, Unavailable>> + Send;
}
