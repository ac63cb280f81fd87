//! Connections and their settings.

use std::{
    cell::Cell,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig};

use crate::inline;

/// How long a writer waits for another process's transaction before it gives up: well before callers
/// do, so that they are told why.
const BUSY_MAX: Duration = Duration::from_secs(5);

/// As many pauses as that is, for where the clock stands still (a simulation's).
const BUSY_TRIES_MAX: i32 = 10_000;

/// The pause between two tries. SQLite's own handler backs off to 100 ms, which would let two
/// instances that share a file starve each other; a group's transaction takes about 1 ms.
const BUSY_PAUSE: Duration = Duration::from_micros(500);

/// The page caches, in KiB; memory is taken only as pages are touched. The writer's holds the inner
/// pages of its indexes, which every write passes.
const WRITER_CACHE_KIB: i64 = 16 * 1024;
const READER_CACHE_KIB: i64 = 1024;

/// What a log may keep of the disk when it begins anew: what it grows to between two copies. One
/// that grew beyond, while somebody read for long, is cut.
const LOG_BYTES_MAX: i64 = 16 * 1024 * 1024;

pub(crate) fn writable(path: &Path) -> rusqlite::Result<Connection> {
    let mut connection = Connection::open(path)?;
    wait_for_others(&mut connection)?;
    use_write_ahead_log(&connection)?;
    // FULL syncs the log on every commit: what is acknowledged survives a power cut.
    let synchronous = if inline::here() { "off" } else { "full" };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // The writer copies the log itself, and notes it.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES_MAX)?;
    settle(&connection, WRITER_CACHE_KIB)?;
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
    wait_for_others(&mut connection)?;
    settle(&connection, READER_CACHE_KIB)?;
    Ok(connection)
}

/// Lets a connection wait for others' transactions, for a while.
pub(crate) fn wait_for_others(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.busy_handler(Some(wait_for_writer))
}

fn settle(connection: &Connection, cache_kib: i64) -> rusqlite::Result<()> {
    connection.pragma_update(None, "cache_size", -cache_kib)?;
    connection.set_prepared_statement_cache_capacity(64);
    // Plans depend on the statement alone. Otherwise SQLite, built with its fourth kind of statistics,
    // parses and plans a prepared statement anew whenever a parameter that might matter has changed.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "runs on the writer's own thread or a blocking one, never on a runtime worker"
)]
fn wait_for_writer(tries: i32) -> bool {
    thread_local! {
        static SINCE: Cell<Option<Instant>> = const { Cell::new(None) };
    }
    let since = SINCE.get().filter(|_| tries > 0);
    let since = since.unwrap_or_else(Instant::now);
    SINCE.set(Some(since));
    thread::sleep(BUSY_PAUSE);
    // On a busy machine a pause takes several times as long.
    tries < BUSY_TRIES_MAX && since.elapsed() < BUSY_MAX
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    #[test]
    fn what_is_acknowledged_is_synced_and_what_belongs_together_is_held_together() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let writer = writable(&path).unwrap();
        let says = |name: &str| -> i64 {
            let value = writer.pragma_query_value(None, name, |row| row.get(0));
            value.unwrap()
        };
        assert_eq!(
            says("synchronous"),
            2,
            "FULL: each commit survives a power cut"
        );
        assert_eq!(says("foreign_keys"), 1);
        assert_eq!(says("wal_autocheckpoint"), 0, "the writer's own task");
        assert_eq!(says("journal_size_limit"), LOG_BYTES_MAX);
        let mode: String = writer
            .pragma_query_value(None, "journal_mode", |row| row.get(0))
            .unwrap();
        assert_eq!(mode, "wal");
        let reader = read_only(&path).unwrap();
        assert!(reader.execute_batch("CREATE TABLE t (a)").is_err());
    }

    #[test]
    fn a_prepared_statement_is_planned_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = writable(&folder.path().join("plans.db")).unwrap();
        file.execute_batch(
            "CREATE TABLE entry (kind INTEGER, id TEXT);
             CREATE INDEX reversals ON entry (id) WHERE kind = 3;",
        )
        .unwrap();
        // Whether the index fits depends on the parameter, unless plans do not look at it.
        let mut found = file
            .prepare("SELECT 1 FROM entry WHERE kind = ?1 AND id = ?2")
            .unwrap();
        for kind in [3, 4, 3, 5] {
            assert!(!found.exists((kind, "a")).unwrap());
        }
        assert_eq!(found.get_status(StatementStatus::RePrepare), 0);
    }
}
