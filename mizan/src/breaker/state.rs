//! The breaker's state machine: no clock, no lock, no I/O; time is an argument.
//!
//! ```text
//!            ≥ requests_min and ≥ failure_percent failed
//!   ┌────────┐ ────────────────────────────────► ┌──────┐
//!   │ closed │                                   │ open │ ◄───┐
//!   └────────┘ ◄──┐                              └──────┘     │ any failure
//!     ▲  every    │ probes_max successes            │ open_for│
//!     └─interval, │                                 ▼         │
//!       counts    └──────────────────────────── ┌───────────┐─┘
//!       cleared                                 │ half-open │
//!                                               └───────────┘
//! ```
//!
//! The rules are those of sony/gobreaker v2. Time is looked at only when a call asks or reports,
//! and comparisons are strict: at exactly the end of a period the old phase still holds.

use std::{
    fmt,
    time::{Duration, Instant},
};

/// When a breaker opens and closes.
#[derive(Debug, Clone)]
pub struct Config {
    /// How many calls of an interval must have been made before it may open. 3: one failure, or
    /// two, is noise.
    pub requests_min: u32,
    /// The share of failed calls that opens it, in percent. 60.
    pub failure_percent: u32,
    /// How often the counts of a closed breaker are cleared. 10 s.
    pub interval: Duration,
    /// How long it refuses before it probes. 30 s.
    pub open_for: Duration,
    /// How many probes half-open admits, and how many must succeed to close. 3.
    pub probes_max: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            requests_min: 3,
            failure_percent: 60,
            interval: Duration::from_secs(10),
            open_for: Duration::from_secs(30),
            probes_max: 3,
        }
    }
}

/// Why a breaker's settings were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("breaker: {0}")]
pub struct InvalidConfig(&'static str);

impl Config {
    /// Refuses settings with which it could never open or never close.
    ///
    /// # Errors
    /// [`InvalidConfig`] names the rule.
    pub fn validate(self) -> Result<Self, InvalidConfig> {
        let rules = [
            (self.requests_min > 0, "requests_min must be above 0"),
            (
                (1..=100).contains(&self.failure_percent),
                "failure_percent must be 1 to 100",
            ),
            (!self.interval.is_zero(), "interval must be above 0"),
            (!self.open_for.is_zero(), "open_for must be above 0"),
            (self.probes_max > 0, "probes_max must be above 0"),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(InvalidConfig(rule)),
            None => Ok(self),
        }
    }
}

/// The three phases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Calls pass and are counted.
    Closed,
    /// Calls are refused.
    Open,
    /// A few calls pass, to find out.
    HalfOpen,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        })
    }
}

/// How a call went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Success,
    Failure,
    /// Says nothing about the callee: not counted, and its slot is free again.
    Excluded,
}

/// A call was not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) retry_after: Duration,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    requests: u32,
    failures: u32,
    successes_in_a_row: u32,
}

#[derive(Debug)]
pub(super) struct State {
    config: Config,
    phase: Phase,
    /// Moves with every phase and interval; a result of an earlier one is ignored.
    generation: u64,
    counts: Counts,
    /// When a closed interval or an open period ends; half-open ends only by results.
    expiry: Option<Instant>,
}

