//! What is counted for one channel.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{
    histogram::{Latency, Tally},
    method::{MethodMetrics, MethodTally, nanos},
    methods::Methods,
};
use crate::telemetry::names::LATENCY;

/// A breaker's state, as the metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Closed,
    HalfOpen,
    Open,
}

/// The names of the phases, by their numbers.
pub(super) const PHASES: [&str; 3] = ["closed", "half_open", "open"];

/// How an outlier was noticed (A91).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detection {
    SuccessRate,
    FailurePercentage,
}

pub(super) const DETECTIONS: [&str; 2] = ["success_rate", "failure_percentage"];

/// Why an outlier was not ejected (A91).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unenforced {
    /// The enforcement percentage spared it.
    EnforcementPercentage,
    /// Enough are ejected already.
    MaxEjectionOverflow,
}

pub(super) const UNENFORCED: [&str; 2] = ["enforcement_percentage", "max_ejection_overflow"];

/// What is asked of a channel at the moment of a scrape.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Gauges {
    /// Breakers that are closed, half-open and open.
    pub(crate) breakers: [u64; 3],
    /// How many instances are in each state, by the state's name.
    pub(crate) instances: Vec<(&'static str, u64)>,
    /// Connections on which call after call is given up and none is answered.
    pub(crate) stalled: u64,
    /// How old the list of instances is; zero while discovery works.
    pub(crate) discovery_age: Option<Duration>,
}

/// Something that knows a channel's gauges; a closure does.
pub(crate) trait Observe: Send + Sync {
    fn gauges(&self) -> Gauges;
}

impl<F: Fn() -> Gauges + Send + Sync> Observe for F {
    fn gauges(&self) -> Gauges {
        self()
    }
}

/// The metrics of one channel. Channels to the same target are added up when they are exposed.
#[derive(Default)]
pub(crate) struct ClientMetrics {
    target: Arc<str>,
    methods: Methods<MethodMetrics>,
    connects_succeeded: AtomicU64,
    connects_failed: AtomicU64,
    disconnections: AtomicU64,
    ejections: [AtomicU64; DETECTIONS.len()],
    unenforced: [[AtomicU64; UNENFORCED.len()]; DETECTIONS.len()],
    transitions: [[AtomicU64; PHASES.len()]; PHASES.len()],
    limiter_wait: Latency,
    limiter_refused: AtomicU64,
    observed: OnceLock<Weak<dyn Observe>>,
}

impl std::fmt::Debug for ClientMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientMetrics")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

impl ClientMetrics {
    pub(super) fn new(target: &str) -> Self {
        Self {
            target: target.into(),
            ..Self::default()
        }
    }

    /// What is counted for the method of a request's path: look it up once a call.
    pub(crate) fn method(&self, path: &str) -> Arc<MethodMetrics> {
        self.methods.learn(path)
    }

    /// Who is asked for the gauges for as long as it lives. The first one stays.
    pub(crate) fn observe(&self, observed: Weak<dyn Observe>) {
        let _ = self.observed.set(observed);
    }

    /// A connection to an instance stands.
    pub(crate) fn connected(&self) {
        self.connects_succeeded.fetch_add(1, Relaxed);
    }

    /// One could not be made.
    pub(crate) fn connect_failed(&self) {
        self.connects_failed.fetch_add(1, Relaxed);
    }

    /// One that stood ended: say so once for each [`connected`](Self::connected).
    pub(crate) fn disconnected(&self) {
        self.disconnections.fetch_add(1, Relaxed);
    }

    /// An instance was ejected as an outlier.
    pub(crate) fn ejected(&self, by: Detection) {
        let [rate, percentage] = &self.ejections;
        let counter = match by {
            Detection::SuccessRate => rate,
            Detection::FailurePercentage => percentage,
        };
        counter.fetch_add(1, Relaxed);
    }

    /// An outlier was not ejected.
    pub(crate) fn unenforced(&self, by: Detection, reason: Unenforced) {
        let [rate, percentage] = &self.unenforced;
        let [spared, overflow] = match by {
            Detection::SuccessRate => rate,
            Detection::FailurePercentage => percentage,
        };
        let counter = match reason {
            Unenforced::EnforcementPercentage => spared,
            Unenforced::MaxEjectionOverflow => overflow,
        };
        counter.fetch_add(1, Relaxed);
    }

    /// A breaker changed its state.
    pub(crate) fn breaker_changed(&self, from: Phase, to: Phase) {
        let row = phase(&self.transitions, from);
        phase(row, to).fetch_add(1, Relaxed);
    }

