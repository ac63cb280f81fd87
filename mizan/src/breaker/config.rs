//! When a breaker opens and closes: the settings, validated once.

use std::{fmt, sync::Arc, time::Duration};

use super::{Transition, counts::Counts};

/// The most buckets a rolling window may have. Each is seven counters, and all are cleared when
/// the breaker changes; more would only draw the same line finer.
const BUCKETS_MAX: u128 = 1_000;

/// When a breaker opens and closes.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which failures open it. At least half of at least 20 calls: what Hystrix took, and enough that
    /// a few failures of a busy service are no evidence. [`Config::gobreaker`] takes 3 calls for enough.
    pub trip: Trip,
    /// How far back a closed breaker counts. 10 s: longer than a burst, shorter than an outage
    /// that somebody notices. [`Duration::MAX`] for ever, which is gobreaker's default.
    pub interval: Duration,
    /// Without, the counts are cleared as a whole, every `interval`. With, they roll: each bucket of
    /// this length leaves by itself, and `interval` is rounded up to a multiple. None: a failing
    /// callee is noticed as fast, and nothing is paid for the buckets.
    pub bucket_period: Option<Duration>,
    /// How long it refuses before it probes. 30 s: time for a process to restart.
    pub open_for: Duration,
    /// How many probes half-open admits, and how many must succeed in a row to close. 3: one could
    /// be luck.
    pub probes_max: u32,
    /// How long after the last free slot was taken half-open waits for its probes to report before
    /// it admits as many again; what the earlier ones report still counts. None waits for ever, as
    /// gobreaker does, and is stuck if the probes are streams without an end. 30 s, as `open_for`.
    pub probe_timeout: Option<Duration>,
    /// Whether slow calls open it too. None: how slow is too slow only the caller knows.
    pub slow: Option<Slow>,
    /// What one breaker stands for. The instance: where one of three is ill, the others go on. A
    /// service that is ill as a whole opens all of them.
    pub scope: Scope,
    /// Called on every change of the phase. None.
    pub on_state_change: Option<OnStateChange>,
}

/// Which failures open a closed breaker. Asked whenever a call fails, as gobreaker's `ReadyToTrip`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trip {
    /// A share of the calls of the interval. Calls under way count as calls, excluded ones do not.
    Ratio {
        /// How many calls must have been made: one failure, or two, is noise.
        requests_min: u32,
        /// The share of failed ones, in percent, 1 to 100.
        failure_percent: u32,
    },
    /// So many failures in a row. gobreaker opens on the 6th.
    ConsecutiveFailures(u32),
    /// Whichever comes first: a callee that is gone is noticed by the row, one that is ill by the
    /// share.
    Either {
        /// As in [`Trip::Ratio`].
        requests_min: u32,
        /// As in [`Trip::Ratio`].
        failure_percent: u32,
        /// As in [`Trip::ConsecutiveFailures`].
        consecutive_failures: u32,
    },
}

/// When slow calls open a breaker, an idea of resilience4j's. Asked whenever a call was slow. A slow
/// call counts as slow besides counting as a success or a failure; a slow probe reopens. The time of
/// a streaming call is that of its whole stream, so this is for services without long ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slow {
    /// A call is slow that took longer.
    pub threshold: Duration,
    /// The share of slow calls that opens the breaker, in percent, 1 to 100.
    pub percent: u32,
    /// How many calls must have been made.
    pub requests_min: u32,
}

/// What one breaker stands for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scope {
    /// All instances and methods together: a service that is down is down.
    Service,
    /// Each instance: one that fails is left out, and the others go on.
    #[default]
    Instance,
    /// Each method, by its path: one that fails does not close the others.
    Method,
}

/// What is called on every change of the phase: after the lock is released, so it may use the
/// breaker; in the order of the changes, one at a time; on the thread of a call, so it must not
/// block. If changes coincide, one caller's thread may deliver another's.
#[derive(Clone)]
pub struct OnStateChange(Arc<dyn Fn(&Transition) + Send + Sync>);

