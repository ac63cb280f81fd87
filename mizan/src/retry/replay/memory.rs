//! How much a channel may keep of the requests it might send again.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// The most that is kept of one request. 1 MiB: larger ones are sent once, which gRPC's own default
/// bound on messages, 4 MiB, makes rare.
const CALL_BYTES_MAX: usize = 1 << 20;

/// The most that is kept of all requests of a channel. 16 MiB: 16 of the largest, or a thousand of
/// an ordinary size.
const CHANNEL_BYTES_MAX: usize = 16 << 20;

/// Requests up to this size are not counted when they are there as a whole: the bytes are shared
/// with the transport, and a call costs as much beside them.
pub(super) const UNCOUNTED_MAX: usize = 4096;

/// What the calls of one channel keep together. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Memory(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    call_max: usize,
    // A count that orders nothing.
    left: AtomicUsize,
}

impl Memory {
    pub(crate) fn new(call_max: usize, channel_max: usize) -> Self {
        Self(Arc::new(Shared {
            call_max,
            left: AtomicUsize::new(channel_max),
        }))
    }

    /// Nothing taken yet, for one call.
    pub(super) fn share(&self) -> Share {
        Share {
            memory: self.clone(),
            bytes: 0,
        }
    }

    pub(super) fn call_max(&self) -> usize {
        self.0.call_max
    }

    #[cfg(test)]
    pub(crate) fn left(&self) -> usize {
        self.0.left.load(Relaxed)
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new(CALL_BYTES_MAX, CHANNEL_BYTES_MAX)
    }
}

/// What one call has taken; given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    memory: Memory,
    bytes: usize,
}

impl Share {
    /// Takes more, if the call and the channel have that much left.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let Some(total) = self.bytes.checked_add(bytes) else {
            return false;
        };
        if total > self.memory.0.call_max {
            return false;
        }
        let left = &self.memory.0.left;
        let taken = left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes));
        if taken.is_ok() {
            self.bytes = total;
        }
        taken.is_ok()
    }

    /// Gives some back.
    pub(super) fn give_back(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        if bytes > 0 {
            self.memory.0.left.fetch_add(bytes, Relaxed);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_and_a_channel_have_their_bounds_and_get_back_what_was_taken() {
        let memory = Memory::new(10, 15);
        let (mut first, mut second) = (memory.share(), memory.share());
        assert!(first.take(10));
        assert!(!first.take(1), "the call's bound");
        assert!(!second.take(6), "the channel's bound");
        assert!(second.take(5));
        assert_eq!(memory.left(), 0);
        first.give_back(4);
        first.give_back(100);
        assert_eq!(memory.left(), 10);
        drop(second);
        drop(first);
        assert_eq!(memory.left(), 15);
    }

    #[test]
    fn absurd_sizes_are_refused() {
        let memory = Memory::new(usize::MAX, usize::MAX);
        let mut share = memory.share();
        assert!(share.take(usize::MAX));
        assert!(!share.take(1));
    }
}
