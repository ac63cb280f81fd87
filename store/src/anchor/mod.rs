//! What was acknowledged, kept apart from the file and its log.
//!
//! *Problem.* SQLite reads its log up to the first frame that does not fit and takes the rest for a
//! commit that never came to its end. So when a byte of the log flips, or the log is cut or deleted,
//! commits that callers were told of are gone, and nothing says so.
//!
//! *What it does.* Beside each file, `NAME.db`, lies a page of plain slots, `NAME.db-anchor`. After
//! each commit, and before its callers are answered, the writer notes there how far commits have been
//! counted; the same number is a row of the file ([`stamp`](crate::stamp)), raised within each
//! commit. Who opens the file compares the two ([`check`](crate::check)). The page is not synced for
//! each commit: the log is, so a crash of the machine leaves an anchor that claims less than there is
//! and never more; and what a process wrote outlives its death.
//!
//! The same file is the lock by which processes know of each other: shared for as long as somebody
//! has the file open, exclusive while it is checked, copied back, or left by the last one. Nobody has
//! a connection open who does not hold it.

pub(crate) mod slot;

use std::{
    ffi::OsString,
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{OpenError, inline};

use self::slot::{Known, LENGTH, SLOT};

/// How long one process waits for another that checks the file. A check reads all of it, a gigabyte
/// in some seconds; after this it is taken for hung.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(5);

/// Only the owner reads what a store keeps.
const MODE: u32 = 0o600;

/// The file of this name beside a database.
pub(crate) fn beside(database: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(database);
    name.push(ending);
    name.into()
}

/// Makes a folder, and those above it, for the owner alone.
pub(crate) fn make_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

/// Opens a file for reading and writing, making it, for the owner alone, when it is missing.
pub(crate) fn open_own(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(MODE)
        .open(path)
}

/// An open anchor, and the lock on it.
#[derive(Debug)]
pub(crate) struct Anchor {
    file: File,
    path: PathBuf,
    database: PathBuf,
    /// Whether the last write failed: said once, not for each commit.
    failing: AtomicBool,
}

impl Anchor {
    /// Opens the anchor beside a database and waits for its lock. Who is alone, with no other
    /// process that has the file, does `check` before anybody else may come.
    pub(crate) fn hold(
        database: &Path,
        check: impl FnOnce(&Self) -> Result<(), OpenError>,
    ) -> Result<Self, OpenError> {
        let anchor = Self::open(database)?;
        let alone = anchor.wait(|file| {
            if let Held::Mine = Held::of(file.try_lock())? {
                return Ok(Some(true));
            }
            // Not alone: somebody else has checked it, unless he still does.
            let shared = Held::of(file.try_lock_shared())?;
            Ok(matches!(shared, Held::Mine).then_some(false))
        })?;
        if alone {
            check(&anchor)?;
            // Another may come in between and check it too; nothing is open here that this touches.
            anchor.file.unlock().map_err(|e| anchor.failed(e))?;
            anchor.wait(|file| {
                let shared = Held::of(file.try_lock_shared())?;
                Ok(matches!(shared, Held::Mine).then_some(()))
            })?;
        }
        Ok(anchor)
    }

    /// Opens the anchor and takes the file for this process alone, if nobody has it.
    pub(crate) fn alone(database: &Path) -> Result<Option<Self>, OpenError> {
        let anchor = Self::open(database)?;
        let held = Held::of(anchor.file.try_lock()).map_err(|e| anchor.failed(e))?;
        Ok(matches!(held, Held::Mine).then_some(anchor))
    }

    fn open(database: &Path) -> Result<Self, OpenError> {
        let path = beside(database, "-anchor");
        let file = open_own(&path).map_err(|e| OpenError::folder(&path, e))?;
        Ok(Self {
            file,
            path,
            database: database.to_owned(),
            failing: AtomicBool::new(false),
        })
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "files are opened on a blocking thread, never on a runtime worker; and in a \
                  simulation nobody holds a lock while another runs"
    )]
    fn wait<T>(&self, attempt: impl Fn(&File) -> io::Result<Option<T>>) -> Result<T, OpenError> {
        let began = Instant::now();
        loop {
            if let Some(held) = attempt(&self.file).map_err(|e| self.failed(e))? {
                return Ok(held);
            }
            if began.elapsed() > WAIT_MAX {
                return Err(OpenError::at(
                    self.database.display(),
                    "another process is checking or restoring it, and comes to no end",
                ));
            }
            thread::sleep(PAUSE);
        }
    }

    /// Gives the lock back and says whether nobody else has the file: then it is held alone. For
    /// the last act of one who has closed all that he had open.
    pub(crate) fn leave(&self) -> bool {
        self.file.unlock().is_ok() && matches!(Held::of(self.file.try_lock()), Ok(Held::Mine))
    }

    /// Gives the lock back.
    pub(crate) fn release(&self) {
        if let Err(error) = self.file.unlock() {
            let path = self.path.display();
            tracing::warn!(%error, %path, "the lock cannot be given back");
        }
    }

    /// Forgets what was noted: another file comes in place of this one.
    pub(crate) fn clear(&self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.sync_all()
    }

    /// What the anchor says, if anything was ever noted.
    pub(crate) fn read(&self) -> Result<Option<Known>, OpenError> {
        let mut bytes = vec![0; LENGTH];
        let mut held = 0;
        while let Some(rest) = bytes.get_mut(held..).filter(|rest| !rest.is_empty()) {
            let at = u64::try_from(held).unwrap_or(u64::MAX);
            match self.file.read_at(rest, at) {
                Ok(0) => break,
                Ok(read) => held += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
        slot::read(&bytes).map_err(|_| OpenError::anchor_damaged(&self.database))
    }

    /// Begins an anchor: what it says from now on outlives a power cut.
    pub(crate) fn begin(&self, known: &Known) -> Result<(), OpenError> {
        self.file
            .set_len(u64::try_from(LENGTH).unwrap_or(0))
            .and_then(|()| self.write(known))
            .map_err(|e| self.failed(e))?;
        if inline::here() {
            return Ok(());
        }
        self.file.sync_all().map_err(|e| self.failed(e))?;
        match self.path.parent() {
            Some(folder) => sync_folder(folder).map_err(|e| OpenError::folder(folder, e)),
            None => Ok(()),
        }
    }

    /// Notes what is known; never lowers what a slot says already. A failure is logged and is
    /// nobody's: what was committed is durable, and only the check of the next start is weaker.
    pub(crate) fn note(&self, known: &Known) {
        let failed = match self.write(known) {
            Ok(()) => {
                self.failing.store(false, Ordering::Relaxed);
                return;
            }
            Err(error) => error,
        };
        if !self.failing.swap(true, Ordering::Relaxed) {
            let path = self.path.display();
            tracing::warn!(error = %failed, %path, "what was acknowledged cannot be noted");
        }
    }

    fn write(&self, known: &Known) -> io::Result<()> {
        let place = u64::try_from(known.place()).unwrap_or(0);
        let mut slot = [0; SLOT];
        let there = match self.file.read_exact_at(&mut slot, place) {
            Ok(()) => Known::decode(&slot),
            Err(_) => None,
        };
        let new = match &there {
            Some(there) => known.clone().and(there),
            None => known.clone(),
        };
        if there.as_ref() == Some(&new) {
            return Ok(());
        }
        self.file.write_all_at(&new.encode(), place)
    }

    /// Makes durable what was noted.
    pub(crate) fn sync(&self) {
        if !inline::here()
            && let Err(error) = self.file.sync_data()
        {
            let path = self.path.display();
            tracing::warn!(%error, %path, "what was acknowledged cannot be synced");
        }
    }

    fn failed(&self, error: io::Error) -> OpenError {
        OpenError::folder(&self.path, error)
    }
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    let here = Path::new(".");
    let empty = folder.as_os_str().is_empty();
    File::open(if empty { here } else { folder })?.sync_all()
}

/// Who has a lock that was asked for.
enum Held {
    Mine,
    Others,
}

impl Held {
    fn of(asked: Result<(), TryLockError>) -> io::Result<Self> {
        match asked {
            Ok(()) => Ok(Self::Mine),
            Err(TryLockError::WouldBlock) => Ok(Self::Others),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(acknowledged: u64) -> Known {
        Known {
            life: "a".repeat(slot::LIFE),
            acknowledged,
            floor: 0,
        }
    }

    fn hold(database: &Path) -> Anchor {
        Anchor::hold(database, |_| Ok(())).unwrap()
    }

    #[test]
    fn a_slower_process_lowers_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("a.db");
        let (fast, slow) = (hold(&database), hold(&database));
        assert_eq!(fast.read().unwrap(), None);
        fast.begin(&known(0)).unwrap();
        for commit in 2..=66 {
            fast.note(&known(commit));
        }
        // The slots of these two are taken: by the 66th, and by the 65th.
        slow.note(&known(2));
        slow.note(&known(1));
        assert_eq!(slow.read().unwrap(), Some(known(66)));
        assert_eq!(fs_len(&database), u64::try_from(LENGTH).unwrap());
    }

    fn fs_len(database: &Path) -> u64 {
        let anchor = beside(database, "-anchor");
        std::fs::metadata(anchor).unwrap().len()
    }

    #[test]
    fn whoever_is_alone_checks_and_the_next_one_after_a_refusal_too() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("a.db");
        for _ in 0..2 {
            let refused = Anchor::hold(&database, |_| Err(OpenError::at("a.db", "no")));
            assert!(refused.unwrap_err().to_string().contains("no"));
        }
        let first = hold(&database);
        let second = Anchor::hold(&database, |_| panic!("is not alone")).unwrap();
        assert!(Anchor::alone(&database).unwrap().is_none());
        assert!(!first.leave());
        assert!(second.leave());
        second.release();
        assert!(Anchor::alone(&database).unwrap().is_some());
    }

    #[test]
    fn all_is_for_the_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("a/b");
        make_folder(&below).unwrap();
        let database = below.join("a.db");
        drop(hold(&database));
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&below), 0o700);
        assert_eq!(mode(&beside(&database, "-anchor")), 0o600);
    }
}
