//! Adaptive concurrency limit: how many calls at a time a callee bears, found by trying.
//!
//! *Problem.* A rate must be known, and is wrong after the next deployment. What a callee can bear
//! shows in its answers: beyond it, calls are dropped or wait in a queue.
//!
//! *What it does.* Admits a call while fewer than the limit are under way. The limit grows slowly
//! while calls go well and most of it is used, and falls quickly when they are dropped
//! ([`outcome_of`]) or, with [`Algorithm::Gradient`], when they take longer than usual.
//!
//! *What it does not do.* A call over the limit is refused, not queued: the queue is what the limit
//! is there to prevent, and whoever may wait has a retry with a pause. Calls under way when the
//! limit falls are left alone.
//!
//! *Where it sits.* Beside the rate limiter and after it, inside retry, outside the breaker. What is
//! refused on this side (an open breaker, no instance) says nothing about the callee: drop the slot.

mod config;
mod state;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Instant,
};

use parking_lot::Mutex;
use tonic::{Code, Status};

pub use config::{Algorithm, Config, Gradient, InvalidConfig};
pub use state::Outcome;
use state::{Call, State};

use crate::status;

/// An adaptive limit on the calls under way. Clones share it.
///
/// ```
/// # use mizan::limit::{ConcurrencyLimit, adaptive::{Config, Outcome}};
/// # use std::time::Instant;
/// let limit = ConcurrencyLimit::new("accounting", Config::default())?;
/// let slot = limit.try_enter(Instant::now()).map_err(|_| "busy")?;
/// // ... the call ...
/// slot.finish(Outcome::Success, Instant::now());
/// assert_eq!(limit.in_flight(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct ConcurrencyLimit {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    name: Box<str>,
    in_flight: AtomicU32,
    /// The state's limit, to be read without its lock.
    limit: AtomicU32,
    state: Mutex<State>,
}

impl ConcurrencyLimit {
    /// A limit at its initial value. `name` is what refusals call it: the service, usually.
    ///
    /// # Errors
    /// [`InvalidConfig`] names the rule that the settings break.
    pub fn new(name: &str, config: Config) -> Result<Self, InvalidConfig> {
        let state = State::new(config.validate()?);
        Ok(Self {
            shared: Arc::new(Shared {
                name: name.into(),
                in_flight: AtomicU32::new(0),
                limit: AtomicU32::new(state.limit()),
                state: Mutex::new(state),
            }),
        })
    }

    /// A slot for a call that begins `now`.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED with the reason CONCURRENCY_LIMITED when as many are under way as may be.
    pub fn try_enter(&self, now: Instant) -> Result<Slot, Status> {
        let limit = self.limit();
        let entered =
            self.shared
                .in_flight
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |in_flight| {
                    (in_flight < limit).then_some(in_flight.saturating_add(1))
                });
        match entered {
            Ok(before) => Ok(Slot {
                shared: self.shared.clone(),
                call: Call {
                    began: now,
                    in_flight: before.saturating_add(1),
                },
            }),
            Err(_) => Err(self.refused(limit)),
        }
    }

    /// How many calls may be under way now.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.shared.limit.load(Ordering::Relaxed)
    }

    /// How many calls are under way; more than the limit for a while after it fell.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.shared.in_flight.load(Ordering::Relaxed)
    }

    #[cold]
    fn refused(&self, limit: u32) -> Status {
        status::refused(
            Code::ResourceExhausted,
            "CONCURRENCY_LIMITED",
            format!("{limit} calls to {} are under way", self.shared.name),
        )
    }
}

/// The place of a call under way. Dropped without an outcome it is free again, and nothing is
/// learned.
#[derive(Debug)]
#[must_use = "dropped at once, it limits nothing"]
pub struct Slot {
    shared: Arc<Shared>,
    call: Call,
}

impl Slot {
    /// The call ended `now`: the limit learns how.
    pub fn finish(self, outcome: Outcome, now: Instant) {
        if outcome == Outcome::Ignored {
            return;
        }
        let mut state = self.shared.state.lock();
        state.learn(self.call, outcome, now);
        // Under the lock, so that no older limit overwrites a newer.
        self.shared.limit.store(state.limit(), Ordering::Relaxed);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.shared.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How a status counts. Only what tells of too much work is a drop: RESOURCE_EXHAUSTED,
/// UNAVAILABLE, DEADLINE_EXCEEDED. Only OK has a latency that means anything; a refusal may be
/// quick, and an error anything.
#[must_use]
pub fn outcome_of(code: Code) -> Outcome {
    match code {
        Code::Ok => Outcome::Success,
        Code::ResourceExhausted | Code::Unavailable | Code::DeadlineExceeded => Outcome::Dropped,
        Code::Cancelled
        | Code::Unknown
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Internal
        | Code::DataLoss
        | Code::Unauthenticated => Outcome::Ignored,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn limit(calls: u32) -> ConcurrencyLimit {
        let config = Config {
            limit_min: 1,
            limit_initial: calls,
            ..Config::default()
        };
        ConcurrencyLimit::new("accounting", config).unwrap()
    }

    #[test]
    fn as_many_as_the_limit_and_no_more() {
        let limit = limit(2);
        let now = Instant::now();
        let slots = [limit.try_enter(now).unwrap(), limit.try_enter(now).unwrap()];
        let refusal = limit.try_enter(now).unwrap_err();
        assert_eq!(refusal.code(), Code::ResourceExhausted);
        assert_eq!(
            status::reason(&refusal).as_deref(),
            Some("CONCURRENCY_LIMITED")
        );
        assert_eq!(limit.in_flight(), 2);
        drop(slots);
        assert_eq!(limit.in_flight(), 0, "dropped is released");
        assert_eq!(limit.limit(), 2, "and nothing was learned");
    }

    #[test]
    fn a_drop_lowers_the_limit_below_what_is_under_way() {
        let limit = limit(10);
        let now = Instant::now();
        let mut slots: Vec<_> = (0..10).map(|_| limit.try_enter(now).unwrap()).collect();
        let later = now + Duration::from_millis(5);
        slots
            .pop()
            .unwrap()
            .finish(outcome_of(Code::Unavailable), later);
        assert_eq!((limit.limit(), limit.in_flight()), (9, 9));
        limit.try_enter(later).unwrap_err();
        slots
            .pop()
            .unwrap()
            .finish(outcome_of(Code::ResourceExhausted), later);
        assert_eq!(limit.limit(), 9, "the same overload");
        drop(limit.try_enter(later).expect("one place is free"));
        for slot in slots {
            slot.finish(outcome_of(Code::Ok), later);
        }
        assert_eq!(limit.limit(), 9);
        assert_eq!(limit.in_flight(), 0);
    }

    #[test]
    fn a_callers_mistake_and_a_cancelled_call_say_nothing() {
        let limit = limit(10);
        let now = Instant::now();
        for code in [Code::InvalidArgument, Code::Cancelled, Code::Internal] {
            for _ in 0..100 {
                limit.try_enter(now).unwrap().finish(outcome_of(code), now);
            }
        }
        assert_eq!((limit.limit(), limit.in_flight()), (10, 0));
    }

    #[test]
    fn racing_threads_never_exceed_it() {
        let limit = limit(3);
        let now = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        let slot = limit.try_enter(now);
                        assert!(limit.in_flight() <= 3);
                        drop(slot);
                    }
                });
            }
        });
        assert_eq!(limit.in_flight(), 0);
    }
}
