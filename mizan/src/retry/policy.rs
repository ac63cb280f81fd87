//! What may be set: when a failed call is tried again, or sent several times from the start.

use std::time::Duration;

use tonic::Code;

use super::backoff::Thousandths;

/// gRFC A6: more attempts than this count as this many, unless the channel allows more. It keeps
/// a service config that came over the network from multiplying the load.
pub const ATTEMPTS_CAP: u32 = 5;

/// What happens to a call beside its first attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Another attempt once one failed (gRFC A6 `retryPolicy`).
    Retry(RetryPolicy),
    /// Several attempts at the same time, for the fastest answer (gRFC A6 `hedgingPolicy`).
    Hedge(HedgingPolicy),
    /// One attempt. A request that no server saw is still sent again (transparent retry).
    Never,
}

/// When a failed call is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// All attempts, the first included; at least 2, above [`ATTEMPTS_CAP`] counts as that. 3: one
    /// restart, and one more for luck.
    pub attempts_max: u32,
    /// The pause before the first retry, ±20 %. 100 ms: longer than a hiccup, shorter than patience.
    pub backoff_initial: Duration,
    /// The longest pause, ±20 %. 1 s: a fifth of the default deadline.
    pub backoff_max: Duration,
    /// What each pause is multiplied by for the next, above 0. 2.
    pub backoff_multiplier: Thousandths,
    /// Which statuses are retried; at least one, never OK. UNAVAILABLE alone (AIP-194): others may
    /// have done the work.
    pub codes: Codes,
    /// How long one attempt may take until its response begins; above 0. An attempt that runs out
    /// of it while the call has time left is retried whatever `codes` says (as Envoy's
    /// `per_try_timeout` with its default conditions): whoever sets it wants exactly that. None:
    /// an attempt may use all that is left of the call's deadline.
    pub attempt_timeout: Option<Duration>,
}

/// How a call is sent several times without waiting for failures. Only for methods that may be
/// processed more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HedgingPolicy {
    /// All attempts, the first included; at least 2, above [`ATTEMPTS_CAP`] counts as that. 2: a
    /// second copy takes most of the tail away, a third mostly adds load.
    pub attempts_max: u32,
    /// How long to wait for an answer before the next copy is sent. 0 sends all at once. 100 ms:
    /// set it to what 19 of 20 calls take.
    pub delay: Duration,
    /// Statuses after which the others go on, and the next copy is sent at once. Any other ends
    /// the call. UNAVAILABLE; may be empty, never OK.
    pub non_fatal: Codes,
    /// As [`RetryPolicy::attempt_timeout`]; an attempt that runs out of it is non-fatal. None.
    pub attempt_timeout: Option<Duration>,
}

/// When retries and hedges of a channel stop because too much fails: gRFC A6 `retryThrottling`,
/// one count for all calls of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttling {
    /// The tokens at the start and at most; above 0, up to 1000. Every failure costs 1; at half or
    /// below nothing is retried or hedged. 100: an instance that dies with 32 calls in flight does
    /// not use it up; a service that is down does.
    pub tokens_max: Thousandths,
    /// The tokens that a success gives back; above 0. 0.1: one retry for every ten successes.
    pub token_ratio: Thousandths,
}

/// A set of gRPC statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Codes(u32);

impl Codes {
    /// Exactly these.
    #[must_use]
    pub fn of(codes: &[Code]) -> Self {
        codes.iter().copied().collect()
    }

    /// Whether `code` is one of them.
    #[must_use]
    pub fn contains(self, code: Code) -> bool {
        self.0 & Self::bit(code) != 0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// A gRPC code is 0 to 16.
    const fn bit(code: Code) -> u32 {
        1 << (code as u32)
    }
}

impl FromIterator<Code> for Codes {
    fn from_iter<I: IntoIterator<Item = Code>>(codes: I) -> Self {
        Self(codes.into_iter().fold(0, |set, code| set | Self::bit(code)))
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::Retry(RetryPolicy::default())
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts_max: 3,
            backoff_initial: Duration::from_millis(100),
            backoff_max: Duration::from_secs(1),
            backoff_multiplier: Thousandths::whole(2),
            codes: Codes::of(&[Code::Unavailable]),
            attempt_timeout: None,
        }
    }
}

