//! Why a call on the store did not go through.

use store::Unavailable;

use crate::domain;

/// Why a call on the store did not go through. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store cannot be read or written now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// What was asked cannot be done.
    #[error(transparent)]
    Refused(#[from] domain::Error),
}