impl State {
    pub(super) fn new(config: Config, now: Instant) -> Self {
        let mut state = Self {
            config,
            phase: Phase::Closed,
            generation: 0,
            counts: Counts::default(),
            expiry: None,
        };
        state.enter(Phase::Closed, now);
        state
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// Admits a call, with the generation that its result belongs to.
    pub(super) fn admit(&mut self, now: Instant) -> Result<u64, Refused> {
        self.look(now);
        let full = self.phase == Phase::HalfOpen && self.counts.requests >= self.config.probes_max;
        if self.phase == Phase::Open || full {
            // A full half-open breaker knows no time: its probes decide, usually soon.
            let left = self.expiry.map_or(Duration::from_secs(1), |end| {
                end.saturating_duration_since(now)
            });
            return Err(Refused { retry_after: left });
        }
        self.counts.requests = self.counts.requests.saturating_add(1);
        Ok(self.generation)
    }

    /// Takes the result of an admitted call.
    pub(super) fn record(&mut self, generation: u64, outcome: Outcome, now: Instant) {
        self.look(now);
        if generation != self.generation {
            return;
        }
        match outcome {
            Outcome::Excluded => self.counts.requests = self.counts.requests.saturating_sub(1),
            Outcome::Success => self.succeeded(now),
            Outcome::Failure => self.failed(now),
        }
    }

    fn succeeded(&mut self, now: Instant) {
        self.counts.successes_in_a_row = self.counts.successes_in_a_row.saturating_add(1);
        if self.phase == Phase::HalfOpen && self.counts.successes_in_a_row >= self.config.probes_max
        {
            self.enter(Phase::Closed, now);
        }
    }

    fn failed(&mut self, now: Instant) {
        self.counts.failures = self.counts.failures.saturating_add(1);
        self.counts.successes_in_a_row = 0;
        if self.phase == Phase::HalfOpen || self.too_many_failed() {
            self.enter(Phase::Open, now);
        }
    }

    fn too_many_failed(&self) -> bool {
        let Counts {
            requests, failures, ..
        } = self.counts;
        requests >= self.config.requests_min
            && u64::from(failures) * 100
                >= u64::from(requests) * u64::from(self.config.failure_percent)
    }

    /// Lets time pass.
    fn look(&mut self, now: Instant) {
        if self.expiry.is_none_or(|expiry| expiry >= now) {
            return;
        }
        match self.phase {
            // From the moment it is noticed, not phase-locked.
            Phase::Closed => self.enter(Phase::Closed, now),
            Phase::Open => self.enter(Phase::HalfOpen, now),
            Phase::HalfOpen => {}
        }
    }

    fn enter(&mut self, phase: Phase, now: Instant) {
        self.phase = phase;
        self.generation += 1;
        self.counts = Counts::default();
        self.expiry = match phase {
            // One too far away to be said never comes.
            Phase::Closed => now.checked_add(self.config.interval),
            Phase::Open => now.checked_add(self.config.open_for),
            Phase::HalfOpen => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Outcome::*, *};

    const SECOND: Duration = Duration::from_secs(1);

    fn start() -> (State, Instant) {
        let now = Instant::now();
        (State::new(Config::default(), now), now)
    }

    fn call(state: &mut State, outcome: Outcome, now: Instant) {
        let generation = state.admit(now).unwrap();
        state.record(generation, outcome, now);
    }

    fn open(state: &mut State, now: Instant) {
        for _ in 0..3 {
            call(state, Failure, now);
        }
        assert_eq!(state.phase(), Phase::Open);
    }

    #[test]
    fn two_failures_are_noise_and_three_open() {
        let (mut state, now) = start();
        call(&mut state, Failure, now);
        call(&mut state, Failure, now);
        assert_eq!(state.phase(), Phase::Closed);
        call(&mut state, Failure, now);
        assert_eq!(state.phase(), Phase::Open);
        assert_eq!(
            state.admit(now),
            Err(Refused {
                retry_after: 30 * SECOND
            })
        );
    }

    #[test]
    fn fewer_than_sixty_percent_do_not_open() {
        let (mut state, now) = start();
        for outcome in [Success, Success, Failure, Failure] {
            call(&mut state, outcome, now);
        }
        assert_eq!(state.phase(), Phase::Closed);
        call(&mut state, Failure, now);
        assert_eq!(state.phase(), Phase::Open, "3 of 5");
    }

    #[test]
    fn counts_are_cleared_every_interval_strictly_after_its_end() {
        let (mut state, now) = start();
        call(&mut state, Failure, now);
        call(&mut state, Failure, now);
        call(&mut state, Success, now + 10 * SECOND);
        assert_eq!(
            state.counts.requests, 3,
            "at the end, still the old interval"
        );
        call(&mut state, Failure, now + 10 * SECOND + SECOND / 10);
        assert_eq!(state.counts.requests, 1);
        assert_eq!(state.phase(), Phase::Closed);
    }

    #[test]
    fn half_open_admits_its_probes_and_no_more() {
        let (mut state, now) = start();
        open(&mut state, now);
        assert!(
            state.admit(now + 30 * SECOND).is_err(),
            "at the end, still open"
        );
        let later = now + 31 * SECOND;
        let probes: Vec<_> = (0..3).map(|_| state.admit(later).unwrap()).collect();
        assert!(state.admit(later).is_err());
        state.record(probes[0], Success, later);
        assert!(
            state.admit(later).is_err(),
            "the limit is on admitted calls, not on those under way"
        );
        state.record(probes[1], Success, later);
        state.record(probes[2], Success, later);
        assert_eq!(state.phase(), Phase::Closed);
    }

    #[test]
    fn one_failed_probe_reopens() {
        let (mut state, now) = start();
        open(&mut state, now);
        let later = now + 31 * SECOND;
        call(&mut state, Failure, later);
        assert_eq!(state.phase(), Phase::Open);
        assert!(state.admit(later + 30 * SECOND).is_err());
    }

    #[test]
    fn a_late_result_of_an_earlier_generation_is_ignored() {
        let (mut state, now) = start();
        let late = state.admit(now).unwrap();
        call(&mut state, Failure, now);
        call(&mut state, Failure, now);
        assert_eq!(state.phase(), Phase::Open, "2 of 3");
        state.record(late, Success, now + SECOND);
        assert_eq!(state.phase(), Phase::Open, "a late success does not close");
        let later = now + 31 * SECOND;
        state.record(late, Failure, later);
        assert_eq!(state.phase(), Phase::HalfOpen, "but it lets time pass");
    }

    #[test]
    fn an_excluded_result_frees_its_slot() {
        let (mut state, now) = start();
        open(&mut state, now);
        let later = now + 31 * SECOND;
        for _ in 0..10 {
            call(&mut state, Excluded, later);
        }
        assert_eq!(state.phase(), Phase::HalfOpen);
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        assert!(Config::default().validate().is_ok());
        let never_opens = Config {
            failure_percent: 101,
            ..Config::default()
        };
        assert!(never_opens.validate().is_err());
        let never_closes = Config {
            probes_max: 0,
            ..Config::default()
        };
        assert!(never_closes.validate().is_err());
    }

    #[test]
    fn endless_periods_never_end() {
        let endless = Config {
            interval: Duration::MAX,
            open_for: Duration::MAX,
            ..Config::default()
        };
        let now = Instant::now();
        let mut state = State::new(endless.validate().unwrap(), now);
        open(&mut state, now);
        assert!(state.admit(now + 1_000_000 * SECOND).is_err());
    }

    proptest! {
        /// Whatever happens, an open breaker admits nothing before its time, a half-open one at
        /// most its probes, and waiting long enough always lets a call through.
        #[test]
        fn the_limits_hold(steps in prop::collection::vec((0_u8..5, 0_u64..20), 1..200)) {
            let (mut state, mut now) = start();
            let mut under_way: Vec<u64> = Vec::new();
            for (step, seconds) in steps {
                let phase = state.phase();
                match step {
                    0 | 1 => {
                        let open_until = state.expiry;
                        match state.admit(now) {
                            Ok(generation) => {
                                under_way.push(generation);
                                prop_assert!(phase != Phase::Open || open_until.unwrap() < now);
                            }
                            Err(_) => prop_assert!(state.phase() != Phase::Closed),
                        }
                    }
                    2 => now += Duration::from_secs(seconds),
                    _ => if let Some(generation) = under_way.pop() {
                        let outcome = [Success, Failure, Excluded][usize::from(step) % 3];
                        state.record(generation, outcome, now);
                    },
                }
                prop_assert!(state.phase() != Phase::HalfOpen || state.counts.requests <= 3);
            }
            for generation in under_way {
                state.record(generation, Excluded, now);
            }
            prop_assert!(state.admit(now + 31 * SECOND).is_ok());
        }
    }
}
