//! What can go wrong with a store.

use std::{error::Error as _, io, path::Path, sync::Arc};

use rusqlite::ErrorCode;
use tokio_postgres::error::SqlState;

use crate::check::{self, Loss};

/// Why a store could not be opened. Names the file, or the server without the password.
#[derive(Debug, thiserror::Error)]
#[error("cannot open {place}: {cause}{}", remedy.as_deref().unwrap_or_default())]
pub struct OpenError {
    place: String,
    cause: String,
    /// What to do about it, when the file is not what was written.
    remedy: Option<String>,
}

impl OpenError {
    pub(crate) fn folder(path: &Path, cause: io::Error) -> Self {
        Self::at(path.display(), cause)
    }

    pub(crate) fn at(place: impl ToString, cause: impl ToString) -> Self {
        Self {
            place: place.to_string(),
            cause: cause.to_string(),
            remedy: None,
        }
    }

    /// What SQLite said: damage, or why the file cannot be used now.
    pub(crate) fn file(path: &Path, cause: &rusqlite::Error) -> Self {
        if check::is_damage(cause) {
            Self::damaged(path, &cause.to_string())
        } else {
            Self::at(path.display(), cause)
        }
    }

    /// The file's pages are not a database, or do not fit together.
    pub(crate) fn damaged(path: &Path, what: &str) -> Self {
        // Several lines of SQLite's are one of ours.
        let what: Vec<&str> = what.lines().collect();
        let cause = format!("it is damaged: {}", what.join(" "));
        Self::not_as_written(path, cause, "Restore a backup (`mizan restore`)")
    }

    /// The anchor says nothing.
    pub(crate) fn anchor_damaged(path: &Path) -> Self {
        let file = path.display();
        let cause = format!("{file}-anchor, which tells whether it is whole, is damaged");
        let remedy = format!(
            "Restore a backup (`mizan restore`); or, if {file} is known to be whole, remove \
             {file}-anchor"
        );
        Self::not_as_written(path, cause, &remedy)
    }

    /// The file is not what was acknowledged.
    pub(crate) fn lost(path: &Path, loss: Loss) -> Self {
        let file = path.display();
        let restore = "Restore a backup (`mizan restore`)";
        let (cause, remedy) = match loss {
            Loss::Missing(commits) => (
                format!("the file is gone, and {} in it", groups(commits, "were")),
                format!("{restore}; or, to begin anew, remove {file}-anchor"),
            ),
            Loss::Replaced { log: false } => (
                "it is not the file that was here: an older or another one was put in its place"
                    .to_owned(),
                format!(
                    "`mizan restore` puts a backup in place; or, to go on with this file and without \
                     what was acknowledged since, remove {file}-anchor"
                ),
            ),
            Loss::Replaced { log: true } => (
                format!(
                    "it is not the file that was here: an older or another one was put in its place, \
                     and a log that is not its own, {file}-wal, lies beside it"
                ),
                format!(
                    "`mizan restore` puts a backup in place; or, to go on with this file and without \
                     what was acknowledged since, remove {file}-anchor, {file}-wal and {file}-shm"
                ),
            ),
            Loss::Backwards { by, whole: true } => (
                format!(
                    "its log, {file}-wal, is damaged: with it, {} missing",
                    groups(by, "would be")
                ),
                format!(
                    "Everything that was acknowledged is in the file without its log: remove \
                     {file}-wal and {file}-shm"
                ),
            ),
            Loss::Backwards { by, whole: false } => (
                format!(
                    "its log, {file}-wal, is damaged: with it, {} missing, and without it the file \
                     may not be whole",
                    groups(by, "would be")
                ),
                restore.to_owned(),
            ),
            Loss::Tail(missing) => (
                format!(
                    "{} missing at its end: the log, {file}-wal, was damaged, cut or removed, or an \
                     older file was put in place",
                    groups(missing, "are")
                ),
                format!("{restore}; or, to go on without them, remove {file}-anchor"),
            ),
        };
        Self::not_as_written(path, cause, &remedy)
    }

    fn not_as_written(path: &Path, cause: String, remedy: &str) -> Self {
        Self {
            place: path.display().to_string(),
            cause,
            remedy: Some(format!(". Nothing was changed. {remedy}")),
        }
    }

    /// Whether the file is not what was written to it: trying again does not help, and the words say
    /// what does.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        self.remedy.is_some()
    }
}

/// So many groups of writes, which callers were told of.
fn groups(commits: u64, are: &str) -> String {
    let (groups, are) = match (commits, are) {
        (1, "are") => ("group", "is"),
        (1, "were") => ("group", "was"),
        (1, are) => ("group", are),
        (_, are) => ("groups", are),
    };
    match are {
        "was" | "were" => format!("{commits} {groups} of writes {are} acknowledged"),
        are => format!("{commits} acknowledged {groups} of writes {are}"),
    }
}

