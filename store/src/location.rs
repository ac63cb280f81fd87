//! Where a store is.

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// Where a service keeps its state.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// A SQLite file, made when missing, with its folder.
    File(PathBuf),
    /// PostgreSQL.
    Server {
        /// `postgres://user:password@host:port/database`; see [`postgres`](crate::postgres) for what
        /// is taken after `?`.
        url: String,
        /// The schema that the service's tables live in, made when missing: lower-case letters,
        /// digits and `_`.
        schema: String,
    },
}

impl Location {
    /// What services take from their settings: the schema on the server when a URL was given, and
    /// the file otherwise.
    #[must_use]
    pub fn new(url: Option<&str>, schema: &str, file: &Path) -> Self {
        match url {
            Some(url) => Self::Server {
                url: url.to_owned(),
                schema: schema.to_owned(),
            },
            None => Self::File(file.to_owned()),
        }
    }
}

/// Without the URL: there is a password in it.
impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Server { schema, .. } => f
                .debug_struct("Server")
                .field("schema", schema)
                .finish_non_exhaustive(),
        }
    }
}
