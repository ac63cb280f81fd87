//! Whether a server refuses everything, so that it must not be called healthy.

use std::time::Duration;

use tokio::time::Instant;

/// How long nobody may be admitted while every place is taken before the server is called not
/// serving: the channel's default deadline. Whoever comes by then has been refused for as long as
/// callers wait, so they are better served elsewhere.
pub(super) const REFUSES_AFTER: Duration = Duration::from_secs(5);

/// How often it is looked at.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Fullness {
    freed: usize,
    since: Option<Instant>,
}

impl Fullness {
    /// Looks again: whether all places are taken now, and how often one came back when there was none.
    /// Answers whether the server refuses everything.
    pub(super) fn look(&mut self, now: Instant, full: bool, freed: usize) -> bool {
        if !full || freed != self.freed {
            (self.freed, self.since) = (freed, None);
            return false;
        }
        now - *self.since.get_or_insert(now) >= REFUSES_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_admits_nobody_refuses_and_one_that_is_merely_busy_does_not() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut fullness = Fullness::default();
        // Busy: always full when looked at, but calls get through.
        for second in 0..60 {
            let freed = usize::try_from(second).unwrap() * 3;
            assert!(!fullness.look(at(second), true, freed));
        }
        // Nobody gets through any more.
        for second in 60..65 {
            assert!(!fullness.look(at(second), true, 177), "{second}");
        }
        assert!(fullness.look(at(65), true, 177));
        // One place comes back: whoever comes next gets it.
        assert!(!fullness.look(at(66), false, 177));
        assert!(!fullness.look(at(67), true, 178));
        assert!(!fullness.look(at(71), true, 178));
    }
}