/// The store cannot be read or written now: full, locked, read-only, damaged, away. Nothing of the
/// refused work was kept, unless the connection to a server broke while it committed: then what
/// became of it is not known here, and the same request is to be made again. Shared by all callers
/// of a failed group.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the store is unavailable")]
pub struct Unavailable {
    #[source]
    cause: Arc<Cause>,
}

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error(transparent)]
    File(rusqlite::Error),
    #[error(transparent)]
    Server(tokio_postgres::Error),
    #[error("{0}")]
    Damaged(String),
    #[error("{0}")]
    Command(&'static str),
    #[error("{0}")]
    Store(&'static str),
}

impl Unavailable {
    /// For a row that does not hold what the service wrote: something else changed it. `what` is
    /// logged, and nobody's answer.
    #[must_use]
    pub fn damaged(what: impl Into<String>) -> Self {
        Cause::Damaged(what.into()).into()
    }

    /// The fault of one command, such as a panic.
    pub(crate) fn command(what: &'static str) -> Self {
        Cause::Command(what).into()
    }

    /// The fault of the store as a whole.
    pub(crate) fn store(what: &'static str) -> Self {
        Cause::Store(what).into()
    }

    pub(crate) fn stopped() -> Self {
        Self::store("the writer has stopped")
    }

    /// Whether what is kept cannot be what was written: trying again does not help, restoring does.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match &*self.cause {
            Cause::Damaged(_) => true,
            Cause::File(error) => {
                let corrupt = [ErrorCode::DatabaseCorrupt, ErrorCode::NotADatabase];
                let code = error.sqlite_error_code();
                code.is_some_and(|code| corrupt.contains(&code))
                    || matches!(
                        error,
                        rusqlite::Error::FromSqlConversionFailure(..)
                            | rusqlite::Error::IntegralValueOutOfRange(..)
                            | rusqlite::Error::InvalidColumnType(..)
                    )
            }
            Cause::Server(error) => error.code().is_some_and(|code| {
                [SqlState::DATA_CORRUPTED, SqlState::INDEX_CORRUPTED].contains(code)
            }),
            Cause::Command(_) | Cause::Store(_) => false,
        }
    }

    /// Whether one command of a group may have caused this, so that the others deserve a try of
    /// their own. What the storage itself says, full or locked or away, would only be said again.
    pub(crate) fn is_a_commands_doing(&self) -> bool {
        match &*self.cause {
            Cause::File(error) => !matches!(
                error.sqlite_error_code(),
                Some(
                    ErrorCode::DatabaseBusy
                        | ErrorCode::DatabaseLocked
                        | ErrorCode::DiskFull
                        | ErrorCode::SystemIoFailure
                        | ErrorCode::ReadOnly
                        | ErrorCode::DatabaseCorrupt
                        | ErrorCode::CannotOpen
                        | ErrorCode::NotADatabase
                        | ErrorCode::OutOfMemory
                        | ErrorCode::PermissionDenied
                        | ErrorCode::FileLockingProtocolFailed
                )
            ),
            Cause::Server(error) => match error.code() {
                // Cardinality, data, integrity, syntax or access, WITH CHECK, limits of a program,
                // RAISE in a function; and what follows one of these that was passed over.
                Some(code) => ["21", "22", "23", "25P02", "42", "44", "54", "P0"]
                    .iter()
                    .any(|class| code.code().starts_with(class)),
                // Not the server's word: a value that does not fit its column, or the connection.
                None => !is_of_the_connection(error),
            },
            Cause::Damaged(_) | Cause::Command(_) => true,
            Cause::Store(_) => false,
        }
    }

    /// Whether the server chose this transaction to give way to another: it may be tried again.
    pub(crate) fn is_a_conflict(&self) -> bool {
        self.code().is_some_and(|code| {
            [
                SqlState::T_R_SERIALIZATION_FAILURE,
                SqlState::T_R_DEADLOCK_DETECTED,
            ]
            .contains(code)
        })
    }

    /// Whether the session is of no more use though its connection stands: its prepared statements
    /// are of an older schema or gone, or its server has become a standby.
    pub(crate) fn spoils_the_session(&self) -> bool {
        self.code().is_some_and(|code| {
            [
                SqlState::FEATURE_NOT_SUPPORTED,
                SqlState::INVALID_SQL_STATEMENT_NAME,
                SqlState::READ_ONLY_SQL_TRANSACTION,
            ]
            .contains(code)
        })
    }

    fn code(&self) -> Option<&SqlState> {
        match &*self.cause {
            Cause::Server(error) => error.code(),
            Cause::File(_) | Cause::Damaged(_) | Cause::Command(_) | Cause::Store(_) => None,
        }
    }

    /// The cause and its causes, for the log.
    pub(crate) fn chain(&self) -> String {
        let mut said = Vec::new();
        let mut next = self.source();
        while let Some(error) = next {
            let text = error.to_string();
            if said.last() != Some(&text) {
                said.push(text);
            }
            next = error.source();
        }
        said.join(": ")
    }
}

fn is_of_the_connection(error: &tokio_postgres::Error) -> bool {
    error.is_closed() || error.source().is_some_and(|cause| cause.is::<io::Error>())
}

impl From<Cause> for Unavailable {
    fn from(cause: Cause) -> Self {
        Self {
            cause: Arc::new(cause),
        }
    }
}

impl From<rusqlite::Error> for Unavailable {
    fn from(cause: rusqlite::Error) -> Self {
        Cause::File(cause).into()
    }
}

impl From<tokio_postgres::Error> for Unavailable {
    fn from(cause: tokio_postgres::Error) -> Self {
        Cause::Server(cause).into()
    }
}
