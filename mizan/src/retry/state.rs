//! Which attempt may follow which, and when: no clock, no randomness of its own.

use std::time::Duration;

use tonic::Code;

/// When a failed call is tried again.
#[derive(Debug, Clone)]
pub struct Policy {
    /// All attempts, the first included. 3: one restart, and one more for luck.
    pub attempts_max: u32,
    /// The pause before the first retry. 100 ms: longer than a hiccup, shorter than patience.
    pub backoff_initial: Duration,
    /// The longest pause. 1 s: a fifth of the default deadline.
    pub backoff_max: Duration,
    /// What each pause is multiplied by for the next. 2.
    pub backoff_multiplier: u32,
    /// Which statuses are retried. UNAVAILABLE alone (AIP-194): others may have done the work.
    pub codes: Vec<Code>,
    /// The retry budget of the channel: every failure costs 1, every success gives a tenth back,
    /// and at half or below nothing is retried. 100: an instance that dies with 32 calls in flight
    /// does not use it up; a service that is down does.
    pub budget: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            attempts_max: 3,
            backoff_initial: Duration::from_millis(100),
            backoff_max: Duration::from_secs(1),
            backoff_multiplier: 2,
            codes: vec![Code::Unavailable],
            budget: 100,
        }
    }
}

/// Why a retry policy was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("retry: {0}")]
pub struct InvalidPolicy(&'static str);

impl Policy {
    /// One attempt, no retries.
    #[must_use]
    pub fn never() -> Self {
        Self {
            attempts_max: 1,
            ..Self::default()
        }
    }

    /// Refuses settings that make no sense together.
    ///
    /// # Errors
    /// [`InvalidPolicy`] names the rule.
    pub fn validate(self) -> Result<Self, InvalidPolicy> {
        let rules = [
            (self.attempts_max > 0, "attempts_max must be above 0"),
            (
                !self.backoff_initial.is_zero(),
                "backoff_initial must be above 0",
            ),
            (
                self.backoff_max >= self.backoff_initial,
                "backoff_max must be at least backoff_initial",
            ),
            (
                self.backoff_multiplier > 0,
                "backoff_multiplier must be above 0",
            ),
            (
                (1..=1000).contains(&self.budget),
                "budget must be 1 to 1000",
            ),
            (!self.codes.contains(&Code::Ok), "codes must not contain OK"),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(InvalidPolicy(rule)),
            None => Ok(self),
        }
    }
}

/// The attempts of one call.
#[derive(Debug)]
pub(crate) struct Schedule<'a> {
    policy: &'a Policy,
    made: u32,
    /// Pauses since the start, or since the callee last set one itself.
    pauses: u32,
}

impl<'a> Schedule<'a> {
    /// Begins with the first attempt.
    pub(crate) fn first(policy: &'a Policy) -> Self {
        Self {
            policy,
            made: 1,
            pauses: 0,
        }
    }

    /// How many attempts came before the current one.
    pub(crate) fn previous(&self) -> u32 {
        self.made - 1
    }

    /// The pause before the next attempt, or `None` if this was the last. `jitter` is a random
    /// number below 2³²; `asked` is the callee's own pause, after which the growth starts anew.
    pub(crate) fn next(&mut self, jitter: u32, asked: Option<Duration>) -> Option<Duration> {
        if self.made >= self.policy.attempts_max {
            return None;
        }
        self.made += 1;
        if let Some(pause) = asked {
            self.pauses = 0;
            return Some(pause);
        }
        let factor = self.policy.backoff_multiplier.saturating_pow(self.pauses);
        let pause = self
            .policy
            .backoff_initial
            .saturating_mul(factor)
            .min(self.policy.backoff_max);
        self.pauses += 1;
        Some(spread(pause, jitter))
    }
}

/// A pause of 80 % to 120 % of the given one.
pub(crate) fn spread(pause: Duration, jitter: u32) -> Duration {
    let permille = 800 + u64::from(jitter) * 401 / (u64::from(u32::MAX) + 1);
    let nanos = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos((nanos / 1000).saturating_mul(permille))
}

/// The retry budget of one service (gRFC A6 "throttling"). Counted in tenths.
#[derive(Debug)]
pub(crate) struct Budget {
    full: u32,
    left: u32,
}

impl Budget {
    pub(crate) fn new(tokens: u32) -> Self {
        let full = tokens.saturating_mul(10);
        Self { full, left: full }
    }

    /// A call succeeded: a tenth comes back.
    pub(crate) fn succeeded(&mut self) {
        self.left = (self.left + 1).min(self.full);
    }

    /// A call failed with a status that is retried. Answers whether a retry may follow.
    pub(crate) fn failed(&mut self) -> bool {
        self.left = self.left.saturating_sub(10);
        self.left > self.full / 2
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIDDLE: u32 = u32::MAX / 2;

    #[test]
    fn three_attempts_with_a_doubling_pause() {
        let policy = Policy::default();
        let mut schedule = Schedule::first(&policy);
        let pauses: Vec<_> = std::iter::from_fn(|| schedule.next(MIDDLE, None)).collect();
        assert_eq!(
            pauses,
            [Duration::from_millis(100), Duration::from_millis(200)]
        );
        assert_eq!(schedule.previous(), 2);
    }

    #[test]
    fn a_callees_own_pause_is_exact_and_restarts_the_growth() {
        let policy = Policy {
            attempts_max: 5,
            ..Policy::default()
        };
        let mut schedule = Schedule::first(&policy);
        schedule.next(MIDDLE, None);
        let asked = Duration::from_millis(7);
        assert_eq!(schedule.next(0, Some(asked)), Some(asked));
        assert_eq!(
            schedule.next(MIDDLE, None),
            Some(Duration::from_millis(100))
        );
    }

    #[test]
    fn a_service_that_is_down_uses_up_the_budget_and_earns_it_back() {
        let mut budget = Budget::new(10);
        let retried = (0..20).filter(|_| budget.failed()).count();
        assert_eq!(retried, 4);
        for _ in 0..61 {
            budget.succeeded();
        }
        assert!(
            budget.failed(),
            "6.1 came back: above half after the next failure"
        );
    }

    proptest! {
        #[test]
        fn jitter_stays_within_a_fifth(millis in 1_u64..100_000, jitter in any::<u32>()) {
            let pause = Duration::from_millis(millis);
            let spread = spread(pause, jitter);
            prop_assert!(spread >= pause * 4 / 5 && spread <= pause * 6 / 5);
        }
    }
}
