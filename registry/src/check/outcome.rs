//! What one run of a check found.

use std::{io, sync::Arc};

use crate::catalogue::Status;

/// A status and its words; or none, when the registry itself could not look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Never maintenance.
    pub(crate) status: Result<Status, Trouble>,
    /// For people.
    pub(crate) output: String,
}

impl Outcome {
    /// All is well.
    pub(crate) fn passing(output: impl Into<String>) -> Self {
        Self::new(Status::Passing, output)
    }

    /// A status and its words.
    pub(crate) fn new(status: Status, output: impl Into<String>) -> Self {
        Self {
            status: Ok(status),
            output: output.into(),
        }
    }
}

impl From<Fault> for Outcome {
    fn from(fault: Fault) -> Self {
        Self {
            status: fault.trouble.map_or(Ok(Status::Critical), Err),
            output: fault.reason,
        }
    }
}

/// What the registry itself lacks. It says nothing about who was to be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Trouble {
    /// Open files.
    Files,
    /// Memory, the system's buffers included.
    Memory,
    /// Ports of its own to connect from.
    Ports,
    /// Anybody who answers questions about names.
    Names,
    /// The roots by which certificates are verified.
    Roots,
}

impl Trouble {
    /// All of them.
    pub(crate) const ALL: [Self; 5] = [
        Self::Files,
        Self::Memory,
        Self::Ports,
        Self::Names,
        Self::Roots,
    ];

    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Memory => "memory",
            Self::Ports => "ports",
            Self::Names => "names",
            Self::Roots => "roots",
        }
    }

    /// The trouble that an error of the system is, if it is one.
    pub(crate) fn of(error: &io::Error) -> Option<Self> {
        use rustix::io::Errno;
        let code = error.raw_os_error().map(Errno::from_raw_os_error);
        match code {
            Some(Errno::MFILE | Errno::NFILE) => Some(Self::Files),
            Some(Errno::NOMEM | Errno::NOBUFS) => Some(Self::Memory),
            // What connect answers when every port of ours is in use, by whichever way.
            Some(Errno::ADDRNOTAVAIL | Errno::ADDRINUSE | Errno::AGAIN) => Some(Self::Ports),
            _ if error.kind() == io::ErrorKind::OutOfMemory => Some(Self::Memory),
            _ => {
                let inner = error.get_ref()?;
                inner.downcast_ref::<Arc<io::Error>>().map_or_else(
                    || inner.downcast_ref::<io::Error>().and_then(Self::of),
                    |inner| Self::of(inner),
                )
            }
        }
    }
}

/// Why a run did not end well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct Fault {
    /// Whether it is the registry's own.
    pub(crate) trouble: Option<Trouble>,
    pub(crate) reason: String,
}

impl Fault {
    /// The registry's own trouble.
    pub(crate) fn own(trouble: Trouble, reason: impl Into<String>) -> Self {
        Self {
            trouble: Some(trouble),
            reason: reason.into(),
        }
    }

    /// The same, said behind this.
    pub(crate) fn behind(self, before: &str) -> Self {
        Self {
            reason: format!("{before}{}", self.reason),
            ..self
        }
    }

    /// Of an error of the system.
    pub(crate) fn of(error: &io::Error) -> Self {
        let fault = error.get_ref().and_then(|inner| inner.downcast_ref());
        fault.cloned().unwrap_or_else(|| Self {
            trouble: Trouble::of(error),
            reason: super::reason::readable(&error.to_string()),
        })
    }
}

impl From<String> for Fault {
    fn from(reason: String) -> Self {
        Self {
            trouble: None,
            reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_registry_lacks_is_told_from_what_the_other_does() {
        for (code, trouble) in [
            (24, Some(Trouble::Files)),
            (23, Some(Trouble::Files)),
            (12, Some(Trouble::Memory)),
            (105, Some(Trouble::Memory)),
            (99, Some(Trouble::Ports)),
            (11, Some(Trouble::Ports)),
            // Refused, reset, timed out, no route: of the other, or of the way there.
            (111, None),
            (104, None),
            (110, None),
            (113, None),
        ] {
            let error = io::Error::from_raw_os_error(code);
            assert_eq!(Fault::of(&error).trouble, trouble, "{error}");
            // Also when it comes wrapped.
            let fault = Fault::of(&error);
            let wrapped = io::Error::other(fault.clone());
            assert_eq!(Fault::of(&wrapped), fault);
            let nested = io::Error::other(error);
            assert_eq!(Fault::of(&nested).trouble, trouble, "{nested}");
        }
    }
}
