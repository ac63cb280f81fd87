//! The breaker's state machine: no clock, no lock, no I/O; time is an argument.
//!
//! ```text
//!            trip, or too many slow
//!   ┌────────┐ ────────────────────────────────► ┌──────┐
//!   │ closed │                                   │ open │ ◄───┐
//!   └────────┘ ◄──┐                              └──────┘     │ any failure,
//!     ▲  every    │ probes_max successes            │ open_for│ any slow call
//!     └─interval, │ in a row                        ▼         │
//!       counts    └──────────────────────────── ┌───────────┐─┘
//!       cleared                                 │ half-open │ ◄─┐ every probe_timeout
//!                                               └───────────┘ ──┘ while full: new slots
//!
//!   from any phase by hand: forced open, forced closed; from these by hand: closed
//! ```
//!
//! The rules are those of sony/gobreaker v2. Time is looked at only when a call asks or reports,
//! and comparisons are strict: at exactly the end of a period the old phase still holds.

use std::time::{Duration, Instant};

use super::{
    config::Config,
    counts::{Counts, Window},
    phase::{Outcome, Phase, Refusal},
};

/// What a half-open breaker that is full says to those who ask when: its probes decide, usually
/// soon.
const PROBES_REPORT_IN: Duration = Duration::from_secs(1);

/// Says to which part of the breaker's life a call belongs: every phase and interval begins with a
/// number higher than all before, and every bucket, or round of probes, adds one.
pub(super) type Ticket = u64;

/// A call was not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) refusal: Refusal,
    pub(super) retry_after: Duration,
}

/// What all calls meet until some instant, unless one of them changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// Every call is admitted, and a success only counted.
    Counting,
    /// Every call is refused.
    Refusing(Refusal),
    /// Each has to ask.
    Asking,
}

#[derive(Debug)]
pub(super) struct State {
    config: Config,
    phase: Phase,
    /// The first ticket of this phase and interval; what bears a lower one is ignored.
    first: Ticket,
    /// When this phase or interval began.
    start: Instant,
    /// When something happens by time alone: a fixed interval or an open period ends, or a full
    /// half-open has waited long enough. A bucket's end is not among it.
    expiry: Option<Instant>,
    window: Window,
    /// How often half-open gave its slots anew.
    round: u64,
    /// Probes admitted in this round, less the excluded ones.
    probes: u32,
}

impl State {
    pub(super) fn new(mut config: Config, now: Instant) -> Self {
        // Without a probe it could never close.
        config.probes_max = config.probes_max.max(1);
        let mut state = Self {
            window: Window::new(config.buckets()),
            config,
            phase: Phase::Closed,
            first: 0,
            start: now,
            expiry: None,
            round: 0,
            probes: 0,
        };
        state.enter(Phase::Closed, now);
        state
    }

    /// The phase as it was when last looked at.
    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// The counts as they were when last looked at.
    pub(super) fn counts(&self) -> Counts {
        *self.window.total()
    }

    /// The ticket that a call admitted now would get.
    pub(super) fn ticket(&self) -> Ticket {
        let part = match self.phase {
            Phase::HalfOpen => self.round,
            _ => self.window.age(),
        };
        self.first.saturating_add(part)
    }

    /// Admits a call, with the ticket that its result is to come with.
    pub(super) fn admit(&mut self, now: Instant) -> Result<Ticket, Refused> {
        self.look(now);
        if let Some(refusal) = self.refuses() {
            return Err(Refused {
                refusal,
                retry_after: self.retry_after(refusal, now),
            });
        }
        self.window.requested(1);
        if self.phase == Phase::HalfOpen {
            self.probes = self.probes.saturating_add(1);
            if self.is_full() {
                let timeout = self.config.probe_timeout;
                self.expiry = timeout.and_then(|timeout| now.checked_add(timeout));
            }
        }
        Ok(self.ticket())
    }

    /// Takes the result of an admitted call, and how long it took.
    pub(super) fn record(
        &mut self,
        ticket: Ticket,
        outcome: Outcome,
        took: Duration,
        now: Instant,
    ) {
        self.look(now);
        let Some(age) = self.age_of(ticket) else {
            return;
        };
        let outcome = match outcome {
            Outcome::Limited if self.phase == Phase::HalfOpen => Outcome::Failure,
            Outcome::Limited => Outcome::Excluded,
            other => other,
        };
        let slow = self.config.slow.filter(|slow| took > slow.threshold);
        if slow.is_some() && outcome != Outcome::Excluded {
            self.window.was_slow(age);
        }
        match outcome {
            Outcome::Excluded | Outcome::Limited => return self.exclude(ticket),
            Outcome::Success => self.window.succeeded(age, 1),
            Outcome::Failure => self.window.failed(age),
        }
        let failed = outcome == Outcome::Failure;
        let counts = self.window.total();
        match self.phase {
            Phase::Closed => {
                let trips = failed && self.config.trip.opens(counts);
                if trips || slow.is_some_and(|slow| slow.opens(counts)) {
                    self.enter(Phase::Open, now);
                }
            }
            Phase::HalfOpen if failed || slow.is_some() => self.enter(Phase::Open, now),
            Phase::HalfOpen => {
                if counts.consecutive_successes >= u64::from(self.config.probes_max) {
                    self.enter(Phase::Closed, now);
                }
            }
            Phase::Open | Phase::ForcedOpen | Phase::ForcedClosed => {}
        }
    }

