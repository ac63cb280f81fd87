//! Whether a file is what it was when it was last written.
//!
//! Run by who opens the file while nobody else has it, before anything else is done with it. Nothing
//! on the disk is changed by it, so who is refused once is refused again, and what is still there
//! can be looked at and kept.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig};

use crate::{
    OpenError,
    anchor::{Anchor, beside, slot::Known},
    stamp::{self, Stamp},
};

/// What means something else in the name of a file as a URI.
const NAME: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'?').add(b'#');

/// What lies on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    /// What the anchor says.
    known: Option<Known>,
    /// The main file's stamp, read without its log; nothing, if it cannot be read without.
    alone: Option<Option<Stamp>>,
    /// The stamp with the log.
    whole: Option<Stamp>,
    /// Whether there is a log that holds anything.
    log: bool,
}

/// Why a file is not what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The file is gone. So many commits were acknowledged.
    Missing(u64),
    /// Another or an older file is in its place.
    Replaced {
        /// The log of the one before lies beside it.
        log: bool,
    },
    /// The log ends before what the file holds already: it would take the file back.
    Backwards {
        /// By so many commits.
        by: u64,
        /// Whether all that was acknowledged is in the file without its log.
        whole: bool,
    },
    /// So many commits are missing at its end.
    Tail(u64),
}

/// Compares what the file holds with what was acknowledged. Pure.
fn judge(found: &Found) -> Result<(), Loss> {
    let known = found.known.as_ref();
    let whole = found.whole.as_ref();
    let alone = found.alone.as_ref().map(Option::as_ref);
    let commits = |stamp: Option<&Stamp>| stamp.map_or(0, |stamp| stamp.commits);

    let of_another = |stamp: Option<&Stamp>| match (known, stamp) {
        (Some(known), Some(stamp)) => known.life != stamp.life,
        _ => false,
    };
    let older = known
        .zip(alone)
        .is_some_and(|(known, alone)| commits(alone) < known.floor);
    // A log is of the file that it lies beside.
    let torn = alone
        .flatten()
        .is_some_and(|alone| whole.is_none_or(|whole| whole.life != alone.life));
    if of_another(alone.flatten()) || of_another(whole) || older || torn {
        return Err(Loss::Replaced { log: found.log });
    }
    let whole = commits(whole);
    let by = alone.map_or(0, commits).saturating_sub(whole);
    if by > 0 {
        let whole = known.is_some_and(|known| known.floor >= known.acknowledged);
        return Err(Loss::Backwards { by, whole });
    }
    match known.map_or(0, |known| known.acknowledged.saturating_sub(whole)) {
        0 => Ok(()),
        missing => Err(Loss::Tail(missing)),
    }
}

/// Refuses a file that is damaged, that lacks what was acknowledged, or that was replaced.
pub(crate) fn run(database: &Path, anchor: &Anchor) -> Result<(), OpenError> {
    if let Some(folder) = database.parent()
        && mark(folder).exists()
    {
        let cause = "a restore into its folder did not come to its end: run `mizan restore` again, with --replace";
        return Err(OpenError::at(database.display(), cause));
    }
    let known = anchor.read()?;
    let log = fs::metadata(beside(database, "-wal")).is_ok_and(|log| log.len() > 0);
    // SQLite takes an empty file for a new one, and throws away the log beside it.
    if !fs::metadata(database).is_ok_and(|file| file.len() > 0) {
        return match known {
            None if log => {
                let cause = format!(
                    "the file is gone, and its log, {}, is there: restore a backup (`mizan restore`), or put the log away to begin anew",
                    beside(database, "-wal").display()
                );
                Err(OpenError::at(database.display(), cause))
            }
            Some(known) if known.acknowledged > 0 => {
                Err(OpenError::lost(database, Loss::Missing(known.acknowledged)))
            }
            _ => Ok(()),
        };
    }
    let broken = |error: rusqlite::Error| OpenError::file(database, &error);
    let without = without_log(database).map_err(broken)?;
    let alone = match stamp::read(&without) {
        Ok(stamp) => Some(stamp),
        // What a checkpoint was killed in the middle of is whole only with its log.
        Err(error) if log && is_damage(&error) => None,
        Err(error) => return Err(broken(error)),
    };
    // Where there is no log, nothing is made by looking for one.
    let connection = if log {
        with_log(database).map_err(broken)?
    } else {
        without
    };
    let found = Found {
        known,
        alone,
        whole: stamp::read(&connection).map_err(broken)?,
        log,
    };
    let stamp = found
        .whole
        .as_ref()
        .or(found.alone.as_ref().and_then(Option::as_ref));
    is_of_its_name(stamp, database)?;
    judge(&found).map_err(|loss| OpenError::lost(database, loss))?;
    quick_check(&connection, database)
}

/// Refuses another service's file under this one's name: it would be served as an empty one.
fn is_of_its_name(stamp: Option<&Stamp>, file: &Path) -> Result<(), OpenError> {
    let name = stamp::kind(file);
    match stamp.filter(|stamp| stamp.holds != name) {
        Some(stamp) => Err(OpenError::at(
            file.display(),
            format!("it is a file of {:?}, not of {name:?}", stamp.holds),
        )),
        None => Ok(()),
    }
}

/// What lies in a folder for as long as files are put back into it: until the last of them is in
/// place, those that are there do not belong together.
pub(crate) fn mark(folder: &Path) -> PathBuf {
    folder.join("restore-unfinished")
}

