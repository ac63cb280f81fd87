//! What can go wrong with the payments' file.

use store::{Unavailable, rusqlite};

/// Why the file did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It cannot be read or written now; nothing was kept.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// A row says what no payment can: the file was changed by something else.
    #[error("payment {0} cannot be read from the store")]
    Damaged(String),
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::Unavailable(error.into())
    }
}
