//! A connection that writes, and the care around each commit.
//!
//! Every group passes here on its way to the disk: it is counted within its transaction, and noted
//! in the anchor once it is durable. The log is copied into the file when it has grown, and when the
//! writer has nothing to do: so it is short-lived, and mostly empty when a process dies.

use std::{
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode};

use crate::{
    OpenError, Unavailable,
    anchor::{self, Anchor, slot::Known},
    check, migrate, open, stamp,
};

/// After how many pages (of 4 KiB) the log is copied into the file, when the callers of the group
/// that made it so long have been answered. A page that changes often is copied once, however often
/// it changed: SQLite's own 1000 copies four times as much.
const CHECKPOINT_PAGES: i32 = 4000;

/// How long nothing comes before the log is copied into the file: well above the pauses between
/// groups of somebody busy.
const QUIET: Duration = Duration::from_secs(1);

/// The same when the last copy is `RARELY` ago: some services write every second, and have no longer
/// pauses.
const QUIET_AT_LAST: Duration = Duration::from_millis(100);
const RARELY: Duration = Duration::from_secs(5);

/// What writes to a file.
#[derive(Debug)]
pub(crate) struct Keeper {
    connection: Connection,
    path: PathBuf,
    /// Device and number of the file, by which it is known to be still the one at the path.
    file: (u64, u64),
    anchor: Arc<Anchor>,
    /// What is known of the file; nothing for a file of an earlier version that may only be read.
    known: Option<Known>,
    /// How long the log was after the last commit, in pages.
    log: Arc<AtomicI32>,
    /// SQLite's count of changes when the transaction began: one that changed nothing is no commit.
    changes: u64,
    /// Whether there is something in the log that may not be in the file.
    behind: bool,
    copied: Instant,
}

