//! Outlier detection: instances that answer, but too often badly, are left out for a while (gRFC
//! A50).
//!
//! *What it does.* In every interval the ends of attempts are counted for each instance. A sweep
//! then ejects those whose success rate is far below that of the others, or whose failures are over
//! a limit, for a time that grows with each ejection. An ejected instance stays connected.
//!
//! *What it does not do.* It never ejects all: only up to a share of the instances, and not when too
//! few have enough calls to be judged by. When too few would be left, by whatever cause, ejections
//! should be ignored: see [`panicking`].

mod config;
pub(crate) mod state;

pub use config::{Config, FailurePercentage, SuccessRate};

/// Whether so few of `total` instances are `left` that it is better to use them all: less than
/// `percent` of them. 0 never panics.
///
/// Envoy's default is 50: when half of the instances look bad, it is more likely that the judgement
/// is wrong, or that the few left would be overrun.
#[must_use]
pub fn panicking(total: usize, left: usize, percent: u32) -> bool {
    let wide = |count: usize| u128::try_from(count).unwrap_or(u128::MAX);
    wide(left).saturating_mul(100) < wide(total).saturating_mul(percent.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panic_begins_below_the_threshold() {
        assert!(!panicking(10, 5, 50));
        assert!(panicking(10, 4, 50));
        assert!(panicking(3, 1, 50));
        assert!(!panicking(3, 2, 50));
        assert!(!panicking(3, 0, 0), "0 never panics");
        assert!(!panicking(0, 0, 50), "nobody is left out");
        assert!(!panicking(1, 1, 100));
        assert!(panicking(usize::MAX, usize::MAX - 1, 100));
    }
}
