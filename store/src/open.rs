//! Connections and their settings.

use std::{path::Path, thread, time::Duration};

use rusqlite::{Connection, ErrorCode, OpenFlags};

/// How long a writer waits for another process's transaction before it gives up.
const BUSY_TRIES_MAX: i32 = 10_000;

/// The pause between two tries. SQLite's own handler backs off to 100 ms, which would let two
/// instances that share a file starve each other; a group's transaction takes about 1 ms.
const BUSY_PAUSE: Duration = Duration::from_micros(500);

/// The page cache of one connection, in KiB: small, because eight instances idle on one machine.
const CACHE_KIB: i64 = 1024;

pub(crate) fn writable(path: &Path) -> rusqlite::Result<Connection> {
    let mut connection = Connection::open(path)?;
    connection.busy_handler(Some(wait_for_writer))?;
    use_write_ahead_log(&connection)?;
    // FULL syncs the log on every commit: what is acknowledged survives a power cut.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    settle(&connection)?;
    Ok(connection)
}

/// SQLite asks no busy handler while a file changes to WAL, so of two processes that open a new file
/// at once one would be refused: the waiting is done here.
fn use_write_ahead_log(connection: &Connection) -> rusqlite::Result<()> {
    let mut tries = 0;
    loop {
        match connection.pragma_update(None, "journal_mode", "wal") {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && wait_for_writer(tries) =>
            {
                tries += 1;
            }
            outcome => return outcome,
        }
    }
}

pub(crate) fn read_only(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_handler(Some(wait_for_writer))?;
    settle(&connection)?;
    Ok(connection)
}

fn settle(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "runs on the writer's own thread or a blocking one, never on a runtime worker"
)]
fn wait_for_writer(tries: i32) -> bool {
    thread::sleep(BUSY_PAUSE);
    tries < BUSY_TRIES_MAX
}
