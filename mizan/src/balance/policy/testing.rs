//! What the tests of the policies share.

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use super::{Call, Candidate, Picker};

/// One moment for all tests.
pub(super) fn now() -> Instant {
    static NOW: OnceLock<Instant> = OnceLock::new();
    *NOW.get_or_init(Instant::now)
}

pub(super) fn candidate(authority: &str, weight: u32, zone: &str) -> Candidate {
    Candidate {
        authority: authority.into(),
        weight,
        zone: zone.into(),
        load: Arc::default(),
    }
}

/// Candidates of these weights, named a distinct address each.
pub(super) fn candidates(weights: &[u32]) -> Vec<Candidate> {
    let named = |(i, weight): (usize, &u32)| candidate(&format!("10.0.0.{i}:50051"), *weight, "");
    weights.iter().enumerate().map(named).collect()
}

pub(super) fn call(random: u64) -> Call {
    Call {
        hash: None,
        random,
        now: now(),
    }
}

/// How many of so many calls each gets; the random numbers are always the same.
pub(super) fn counts(
    picker: &dyn Picker,
    candidates: usize,
    calls: usize,
    usable: &dyn Fn(usize) -> bool,
) -> Vec<usize> {
    let mut random = fastrand::Rng::with_seed(42);
    let mut counts = vec![0; candidates];
    for _ in 0..calls {
        counts[picker.pick(&call(random.u64(..)), usable).unwrap()] += 1;
    }
    counts
}

/// Whether each count is within `percent` of `expected`.
pub(super) fn close(counts: &[usize], expected: &[usize], percent: usize) -> bool {
    let near =
        |(count, expected): (&usize, &usize)| count.abs_diff(*expected) * 100 <= expected * percent;
    counts.len() == expected.len() && counts.iter().zip(expected).all(near)
}
