//! Medians and ratios: the only floats of the package.
#![expect(
    clippy::float_arithmetic,
    reason = "ratios and rates of a measurement, for people to read; no money here"
)]

use std::time::Duration;

/// The middle of some figures; the mean of both middles when their number is even, 0 of none.
#[must_use]
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    let upper = figures.get(middle).copied().unwrap_or_default();
    if figures.len() % 2 == 1 {
        return upper;
    }
    let lower = middle.checked_sub(1).and_then(|i| figures.get(i).copied());
    lower.map_or(upper, |lower| (lower + upper) / 2.0)
}

/// The median of the ratios, figure by figure: rounds that share a slow moment share it in both.
#[must_use]
pub fn median_ratio(ours: &[f64], theirs: &[f64]) -> f64 {
    let pairs = ours.iter().zip(theirs).filter(|(_, theirs)| **theirs > 0.0);
    median(pairs.map(|(ours, theirs)| ours / theirs).collect())
}

/// How many a second.
#[must_use]
pub fn per_second(count: u64, elapsed: Duration) -> f64 {
    float(count) / elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
}

/// A time shared by so many, in microseconds each.
#[must_use]
pub fn micros_each(total: Duration, count: u64) -> f64 {
    total.as_secs_f64() * 1e6 / float(count.max(1))
}

/// A time shared by so many, in nanoseconds each.
#[must_use]
pub fn nanos_each(total: Duration, count: u64) -> f64 {
    total.as_secs_f64() * 1e9 / float(count.max(1))
}

/// So many, shared by so many.
#[must_use]
pub fn each(total: u64, count: u64) -> f64 {
    float(total) / float(count.max(1))
}

/// A count as a float. Exact up to 2^53, which no count here comes near.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a few minutes are far below 2^53"
)]
pub fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![]), 0.0);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn a_ratio_is_taken_round_by_round() {
        // Twice as fast in each round, although the machine slowed down by ten.
        assert_eq!(
            median_ratio(&[200.0, 20.0, 200.0], &[100.0, 10.0, 100.0]),
            2.0
        );
        assert_eq!(
            median_ratio(&[1.0], &[0.0]),
            0.0,
            "a dead round is no round"
        );
    }
}
