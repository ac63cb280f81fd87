//! Histograms with fixed buckets that are recorded without a lock.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::telemetry::names::{LATENCY, RETRIES, SIZE, TRANSPARENT};

/// One bucket per bound, and one for what exceeds the last.
pub(super) type Latency = Histogram<{ LATENCY.len() + 1 }>;
pub(super) type Size = Histogram<{ SIZE.len() + 1 }>;
pub(super) type Retries = Histogram<{ RETRIES.len() + 1 }>;
pub(super) type Transparent = Histogram<{ TRANSPARENT.len() + 1 }>;

/// Two atomic additions a value: the bucket's and the sum's. The count is the buckets' sum. A
/// scrape in between may see one of the two, which the next scrape mends.
#[derive(Debug)]
pub(super) struct Histogram<const BUCKETS: usize> {
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
}

impl<const BUCKETS: usize> Default for Histogram<BUCKETS> {
    fn default() -> Self {
        Self {
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
            sum: AtomicU64::new(0),
        }
    }
}

impl<const BUCKETS: usize> Histogram<BUCKETS> {
    /// Counts `value` in the first bucket whose bound it does not exceed. `bounds` are one fewer
    /// than the buckets.
    pub(super) fn record(&self, bounds: &[u64], value: u64) {
        let index = bounds.partition_point(|bound| *bound < value);
        if let Some(bucket) = self.buckets.get(index) {
            bucket.fetch_add(1, Relaxed);
            self.sum.fetch_add(value, Relaxed);
        }
    }

    /// Adds what was recorded to `tally`.
    pub(super) fn tally(&self, tally: &mut Tally) {
        tally.buckets.resize(BUCKETS.max(tally.buckets.len()), 0);
        for (total, bucket) in tally.buckets.iter_mut().zip(&self.buckets) {
            *total += bucket.load(Relaxed);
        }
        tally.sum = tally.sum.wrapping_add(self.sum.load(Relaxed));
    }
}

/// What a histogram, or several together, recorded. Empty when nothing did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::telemetry) struct Tally {
    pub(super) buckets: Vec<u64>,
    pub(in crate::telemetry) sum: u64,
}

impl Tally {
    pub(in crate::telemetry) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.buckets
            .resize(other.buckets.len().max(self.buckets.len()), 0);
        for (total, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *total += more;
        }
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tally_of(values: &[u64]) -> Tally {
        let histogram = Size::default();
        for value in values {
            histogram.record(&SIZE, *value);
        }
        let mut tally = Tally::default();
        histogram.tally(&mut tally);
        tally
    }

    #[test]
    fn a_bound_belongs_to_its_own_bucket() {
        let tally = tally_of(&[0, 1, 1024, 1025, u64::MAX >> 8]);
        assert_eq!(tally.buckets[..3], [1, 2, 1]);
        assert_eq!(tally.buckets.last(), Some(&1));
    }

    proptest! {
        #[test]
        fn every_value_is_counted_once_and_where_it_belongs(values in prop::collection::vec(0_u64..1 << 40, 0..64)) {
            let tally = tally_of(&values);
            prop_assert_eq!(tally.count(), values.len() as u64);
            prop_assert_eq!(tally.sum, values.iter().sum::<u64>());
            for (index, bound) in SIZE.iter().enumerate() {
                let at_most: u64 = tally.buckets[..=index].iter().sum();
                prop_assert_eq!(at_most, values.iter().filter(|v| *v <= bound).count() as u64);
            }
        }

        #[test]
        fn tallies_merge_as_if_recorded_together(a in prop::collection::vec(0_u64..1 << 40, 0..32), b in prop::collection::vec(0_u64..1 << 40, 0..32)) {
            let mut merged = tally_of(&a);
            merged.merge(&tally_of(&b));
            prop_assert_eq!(merged, tally_of(&[a, b].concat()));
        }
    }
}
