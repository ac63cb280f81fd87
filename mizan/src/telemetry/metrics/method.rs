//! What is counted for one method.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tonic::Code;

use super::{
    cells::{ByStatus, Sharded},
    histogram::{Latency, Retries, Size, Tally, Transparent},
};
use crate::telemetry::names::{LATENCY, RETRIES, SIZE, TRANSPARENT};

/// A request and what came of it: an attempt of a client's, or a call at a server's.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    duration: Latency,
    sent: Size,
    rcvd: Size,
}

impl Exchange {
    pub(super) fn record(&self, took: Duration, sent: u64, rcvd: u64) {
        self.duration.record(&LATENCY, nanos(took));
        self.sent.record(&SIZE, sent);
        self.rcvd.record(&SIZE, rcvd);
    }
}

/// What became of the attempts of a call besides the first.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Retried {
    /// Attempts that the retry policy asked for.
    pub(crate) retries: u32,
    /// Attempts after one that no server processed.
    pub(crate) transparent: u32,
    /// Attempts sent while another was under way.
    pub(crate) hedges: u32,
    /// How long no attempt was under way, in all.
    pub(crate) delay: Duration,
}

#[derive(Debug, Default)]
struct RetriedCells {
    retries: Retries,
    transparent: Transparent,
    hedges: Retries,
    delay: Latency,
}

/// One method of one channel. Recording is atomic additions alone; the first record of a status
/// on a thread's shard allocates its cell.
#[derive(Debug, Default)]
pub(crate) struct MethodMetrics {
    started: Sharded<AtomicU64>,
    attempts: ByStatus<Exchange>,
    calls: ByStatus<Latency>,
    retried: Sharded<RetriedCells>,
}

impl MethodMetrics {
    /// An attempt begins: before an instance is picked (A66).
    pub(crate) fn attempt_started(&self) {
        self.started.here().fetch_add(1, Relaxed);
    }

    /// An attempt ended; `sent` and `rcvd` are bytes of messages, without framing.
    pub(crate) fn attempt_ended(&self, code: Code, took: Duration, sent: u64, rcvd: u64) {
        self.attempts.of(code).record(took, sent, rcvd);
    }

    /// A call ended, with all its attempts. What is zero of `retried` is not reported (A96).
    pub(crate) fn call_ended(&self, code: Code, took: Duration, retried: &Retried) {
        self.calls.of(code).record(&LATENCY, nanos(took));
        if retried.retries == 0 && retried.transparent == 0 && retried.hedges == 0 {
            return;
        }
        let cells = self.retried.here();
        if retried.retries > 0 {
            cells.retries.record(&RETRIES, retried.retries.into());
        }
        if retried.transparent > 0 {
            cells
                .transparent
                .record(&TRANSPARENT, retried.transparent.into());
        }
        if retried.hedges > 0 {
            cells.hedges.record(&RETRIES, retried.hedges.into());
        }
        if !retried.delay.is_zero() {
            cells.delay.record(&LATENCY, nanos(retried.delay));
        }
    }

    pub(super) fn tally(&self) -> MethodTally {
        let mut tally = MethodTally {
            started: total(&self.started),
            attempts: exchanges(&self.attempts),
            ..MethodTally::default()
        };
        for (status, parts) in self.calls.recorded() {
            let calls = tally.calls.entry(status).or_default();
            parts.for_each(|part| part.tally(calls));
        }
        for cells in self.retried.parts() {
            cells.retries.tally(&mut tally.retries);
            cells.transparent.tally(&mut tally.transparent);
            cells.hedges.tally(&mut tally.hedges);
            cells.delay.tally(&mut tally.delay);
        }
        tally
    }
}

/// One method of a server.
#[derive(Debug, Default)]
pub(crate) struct ServerMethod {
    started: Sharded<AtomicU64>,
    calls: ByStatus<Exchange>,
    blocked: AtomicU64,
}

impl ServerMethod {
    /// A call came in.
    pub(crate) fn started(&self) {
        self.started.here().fetch_add(1, Relaxed);
    }

