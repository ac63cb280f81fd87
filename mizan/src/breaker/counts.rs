//! What a breaker counts, and the window over which it does: no clock, no lock; ages are arguments.
//!
//! Rules W4 to W6 of gobreaker: a rolling window is a ring of buckets. A call is counted in the
//! bucket of its admission, its result too; when the window moves on, the oldest bucket's counts
//! leave the totals.

/// What a breaker has counted since its phase or its interval began.
///
/// Counted in 64 bits, so that they never wrap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls admitted, those under way and the excluded ones among them.
    pub requests: u64,
    /// Calls that succeeded.
    pub successes: u64,
    /// Calls that failed.
    pub failures: u64,
    /// Calls that said nothing about the callee.
    pub exclusions: u64,
    /// Successes since the last failure.
    pub consecutive_successes: u64,
    /// Failures since the last success.
    pub consecutive_failures: u64,
    /// Calls that took longer than [`Slow::threshold`](super::Slow::threshold), however they ended.
    pub slow: u64,
}

impl Counts {
    /// The calls that say something about the callee, or still may.
    #[must_use]
    pub fn valid_requests(&self) -> u64 {
        self.requests.saturating_sub(self.exclusions)
    }

    fn succeeded(&mut self, times: u64) {
        self.successes = self.successes.saturating_add(times);
        self.consecutive_successes = self.consecutive_successes.saturating_add(times);
        self.consecutive_failures = 0;
    }

    fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
        self.consecutive_failures = self.consecutive_failures.saturating_add(1);
        self.consecutive_successes = 0;
    }
}

/// A streak shrinks with the bucket that leaves only if it covers the whole window: nothing but its
/// kind in any younger bucket. Otherwise it began later, and stays.
fn shrunk(streak: u64, oldest_streak: u64, younger_total: u64) -> u64 {
    if streak == oldest_streak.saturating_add(younger_total) {
        streak.saturating_sub(oldest_streak)
    } else {
        streak
    }
}

/// Counts over a window: fixed, or rolling in buckets.
#[derive(Debug)]
pub(super) struct Window {
    total: Counts,
    /// The number of the current bucket since the window began; 0 for ever if it is fixed.
    age: u64,
    /// A ring, indexed by age; empty for a fixed window, whose one bucket would equal the total.
    buckets: Vec<Counts>,
}

impl Window {
    pub(super) fn new(buckets: usize) -> Self {
        let buckets = if buckets >= 2 { buckets } else { 0 };
        Self {
            total: Counts::default(),
            age: 0,
            buckets: vec![Counts::default(); buckets],
        }
    }

    pub(super) fn is_rolling(&self) -> bool {
        !self.buckets.is_empty()
    }

    pub(super) fn age(&self) -> u64 {
        self.age
    }

    pub(super) fn total(&self) -> &Counts {
        &self.total
    }

    pub(super) fn clear(&mut self) {
        self.total = Counts::default();
        self.age = 0;
        self.buckets.fill(Counts::default());
    }

    pub(super) fn requested(&mut self, times: u64) {
        self.book(self.age, |c| c.requests = c.requests.saturating_add(times));
    }

    pub(super) fn succeeded(&mut self, age: u64, times: u64) {
        if times > 0 {
            self.book(age, |c| c.succeeded(times));
        }
    }

    pub(super) fn failed(&mut self, age: u64) {
        self.book(age, Counts::failed);
    }

    pub(super) fn excluded(&mut self, age: u64) {
        self.book(age, |c| c.exclusions = c.exclusions.saturating_add(1));
    }

    pub(super) fn was_slow(&mut self, age: u64) {
        self.book(age, |c| c.slow = c.slow.saturating_add(1));
    }

    /// Counts in the total and in the bucket of `age`; not at all if that has left the window.
    fn book(&mut self, age: u64, count: impl Fn(&mut Counts)) {
        if !self.is_rolling() {
            count(&mut self.total);
        } else if self.contains(age) {
            count(&mut self.total);
            let index = self.index(age);
            if let Some(bucket) = self.buckets.get_mut(index) {
                count(bucket);
            }
        }
    }

