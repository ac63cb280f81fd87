//! What happens often is said seldom.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How often at most one thing is said.
const SAID_EVERY: Duration = Duration::from_secs(10);

/// One kind of line in the log.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    said: Option<Instant>,
    unsaid: u64,
}

/// One kind of line that is the same for all servers of a process, for a `static`.
#[derive(Debug)]
pub(super) struct Everywhere(Mutex<Seldom>);

impl Everywhere {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(Seldom {
            said: None,
            unsaid: 0,
        }))
    }

    /// It happened now; see [`Seldom::happened`].
    pub(super) fn happened(&self) -> Option<u64> {
        self.0.lock().happened(Instant::now())
    }
}

impl Seldom {
    /// It happened. If it is to be said now: how often it happened since it was said, this time
    /// included.
    pub(crate) fn happened(&mut self, now: Instant) -> Option<u64> {
        self.unsaid = self.unsaid.saturating_add(1);
        if self.said.is_some_and(|said| now < said + SAID_EVERY) {
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_times_in_a_second_are_one_line_and_the_next_says_how_many() {
        let (mut seldom, now) = (Seldom::default(), Instant::now());
        assert_eq!(seldom.happened(now), Some(1));
        let within = |i: u32| now + SAID_EVERY / 1000 * i;
        assert!((0..1000).all(|i| seldom.happened(within(i)).is_none()));
        assert_eq!(seldom.happened(now + SAID_EVERY), Some(1001));
        assert_eq!(seldom.happened(now + SAID_EVERY), None);
    }
}
