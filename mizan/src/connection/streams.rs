//! How many streams a connection has open, and may have.
//!
//! *Problem.* An HTTP/2 library takes every request at once and keeps those above the peer's
//! SETTINGS_MAX_CONCURRENT_STREAMS itself, also when their callers have long given up.
//!
//! *What it does.* A call takes a [`Slot`] before anything of it is made, or waits where waiting
//! costs nothing but its own place. A slot is given back when the peer has said all it will, when
//! the call is dropped, or when it was never sent.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::{Notify, futures::Notified};

use super::exchange::Peer;

/// The streams of one connection.
#[derive(Debug)]
pub(super) struct Streams {
    /// What the peer allows; no limit until it says one.
    max: AtomicU32,
    taken: AtomicU32,
    /// Counts those ever begun, to tell a connection that rests; wraps.
    begun: AtomicU32,
    /// Those on which the peer has not said its last word, and whether the request was sent whole: then
    /// that word is the last of all, read or not.
    open: Mutex<HashMap<u32, bool>>,
    freed: Arc<Freed>,
}

impl Streams {
    pub(super) fn new(freed: Arc<Freed>) -> Self {
        Self {
            max: AtomicU32::new(u32::MAX),
            taken: AtomicU32::default(),
            begun: AtomicU32::default(),
            open: Mutex::default(),
            freed,
        }
    }

    /// The peer allows so many.
    pub(super) fn allow(&self, max: u32) {
        self.max.store(max, Ordering::SeqCst);
        self.freed.all();
    }

    pub(super) fn has_free(&self) -> bool {
        self.taken.load(Ordering::SeqCst) < self.max.load(Ordering::SeqCst)
    }

    pub(super) fn taken(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }

    pub(super) fn begun(&self) -> u32 {
        self.begun.load(Ordering::Relaxed)
    }

    fn take(&self) -> bool {
        let max = self.max.load(Ordering::SeqCst);
        let more = |taken: u32| (taken < max).then(|| taken.saturating_add(1));
        self.taken
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, more)
            .is_ok()
    }

    fn give_back(&self) {
        self.taken.fetch_sub(1, Ordering::SeqCst);
        self.freed.one();
    }

    /// The peer has said all it will on this stream.
    pub(super) fn ended(&self, number: u32) {
        if self.open.lock().remove(&number) == Some(true) {
            self.give_back();
        }
    }

    pub(super) fn freed(&self) -> &Arc<Freed> {
        &self.freed
    }
}

/// One stream's place on a connection. Held by a call to its end: by it, keepalive knows that a call
/// is under way.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(super) peer: Arc<Peer>,
    /// 0 until it is known.
    number: u32,
    /// Whether it is over when the peer says so.
    whole: bool,
}

impl Slot {
    pub(super) fn take(peer: &Arc<Peer>) -> Option<Self> {
        peer.wire.streams().take().then(|| Self {
            peer: peer.clone(),
            number: 0,
            whole: false,
        })
    }

    /// Begins the stream; `send` answers its number too. `whole` says that the request is sent in
    /// one, so that the peer's last word is the last of all.
    pub(super) fn begin<T, E>(
        &mut self,
        whole: bool,
        send: impl FnOnce() -> Result<(u32, T), E>,
    ) -> Result<T, E> {
        let streams = self.peer.wire.streams();
        // Held while it is sent, so that its end cannot be seen before its beginning.
        let mut open = streams.open.lock();
        let (number, sent) = send()?;
        self.number = number;
        self.whole = whole;
        open.insert(number, whole);
        streams.begun.fetch_add(1, Ordering::Relaxed);
        Ok(sent)
    }

    /// The stream's number, once it has begun.
    pub(super) fn number(&self) -> u32 {
        self.number
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let wire = &self.peer.wire;
        let streams = wire.streams();
        let cut_short = streams.open.lock().remove(&self.number).is_some();
        if cut_short {
            wire.reset();
        }
        if cut_short || !self.whole {
            streams.give_back();
        }
    }
}

/// Those who wait for a stream on any of some connections.
#[derive(Debug, Default)]
pub(crate) struct Freed {
    waiting: AtomicU32,
    notify: Notify,
    wanted: Notify,
}

impl Freed {
    /// How many wait.
    pub(crate) fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Another connection would help: calls wait, or are given up one after another.
    pub(crate) fn want(&self) {
        self.wanted.notify_one();
    }

    /// Comes true when another connection would help.
    pub(crate) fn wanted(&self) -> Notified<'_> {
        self.wanted.notified()
    }

    /// A place among those who wait, unless `max` wait already.
    pub(crate) fn join(&self, max: u32) -> Option<Waiting<'_>> {
        let more = |waiting: u32| (waiting < max).then(|| waiting.saturating_add(1));
        let joined = self
            .waiting
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
        joined.is_ok().then_some(Waiting(self))
    }

    /// Comes true when a stream may be free. Enabled, by one who [waits](Self::join), before looking
    /// for one, nothing is missed.
    pub(crate) fn told(&self) -> Notified<'_> {
        self.notify.notified()
    }

    /// A stream is free: tells the one who has waited longest.
    fn one(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.notify.notify_one();
        }
    }

    /// Several may be: tells everyone.
    fn all(&self) {
        self.notify.notify_waiters();
    }
}

/// One who waits. Leaving, it passes on what it may have been told and not have used.
#[derive(Debug)]
pub(crate) struct Waiting<'a>(&'a Freed);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
        self.0.one();
    }
}
