//! What one channel did so far and how it is: for tests, tools and status pages.

use std::{collections::BTreeMap, time::Duration};

use tonic::Code;

use super::metrics::ClientMetrics;
use crate::balance::{InstanceState, InstanceStats};

/// A snapshot of one channel. Counters are since the channel was made.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ChannelStats {
    /// The service that the channel calls.
    pub target: String,
    /// Calls that ended, by the name of their status ("OK", "UNAVAILABLE").
    pub calls: BTreeMap<&'static str, u64>,
    /// Attempts begun.
    pub attempts: u64,
    /// Attempts that the retry policy asked for.
    pub retries: u64,
    /// Attempts after one that no server processed.
    pub transparent_retries: u64,
    /// Attempts sent while another was under way.
    pub hedges: u64,
    /// Breakers that are closed.
    pub breakers_closed: u64,
    /// Breakers that are half-open.
    pub breakers_half_open: u64,
    /// Breakers that are open.
    pub breakers_open: u64,
    /// Changes of a breaker's state.
    pub breaker_transitions: u64,
    /// Attempts that waited for a token of the limiter.
    pub limiter_waits: u64,
    /// How long they waited together.
    pub limiter_waited: Duration,
    /// Attempts that the limiter refused.
    pub limiter_refused: u64,
    /// Connections open now.
    pub connections: u64,
    /// Calls that wait because every instance carries as many streams as it takes.
    pub waiting_for_stream: u32,
    /// Outliers that were ejected.
    pub ejections: u64,
    /// Every known instance.
    pub instances: Vec<InstanceStats>,
    /// How old the list of instances is; zero while discovery works, `None` if there is no list.
    pub discovery_age: Option<Duration>,
    /// Whether discovery says that there is no instance, and that is doubted for 10 s, because
    /// instances that are connected serve.
    pub discovery_doubted: bool,
}

impl ChannelStats {
    /// How many instances are ready.
    #[must_use]
    pub fn ready(&self) -> usize {
        let ready = |instance: &&InstanceStats| instance.state == InstanceState::Ready;
        self.instances.iter().filter(ready).count()
    }

    /// How many calls ended with a status.
    #[must_use]
    pub fn calls_with(&self, code: Code) -> u64 {
        let name = super::metrics::status_name(code);
        self.calls.get(name).copied().unwrap_or(0)
    }
}

impl ClientMetrics {
    /// The snapshot, but for [`instances`](ChannelStats::instances), which the balancer knows.
    pub(crate) fn stats(&self) -> ChannelStats {
        let tally = self.tally();
        let gauges = tally.gauges.clone().unwrap_or_default();
        let [breakers_closed, breakers_half_open, breakers_open] = gauges.breakers;
        let mut stats = ChannelStats {
            target: self.target().to_string(),
            breakers_closed,
            breakers_half_open,
            breakers_open,
            breaker_transitions: tally.transitions.iter().flatten().sum(),
            limiter_waits: tally.limiter_wait.count(),
            limiter_waited: Duration::from_nanos(tally.limiter_wait.sum),
            limiter_refused: tally.limiter_refused,
            connections: tally.open_connections(),
            ejections: tally.ejections.iter().sum(),
            discovery_age: gauges.discovery_age,
            ..ChannelStats::default()
        };
        for method in tally.methods.values() {
            stats.attempts += method.started;
            stats.retries += method.retries.sum;
            stats.transparent_retries += method.transparent.sum;
            stats.hedges += method.hedges.sum;
            for (status, calls) in &method.calls {
                let name = super::metrics::name_of(*status);
                *stats.calls.entry(name).or_default() += calls.count();
            }
        }
        stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::{Phase, Registry, Retried};

    #[test]
    fn a_snapshot_is_of_one_channel_and_adds_up_its_methods() {
        let registry = Registry::new();
        let (client, neighbour) = (registry.client("b"), registry.client("b"));
        neighbour.method("/a.B/C").attempt_started();
        let retried = Retried {
            retries: 2,
            hedges: 1,
            ..Retried::default()
        };
        for (path, code) in [("/a.B/C", Code::Ok), ("/a.B/D", Code::Unavailable)] {
            let method = client.method(path);
            method.attempt_started();
            method.call_ended(code, Duration::from_millis(1), &retried);
        }
        client.breaker_changed(Phase::Closed, Phase::Open);
        client.limiter_waited(Duration::from_millis(7));
        client.connected();
        let stats = client.stats();
        assert_eq!(stats.attempts, 2);
        assert_eq!((stats.retries, stats.hedges), (4, 2));
        assert_eq!(stats.calls_with(Code::Unavailable), 1);
        assert_eq!(stats.calls_with(Code::NotFound), 0);
        assert_eq!(stats.breaker_transitions, 1);
        assert_eq!(stats.limiter_waited, Duration::from_millis(7));
        assert_eq!(stats.connections, 1);
    }
}