impl Keeper {
    /// Opens a file, making it and its folder when they are missing; checks it, if nobody else has
    /// it; and brings it to the current version.
    pub(crate) fn open(path: &Path, migrations: &[&str]) -> Result<(Self, Arc<Anchor>), OpenError> {
        if let Some(folder) = path.parent() {
            anchor::make_folder(folder).map_err(|e| OpenError::folder(folder, e))?;
        }
        let anchor = Anchor::hold(path, |anchor| check::run(path, anchor))?;
        make(path).map_err(|e| OpenError::folder(path, e))?;
        let file = identity(path).map_err(|e| OpenError::folder(path, e))?;
        let failed = |error: rusqlite::Error| OpenError::file(path, &error);
        let mut connection = open::writable(path).map_err(failed)?;
        let begun = stamp::begin(&connection, &stamp::kind(path)).map_err(failed)?;
        let (known, made) = match begun {
            Some((stamp, made)) => (Some(know(path, &anchor, stamp)?), made),
            None => (None, false),
        };
        migrate::run(&mut connection, migrations).map_err(failed)?;
        let log = Arc::new(AtomicI32::new(0));
        let length = Arc::clone(&log);
        connection
            .wal_hook(Some(move |_: &mut _, pages| {
                length.store(pages, Ordering::Relaxed);
                Ok(())
            }))
            .map_err(failed)?;
        let anchor = Arc::new(anchor);
        let mut keeper = Self {
            connection,
            path: path.to_owned(),
            file,
            anchor: Arc::clone(&anchor),
            known,
            log,
            changes: 0,
            behind: true,
            copied: Instant::now(),
        };
        if made {
            // From its first commit on, the file itself says which one it is.
            keeper.copy_log();
        }
        Ok((keeper, anchor))
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Begins a transaction.
    pub(crate) fn begin(&mut self) -> Result<(), Unavailable> {
        // IMMEDIATE: waits here, not in the middle, for another process that shares the file.
        execute(&self.connection, "BEGIN IMMEDIATE")?;
        self.changes = self.connection.total_changes();
        Ok(())
    }

    /// Commits what changed anything, counts it, and notes that it is durable. Callers may be told.
    pub(crate) fn commit(&mut self) -> Result<(), Unavailable> {
        let changed = self.connection.total_changes() != self.changes;
        let commit = if changed && self.known.is_some() {
            Some(stamp::raise(&self.connection)?)
        } else {
            None
        };
        self.is_there()?;
        execute(&self.connection, "COMMIT")?;
        self.behind |= changed;
        if let (Some(commit), Some(known)) = (commit, &mut self.known) {
            known.acknowledged = commit;
            self.anchor.note(known);
        }
        Ok(())
    }

    /// Undoes what was begun, if SQLite has not done so itself.
    pub(crate) fn undo(&self) {
        if !self.connection.is_autocommit() {
            // If even this fails, the next BEGIN does too, and its callers are told.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }

    /// Copies the log into the file when it has grown long.
    pub(crate) fn answered(&mut self) {
        if self.log.load(Ordering::Relaxed) >= CHECKPOINT_PAGES {
            self.copy_log();
        }
    }

    /// How long nothing has to come before [`Keeper::quiet`]; for ever, if there is nothing to do.
    pub(crate) fn patience(&self) -> Option<Duration> {
        let lately = self.copied.elapsed() < RARELY;
        self.behind
            .then_some(if lately { QUIET } else { QUIET_AT_LAST })
    }

    /// Nobody waits: the log is copied into the file, and what was noted is made durable.
    pub(crate) fn quiet(&mut self) {
        if self.copy_log() {
            self.empty_log();
        }
        self.anchor.sync();
        self.copied = Instant::now();
    }

    /// The last act: the log is copied, and one file remains if no other process has it. `leave`
    /// says that nothing of this process reads any more.
    pub(crate) fn close(mut self, leave: bool) {
        self.quiet();
        let Self {
            connection,
            anchor,
            path,
            ..
        } = self;
        if let Err((_, error)) = connection.close() {
            let path = path.display();
            tracing::warn!(%error, %path, "the file is not closed in order");
        }
        if !leave {
            return;
        }
        // Of two that close at once, SQLite may take neither for the last. Here one is, at least.
        let log = || std::fs::metadata(anchor::beside(&path, "-wal"));
        if anchor.leave()
            && log().is_ok_and(|log| log.len() > 0)
            && let Err(error) = open::writable(&path)
        {
            let path = path.display();
            tracing::warn!(%error, %path, "the file's log stays beside it");
        }
        // Handles that live on keep the anchor open, and nothing else.
        anchor.release();
    }

    /// Copies what is in the log into the file, without making anybody wait. Says whether that is
    /// all of it; then the file is whole without its log, and the anchor says so.
    /// Whether the open file is still the one at its path: what is written to one that was removed or
    /// replaced is gone with the process.
    fn is_there(&self) -> Result<(), Unavailable> {
        if identity(&self.path).is_ok_and(|file| file == self.file) {
            return Ok(());
        }
        let path = self.path.display();
        Err(Unavailable::damaged(format!(
            "{path} was removed or replaced while it is in use: stop this process, and restore a backup \
             (`mizan restore`)"
        )))
    }

    fn copy_log(&mut self) -> bool {
        match self.try_to_copy_log() {
            Ok(complete) => {
                self.behind &= !complete;
                complete
            }
            Err(error) => {
                if error.sqlite_error_code() != Some(ErrorCode::ReadOnly) {
                    tracing::warn!(%error, "the log cannot be copied into the file");
                }
                // Until there is something new: a full disk is not asked again every second.
                self.behind = false;
                false
            }
        }
    }

    fn try_to_copy_log(&mut self) -> rusqlite::Result<bool> {
        // Of before: other processes may commit while this goes on.
        let held = stamp::read(&self.connection)?;
        let complete = checkpoint(&self.connection, "PASSIVE")?;
        if let (true, Some(held), Some(known)) = (complete, held, &mut self.known) {
            known.acknowledged = known.acknowledged.max(held.commits);
            known.floor = known.floor.max(held.commits);
            self.anchor.note(known);
        }
        Ok(complete)
    }

    /// Cuts a log that was copied, unless somebody reads or writes right now.
    fn empty_log(&mut self) {
        let emptied = self
            .connection
            .busy_handler(None::<fn(i32) -> bool>)
            .and_then(|()| checkpoint(&self.connection, "TRUNCATE"));
        let waits = open::wait_for_others(&mut self.connection);
        if let Err(error) = emptied.and(waits) {
            tracing::debug!(%error, "the log is not cut");
        }
        self.log.store(0, Ordering::Relaxed);
    }
}

/// What is known of a file that was just opened: its anchor is begun, if it has none.
fn know(path: &Path, anchor: &Anchor, stamp: stamp::Stamp) -> Result<Known, OpenError> {
    let held = Known {
        life: stamp.life,
        acknowledged: stamp.commits,
        floor: 0,
    };
    match anchor.read()? {
        Some(known) if known.life == held.life => Ok(held.and(&known)),
        // Only while others have the file, who checked it: somebody put another one in its place.
        Some(_) => Err(OpenError::lost(path, check::Loss::Replaced { log: true })),
        None => {
            if held.acknowledged > 0 {
                tracing::warn!(path = %path.display(),
                    "no anchor lies beside the file: whether all that was acknowledged is in it \
                     cannot be told, and is taken to be so");
            }
            anchor.begin(&held)?;
            Ok(held)
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let file = std::fs::metadata(path)?;
    Ok((file.dev(), file.ino()))
}

/// Makes a new file for its owner alone; SQLite gives its companions the same mode.
fn make(path: &Path) -> io::Result<()> {
    match path.try_exists() {
        Ok(true) => Ok(()),
        _ => anchor::open_own(path).map(drop),
    }
}

/// Copies the log into the file; says whether that is all of it.
fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<bool> {
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    connection.query_row(&sql, [], |row| {
        let (busy, log, copied): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(busy == 0 && log == copied)
    })
}

pub(crate) fn execute(connection: &Connection, sql: &str) -> Result<(), Unavailable> {
    connection.prepare_cached(sql)?.execute([])?;
    Ok(())
}
