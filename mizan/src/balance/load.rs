//! What an instance carries now, how fast it answers and how often it fails.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

/// The load of one instance. Shared by the channel's calls; no lock.
#[derive(Debug, Default)]
pub struct Load {
    in_flight: AtomicU32,
}

impl Load {
    /// How many attempts are under way.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// An attempt begins.
    pub(crate) fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// An attempt ended after `took`: well, badly, or (`None`) without saying anything about the
    /// instance, as when its caller lost interest.
    pub(crate) fn finish(&self, _took: Duration, _well: Option<bool>, _now: Instant) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
