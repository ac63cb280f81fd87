//! How long a method's calls usually take, to tell a callee that is late from a caller in a hurry.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// The time within which a call that goes well is over, nearly always: the average and four times
/// the average deviation, as TCP reckons when to send again (RFC 6298, section 2).
///
/// No lock. When two calls end at once one of them may go unnoticed, which an average bears.
#[derive(Debug, Default)]
pub(super) struct Usual {
    /// Microseconds: the average in the high half, the deviation in the low one; 0 while nothing is
    /// known.
    known: AtomicU64,
}

/// What an average cannot tell apart: a timer's tick.
const GRANULARITY: Duration = Duration::from_millis(1);

/// One call in so many is looked at: each would write what the calls of other threads read.
const SAMPLED: u32 = 8;

impl Usual {
    /// A call went well and took so long; `random` decides whether it is looked at, unless it is the
    /// first.
    pub(super) fn note(&self, took: Duration, random: u32) {
        let known = self.known.load(Ordering::Relaxed);
        if known == 0 || random.is_multiple_of(SAMPLED) {
            self.known.store(with(known, took), Ordering::Relaxed);
        }
    }

    /// By when a call that goes well is over; `None` while none did.
    pub(super) fn bound(&self) -> Option<Duration> {
        let known = self.known.load(Ordering::Relaxed);
        let (average, deviation) = (known >> 32, known & u64::from(u32::MAX));
        let margin = Duration::from_micros(deviation.saturating_mul(4));
        (known != 0).then(|| Duration::from_micros(average) + margin.max(GRANULARITY))
    }
}

fn with(known: u64, took: Duration) -> u64 {
    // More than an hour is an hour; less than a microsecond is one, since 0 says that nothing is known.
    let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let took = took.clamp(1, 3_600_000_000);
    let (average, deviation) = match (known >> 32, known & u64::from(u32::MAX)) {
        (0, _) => (took, took / 2),
        (average, deviation) => (
            (average * 7 + took) / 8,
            (deviation * 3 + average.abs_diff(took)) / 4,
        ),
    };
    average.max(1) << 32 | deviation
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn steady_calls_are_usual_up_to_little_more_than_they_take() {
        let usual = Usual::default();
        assert_eq!(usual.bound(), None);
        usual.note(50 * MS, 1);
        assert_eq!(usual.bound(), Some(150 * MS), "one call tells little");
        for _ in 0..50 {
            usual.note(50 * MS, 0);
        }
        let bound = usual.bound().unwrap();
        assert!(bound >= 50 * MS && bound <= 52 * MS, "{bound:?}");
        usual.note(500 * MS, 1);
        assert_eq!(usual.bound(), Some(bound), "not looked at");
    }

    #[test]
    fn calls_that_differ_are_usual_as_far_as_they_differ() {
        let usual = Usual::default();
        for _ in 0..50 {
            usual.note(10 * MS, 0);
            usual.note(90 * MS, 0);
        }
        let bound = usual.bound().unwrap();
        assert!(bound >= 150 * MS && bound <= 250 * MS, "{bound:?}");
    }

    proptest! {
        #[test]
        fn it_stays_within_what_was_seen(calls in prop::collection::vec(0_u64..10_000_000, 1..50)) {
            let usual = Usual::default();
            for micros in &calls {
                usual.note(Duration::from_micros(*micros), 0);
            }
            let (low, high) = (calls.iter().min().unwrap(), calls.iter().max().unwrap());
            let bound = usual.bound().unwrap();
            prop_assert!(bound > Duration::from_micros(low.saturating_sub(8)));
            prop_assert!(bound <= Duration::from_micros(high * 5 + 8) + GRANULARITY);
        }

        #[test]
        fn no_duration_breaks_it(known: u64, seconds: u64) {
            let _ = with(known, Duration::from_secs(seconds));
        }
    }
}
