//! Peak EWMA: of two drawn at random, the one that is likely to answer first.

use std::{sync::Arc, time::Duration};

use super::{Call, Candidate, Picker, Policy, sample::Sampler};
use crate::balance::load::Load;

/// Of two instances drawn at random, the one whose latency times what it carries is lower, for its
/// weight. Latency is a moving average that rises at once and falls slowly, so that an instance in
/// trouble is left before it costs more calls; it fades while nobody calls, so that an instance is
/// tried again.
///
/// A failure counts as a slow answer however fast it came: otherwise an instance that fails at once
/// looks like the best one and draws all calls to itself.
///
/// An instance of unknown latency gets one call at once and no second before it answered, unless
/// the others are slower than a second.
#[derive(Debug, Clone)]
pub struct PeakEwma {
    /// How fast the past is forgotten: after this time an old latency counts for 37 %. Default 10 s,
    /// as in Finagle and Linkerd: long enough to see a garbage collection's pause, short enough to
    /// come back after one.
    pub decay: Duration,
    /// The latency that a failure counts as, if it was not slower than that. Default 5 s, as in
    /// Linkerd: the deadline of a call by default, which is what a caller loses at worst.
    pub failure_penalty: Duration,
}

/// The latency that an unanswered first call is assumed to have, in seconds.
const UNKNOWN: f64 = 1.0;

impl Default for PeakEwma {
    fn default() -> Self {
        Self {
            decay: Duration::from_secs(10),
            failure_penalty: Duration::from_secs(5),
        }
    }
}

impl Policy for PeakEwma {
    fn picker(&self, candidates: &[Candidate]) -> Box<dyn Picker> {
        let load = |c: &Candidate| {
            c.load.keep_latency(self.decay, self.failure_penalty);
            (c.load.clone(), c.weight.max(1))
        };
        Box::new(Fastest {
            sampler: Sampler::new(candidates),
            loads: candidates.iter().map(load).collect(),
        })
    }
}

#[derive(Debug)]
struct Fastest {
    sampler: Sampler,
    loads: Box<[(Arc<Load>, u32)]>,
}

impl Picker for Fastest {
    fn pick(&self, call: &Call, usable: &dyn Fn(usize) -> bool) -> Option<usize> {
        let cost = |index: usize| match self.loads.get(index) {
            Some((load, weight)) => cost(
                load.latency_seconds(call.now).map(f64::from),
                load.in_flight(),
                *weight,
            ),
            None => f64::INFINITY,
        };
        self.sampler.cheapest(call.random, 2, usable, cost)
    }
}

/// The latency to expect of one more call, for each unit of weight.
#[expect(
    clippy::float_arithmetic,
    reason = "an estimate to compare with another one"
)]
fn cost(latency_seconds: Option<f64>, in_flight: u32, weight: u32) -> f64 {
    let latency = match latency_seconds {
        Some(latency) => latency,
        None if in_flight == 0 => return 0.0,
        None => UNKNOWN,
    };
    latency * (f64::from(in_flight) + 1.0) / f64::from(weight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::policy::testing::{call, candidates, close, counts, now};

    fn answers(load: &Load, took_ms: u64, well: bool) {
        load.begin();
        load.finish(Duration::from_millis(took_ms), Some(well), now());
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "halves and doubles are exact")]
    fn the_cost_is_the_wait_of_one_more_call_by_weight() {
        assert_eq!(cost(Some(0.5), 0, 1), 0.5);
        assert_eq!(cost(Some(0.5), 3, 1), 2.0);
        assert_eq!(cost(Some(0.5), 3, 4), 0.5);
        assert_eq!(cost(None, 0, 1), 0.0, "whoever is not known is tried");
        assert_eq!(cost(None, 1, 1), UNKNOWN * 2.0, "by one call at a time");
    }

    #[test]
    fn the_faster_of_two_always_wins_while_idle() {
        let candidates = candidates(&[1, 1]);
        let picker = PeakEwma::default().picker(&candidates);
        answers(&candidates[0].load, 20, true);
        answers(&candidates[1].load, 5, true);
        assert_eq!(counts(&*picker, 2, 100, &|_| true), [0, 100]);
        // Until it carries so much that the slower one answers first: 5 ms x 5 > 20 ms x 1.
        for _ in 0..4 {
            candidates[1].load.begin();
        }
        assert_eq!(counts(&*picker, 2, 100, &|_| true), [100, 0]);
    }

    #[test]
    fn fast_failures_are_not_rewarded() {
        let candidates = candidates(&[1, 1, 1]);
        let picker = PeakEwma::default().picker(&candidates);
        for candidate in &candidates {
            answers(&candidate.load, 10, true);
        }
        // A tenth of a second of failures, each within no time at all.
        for ms in 1..100 {
            let load = &candidates[0].load;
            load.begin();
            load.finish(
                Duration::ZERO,
                Some(false),
                now() + Duration::from_millis(ms),
            );
        }
        let counts = counts(&*picker, 3, 3000, &|_| true);
        assert_eq!(counts[0], 0, "{counts:?}");
        assert!(close(&counts, &[0, 1500, 1500], 7), "{counts:?}");
    }

    #[test]
    fn a_new_instance_is_tried_once_and_then_waited_for() {
        let candidates = candidates(&[1, 1]);
        let picker = PeakEwma::default().picker(&candidates);
        answers(&candidates[0].load, 10, true);
        assert_eq!(picker.pick(&call(3), &|_| true), Some(1));
        candidates[1].load.begin();
        assert_eq!(counts(&*picker, 2, 100, &|_| true), [100, 0]);
    }

    #[test]
    fn equals_share_by_weight_and_a_slow_one_comes_back() {
        let candidates = candidates(&[1, 1]);
        let picker = PeakEwma::default().picker(&candidates);
        answers(&candidates[0].load, 10, true);
        answers(&candidates[1].load, 10, true);
        let equal = counts(&*picker, 2, 10_000, &|_| true);
        assert!(close(&equal, &[5000, 5000], 5), "{equal:?}");

        answers(&candidates[0].load, 1000, true);
        let mut later = call(0);
        later.now += Duration::from_secs(5);
        assert_eq!(picker.pick(&later, &|_| true), Some(1));
        // The other one goes on answering in 10 ms; the slow one has faded.
        later.now += Duration::from_secs(55);
        candidates[1].load.begin();
        let load = &candidates[1].load;
        load.finish(Duration::from_millis(10), Some(true), later.now);
        assert_eq!(picker.pick(&later, &|_| true), Some(0));
    }
}
