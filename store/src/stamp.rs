//! The one row that the store keeps in each file for itself: which file it is, and how many commits
//! it holds.
//!
//! It is apart from the service's migrations, which count in `user_version`: a file of an earlier
//! version gets it when it is first opened, and begins to count.

use std::path::Path;

use rusqlite::{Connection, ErrorCode, OptionalExtension as _};

/// The table's name.
const TABLE: &str = "mizan_store";

/// Which file, and how many commits it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Made at random when the file is: a copy that lives on its own gets another.
    pub(crate) life: String,
    /// Raised within each commit.
    pub(crate) commits: u64,
    /// What it was made for: the name of the file without its ending. A file under another name is
    /// another service's.
    pub(crate) holds: String,
}

/// What a file of this name holds.
pub(crate) fn kind(file: &Path) -> String {
    let stem = file.file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

/// The table refuses what is no count; one that is there all the same counts for nothing.
fn count(commits: i64) -> u64 {
    u64::try_from(commits).unwrap_or(0)
}

/// Reads it, if the file has one.
pub(crate) fn read(connection: &Connection) -> rusqlite::Result<Option<Stamp>> {
    let there = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1";
    if !connection.prepare(there)?.exists([TABLE])? {
        return Ok(None);
    }
    let row = |row: &rusqlite::Row<'_>| {
        Ok(Stamp {
            life: row.get(0)?,
            commits: count(row.get(1)?),
            holds: row.get(2)?,
        })
    };
    let sql = "SELECT life, commits, holds FROM mizan_store";
    connection.query_row(sql, [], row).optional()
}

/// Reads it, and makes it first in a file that has none. Says whether it did. Two processes may
/// open a new file at once: the second finds what the first made.
pub(crate) fn begin(
    connection: &Connection,
    holds: &str,
) -> rusqlite::Result<Option<(Stamp, bool)>> {
    const MAKE: &str = "
        CREATE TABLE IF NOT EXISTS mizan_store (
            only_row INTEGER PRIMARY KEY CHECK (only_row = 0),
            life     TEXT NOT NULL CHECK (length(life) = 32),
            commits  INTEGER NOT NULL CHECK (commits >= 0),
            holds    TEXT NOT NULL
        ) STRICT";
    const FILL: &str = "
        INSERT OR IGNORE INTO mizan_store VALUES (0, lower(hex(randomblob(16))), 0, ?1)";
    if let Some(stamp) = read(connection)? {
        return Ok(Some((stamp, false)));
    }
    let made = connection.execute_batch("BEGIN IMMEDIATE").and_then(|()| {
        connection.execute(MAKE, [])?;
        connection.execute(FILL, [holds])?;
        connection.execute_batch("COMMIT")
    });
    if let Err(error) = made {
        if !connection.is_autocommit() {
            connection.execute_batch("ROLLBACK")?;
        }
        // A file that may only be read is served as far as that goes.
        return match error.sqlite_error_code() {
            Some(ErrorCode::ReadOnly) => Ok(None),
            _ => Err(error),
        };
    }
    Ok(read(connection)?.map(|stamp| (stamp, true)))
}

/// Counts one more commit, within its transaction; says which it is.
pub(crate) fn raise(connection: &Connection) -> rusqlite::Result<u64> {
    let sql = "UPDATE mizan_store SET commits = commits + 1 RETURNING commits";
    connection
        .prepare_cached(sql)?
        .query_row([], |row| row.get(0).map(count))
}

/// Gives a copy a life of its own, in which nothing was committed yet.
pub(crate) fn begin_anew(copy: &Connection) -> rusqlite::Result<()> {
    if read(copy)?.is_some() {
        let sql = "UPDATE mizan_store SET life = lower(hex(randomblob(16))), commits = 0";
        copy.execute(sql, [])?;
    }
    Ok(())
}