    fn contains(&self, age: u64) -> bool {
        let back = self.age.checked_sub(age).map(usize::try_from);
        back.is_some_and(|back| back.is_ok_and(|back| back < self.buckets.len()))
    }

    fn index(&self, age: u64) -> usize {
        let length = u64::try_from(self.buckets.len()).unwrap_or(1).max(1);
        usize::try_from(age % length).unwrap_or(0)
    }

    /// Moves on to `age`; backwards never.
    pub(super) fn grow(&mut self, age: u64) {
        let by = age.saturating_sub(self.age);
        if !self.is_rolling() {
            return;
        }
        if usize::try_from(by).is_ok_and(|by| by < self.buckets.len()) {
            (0..by).for_each(|_| self.roll());
        } else {
            self.clear();
            self.age = age;
        }
    }

    fn roll(&mut self) {
        self.age = self.age.saturating_add(1);
        let index = self.index(self.age);
        let Some(slot) = self.buckets.get_mut(index) else {
            return;
        };
        // Emptied first, so that the sums below are those of the younger buckets.
        let oldest = std::mem::take(slot);
        let sum = |of: fn(&Counts) -> u64| self.buckets.iter().map(of).sum();
        let (successes, failures): (u64, u64) = (sum(|c| c.successes), sum(|c| c.failures));
        let total = self.total;
        self.total = Counts {
            requests: total.requests.saturating_sub(oldest.requests),
            successes: total.successes.saturating_sub(oldest.successes),
            failures: total.failures.saturating_sub(oldest.failures),
            exclusions: total.exclusions.saturating_sub(oldest.exclusions),
            consecutive_successes: shrunk(
                total.consecutive_successes,
                oldest.consecutive_successes,
                successes,
            ),
            consecutive_failures: shrunk(
                total.consecutive_failures,
                oldest.consecutive_failures,
                failures,
            ),
            slow: total.slow.saturating_sub(oldest.slow),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_takes_its_counts_along_when_it_leaves() {
        let mut window = Window::new(3);
        window.requested(5);
        window.succeeded(0, 4);
        window.excluded(0);
        window.grow(2);
        window.requested(1);
        window.failed(2);
        assert_eq!(window.total().requests, 6);
        window.grow(3);
        let expected = Counts {
            requests: 1,
            failures: 1,
            consecutive_failures: 1,
            ..Counts::default()
        };
        assert_eq!(*window.total(), expected);
    }

    #[test]
    fn a_result_goes_to_the_bucket_of_its_admission_or_nowhere() {
        let mut window = Window::new(2);
        window.requested(2);
        window.grow(1);
        window.failed(0);
        assert_eq!(window.total().failures, 1);
        window.grow(2);
        assert_eq!(*window.total(), Counts::default());
        window.failed(0);
        assert_eq!(*window.total(), Counts::default(), "its bucket has left");
    }

    #[test]
    fn a_streak_shrinks_only_if_it_covers_the_window() {
        let mut window = Window::new(2);
        window.failed(0);
        window.failed(0);
        window.grow(1);
        window.failed(1);
        assert_eq!(window.total().consecutive_failures, 3);
        window.grow(2);
        assert_eq!(window.total().consecutive_failures, 1, "2 of 3 have left");
        window.succeeded(2, 1);
        window.failed(2);
        window.grow(3);
        assert_eq!(window.total().consecutive_failures, 1);
    }

    #[test]
    fn a_jump_beyond_the_window_clears_it_and_time_never_goes_back() {
        let mut window = Window::new(4);
        window.requested(7);
        window.grow(u64::MAX);
        assert_eq!(*window.total(), Counts::default());
        window.requested(1);
        window.grow(3);
        assert_eq!((window.age(), window.total().requests), (u64::MAX, 1));
    }
}
