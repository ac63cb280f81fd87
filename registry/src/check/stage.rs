//! How far a run came: what to tell when it took too long.

use std::sync::atomic::{AtomicU8, Ordering};

/// What a run waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Wait {
    /// For the addresses of a name.
    Names,
    /// For a connection.
    Connection,
    /// For TLS to be agreed on.
    Tls,
    /// For an answer to begin: HTTP's headers, or gRPC's message.
    Answer,
    /// For the rest of the answer.
    Body,
}

/// How far one run is. It is dropped midway when it took too long, so this is beside it.
#[derive(Debug, Default)]
pub(crate) struct Stage(AtomicU8);

impl Stage {
    /// From now on it waits for this.
    pub(crate) fn wait(&self, wait: Wait) {
        self.0.store(wait as u8, Ordering::Relaxed);
    }

    /// What it waits for.
    pub(crate) fn now(&self) -> Wait {
        match self.0.load(Ordering::Relaxed) {
            0 => Wait::Names,
            1 => Wait::Connection,
            2 => Wait::Tls,
            3 => Wait::Answer,
            _ => Wait::Body,
        }
    }
}

impl Wait {
    /// In words, behind "timed out after 2s".
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Names => "in the look-up of its name",
            Self::Connection => "connecting",
            Self::Tls => "agreeing on TLS",
            Self::Answer => "waiting for the headers of its answer",
            Self::Body => "reading the body of its answer",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_where_it_was_said_to_be() {
        let stage = Stage::default();
        assert_eq!(stage.now(), Wait::Names);
        for wait in [
            Wait::Body,
            Wait::Names,
            Wait::Connection,
            Wait::Tls,
            Wait::Answer,
        ] {
            stage.wait(wait);
            assert_eq!(stage.now(), wait);
        }
    }
}
