//! Why a call on the store did not go through.

use store::{Unavailable, rusqlite};

use crate::domain::Refusal;

/// Why a call on the store did not go through. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read or written now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The state machine refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// There is no such invoice.
    #[error("no such invoice")]
    NotFound,
    /// The etag is not the current one.
    #[error("the invoice has changed")]
    EtagMismatch,
    /// The request id was used for another request: this one.
    #[error("the request id was used for another request")]
    RequestIdReused(Vec<u8>),
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::Unavailable(error.into())
    }
}
