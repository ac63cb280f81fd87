//! What callers hold: the breaker, the permit for one call, the refusal.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use tonic::{Code, Status};

use super::{
    config::Config,
    counts::Counts,
    lanes::{self, Counter},
    phase::{Outcome, Phase, Refusal},
    shell::{Admitted, Shared},
    state::Refused,
};
use crate::status;

/// A circuit breaker; clones share it. Time is an argument: the caller has read the clock already,
/// and a test has its own.
#[derive(Clone)]
pub struct Breaker {
    lanes: Arc<Lanes>,
}

/// A power of two of them, at least one.
struct Lanes {
    first: Arc<Lane>,
    others: Box<[Arc<Lane>]>,
}

/// What a permit holds on to. Each lane counts its owned permits, on lines of its own, for the reason
/// that it has its own counter.
#[repr(align(128))]
struct Lane {
    shared: Arc<Shared>,
    counter: Arc<Counter>,
}

/// The right to make one call. Dropped without a result it counts as excluded, and its slot is free.
#[must_use = "dropped, it says nothing about the callee"]
pub struct Permit<'a> {
    lane: &'a Lane,
    admitted: Admitted,
    told: bool,
}

/// The same for a call that may outlive the caller's handle, at the price of a reference count.
#[must_use = "dropped, it says nothing about the callee"]
pub struct OwnedPermit {
    lane: Arc<Lane>,
    admitted: Admitted,
    told: bool,
}

/// The breaker refused the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    breaker: Arc<str>,
    refusal: Refusal,
    retry_after: Duration,
}

impl Breaker {
    /// The `ErrorInfo` reason of a refused call.
    pub const REASON: &str = "BREAKER_OPEN";

    /// A closed breaker whose first interval begins now. The name is for errors, logs and metrics.
    /// Settings that [`Config::validate`] refuses do not panic, but such a breaker may never open.
    #[must_use]
    pub fn new(name: &str, config: Config) -> Self {
        Self::beginning(name, config, tokio::time::Instant::now().into_std())
    }

    /// A closed breaker whose first interval begins at `now`: the only clock it sees is the caller's.
    #[must_use]
    pub fn beginning(name: &str, config: Config, now: Instant) -> Self {
        let shared = Shared::new(name, config, now);
        let lane = |counter: &Arc<Counter>| {
            Arc::new(Lane {
                shared: shared.clone(),
                counter: counter.clone(),
            })
        };
        let mut lanes = shared.counters().iter().map(lane);
        let first = lanes.next().unwrap_or_else(|| lane(&Arc::default()));
        let others = lanes.collect();
        Self {
            lanes: Arc::new(Lanes { first, others }),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.shared().name()
    }

    /// Admits a call, or refuses it.
    ///
    /// # Errors
    /// [`Open`] says why and for how long.
    #[inline]
    pub fn admit(&self, now: Instant) -> Result<Permit<'_>, Open> {
        let lane = self.lane();
        Ok(Permit {
            admitted: lane.admit(now)?,
            lane,
            told: false,
        })
    }

    /// The same, with a permit that does not borrow the breaker.
    ///
    /// # Errors
    /// [`Open`] says why and for how long.
    #[inline]
    pub fn admit_owned(&self, now: Instant) -> Result<OwnedPermit, Open> {
        let lane = self.lane();
        Ok(OwnedPermit {
            admitted: lane.admit(now)?,
            lane: lane.clone(),
            told: false,
        })
    }

    /// Whether [`Self::admit`] might admit a call: false only if it certainly would not. Changes
    /// nothing and takes no lock, so a balancer may ask it of every instance.
    #[must_use]
    pub fn might_admit(&self, now: Instant) -> bool {
        self.shared().might_admit(now)
    }

    /// The phase. Lets time pass: an open breaker whose time is over is half-open from now on.
    #[must_use]
    pub fn phase(&self, now: Instant) -> Phase {
        self.shared().phase(now)
    }

    /// What it has counted since its phase or interval began. Does not let time pass: the counts of
    /// an interval that is over stay until the next call or [`Self::phase`].
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared().counts()
    }

    /// Refuses every call until [`Self::automatic`]: to take load off a callee by hand.
    pub fn force_open(&self, now: Instant) {
        self.shared().force(Some(Phase::ForcedOpen), now);
    }

    /// Admits every call until [`Self::automatic`], whatever fails. Goes on counting.
    pub fn force_closed(&self, now: Instant) {
        self.shared().force(Some(Phase::ForcedClosed), now);
    }

    /// Ends what [`Self::force_open`] or [`Self::force_closed`] began: closed, nothing counted. Does
    /// nothing to a breaker that is not forced.
    pub fn automatic(&self, now: Instant) {
        self.shared().force(None, now);
    }

    fn shared(&self) -> &Shared {
        &self.lanes.first.shared
    }

    /// The lane of this thread.
    #[inline]
    fn lane(&self) -> &Arc<Lane> {
        let Lanes { first, others } = &*self.lanes;
        // One less than a power of two is a mask; lane 0 is the first, the rest are the others.
        let index = lanes::thread_number() & others.len();
        others.get(index.wrapping_sub(1)).unwrap_or(first)
    }
}

impl Lane {
    #[inline]
    fn admit(&self, now: Instant) -> Result<Admitted, Open> {
        let admitted = self.shared.admit(&self.counter, now);
        admitted.map_err(|refused| self.refused(refused))
    }

    #[cold]
    fn refused(&self, refused: Refused) -> Open {
        Open {
            breaker: self.shared.name().clone(),
            refusal: refused.refusal,
            retry_after: refused.retry_after,
        }
    }

    #[inline]
    fn record(&self, admitted: Admitted, outcome: Outcome, now: Instant) {
        self.shared.record(&self.counter, admitted, outcome, now);
    }
}

impl Permit<'_> {
    /// Tells how the call went. It took from its admission until now.
    #[inline]
    pub fn record(mut self, outcome: Outcome, now: Instant) {
        self.told = true;
        self.lane.record(self.admitted, outcome, now);
    }
}

impl Drop for Permit<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.told {
            self.lane.shared.exclude(self.admitted);
        }
    }
}

impl OwnedPermit {
    /// Tells how the call went. It took from its admission until now.
    #[inline]
    pub fn record(mut self, outcome: Outcome, now: Instant) {
        self.told = true;
        self.lane.record(self.admitted, outcome, now);
    }
}

impl Drop for OwnedPermit {
    #[inline]
    fn drop(&mut self) {
        if !self.told {
            self.lane.shared.exclude(self.admitted);
        }
    }
}

impl Open {
    /// Why.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        self.refusal
    }

    /// How long it will go on, as far as it knows.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        self.retry_after
    }
}

impl fmt::Display for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is = match self.refusal {
            Refusal::Open => "open",
            Refusal::Probing => "half-open and waits for its probes",
            Refusal::Forced => "forced open",
        };
        write!(f, "the circuit breaker of {} is {is}", self.breaker)
    }
}

impl std::error::Error for Open {}

/// UNAVAILABLE with the reason BREAKER_OPEN and the time left as `RetryInfo`.
impl From<Open> for Status {
    fn from(open: Open) -> Self {
        let message = open.to_string();
        status::retry_later(
            Code::Unavailable,
            Breaker::REASON,
            message,
            open.retry_after,
        )
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared().fmt(f)
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("breaker", self.lane.shared.name())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for OwnedPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedPermit")
            .field("breaker", self.lane.shared.name())
            .finish_non_exhaustive()
    }
}
