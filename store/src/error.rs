//! What can go wrong with a file.

use std::{io, path::Path, sync::Arc};

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open {path}: {cause}")]
pub struct OpenError {
    path: String,
    cause: String,
}

impl OpenError {
    pub(crate) fn folder(path: &Path, cause: io::Error) -> Self {
        Self {
            path: path.display().to_string(),
            cause: cause.to_string(),
        }
    }

    pub(crate) fn file(path: &Path, cause: rusqlite::Error) -> Self {
        Self {
            path: path.display().to_string(),
            cause: cause.to_string(),
        }
    }
}

/// The file cannot be read or written now: full, locked, read-only, damaged. Nothing of the refused
/// work was kept. Shared by all callers of a failed commit.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the store is unavailable")]
pub struct Unavailable {
    #[source]
    cause: Option<Arc<rusqlite::Error>>,
}

impl Unavailable {
    pub(crate) fn stopped() -> Self {
        Self { cause: None }
    }
}

impl From<rusqlite::Error> for Unavailable {
    fn from(cause: rusqlite::Error) -> Self {
        Self {
            cause: Some(Arc::new(cause)),
        }
    }
}
