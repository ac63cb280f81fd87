//! Whether a call waits for its client.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};

use tokio::time::Instant;

/// How far the answer of a call has come. Its body writes it, and who carries the call reads it:
/// the body of an answer that its client does not read is not polled, so it cannot end itself.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Parts of the answer that were handed on.
    parts: AtomicUsize,
    /// Whether the last of them has not been followed by asking for another.
    waits: AtomicBool,
    /// When the caller stops waiting.
    deadline: OnceLock<Instant>,
}

impl Progress {
    /// The caller stops waiting then.
    pub(super) fn until(&self, deadline: Instant) {
        // Said once, as the call begins.
        let _ = self.deadline.set(deadline);
    }

    /// When the caller stops waiting.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline.get().copied()
    }

    /// A part of the answer is handed on. The next one is asked for once this one may leave.
    pub(super) fn gave(&self) {
        self.parts.fetch_add(1, Relaxed);
        self.waits.store(true, Relaxed);
    }

    /// Another part was asked for, and there is none yet.
    pub(super) fn asked(&self) {
        self.waits.store(false, Relaxed);
    }

    /// While it waits for its client: how many parts there were, so that it can be seen to move.
    pub(super) fn waits_for_client(&self) -> Option<usize> {
        self.waits.load(Relaxed).then(|| self.parts.load(Relaxed))
    }
}
