//! Pauses between tries, growing and jittered. Pure: randomness is an argument.

use std::time::Duration;

/// A growing pause: doubling from `min` to `max`, spread by ±20 % as gRPC's connection backoff is,
/// so that many clients of one source that went away do not come back at once.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(min: Duration, max: Duration) -> Self {
        Self {
            min,
            max,
            next: min,
        }
    }

    /// The next pause is the shortest again.
    pub(super) fn reset(&mut self) {
        self.next = self.min;
    }

    /// Whether nothing failed since the start or the last reset.
    pub(super) fn is_fresh(&self) -> bool {
        self.next == self.min
    }

    /// How long to wait now; `random` is any number.
    pub(super) fn pause(&mut self, random: u32) -> Duration {
        let pause = self.next;
        self.next = pause.saturating_mul(2).min(self.max);
        spread(pause, random)
    }
}

/// Four fifths of `pause`, and as much of two fifths as `random` is of its range.
fn spread(pause: Duration, random: u32) -> Duration {
    let fifth = pause / 5;
    let per_mille = (u64::from(random) * 1000) >> 32;
    let share = u32::try_from(per_mille).unwrap_or(0);
    (fifth * 4).saturating_add((fifth * 2).saturating_mul(share) / 1000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_doubles_up_to_the_most_and_begins_again() {
        let second = Duration::from_secs(1);
        let mut backoff = Backoff::new(second, second * 5);
        let middle = 1 << 31;
        let pauses: Vec<_> = (0..5).map(|_| backoff.pause(middle).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 5, 5]);
        assert!(!backoff.is_fresh());
        backoff.reset();
        assert!(backoff.is_fresh());
        assert_eq!(backoff.pause(middle), second);
    }

    proptest! {
        #[test]
        fn a_pause_is_within_a_fifth_of_what_is_due(
            min in 1u64..10_000, tries in 0usize..20, random: u32,
        ) {
            let (min, max) = (Duration::from_millis(min), Duration::from_secs(30));
            let mut backoff = Backoff::new(min, max);
            let mut due = min;
            for _ in 0..tries {
                backoff.pause(random);
                due = (due * 2).min(max);
            }
            let pause = backoff.pause(random);
            prop_assert!(pause >= due * 4 / 5 - Duration::from_nanos(10));
            prop_assert!(pause <= due * 6 / 5);
        }
    }
}