/// Why a breaker's settings were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("breaker: {0}")]
pub struct InvalidConfig(&'static str);

impl Default for Config {
    fn default() -> Self {
        Self {
            trip: Trip::default(),
            interval: Duration::from_secs(10),
            bucket_period: None,
            open_for: Duration::from_secs(30),
            probes_max: 3,
            probe_timeout: Some(Duration::from_secs(30)),
            slow: None,
            scope: Scope::default(),
            on_state_change: None,
        }
    }
}

impl Config {
    /// What gobreaker's own page shows, and what most of those who use it have copied: one breaker
    /// for the service, which opens when at least 3 calls of 10 s were made and at least 60 % of
    /// them failed. It is quick, for a callee that is called seldom and whose failures are costly:
    /// three callers with bad luck close a busy service to everybody.
    #[must_use]
    pub fn gobreaker() -> Self {
        Self {
            trip: Trip::Ratio {
                requests_min: 3,
                failure_percent: 60,
            },
            scope: Scope::Service,
            ..Self::default()
        }
    }

    /// gobreaker's defaults, where nothing is set: opens on the 6th failure in a row, counts for
    /// ever, stays open 60 s, one probe, which is waited for without a limit; for the service.
    #[must_use]
    pub fn gobreaker_defaults() -> Self {
        Self {
            scope: Scope::Service,
            trip: Trip::ConsecutiveFailures(6),
            interval: Duration::MAX,
            open_for: Duration::from_secs(60),
            probes_max: 1,
            probe_timeout: None,
            ..Self::default()
        }
    }

    /// Whether both open and close by the same rules, whoever is told of it.
    pub(crate) fn same_rules(&self, other: &Self) -> bool {
        let rules = |config: &Self| {
            (
                (config.trip, config.interval, config.bucket_period),
                (config.open_for, config.probes_max, config.probe_timeout),
                (config.slow, config.scope),
            )
        };
        rules(self) == rules(other)
    }

    /// Refuses settings with which it could never open or never close.
    ///
    /// # Errors
    /// [`InvalidConfig`] names the rule.
    pub fn validate(self) -> Result<Self, InvalidConfig> {
        let rules = [
            (
                self.trip.can_happen(),
                "trip: counts must be above 0 and failure_percent 1 to 100",
            ),
            (!self.interval.is_zero(), "interval must be above 0"),
            (
                self.bucket_period.is_none_or(|period| !period.is_zero()),
                "bucket_period must be above 0",
            ),
            (
                self.bucket_count() <= BUCKETS_MAX,
                "interval must be at most 1,000 bucket_period",
            ),
            (!self.open_for.is_zero(), "open_for must be above 0"),
            (self.probes_max > 0, "probes_max must be above 0"),
            (
                self.probe_timeout.is_none_or(|timeout| !timeout.is_zero()),
                "probe_timeout must be above 0",
            ),
            (
                self.slow.is_none_or(|slow| slow.can_happen()),
                "slow: requests_min must be above 0 and percent 1 to 100",
            ),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(InvalidConfig(rule)),
            None => Ok(self),
        }
    }

    fn bucket_count(&self) -> u128 {
        match self.bucket_period {
            Some(period) if !period.is_zero() => {
                self.interval.as_nanos().div_ceil(period.as_nanos())
            }
            _ => 1,
        }
    }

    /// How many buckets the window has; 1 is a fixed window. Settings that were not validated get
    /// no more than the limit.
    pub(super) fn buckets(&self) -> usize {
        usize::try_from(self.bucket_count().clamp(1, BUCKETS_MAX)).unwrap_or(1)
    }

    /// The length of a fixed window: one that a single bucket covers has the bucket's.
    pub(super) fn fixed_interval(&self) -> Duration {
        self.interval.max(self.bucket_period.unwrap_or_default())
    }
}

impl Default for Trip {
    fn default() -> Self {
        Self::Ratio {
            requests_min: 20,
            failure_percent: 50,
        }
    }
}

impl Trip {
    /// Whether these counts, the last call of which failed, open the breaker.
    pub(super) fn opens(self, counts: &Counts) -> bool {
        match self {
            Self::Ratio {
                requests_min,
                failure_percent,
            } => share_reached(counts, counts.failures, requests_min, failure_percent),
            Self::ConsecutiveFailures(failures) => {
                counts.consecutive_failures >= u64::from(failures)
            }
            Self::Either {
                requests_min,
                failure_percent,
                consecutive_failures,
            } => {
                counts.consecutive_failures >= u64::from(consecutive_failures)
                    || share_reached(counts, counts.failures, requests_min, failure_percent)
            }
        }
    }

    fn can_happen(self) -> bool {
        let share = |requests: u32, percent| requests > 0 && (1..=100).contains(&percent);
        match self {
            Self::Ratio {
                requests_min,
                failure_percent,
            } => share(requests_min, failure_percent),
            Self::ConsecutiveFailures(failures) => failures > 0,
            Self::Either {
                requests_min,
                failure_percent,
                consecutive_failures,
            } => share(requests_min, failure_percent) && consecutive_failures > 0,
        }
    }
}

impl Slow {
    /// Whether these counts, the last call of which was slow, open the breaker.
    pub(super) fn opens(self, counts: &Counts) -> bool {
        share_reached(counts, counts.slow, self.requests_min, self.percent)
    }

    fn can_happen(self) -> bool {
        self.requests_min > 0 && (1..=100).contains(&self.percent)
    }
}

fn share_reached(counts: &Counts, part: u64, requests_min: u32, percent: u32) -> bool {
    let requests = counts.valid_requests();
    requests >= u64::from(requests_min)
        && part.saturating_mul(100) >= requests.saturating_mul(u64::from(percent))
}

impl OnStateChange {
    /// Wraps a function.
    pub fn new(call: impl Fn(&Transition) + Send + Sync + 'static) -> Self {
        Self(Arc::new(call))
    }

    pub(crate) fn call(&self, transition: &Transition) {
        (self.0)(transition);
    }
}

impl fmt::Debug for OnStateChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnStateChange")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_work_are_refused() {
        assert!(Config::default().validate().is_ok());
        assert!(Config::gobreaker().validate().is_ok());
        assert!(Config::gobreaker_defaults().validate().is_ok());
        // gobreaker knows one breaker for the service; ours stands for an instance.
        for preset in [Config::gobreaker(), Config::gobreaker_defaults()] {
            assert_eq!(preset.scope, Scope::Service);
        }
        assert_eq!(Config::default().scope, Scope::Instance);
        let second = Duration::from_secs(1);
        let broken: [fn(&mut Config); 8] = [
            |c| c.trip = Trip::ConsecutiveFailures(0),
            |c| {
                c.trip = Trip::Ratio {
                    requests_min: 3,
                    failure_percent: 101,
                };
            },
            |c| c.interval = Duration::ZERO,
            |c| c.bucket_period = Some(Duration::ZERO),
            |c| c.bucket_period = Some(Duration::from_millis(9)),
            |c| c.open_for = Duration::ZERO,
            |c| c.probes_max = 0,
            |c| c.probe_timeout = Some(Duration::ZERO),
        ];
        for (index, break_it) in broken.into_iter().enumerate() {
            let mut config = Config::default();
            break_it(&mut config);
            assert!(config.validate().is_err(), "{index}");
        }
        let slow = |percent, requests_min| Config {
            slow: Some(Slow {
                threshold: second,
                percent,
                requests_min,
            }),
            ..Config::default()
        };
        assert!(slow(50, 10).validate().is_ok());
        assert!(slow(0, 10).validate().is_err());
        assert!(slow(50, 0).validate().is_err());
    }

    #[test]
    fn a_share_needs_calls_and_a_percentage_and_either_needs_both_its_parts() {
        let is_valid = |trip| {
            let config = Config {
                trip,
                ..Config::default()
            };
            config.validate().is_ok()
        };
        for (requests_min, failure_percent, valid) in [
            (1, 1, true),
            (1, 100, true),
            (0, 50, false),
            (20, 0, false),
            (20, 101, false),
        ] {
            let case = (requests_min, failure_percent);
            let ratio = Trip::Ratio {
                requests_min,
                failure_percent,
            };
            assert_eq!(is_valid(ratio), valid, "{case:?}");
            for (consecutive_failures, may) in [(0, false), (1, true)] {
                let either = Trip::Either {
                    requests_min,
                    failure_percent,
                    consecutive_failures,
                };
                assert_eq!(
                    is_valid(either),
                    valid && may,
                    "{case:?}, {consecutive_failures}"
                );
            }
        }
    }

    #[test]
    fn an_interval_is_rounded_up_to_whole_buckets() {
        let buckets = |interval_ms, bucket_ms| {
            Config {
                interval: Duration::from_millis(interval_ms),
                bucket_period: Some(Duration::from_millis(bucket_ms)),
                ..Config::default()
            }
            .buckets()
        };
        assert_eq!(buckets(1_000, 100), 10);
        assert_eq!(buckets(1_001, 100), 11);
        assert_eq!(buckets(20, 50), 1, "W2: fixed, of the bucket's length");
        assert_eq!(Config::default().buckets(), 1);
    }
}
