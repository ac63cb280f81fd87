//! PostgreSQL as a back-end.
//!
//! *Problem.* A server may be slow, hang, restart, fail over or go away in the middle of a commit.
//! Whatever it does, a caller must hear soon that it did not answer, and nothing may be acknowledged
//! that is not durable.
//!
//! *What it does.* A writer with a connection of its own does one group of commands at a time; a few
//! connections that cannot write do the reads. A connection that breaks is replaced with backoff,
//! and while it is away callers are told so at once. Everything that waits for the server has a
//! limit, named below with its reason. `synchronous_commit` is on for the session, whatever the
//! server's settings say.
//!
//! *The URL.* `postgres://user:password@host:port/database`, with the parameters of libpq that
//! `tokio-postgres` knows. Of `sslmode`, `disable`, `require`, `verify-ca` and `verify-full` are
//! taken: with the last three the server's certificate and its name are verified, against the
//! system's roots or the file that `sslrootcert` names. Without `sslmode`, a server on this machine
//! (a socket, a loopback address) is spoken to in the clear and every other one as with `require`.
//! `allow` and `prefer`, which fall back to the clear in silence, are refused. A pooler in
//! between has to pool sessions, not transactions: prepared statements and settings belong to one.

mod address;
mod connect;
mod migrate;
mod read;
mod session;
mod write;

pub use session::Session;
pub use tokio_postgres::{
    Row,
    types::{self, ToSql},
};

pub(crate) use read::Readers;

use std::{sync::Arc, time::Duration};

use crate::{
    OpenError,
    group::Queue,
    seam::Writes,
    wait::{self, Closer},
};

use self::{
    address::Address,
    connect::{Connector, Purpose},
};

/// The longest that making a connection may take, with TLS and log-in: a server on the same network
/// needs milliseconds, and callers wait for this.
const CONNECT_MAX: Duration = Duration::from_secs(4);

/// The longest wait for a row that another process locks. Its group takes milliseconds; one that
/// takes longer has hung, and its own limits will end it.
const LOCK_MAX: Duration = Duration::from_secs(4);

/// The longest that the server may work at one statement of a group.
const STATEMENT_MAX: Duration = Duration::from_secs(8);

/// The longest that a group may take from its BEGIN to its COMMIT. The server's own limits come
/// first; this one is for a server that hangs and does not keep them.
const GROUP_TIME_MAX: Duration = Duration::from_secs(12);

/// The longest that the server may work at one statement of a read: a trial balance of a large
/// ledger, but not for ever.
const READ_STATEMENT_MAX: Duration = Duration::from_secs(30);

/// The longest that a whole read may take.
const READ_TIME_MAX: Duration = Duration::from_secs(60);

/// The longest that the server keeps a transaction, and its locks, of a client that says nothing: a
/// process that hangs must not stop the others.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// How often the server looks, while it works, whether the client is still there.
const CLIENT_CHECK: Duration = Duration::from_secs(2);

/// When a connection on which nothing moves is probed, and given up: about 25 s in all.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;

/// How long what was sent may stay unacknowledged by the network.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(10);

/// The longest that migrations wait for another instance's: that one may be rewriting a table.
const MIGRATION_LOCK_MAX: Duration = Duration::from_secs(120);

/// How soon a connection is tried again after one failed, doubled up to the most. In between,
/// callers are refused without a try.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// How often a group is tried that the server asks to give way to another (a deadlock, a
/// serialization failure).
const TRIES_MAX: u32 = 5;

/// The most reads at once; further ones wait for a turn. A server has about a hundred connections
/// to give, to all instances of all services.
const READERS_MAX: usize = 4;

/// Connects, brings the schema to the current version, and starts the writer.
pub(crate) async fn open<W: Writes>(
    url: &str,
    schema: &str,
) -> Result<(Queue<W>, Closer, Readers), OpenError> {
    let address = Address::parse(url, schema)?;
    let place = address.place.clone();
    let failed = |error: crate::Unavailable| OpenError::at(&place, error.chain());
    let connector = Arc::new(Connector::new(address));
    let session = connector.connect(Purpose::Write).await.map_err(failed)?;
    migrate::run(&session, schema, W::POSTGRES)
        .await
        .map_err(failed)?;
    let (queue, waiting) = Queue::new();
    let (closer, closing) = wait::closing();
    tokio::spawn(write::write_groups::<W>(
        connector.clone(),
        session,
        waiting,
        closing,
    ));
    Ok((queue, closer, Readers::new(connector)))
}
