//! Rows: written, read and checked.

use std::path::Path;

use sha2::{Digest as _, Sha256};
use store::{
    Unavailable,
    rusqlite::{self, Connection, OptionalExtension as _, params},
};

use crate::{
    catalogue::{Owner, Stored},
    keep::KeepError,
};

/// What was kept.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) epoch: String,
    pub(super) revision: u64,
    pub(super) stored: Vec<Stored>,
}

/// Why reading or writing failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    #[error("{0}")]
    Damaged(String),
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        match error.sqlite_error_code() {
            Some(DatabaseCorrupt | NotADatabase) => Self::Damaged(error.to_string()),
            _ => Self::Unavailable(error.into()),
        }
    }
}

impl Error {
    /// The same, about this file.
    pub(super) fn in_file(self, path: &Path) -> KeepError {
        let path = path.to_owned();
        match self {
            Self::Unavailable(cause) => KeepError::Unavailable { path, cause },
            Self::Damaged(what) => KeepError::Damaged { path, what },
        }
    }
}

/// Pages that are kept in memory for writing, in KiB. All of it is in the catalogue, and a write
/// passes few pages; the rest would be held twice.
const CACHE_KIB: i64 = 512;

/// Bounds what writing keeps in memory.
pub(super) fn bound_cache(connection: &Connection) -> Result<(), Error> {
    Ok(connection.pragma_update(None, "cache_size", -CACHE_KIB)?)
}

/// Reads everything, and checks all of it.
pub(super) fn read(connection: &Connection) -> Result<Read, Error> {
    let healthy: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if healthy != "ok" {
        return Err(Error::Damaged(healthy));
    }
    let life = connection
        .query_row("SELECT epoch, revision FROM life", [], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
        })
        .optional()?;
    let (epoch, revision) = life.unwrap_or_else(|| (uuid::Uuid::new_v4().simple().to_string(), 0));
    let mut select = connection.prepare("SELECT node, id, record, digest FROM kept")?;
    let mut rows = select.query([])?;
    let mut stored = Vec::new();
    while let Some(row) = rows.next()? {
        let (node, id): (String, String) = (row.get(0)?, row.get(1)?);
        let (record, held): (String, Vec<u8>) = (row.get(2)?, row.get(3)?);
        if held != digest(&node, &id, &record) {
            let what = format!("the row of {id:?} on node {node:?} has another digest");
            return Err(Error::Damaged(what));
        }
        let read = serde_json::from_str(&record);
        let unread =
            |e| Error::Damaged(format!("the row of {id:?} on {node:?} is unreadable: {e}"));
        stored.push(read.map_err(unread)?);
    }
    Ok(Read {
        epoch,
        revision: u64::try_from(revision).unwrap_or(0),
        stored,
    })
}

/// Names the life, and reserves its revisions up to this one.
pub(super) fn begin_life(connection: &Connection, epoch: &str, upto: u64) -> Result<(), Error> {
    let sql = "INSERT INTO life (only_row, epoch, revision) VALUES (0, ?1, ?2)
        ON CONFLICT (only_row) DO UPDATE SET revision = excluded.revision";
    let upto = i64::try_from(upto).unwrap_or(i64::MAX);
    connection
        .prepare_cached(sql)?
        .execute(params![epoch, upto])?;
    Ok(())
}

/// Reserves revisions up to this one.
pub(super) fn reserve(connection: &Connection, upto: u64) -> Result<(), Error> {
    let upto = i64::try_from(upto).unwrap_or(i64::MAX);
    let mut update = connection.prepare_cached("UPDATE life SET revision = ?1")?;
    update.execute(params![upto])?;
    Ok(())
}

/// Writes the state of one owner, or that there is none any more.
pub(super) fn write(
    connection: &Connection,
    owner: &Owner,
    stored: Option<&Stored>,
) -> Result<(), Error> {
    let (node, id) = match owner {
        Owner::Instance(key) => (key.node.as_str(), key.id.as_str()),
        Owner::Node(name) => (name.as_str(), ""),
    };
    let Some(stored) = stored else {
        let delete = "DELETE FROM kept WHERE node = ?1 AND id = ?2";
        connection
            .prepare_cached(delete)?
            .execute(params![node, id])?;
        return Ok(());
    };
    let record = serde_json::to_string(stored)
        .map_err(|error| Error::Damaged(format!("a record cannot be written: {error}")))?;
    let sql = "INSERT INTO kept (node, id, record, digest) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT (node, id) DO UPDATE SET record = excluded.record, digest = excluded.digest";
    let digest = digest(node, id, &record);
    connection
        .prepare_cached(sql)?
        .execute(params![node, id, record, digest])?;
    Ok(())
}

fn digest(node: &str, id: &str, record: &str) -> Vec<u8> {
    let mut digest = Sha256::new();
    for part in [node, id, record] {
        digest.update(part.len().to_le_bytes());
        digest.update(part);
    }
    digest.finalize().to_vec()
}