/// Refuses a copy that is damaged, or not whole by itself; changes nothing, not even beside it.
pub(crate) fn copy(copy: &Path) -> Result<(), OpenError> {
    let log = beside(copy, "-wal");
    if fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
        let cause = format!("it has a log, {}, and is no backup", log.display());
        return Err(OpenError::at(copy.display(), cause));
    }
    let failed = |error: rusqlite::Error| OpenError::file(copy, &error);
    let connection = without_log(copy).map_err(failed)?;
    let Some(stamp) = stamp::read(&connection).map_err(failed)? else {
        let cause = "it is no backup: Mizan has not written it";
        return Err(OpenError::at(copy.display(), cause));
    };
    is_of_its_name(Some(&stamp), copy)?;
    quick_check(&connection, copy)
}

/// Refuses a file whose pages do not fit together.
pub(crate) fn quick_check(connection: &Connection, database: &Path) -> Result<(), OpenError> {
    let said: rusqlite::Result<String> =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
    match said {
        Ok(said) if said == "ok" => Ok(()),
        Ok(said) => Err(OpenError::damaged(database, &said)),
        Err(error) => Err(OpenError::file(database, &error)),
    }
}

/// The main file alone, as if there were no log.
fn without_log(database: &Path) -> rusqlite::Result<Connection> {
    let name = percent_encode(database.as_os_str().as_encoded_bytes(), NAME);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(format!("file:{name}?immutable=1"), flags)
}

/// A connection that leaves the file and its log as they are, also when it is closed.
fn with_log(database: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(database, flags)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// Whether anybody has the file open, as far as SQLite knows. A file that cannot be read is open to
/// nobody: it may be replaced.
pub(crate) fn is_open(database: &Path) -> bool {
    let look = || {
        let connection = with_log(database)?;
        connection.busy_timeout(Duration::ZERO)?;
        // In this mode a file in WAL is locked as a whole, and every other connection holds a lock.
        connection.pragma_update(None, "locking_mode", "exclusive")?;
        stamp::read(&connection).map(drop)
    };
    let looked: rusqlite::Result<()> = look();
    looked.is_err_and(|error| {
        let code = error.sqlite_error_code();
        matches!(
            code,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
        )
    })
}

pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(life: char, commits: u64) -> Option<Stamp> {
        Some(Stamp {
            life: life.to_string(),
            commits,
            holds: "a".to_owned(),
        })
    }

    fn known(life: char, acknowledged: u64, floor: u64) -> Option<Known> {
        Some(Known {
            life: life.to_string(),
            acknowledged,
            floor,
        })
    }

    fn judged(
        known: Option<Known>,
        alone: Option<Stamp>,
        whole: Option<Stamp>,
    ) -> Result<(), Loss> {
        judge(&Found {
            known,
            alone: Some(alone),
            whole,
            log: true,
        })
    }

    #[test]
    fn what_holds_all_that_was_acknowledged_is_opened() {
        // Killed between the commit and the note; and after it.
        assert_eq!(
            judged(known('a', 6, 3), stamp('a', 4), stamp('a', 7)),
            Ok(())
        );
        assert_eq!(
            judged(known('a', 7, 7), stamp('a', 7), stamp('a', 7)),
            Ok(())
        );
        // No anchor; a file of an earlier version; one whose first commit is in the log alone.
        assert_eq!(judged(None, stamp('a', 7), stamp('a', 7)), Ok(()));
        assert_eq!(judged(None, None, None), Ok(()));
        assert_eq!(judged(known('a', 2, 0), None, stamp('a', 2)), Ok(()));
    }

    #[test]
    fn a_tail_that_is_gone_is_counted() {
        let lost = judged(known('a', 9, 3), stamp('a', 4), stamp('a', 7));
        assert_eq!(lost, Err(Loss::Tail(2)));
        assert_eq!(judged(known('a', 5, 0), None, None), Err(Loss::Tail(5)));
    }

    #[test]
    fn another_or_an_older_file_is_told() {
        let replaced = Err(Loss::Replaced { log: true });
        let older = judged(known('a', 9, 5), stamp('a', 4), stamp('a', 9));
        assert_eq!(older, replaced);
        let other = judged(known('a', 9, 5), stamp('b', 9), stamp('b', 9));
        assert_eq!(other, replaced);
        // An earlier version's, or another's with a log of this one's.
        assert_eq!(judged(known('a', 9, 5), None, stamp('a', 9)), replaced);
        assert_eq!(judged(None, stamp('b', 1), stamp('a', 9)), replaced);
        assert_eq!(judged(None, stamp('b', 1), None), replaced);
    }

    #[test]
    fn a_file_that_needs_its_log_to_be_read_is_judged_with_it() {
        let judged = |whole| {
            judge(&Found {
                known: known('a', 9, 5),
                alone: None,
                whole,
                log: true,
            })
        };
        assert_eq!(judged(stamp('a', 9)), Ok(()));
        assert_eq!(judged(stamp('a', 7)), Err(Loss::Tail(2)));
    }

    #[test]
    fn a_log_that_would_take_the_file_back_is_told_with_or_without_an_anchor() {
        let backwards = |whole| Err(Loss::Backwards { by: 3, whole });
        assert_eq!(judged(None, stamp('a', 9), stamp('a', 6)), backwards(false));
        let later = judged(known('a', 11, 9), stamp('a', 9), stamp('a', 6));
        assert_eq!(later, backwards(false));
        let all = judged(known('a', 9, 9), stamp('a', 9), stamp('a', 6));
        assert_eq!(all, backwards(true));
    }
}