impl Default for HedgingPolicy {
    fn default() -> Self {
        Self {
            attempts_max: 2,
            delay: Duration::from_millis(100),
            non_fatal: Codes::of(&[Code::Unavailable]),
            attempt_timeout: None,
        }
    }
}

impl Default for Throttling {
    fn default() -> Self {
        Self {
            tokens_max: Thousandths::whole(100),
            token_ratio: Thousandths::new(100),
        }
    }
}

/// Why a retry policy was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("retry: {0}")]
pub struct InvalidPolicy(&'static str);

impl Policy {
    /// One attempt, no retries.
    #[must_use]
    pub const fn never() -> Self {
        Self::Never
    }

    /// Refuses what gRFC A6 refuses.
    ///
    /// # Errors
    /// [`InvalidPolicy`] names the field and its rule.
    pub fn validate(self) -> Result<Self, InvalidPolicy> {
        match &self {
            Self::Retry(retry) => retry.check()?,
            Self::Hedge(hedge) => hedge.check()?,
            Self::Never => {}
        }
        Ok(self)
    }

    /// The same with this time for each attempt. One that is never repeated has none.
    #[must_use]
    pub fn with_attempt_timeout(mut self, timeout: Duration) -> Self {
        match &mut self {
            Self::Retry(RetryPolicy {
                attempt_timeout, ..
            })
            | Self::Hedge(HedgingPolicy {
                attempt_timeout, ..
            }) => *attempt_timeout = Some(timeout),
            Self::Never => {}
        }
        self
    }

    /// The same with at most `cap` attempts.
    #[must_use]
    pub fn capped(mut self, cap: u32) -> Self {
        match &mut self {
            Self::Retry(RetryPolicy { attempts_max, .. })
            | Self::Hedge(HedgingPolicy { attempts_max, .. }) => {
                *attempts_max = (*attempts_max).min(cap);
            }
            Self::Never => {}
        }
        self
    }

    /// The statuses that another attempt may mend: those that the throttle counts.
    pub(crate) fn codes(&self) -> Codes {
        match self {
            Self::Retry(retry) => retry.codes,
            Self::Hedge(hedge) => hedge.non_fatal,
            Self::Never => Codes::default(),
        }
    }

    pub(super) fn attempts_max(&self) -> u32 {
        match self {
            Self::Retry(retry) => retry.attempts_max,
            Self::Hedge(hedge) => hedge.attempts_max,
            Self::Never => 1,
        }
    }

    pub(super) fn attempt_timeout(&self) -> Option<Duration> {
        match self {
            Self::Retry(retry) => retry.attempt_timeout,
            Self::Hedge(hedge) => hedge.attempt_timeout,
            Self::Never => None,
        }
    }
}

impl RetryPolicy {
    fn check(&self) -> Result<(), InvalidPolicy> {
        first_broken(&[
            (self.attempts_max >= 2, "attempts_max must be at least 2"),
            (
                !self.backoff_initial.is_zero(),
                "backoff_initial must be above 0",
            ),
            (!self.backoff_max.is_zero(), "backoff_max must be above 0"),
            (
                self.backoff_multiplier.count() > 0,
                "backoff_multiplier must be at least 0.001",
            ),
            (!self.codes.is_empty(), "codes must not be empty"),
            (!self.codes.contains(Code::Ok), "codes must not contain OK"),
            (
                self.attempt_timeout != Some(Duration::ZERO),
                "attempt_timeout must be above 0",
            ),
        ])
    }
}

impl HedgingPolicy {
    fn check(&self) -> Result<(), InvalidPolicy> {
        first_broken(&[
            (self.attempts_max >= 2, "attempts_max must be at least 2"),
            (
                !self.non_fatal.contains(Code::Ok),
                "non_fatal must not contain OK",
            ),
            (
                self.attempt_timeout != Some(Duration::ZERO),
                "attempt_timeout must be above 0",
            ),
        ])
    }
}

impl Throttling {
    /// Refuses what gRFC A6 refuses.
    ///
    /// # Errors
    /// [`InvalidPolicy`] names the field and its rule.
    pub fn validate(self) -> Result<Self, InvalidPolicy> {
        first_broken(&[
            (
                (1..=1_000_000).contains(&self.tokens_max.count()),
                "tokens_max must be above 0 and at most 1000",
            ),
            (
                self.token_ratio.count() > 0,
                "token_ratio must be at least 0.001",
            ),
        ])?;
        Ok(self)
    }
}

fn first_broken(rules: &[(bool, &'static str)]) -> Result<(), InvalidPolicy> {
    match rules.iter().find(|(holds, _)| !holds) {
        Some((_, rule)) => Err(InvalidPolicy(rule)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(policy: Policy) -> String {
        policy.validate().unwrap_err().to_string()
    }

    #[test]
    fn every_field_of_a_retry_policy_has_its_rule() {
        let good = RetryPolicy::default();
        let cases = [
            (
                RetryPolicy {
                    attempts_max: 1,
                    ..good
                },
                "attempts_max",
            ),
            (
                RetryPolicy {
                    backoff_initial: Duration::ZERO,
                    ..good
                },
                "backoff_initial",
            ),
            (
                RetryPolicy {
                    backoff_max: Duration::ZERO,
                    ..good
                },
                "backoff_max",
            ),
            (
                RetryPolicy {
                    backoff_multiplier: Thousandths::new(0),
                    ..good
                },
                "backoff_multiplier",
            ),
            (
                RetryPolicy {
                    codes: Codes::default(),
                    ..good
                },
                "codes",
            ),
            (
                RetryPolicy {
                    codes: Codes::of(&[Code::Ok]),
                    ..good
                },
                "codes",
            ),
            (
                RetryPolicy {
                    attempt_timeout: Some(Duration::ZERO),
                    ..good
                },
                "attempt_timeout",
            ),
        ];
        for (policy, field) in cases {
            let message = refused(Policy::Retry(policy));
            assert!(
                message.starts_with(&format!("retry: {field} ")),
                "{message}"
            );
        }
        assert!(Policy::Retry(good).validate().is_ok());
    }

    #[test]
    fn every_field_of_a_hedging_policy_has_its_rule() {
        let good = HedgingPolicy::default();
        let one = HedgingPolicy {
            attempts_max: 1,
            ..good
        };
        assert!(refused(Policy::Hedge(one)).contains("attempts_max"));
        let ok = HedgingPolicy {
            non_fatal: Codes::of(&[Code::Ok]),
            ..good
        };
        assert!(refused(Policy::Hedge(ok)).contains("non_fatal"));
        let at_once = HedgingPolicy {
            delay: Duration::ZERO,
            non_fatal: Codes::default(),
            ..good
        };
        assert!(Policy::Hedge(at_once).validate().is_ok());
    }

    #[test]
    fn throttling_is_within_its_bounds() {
        let refused = |tokens, ratio| {
            let throttling = Throttling {
                tokens_max: Thousandths::new(tokens),
                token_ratio: Thousandths::new(ratio),
            };
            throttling.validate().is_err()
        };
        assert!(refused(0, 100) && refused(1_000_001, 100) && refused(1000, 0));
        assert!(!refused(1_000_000, 1) && !refused(1, 1));
    }

    #[test]
    fn more_than_the_cap_counts_as_the_cap() {
        let ten = RetryPolicy {
            attempts_max: 10,
            ..RetryPolicy::default()
        };
        let policy = Policy::Retry(ten).validate().unwrap();
        assert_eq!(policy.capped(ATTEMPTS_CAP).attempts_max(), 5);
        assert_eq!(policy.capped(20).attempts_max(), 10);
    }

    #[test]
    fn a_set_of_codes_holds_every_code() {
        let all: Codes = (0..=16).map(Code::from_i32).collect();
        for code in (0..=16).map(Code::from_i32) {
            assert!(all.contains(code));
            assert!(!Codes::default().contains(code));
            assert!(Codes::of(&[code]).contains(code));
        }
    }
}
