//! What `GET /metrics` shows of the payments: what is unfinished in the store, and what came to rest
//! in this process.

use std::sync::{
    LazyLock,
    atomic::{AtomicI64, AtomicU64},
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};

use crate::{domain::State, store::Figures};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InState {
    state: &'static str,
}

/// One set for the process, however many services run in it.
static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::registered);

#[derive(Debug, Default)]
struct Metrics {
    unfinished: Family<InState, Gauge<i64, AtomicI64>>,
    compensating_age: Gauge<i64, AtomicI64>,
    recorded_age: Gauge<i64, AtomicI64>,
    unfinished_age: Gauge<i64, AtomicI64>,
    rested: Family<InState, Counter<u64, AtomicU64>>,
}

impl Metrics {
    fn registered() -> Self {
        let metrics = Self::default();
        mizan::telemetry::metrics::Registry::global().with(|registry| {
            registry.register(
                "mizan_payment_unfinished",
                "Payments in the store that are not final, by state",
                metrics.unfinished.clone(),
            );
            registry.register(
                "mizan_payment_compensating_age_seconds",
                "How long the oldest payment in COMPENSATING has been so; 0 if there is none",
                metrics.compensating_age.clone(),
            );
            registry.register(
                "mizan_payment_recorded_age_seconds",
                "How long the oldest payment in RECORDED has been so; 0 if there is none",
                metrics.recorded_age.clone(),
            );
            registry.register(
                "mizan_payment_unfinished_age_seconds",
                "How long ago the oldest payment that goes on by itself was accepted; 0 if there is none",
                metrics.unfinished_age.clone(),
            );
            registry.register(
                "mizan_payment_rested",
                "Payments that this process drove to a final state or had to park",
                metrics.rested.clone(),
            );
        });
        metrics
    }
}

/// A payment came to rest.
pub(super) fn rested(state: State) {
    let state = InState { state: name(state) };
    METRICS.rested.get_or_create(&state).inc();
}

/// Shows the figures of the store.
pub(super) fn take(figures: &Figures) {
    let shown = State::UNFINISHED.into_iter().chain([State::NeedsAttention]);
    for state in shown {
        let count = figures.in_state(state);
        let state = InState { state: name(state) };
        METRICS.unfinished.get_or_create(&state).set(count);
    }
    METRICS
        .compensating_age
        .set(figures.compensating_age_seconds);
    METRICS.recorded_age.set(figures.recorded_age_seconds);
    METRICS.unfinished_age.set(figures.unfinished_age_seconds);
}

fn name(state: State) -> &'static str {
    match state {
        State::Accepted => "accepted",
        State::Invoiced => "invoiced",
        State::Recorded => "recorded",
        State::Completed => "completed",
        State::Compensating => "compensating",
        State::Compensated => "compensated",
        State::Failed => "failed",
        State::NeedsAttention => "needs_attention",
    }
}
