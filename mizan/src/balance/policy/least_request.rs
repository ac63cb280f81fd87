//! Least request: of a few drawn at random, the one that carries least (gRFC A48).

use std::sync::Arc;

use super::{
    Call, Candidate, Picker, Policy,
    sample::{CHOICES_MAX, Sampler},
};
use crate::balance::load::Load;

/// Of a few instances drawn at random, the one with the fewest attempts under way for its weight.
///
/// Two differences from gRFC A48: the instances drawn are different ones, so that with two
/// instances a frozen one is left out altogether and not in three calls of four; and weights count,
/// both in the drawing (so that idle instances get their share) and in the comparison.
#[derive(Debug, Clone)]
pub struct LeastRequest {
    choices: usize,
}

impl LeastRequest {
    /// Compares `choices` instances a pick, at least 2 and at most 10 (gRFC A48's limits; a number
    /// outside them becomes the nearest).
    #[must_use]
    pub fn new(choices: u32) -> Self {
        let choices = usize::try_from(choices).unwrap_or(CHOICES_MAX);
        Self {
            choices: choices.clamp(2, CHOICES_MAX),
        }
    }
}

/// Two choices: nearly as good as looking at all of them, and cheaper (gRFC A48, after Mitzenmacher).
impl Default for LeastRequest {
    fn default() -> Self {
        Self::new(2)
    }
}

impl Policy for LeastRequest {
    fn starts_slowly(&self) -> bool {
        true
    }

    fn picker(&self, candidates: &[Candidate]) -> Box<dyn Picker> {
        let loads = candidates.iter().map(|c| (c.load.clone(), c.weight.max(1)));
        Box::new(Least {
            choices: self.choices,
            sampler: Sampler::new(candidates),
            loads: loads.collect(),
        })
    }
}

#[derive(Debug)]
struct Least {
    choices: usize,
    sampler: Sampler,
    loads: Box<[(Arc<Load>, u32)]>,
}

impl Picker for Least {
    fn pick(&self, call: &Call, usable: &dyn Fn(usize) -> bool) -> Option<usize> {
        let cost = |index: usize| match self.loads.get(index) {
            // Attempts under way for each unit of weight, with 32 binary digits of fraction.
            Some((load, weight)) => (u64::from(load.in_flight()) << 32) / u64::from(*weight),
            None => u64::MAX,
        };
        self.sampler
            .cheapest(call.random, self.choices, usable, cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::policy::testing::{call, candidates, close, counts};

    #[test]
    fn idle_instances_share_by_weight() {
        let picker = LeastRequest::default().picker(&candidates(&[1, 1, 1]));
        let counts_equal = counts(&*picker, 3, 30_000, &|_| true);
        assert!(
            close(&counts_equal, &[10_000, 10_000, 10_000], 3),
            "{counts_equal:?}"
        );
        let picker = LeastRequest::default().picker(&candidates(&[3, 2, 1]));
        let counts_weighted = counts(&*picker, 3, 30_000, &|_| true);
        assert!(
            close(&counts_weighted, &[15_000, 10_000, 5_000], 5),
            "{counts_weighted:?}"
        );
    }

    #[test]
    fn of_two_the_less_loaded_for_its_weight_always_wins() {
        let candidates = candidates(&[4, 1]);
        let picker = LeastRequest::default().picker(&candidates);
        for _ in 0..3 {
            candidates[0].load.begin();
        }
        // 3/4 against 0/1, then against 1/1.
        assert_eq!(counts(&*picker, 2, 100, &|_| true), [0, 100]);
        candidates[1].load.begin();
        assert_eq!(counts(&*picker, 2, 100, &|_| true), [100, 0]);
    }

    #[test]
    fn load_levels_out() {
        // Calls that never end: nobody gets far ahead.
        let candidates = candidates(&[1; 10]);
        let picker = LeastRequest::default().picker(&candidates);
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..10_000 {
            let picked = picker.pick(&call(random.u64(..)), &|_| true).unwrap();
            candidates[picked].load.begin();
        }
        for candidate in &candidates {
            assert!(candidate.load.in_flight().abs_diff(1000) <= 5);
        }
    }

    #[test]
    fn a_frozen_instance_is_left_out() {
        let candidates = candidates(&[1, 1, 1]);
        for _ in 0..100 {
            candidates[1].load.begin();
        }
        let picker = LeastRequest::default().picker(&candidates);
        assert_eq!(counts(&*picker, 3, 3000, &|_| true)[1], 0);
    }

    #[test]
    fn unusable_ones_are_passed_over_evenly() {
        let picker = LeastRequest::default().picker(&candidates(&[1; 4]));
        let counts = counts(&*picker, 4, 30_000, &|i| i != 2);
        assert!(
            close(&counts, &[10_000, 10_000, 0, 10_000], 5),
            "{counts:?}"
        );
    }

    #[test]
    fn choices_stay_within_limits() {
        assert_eq!(LeastRequest::new(0).choices, 2);
        assert_eq!(LeastRequest::new(7).choices, 7);
        assert_eq!(LeastRequest::new(u32::MAX).choices, 10);
    }
}