    /// Its answer was sent, or nobody waits for it any more.
    pub(crate) fn ended(&self, code: Code, took: Duration, sent: u64, rcvd: u64) {
        self.calls.of(code).record(took, sent, rcvd);
    }

    /// Its handler kept its thread for too long, so often; mostly never.
    #[cfg(feature = "server")]
    pub(crate) fn blocked(&self, times: u64) {
        if times > 0 {
            self.blocked.fetch_add(times, Relaxed);
        }
    }

    pub(super) fn tally(&self) -> MethodTally {
        MethodTally {
            started: total(&self.started),
            blocked: self.blocked.load(Relaxed),
            attempts: exchanges(&self.calls),
            ..MethodTally::default()
        }
    }
}

/// What a method's cells hold together, by number of status.
#[derive(Debug, Clone, Default)]
pub(in crate::telemetry) struct MethodTally {
    pub(in crate::telemetry) started: u64,
    pub(super) blocked: u64,
    pub(super) attempts: BTreeMap<usize, ExchangeTally>,
    pub(in crate::telemetry) calls: BTreeMap<usize, Tally>,
    pub(in crate::telemetry) retries: Tally,
    pub(in crate::telemetry) transparent: Tally,
    pub(in crate::telemetry) hedges: Tally,
    pub(super) delay: Tally,
}

#[derive(Debug, Clone, Default)]
pub(in crate::telemetry) struct ExchangeTally {
    pub(super) duration: Tally,
    pub(super) sent: Tally,
    pub(super) rcvd: Tally,
}

impl MethodTally {
    pub(super) fn merge(&mut self, other: &Self) {
        self.started += other.started;
        self.blocked += other.blocked;
        for (status, more) in &other.attempts {
            let attempts = self.attempts.entry(*status).or_default();
            attempts.duration.merge(&more.duration);
            attempts.sent.merge(&more.sent);
            attempts.rcvd.merge(&more.rcvd);
        }
        for (status, more) in &other.calls {
            self.calls.entry(*status).or_default().merge(more);
        }
        self.retries.merge(&other.retries);
        self.transparent.merge(&other.transparent);
        self.hedges.merge(&other.hedges);
        self.delay.merge(&other.delay);
    }
}

fn total(cells: &Sharded<AtomicU64>) -> u64 {
    cells.parts().map(|part| part.load(Relaxed)).sum()
}

fn exchanges(cells: &ByStatus<Exchange>) -> BTreeMap<usize, ExchangeTally> {
    let mut tallies = BTreeMap::<_, ExchangeTally>::new();
    for (status, parts) in cells.recorded() {
        let tally = tallies.entry(status).or_default();
        for part in parts {
            part.duration.tally(&mut tally.duration);
            part.sent.tally(&mut tally.sent);
            part.rcvd.tally(&mut tally.rcvd);
        }
    }
    tallies
}

/// Whole nanoseconds, as durations are kept; five hundred years fit.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn attempts_and_calls_are_told_apart() {
        let method = MethodMetrics::default();
        for code in [Code::Unavailable, Code::Ok] {
            method.attempt_started();
            method.attempt_ended(code, MS, 100, 20);
        }
        let retried = Retried {
            retries: 1,
            delay: 3 * MS,
            ..Retried::default()
        };
        method.call_ended(Code::Ok, 5 * MS, &retried);
        let tally = method.tally();
        assert_eq!(tally.started, 2);
        assert_eq!(tally.attempts.len(), 2);
        assert_eq!(tally.attempts[&0].sent.sum, 100);
        assert_eq!(tally.calls[&0].sum, 5_000_000);
        assert_eq!((tally.retries.count(), tally.retries.sum), (1, 1));
        assert_eq!(tally.delay.sum, 3_000_000);
    }

    #[test]
    fn a_call_without_retries_reports_none() {
        let method = MethodMetrics::default();
        method.call_ended(Code::Ok, MS, &Retried::default());
        assert_eq!(method.tally().retries, Tally::default());
    }
}
