//! What checks say, and what they say together.

use serde::{Deserialize, Serialize};

/// Whether an instance is handed out. Ordered: of several, the greatest counts (Consul's
/// aggregation: maintenance over critical over warning over passing).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Status {
    /// It is.
    Passing,
    /// It works, with trouble: handed out to those who ask for more than passing ones.
    Warning,
    /// It does not work.
    Critical,
    /// Somebody took it out. No check says this.
    Maintenance,
}

impl Status {
    /// The word, as Consul writes it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Maintenance => "maintenance",
        }
    }

    /// What several say together; passing when there is none.
    pub(crate) fn worst(all: impl IntoIterator<Item = Self>) -> Self {
        all.into_iter().max().unwrap_or(Self::Passing)
    }
}