    /// An attempt waited for its token. Not for those that did not wait: they would drown the
    /// others, and cost every call.
    pub(crate) fn limiter_waited(&self, waited: Duration) {
        self.limiter_wait.record(&LATENCY, nanos(waited));
    }

    /// The limiter refused an attempt.
    pub(crate) fn limiter_refused(&self) {
        self.limiter_refused.fetch_add(1, Relaxed);
    }

    pub(in crate::telemetry) fn target(&self) -> &Arc<str> {
        &self.target
    }

    /// Whether somebody outside the registry can still record, given that nobody else holds this.
    pub(super) fn in_use(&self) -> bool {
        self.methods.in_use()
    }

    pub(in crate::telemetry) fn tally(&self) -> ClientTally {
        let count = |counter: &AtomicU64| counter.load(Relaxed);
        let mut limiter_wait = Tally::default();
        self.limiter_wait.tally(&mut limiter_wait);
        let observed = self.observed.get().and_then(Weak::upgrade);
        ClientTally {
            methods: self
                .methods
                .all()
                .into_iter()
                .map(|(name, method)| (name, method.tally()))
                .collect(),
            connects_succeeded: count(&self.connects_succeeded),
            connects_failed: count(&self.connects_failed),
            disconnections: count(&self.disconnections),
            ejections: self.ejections.each_ref().map(count),
            unenforced: self.unenforced.each_ref().map(|r| r.each_ref().map(count)),
            transitions: self.transitions.each_ref().map(|r| r.each_ref().map(count)),
            limiter_wait,
            limiter_refused: count(&self.limiter_refused),
            gauges: observed.map(|it| it.gauges()),
        }
    }
}

fn phase<T>([closed, half_open, open]: &[T; 3], phase: Phase) -> &T {
    match phase {
        Phase::Closed => closed,
        Phase::HalfOpen => half_open,
        Phase::Open => open,
    }
}

/// What a channel, or several to one target, counted.
#[derive(Debug, Clone, Default)]
pub(in crate::telemetry) struct ClientTally {
    pub(in crate::telemetry) methods: BTreeMap<Box<str>, MethodTally>,
    pub(in crate::telemetry) connects_succeeded: u64,
    pub(in crate::telemetry) connects_failed: u64,
    pub(in crate::telemetry) disconnections: u64,
    pub(in crate::telemetry) ejections: [u64; DETECTIONS.len()],
    pub(in crate::telemetry) unenforced: [[u64; UNENFORCED.len()]; DETECTIONS.len()],
    pub(in crate::telemetry) transitions: [[u64; PHASES.len()]; PHASES.len()],
    pub(in crate::telemetry) limiter_wait: Tally,
    pub(in crate::telemetry) limiter_refused: u64,
    pub(in crate::telemetry) gauges: Option<Gauges>,
}

impl ClientTally {
    pub(super) fn merge(&mut self, other: Self) {
        for (name, more) in other.methods {
            self.methods.entry(name).or_default().merge(&more);
        }
        self.connects_succeeded += other.connects_succeeded;
        self.connects_failed += other.connects_failed;
        self.disconnections += other.disconnections;
        add(&mut self.ejections, other.ejections);
        for (row, more) in self.unenforced.iter_mut().zip(other.unenforced) {
            add(row, more);
        }
        for (row, more) in self.transitions.iter_mut().zip(other.transitions) {
            add(row, more);
        }
        self.limiter_wait.merge(&other.limiter_wait);
        self.limiter_refused += other.limiter_refused;
        if let Some(more) = other.gauges {
            let gauges = self.gauges.get_or_insert_default();
            add(&mut gauges.breakers, more.breakers);
            for (state, number) in more.instances {
                match gauges.instances.iter_mut().find(|(s, _)| *s == state) {
                    Some((_, total)) => *total += number,
                    None => gauges.instances.push((state, number)),
                }
            }
            gauges.stalled += more.stalled;
            // The oldest: one channel that is cut off is not hidden by others that are not.
            gauges.discovery_age = gauges.discovery_age.max(more.discovery_age);
        }
    }

    /// Connections open now. A94 has it beside the two counters it follows from.
    pub(in crate::telemetry) fn open_connections(&self) -> u64 {
        self.connects_succeeded.saturating_sub(self.disconnections)
    }
}

fn add<const N: usize>(totals: &mut [u64; N], more: [u64; N]) {
    for (total, more) in totals.iter_mut().zip(more) {
        *total += more;
    }
}
