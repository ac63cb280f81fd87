//! Copies of files, while services go on, and putting them back.
//!
//! A copy made with `cp` while a file is in use may be of no moment at all, and one of the file
//! without its log lacks what is in the log. Here SQLite copies: what the file and its log hold at
//! one moment, as one whole file. The copy lives on its own: by its life it is told from the file it
//! was made of, and what is acknowledged in one is not missed in the other.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use rusqlite::{
    Connection, OpenFlags,
    backup::{Backup, StepResult},
};

use crate::{
    OpenError,
    anchor::{self, Anchor, beside},
    check, open, stamp,
};

/// What lies beside a file and is of no use without it, in the order in which it is put away.
const COMPANIONS: [&str; 2] = ["-wal", "-shm"];

/// Makes a folder, and those above it, for the owner alone.
///
/// # Errors
/// What the system said.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    anchor::make_folder(folder)
}

/// Marks a folder as one into which files are being put back: no store in it opens until
/// [`unmark_folder`].
///
/// # Errors
/// What the system said.
pub fn mark_folder(folder: &Path) -> io::Result<()> {
    anchor::open_own(&check::mark(folder))?.sync_all()?;
    sync_folder(folder)
}

/// All files are in place, or all are back where they were.
///
/// # Errors
/// What the system said.
pub fn unmark_folder(folder: &Path) -> io::Result<()> {
    fs::remove_file(check::mark(folder))?;
    sync_folder(folder)
}

/// Whether a file that is not there was once, so that it is missing.
#[must_use]
pub fn is_missing(file: &Path) -> bool {
    let anchor = fs::metadata(beside(file, "-anchor"));
    !file.exists() && anchor.is_ok_and(|anchor| anchor.len() > 0)
}

/// Makes durable which files are in a folder.
///
/// # Errors
/// What the system said.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    anchor::sync_folder(folder)
}

/// Copies a file that others may be using, to a place where nothing is yet. The file is checked
/// first if nobody else has it, and the copy always.
///
/// # Errors
/// [`OpenError`]: of the file, when it is damaged or lacks what was acknowledged; or of the copy.
pub fn copy(file: &Path, to: &Path) -> Result<(), OpenError> {
    // As one who has the file open: nobody puts another in its place meanwhile.
    let _held = Anchor::hold(file, |anchor| check::run(file, anchor))?;
    let failed = |error: rusqlite::Error| OpenError::file(file, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut source = Connection::open_with_flags(file, flags).map_err(failed)?;
    open::wait_for_others(&mut source).map_err(failed)?;

    let failed = |error: rusqlite::Error| OpenError::file(to, &error);
    let made = anchor::open_own(to).map_err(|e| OpenError::folder(to, e))?;
    let mut copy = Connection::open(to).map_err(failed)?;
    // It is synced as a whole at its end.
    copy.pragma_update(None, "synchronous", "off")
        .map_err(failed)?;
    // All pages in one step: of one moment, whoever writes.
    let all = Backup::new(&source, &mut copy)
        .and_then(|backup| backup.step(-1))
        .map_err(failed)?;
    if !matches!(all, StepResult::Done) {
        return Err(OpenError::at(file.display(), "it is locked by another"));
    }
    // One file, without a log.
    let mode = copy.pragma_update_and_check(None, "journal_mode", "delete", |row| {
        row.get::<_, String>(0)
    });
    mode.map_err(failed)?;
    stamp::begin_anew(&copy).map_err(failed)?;
    check::quick_check(&copy, to)?;
    copy.close().map_err(|(_, error)| failed(error))?;
    made.sync_all().map_err(|e| OpenError::folder(to, e))
}

/// Checks a copy, and changes nothing: neither there nor beside it.
///
/// # Errors
/// [`OpenError`] says what is wrong with it.
pub fn check(copy: &Path) -> Result<(), OpenError> {
    check::copy(copy)
}

/// A file that this process has for itself: who wants to open it waits.
#[derive(Debug)]
pub struct Alone {
    file: PathBuf,
    anchor: Anchor,
    /// What was put aside: from where, and to where.
    aside: Vec<(PathBuf, PathBuf)>,
    /// Whether a copy lies beside the file; and whether it is in place.
    brought: bool,
    placed: bool,
}

impl Alone {
    /// Takes a file, which need not exist, if nobody has it open: no store, and nothing else that
    /// SQLite knows of, such as its shell or an earlier version of a service.
    ///
    /// # Errors
    /// [`OpenError`] when the lock beside it cannot be used.
    pub fn take(file: &Path) -> Result<Option<Self>, OpenError> {
        let anchor = Anchor::alone(file)?;
        Ok(anchor.filter(|_| !check::is_open(file)).map(|anchor| Self {
            file: file.to_owned(),
            anchor,
            aside: Vec::new(),
            brought: false,
            placed: false,
        }))
    }

    /// Whether there is anything that a copy would replace.
    #[must_use]
    pub fn is_there(&self) -> bool {
        ["", "-wal", "-anchor"].iter().any(|ending| {
            let file = beside(&self.file, ending);
            fs::metadata(file).is_ok_and(|file| file.len() > 0)
        })
    }

    /// Puts what is there into another folder.
    ///
    /// # Errors
    /// What the system said; [`Alone::undo`] puts it back.
    pub fn put_aside(&mut self, folder: &Path) -> io::Result<()> {
        let name = self.file.file_name().unwrap_or_default();
        // The file last: as long as it is there, so is its log.
        for ending in COMPANIONS.into_iter().rev().chain([""]) {
            let from = beside(&self.file, ending);
            let to = beside(&folder.join(name), ending);
            match fs::rename(&from, &to) {
                Ok(()) => self.aside.push((from, to)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        // The anchor stays, as the lock, until it is known how this ends. What it says goes along.
        if !self.aside.is_empty() {
            let ending = "-anchor";
            fs::copy(
                beside(&self.file, ending),
                beside(&folder.join(name), ending),
            )?;
        }
        Ok(())
    }

    /// Copies a file to beside where it is to be, and makes it durable.
    ///
    /// # Errors
    /// What the system said.
    pub fn bring(&mut self, copy: &Path) -> io::Result<()> {
        let mut made = anchor::open_own(&self.here())?;
        self.brought = true;
        made.set_len(0)?;
        io::copy(&mut File::open(copy)?, &mut made)?;
        made.sync_all()
    }

    /// Puts what was brought in place.
    ///
    /// # Errors
    /// What the system said; [`Alone::undo`] takes it away again.
    pub fn place(&mut self) -> io::Result<()> {
        fs::rename(self.here(), &self.file)?;
        (self.brought, self.placed) = (false, true);
        Ok(())
    }

    /// Forgets what was acknowledged in the file that was here: the one in its place is the file
    /// from now on.
    ///
    /// # Errors
    /// What the system said.
    pub fn settle(&self) -> io::Result<()> {
        self.anchor.clear()
    }

    /// Takes away what was brought and puts back what was put aside, as far as that can be done.
    ///
    /// # Errors
    /// The first that failed.
    pub fn undo(&mut self) -> io::Result<()> {
        if self.placed {
            fs::remove_file(&self.file)?;
            self.placed = false;
        }
        if self.brought {
            fs::remove_file(self.here())?;
            self.brought = false;
        }
        while let Some((from, to)) = self.aside.pop() {
            fs::rename(to, from)?;
        }
        Ok(())
    }

    /// Where a copy lies until it is put in place.
    fn here(&self) -> PathBuf {
        beside(&self.file, "-restoring")
    }
}