    /// An admitted call says nothing. Time does not pass by it: the next call will notice.
    pub(super) fn exclude(&mut self, ticket: Ticket) {
        let Some(age) = self.age_of(ticket) else {
            return;
        };
        self.window.excluded(age);
        // A probe of an earlier round has given its slot back already.
        if self.phase == Phase::HalfOpen && ticket == self.ticket() {
            self.probes = self.probes.saturating_sub(1);
            self.expiry = None;
        }
    }

    /// Books calls that were admitted and succeeded without asking, since the last look.
    pub(super) fn fold(&mut self, requests: u64, successes: u64) {
        self.window.requested(requests);
        self.window.succeeded(self.window.age(), successes);
    }

    /// Holds the phase given, whatever happens.
    pub(super) fn force(&mut self, phase: Phase, now: Instant) {
        if self.phase != phase {
            self.enter(phase, now);
        }
    }

    /// Ends what [`Self::force`] began: closed, with nothing counted.
    pub(super) fn automatic(&mut self, now: Instant) {
        if matches!(self.phase, Phase::ForcedOpen | Phase::ForcedClosed) {
            self.enter(Phase::Closed, now);
        }
    }

    /// What calls meet until and at the instant given; without one, for ever.
    pub(super) fn gate(&self) -> (Gate, Option<Instant>) {
        match (self.phase, self.refuses()) {
            (_, Some(refusal)) => (Gate::Refusing(refusal), self.expiry),
            (Phase::HalfOpen, None) => (Gate::Asking, None),
            _ if self.window.is_rolling() => (Gate::Counting, self.bucket_end()),
            _ => (Gate::Counting, self.expiry),
        }
    }

    /// Lets time pass.
    pub(super) fn look(&mut self, now: Instant) {
        let due = self.expiry.is_some_and(|expiry| expiry < now);
        match self.phase {
            // From the moment it is noticed, not phase-locked.
            Phase::Closed | Phase::ForcedClosed if due => self.enter(self.phase, now),
            Phase::Closed | Phase::ForcedClosed => self.window.grow(self.age_at(now)),
            Phase::Open if due => self.enter(Phase::HalfOpen, now),
            Phase::HalfOpen if due => {
                self.round = self.round.saturating_add(1);
                self.probes = 0;
                self.expiry = None;
            }
            Phase::Open | Phase::HalfOpen | Phase::ForcedOpen => {}
        }
    }

    fn refuses(&self) -> Option<Refusal> {
        match self.phase {
            Phase::Open => Some(Refusal::Open),
            Phase::ForcedOpen => Some(Refusal::Forced),
            Phase::HalfOpen if self.is_full() => Some(Refusal::Probing),
            Phase::HalfOpen | Phase::Closed | Phase::ForcedClosed => None,
        }
    }

    fn is_full(&self) -> bool {
        // The limit is on admitted probes, not on those under way.
        self.probes >= self.config.probes_max
    }

    fn retry_after(&self, refusal: Refusal, now: Instant) -> Duration {
        let left = self.expiry.map(|end| end.saturating_duration_since(now));
        match refusal {
            Refusal::Probing => left.map_or(PROBES_REPORT_IN, |left| left.min(PROBES_REPORT_IN)),
            // Nobody knows when; as good a guess as any.
            Refusal::Open | Refusal::Forced => left.unwrap_or(self.config.open_for),
        }
    }

    /// The bucket of a call, if it is of this phase and interval.
    fn age_of(&self, ticket: Ticket) -> Option<u64> {
        let age = ticket.checked_sub(self.first)?;
        // What is not closed has but one bucket; a ticket tells rounds there.
        Some(if self.phase == Phase::HalfOpen {
            0
        } else {
            age
        })
    }

    fn period_nanos(&self) -> u128 {
        let period = self.config.bucket_period.unwrap_or_default();
        period.as_nanos().max(1)
    }

    fn age_at(&self, now: Instant) -> u64 {
        if !self.window.is_rolling() {
            return 0;
        }
        let elapsed = now.saturating_duration_since(self.start).as_nanos();
        u64::try_from(elapsed / self.period_nanos()).unwrap_or(u64::MAX)
    }

    /// The last instant of the current bucket; none if it is too far away to be said.
    fn bucket_end(&self) -> Option<Instant> {
        let next = u128::from(self.window.age()).saturating_add(1);
        let nanos = next.saturating_mul(self.period_nanos()).saturating_sub(1);
        let offset = Duration::from_nanos(u64::try_from(nanos).ok()?);
        self.start.checked_add(offset)
    }

    fn enter(&mut self, phase: Phase, now: Instant) {
        self.first = self.ticket().saturating_add(1);
        self.phase = phase;
        self.start = now;
        self.window.clear();
        self.round = 0;
        self.probes = 0;
        // One too far away to be said never comes.
        self.expiry = match phase {
            Phase::Closed | Phase::ForcedClosed if self.window.is_rolling() => None,
            Phase::Closed | Phase::ForcedClosed => now.checked_add(self.config.fixed_interval()),
            Phase::Open => now.checked_add(self.config.open_for),
            Phase::HalfOpen | Phase::ForcedOpen => None,
        };
    }
}

#[cfg(test)]
mod tests;
