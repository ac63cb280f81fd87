//! What one run of a check found.

use crate::catalogue::Status;

/// A status and its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Never maintenance.
    pub(crate) status: Status,
    /// For people.
    pub(crate) output: String,
}

impl Outcome {
    /// All is well.
    pub(crate) fn passing(output: impl Into<String>) -> Self {
        Self::new(Status::Passing, output)
    }

    /// It does not work, and why.
    pub(crate) fn critical(reason: impl Into<String>) -> Self {
        Self::new(Status::Critical, reason)
    }

    /// A status and its words.
    pub(crate) fn new(status: Status, output: impl Into<String>) -> Self {
        let output = output.into();
        Self { status, output }
    }
}
