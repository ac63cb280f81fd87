//! What can go wrong with the payments' store.

use store::Unavailable;

use super::rows::Damaged;

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It cannot be read or written now. What was to be written may be kept, if a server was lost
    /// while it committed.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// A row says what no payment can: it was changed by something else.
    #[error(transparent)]
    Damaged(#[from] Damaged),
}
