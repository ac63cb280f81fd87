//! Circuit breaker: stop calling what keeps failing, and find out by a few calls when it is back.
//!
//! *Problem.* Calls to a dead service cost the caller its deadline and the service its recovery.
//!
//! *What it does.* Follows gobreaker's rules: closed → open when enough calls of an interval
//! failed; open refuses at once; after a while half-open admits a few probes, which close it again
//! or reopen it. A result that belongs to an earlier generation is ignored.
//!
//! *Differences from gobreaker, on purpose.* A call that is dropped gives its slot back (Go leaks
//! it, and a half-open breaker is then stuck for ever). No callback runs under the lock.
//!
//! *Where it sits.* Inside retry, so that every attempt asks; outside the instances, so that one
//! service has one breaker.

mod state;

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;
use tonic::{Code, Status};

pub(crate) use state::Outcome;
use state::State;
pub use state::{Config, InvalidConfig, Phase};

use crate::status;

/// A breaker; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Breaker {
    name: Arc<str>,
    state: Arc<Mutex<State>>,
}

/// The right to make one call. Dropped without a result it counts as if the call was never made.
#[derive(Debug)]
pub(crate) struct Permit {
    breaker: Breaker,
    generation: Option<u64>,
}

impl Breaker {
    pub(crate) fn new(name: &str, config: Config) -> Self {
        Self {
            name: name.into(),
            state: Arc::new(Mutex::new(State::new(config, now()))),
        }
    }

    /// A permit, or UNAVAILABLE with the reason BREAKER_OPEN and the time left.
    pub(crate) fn admit(&self) -> Result<Permit, Status> {
        let mut state = self.state.lock();
        let before = state.phase();
        let admitted = state.admit(now());
        let after = state.phase();
        drop(state);
        self.report(before, after);
        match admitted {
            Ok(generation) => Ok(Permit {
                breaker: self.clone(),
                generation: Some(generation),
            }),
            Err(refusal) => Err(self.refusal(refusal.retry_after)),
        }
    }

    fn refusal(&self, retry_after: Duration) -> Status {
        let message = format!("the circuit breaker of {} is open", self.name);
        status::retry_later(Code::Unavailable, "BREAKER_OPEN", message, retry_after)
    }

    fn report(&self, before: Phase, after: Phase) {
        if before != after {
            tracing::warn!(breaker = %self.name, from = %before, to = %after, "breaker changed");
        }
    }

    fn settle(&self, generation: u64, outcome: Outcome) {
        let mut state = self.state.lock();
        let before = state.phase();
        state.record(generation, outcome, now());
        let after = state.phase();
        drop(state);
        self.report(before, after);
    }
}

impl Permit {
    /// Tells the breaker how the call went.
    pub(crate) fn record(mut self, outcome: Outcome) {
        if let Some(generation) = self.generation.take() {
            self.breaker.settle(generation, outcome);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(generation) = self.generation.take() {
            self.breaker.settle(generation, Outcome::Excluded);
        }
    }
}

/// How a status counts: a callee's trouble is a failure; a caller's own mistake is not, since the
/// callee did answer; a cancelled call says nothing.
pub(crate) fn outcome_of(code: Code) -> Outcome {
    match code {
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Internal
        | Code::Unknown
        | Code::DataLoss
        | Code::ResourceExhausted => Outcome::Failure,
        Code::Cancelled => Outcome::Excluded,
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Unauthenticated => Outcome::Success,
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config {
            probes_max: 1,
            ..Config::default()
        }
    }

    fn fail(breaker: &Breaker, times: usize) {
        for _ in 0..times {
            breaker.admit().unwrap().record(Outcome::Failure);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_breaker_says_why_and_when() {
        let breaker = Breaker::new("invoice", config());
        fail(&breaker, 3);
        let refusal = breaker.admit().unwrap_err();
        assert_eq!(refusal.code(), Code::Unavailable);
        assert_eq!(status::reason(&refusal).as_deref(), Some("BREAKER_OPEN"));
        assert_eq!(status::retry_after(&refusal), Some(Duration::from_secs(30)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_probe_gives_its_slot_back() {
        let breaker = Breaker::new("invoice", config());
        fail(&breaker, 3);
        tokio::time::advance(Duration::from_secs(31)).await;
        drop(breaker.admit().unwrap());
        breaker.admit().unwrap().record(Outcome::Success);
        assert_eq!(breaker.state.lock().phase(), Phase::Closed);
    }
}
