//! Slow start: an instance that has just come gets its share of the calls little by little.
//!
//! *Problem.* A process that began a moment ago has empty caches and no connections of its own; its
//! whole share of a busy service at once is slow for whoever gets it.
//!
//! *What it does.* While the window lasts, a pick passes the instance over more often than not, and
//! less and less so: it gets a tenth of its share at first, and then as much of it as of the window
//! has gone by (Envoy's `slow_start_config` with its defaults). Nobody is passed over while the
//! oldest is new itself, as when the channel has just begun, nor when nobody else could be picked.

use std::time::{Duration, Instant};

/// The part of its share, in 1024ths, that a new instance gets at once: a tenth, as in Envoy.
const LEAST: u128 = 102;

/// Over which time, and since when the oldest instance is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SlowStart {
    pub(super) window: Duration,
    pub(super) oldest: Instant,
}

impl SlowStart {
    /// Whether the `index`-th instance, there `since` then, takes its turn at `now`. The same for the
    /// same `random`, however often a pick asks.
    pub(super) fn admits(&self, since: Instant, now: Instant, random: u64, index: usize) -> bool {
        let age = now.saturating_duration_since(since);
        let of_the_oldest = now.saturating_duration_since(self.oldest);
        if age >= self.window || of_the_oldest < self.window {
            return true;
        }
        let share = age.as_nanos() * 1024 / self.window.as_nanos().max(1);
        u128::from(drawn(random, index)) < share.max(LEAST)
    }
}

/// A number below 1024, another for each index.
fn drawn(random: u64, index: usize) -> u64 {
    let index = u64::try_from(index).unwrap_or_default();
    // Fibonacci hashing: the high bits depend on all others.
    let mixed = random ^ index.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed.wrapping_mul(0xD6E8_FEB8_6659_FD93) >> 54
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);

    /// Of ten thousand turns, how many an instance takes that came so long ago.
    fn taken(age: Duration, oldest: Duration) -> u32 {
        let now = Instant::now() + 100 * WINDOW;
        let start = SlowStart {
            window: WINDOW,
            oldest: now - oldest,
        };
        let mut random = fastrand::Rng::with_seed(7);
        let admits = |_: &u32| start.admits(now - age, now, random.u64(..), 2);
        u32::try_from((0..10_000).filter(admits).count()).unwrap()
    }

    #[test]
    fn a_new_instance_takes_a_tenth_and_then_what_has_gone_by() {
        let old = 5 * WINDOW;
        for (age, share) in [(0, 1000), (1, 1000), (25, 2500), (50, 5000), (90, 9000)] {
            let taken = taken(WINDOW * age / 100, old);
            assert!(taken.abs_diff(share) < 200, "{age} %: {taken}");
        }
        assert_eq!(taken(WINDOW, old), 10_000);
    }

    #[test]
    fn where_all_are_new_nobody_is_held_back() {
        assert_eq!(taken(Duration::ZERO, WINDOW / 2), 10_000);
    }

    #[test]
    fn one_pick_decides_once_and_for_each_instance_anew() {
        let now = Instant::now() + 100 * WINDOW;
        let start = SlowStart {
            window: WINDOW,
            oldest: now - 2 * WINDOW,
        };
        let half = now - WINDOW / 2;
        let mut random = fastrand::Rng::with_seed(7);
        let mut differ = 0;
        for _ in 0..1000 {
            let random = random.u64(..);
            let one = start.admits(half, now, random, 0);
            assert_eq!(one, start.admits(half, now, random, 0));
            differ += u32::from(one != start.admits(half, now, random, 1));
        }
        assert!(differ > 300, "{differ}");
    }
}
