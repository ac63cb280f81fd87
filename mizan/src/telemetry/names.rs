//! Every metric, in one list: its OpenTelemetry name, kind, unit, attributes and buckets, and by
//! rule the name that Prometheus sees.
//!
//! Names that begin with `grpc.` are those of the gRPC proposals A66 (calls and attempts), A91
//! (outlier detection), A94 (connections) and A96 (retries); those that begin with `mizan.` are
//! ours. A78's `grpc.lb.wrr.*` are absent: they describe weights computed from load reports, and
//! ours come from the registry. `docs/METRICS.md` is checked against this list by a test.

/// What a metric measures in, as OpenTelemetry writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds, `s`; Prometheus: `_seconds`.
    Seconds,
    /// Bytes, `By`; Prometheus: `_bytes`.
    Bytes,
    /// A count of something, `{something}`; an annotation, so it is no part of the Prometheus name.
    Count(&'static str),
}

impl Unit {
    /// The Prometheus suffix, if it has one.
    pub(crate) const fn suffix(self) -> Option<&'static str> {
        match self {
            Self::Seconds => Some("seconds"),
            Self::Bytes => Some("bytes"),
            Self::Count(_) => None,
        }
    }
}

impl std::fmt::Display for Unit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Seconds => f.write_str("s"),
            Self::Bytes => f.write_str("By"),
            Self::Count(what) => write!(f, "{{{what}}}"),
        }
    }
}

/// How a metric is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down; Prometheus: a gauge.
    UpDownCounter,
    /// What is so at the moment of asking.
    Gauge,
    /// A distribution, in buckets of these upper bounds (inclusive).
    Histogram(&'static [u64]),
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// The OpenTelemetry name.
    pub name: &'static str,
    /// How it is recorded. Bounds of seconds are given in nanoseconds.
    pub kind: Kind,
    /// What it measures in.
    pub unit: Unit,
    /// Its attributes; Prometheus: labels, with underscores for dots.
    pub attributes: &'static [&'static str],
    /// What it says, without the full stop.
    pub help: &'static str,
}

impl Metric {
    /// The name without unit and `_total`, as Prometheus writes it.
    pub(crate) fn stem(&self) -> String {
        self.name.replace('.', "_")
    }

    /// The name that Prometheus sees: dots become underscores, the unit and, for a counter,
    /// `_total` are appended (OpenTelemetry's rule for Prometheus). A histogram's series append
    /// `_bucket`, `_sum` and `_count` to it.
    #[must_use]
    pub fn prometheus(&self) -> String {
        let mut name = self.stem();
        if let Some(unit) = self.unit.suffix() {
            name.push('_');
            name.push_str(unit);
        }
        if self.kind == Kind::Counter {
            name.push_str("_total");
        }
        name
    }
}

/// A66's bounds for latencies, in nanoseconds.
pub(crate) const LATENCY: [u64; 41] = [
    0,
    10_000,
    50_000,
    100_000,
    300_000,
    600_000,
    800_000,
    1_000_000,
    2_000_000,
    3_000_000,
    4_000_000,
    5_000_000,
    6_000_000,
    8_000_000,
    10_000_000,
    13_000_000,
    16_000_000,
    20_000_000,
    25_000_000,
    30_000_000,
    40_000_000,
    50_000_000,
    65_000_000,
    80_000_000,
    100_000_000,
    130_000_000,
    160_000_000,
    200_000_000,
    250_000_000,
    300_000_000,
    400_000_000,
    500_000_000,
    650_000_000,
    800_000_000,
    1_000_000_000,
    2_000_000_000,
    5_000_000_000,
    10_000_000_000,
    20_000_000_000,
    50_000_000_000,
    100_000_000_000,
];

/// A66's bounds for sizes, in bytes.
pub(crate) const SIZE: [u64; 14] = [
    0,
    1 << 10,
    1 << 11,
    1 << 12,
    1 << 14,
    1 << 16,
    1 << 18,
    1 << 20,
    1 << 22,
    1 << 24,
    1 << 26,
    1 << 28,
    1 << 30,
    1 << 32,
];

/// A96's bounds for retries and hedges.
pub(crate) const RETRIES: [u64; 5] = [1, 2, 3, 4, 5];

/// A96's bounds for transparent retries.
pub(crate) const TRANSPARENT: [u64; 6] = [1, 2, 3, 4, 5, 10];

const METHOD: &str = "grpc.method";
const TARGET: &str = "grpc.target";
const STATUS: &str = "grpc.status";

macro_rules! metrics {
    ($($(#[$doc:meta])* $id:ident = $name:literal, $kind:expr, $unit:expr, [$($attribute:expr),*], $help:literal;)*) => {
        $($(#[$doc])* pub(crate) const $id: Metric = Metric {
            name: $name, kind: $kind, unit: $unit, attributes: &[$($attribute),*], help: $help,
        };)*

        /// Every metric, in the order in which they are exposed.
        pub const ALL: &[Metric] = &[$($id),*];
    };
}

metrics! {
    ATTEMPT_STARTED = "grpc.client.attempt.started", Kind::Counter, Unit::Count("attempt"),
        [METHOD, TARGET], "Attempts begun, those not yet ended included";
    ATTEMPT_DURATION = "grpc.client.attempt.duration", Kind::Histogram(&LATENCY), Unit::Seconds,
        [METHOD, TARGET, STATUS], "How long an attempt took, picking an instance included";
    ATTEMPT_SENT = "grpc.client.attempt.sent_total_compressed_message_size", Kind::Histogram(&SIZE), Unit::Bytes,
        [METHOD, TARGET, STATUS], "Bytes of an attempt's request messages, compressed, without framing";
    ATTEMPT_RCVD = "grpc.client.attempt.rcvd_total_compressed_message_size", Kind::Histogram(&SIZE), Unit::Bytes,
        [METHOD, TARGET, STATUS], "Bytes of an attempt's response messages, compressed, without framing";
    CALL_DURATION = "grpc.client.call.duration", Kind::Histogram(&LATENCY), Unit::Seconds,
        [METHOD, TARGET, STATUS], "How long a call took, all attempts and pauses together";
    CALL_RETRIES = "grpc.client.call.retries", Kind::Histogram(&RETRIES), Unit::Count("retry"),
        [METHOD, TARGET], "Retries of a call that had any";
    CALL_TRANSPARENT = "grpc.client.call.transparent_retries", Kind::Histogram(&TRANSPARENT), Unit::Count("transparent_retry"),
        [METHOD, TARGET], "Transparent retries of a call that had any";
    CALL_HEDGES = "grpc.client.call.hedges", Kind::Histogram(&RETRIES), Unit::Count("hedge"),
        [METHOD, TARGET], "Hedges of a call that had any";
    CALL_RETRY_DELAY = "grpc.client.call.retry_delay", Kind::Histogram(&LATENCY), Unit::Seconds,
        [METHOD, TARGET], "How long a call that was retried had no attempt under way";
    DISCONNECTIONS = "grpc.subchannel.disconnections", Kind::Counter, Unit::Count("disconnection"),
        [TARGET], "Connections to instances that ended";
    CONNECTS_SUCCEEDED = "grpc.subchannel.connection_attempts_succeeded", Kind::Counter, Unit::Count("attempt"),
        [TARGET], "Connection attempts that succeeded";
    CONNECTS_FAILED = "grpc.subchannel.connection_attempts_failed", Kind::Counter, Unit::Count("attempt"),
        [TARGET], "Connection attempts that failed";
    OPEN_CONNECTIONS = "grpc.subchannel.open_connections", Kind::UpDownCounter, Unit::Count("connection"),
        [TARGET], "Connections open now";
    EJECTIONS_ENFORCED = "grpc.lb.outlier_detection.ejections_enforced", Kind::Counter, Unit::Count("ejection"),
        [TARGET, "grpc.lb.outlier_detection.detection_method"], "Outliers that were ejected";
    EJECTIONS_UNENFORCED = "grpc.lb.outlier_detection.ejections_unenforced", Kind::Counter, Unit::Count("ejection"),
        [TARGET, "grpc.lb.outlier_detection.detection_method", "grpc.lb.outlier_detection.unenforced_reason"],
        "Outliers that were detected and not ejected";
    BREAKER_STATE = "mizan.client.breaker.state", Kind::Gauge, Unit::Count("breaker"),
        [TARGET, "state"], "Circuit breakers in each state";
    BREAKER_TRANSITIONS = "mizan.client.breaker.transitions", Kind::Counter, Unit::Count("transition"),
        [TARGET, "from", "to"], "Changes of a circuit breaker's state";
    LIMITER_WAIT = "mizan.client.limiter.wait", Kind::Histogram(&LATENCY), Unit::Seconds,
        [TARGET], "How long an attempt that the limiter held up waited for its token";
    LIMITER_REFUSED = "mizan.client.limiter.refused", Kind::Counter, Unit::Count("attempt"),
        [TARGET], "Attempts that the limiter refused";
    DISCOVERY_AGE = "mizan.client.discovery.age", Kind::Gauge, Unit::Seconds,
        [TARGET], "Since when the list of instances is unconfirmed; 0 while discovery works";
    INSTANCES = "mizan.client.instances", Kind::Gauge, Unit::Count("instance"),
        [TARGET, "state"], "Known instances in each state";
    CONNECTIONS_STALLED = "mizan.client.connections.stalled", Kind::Gauge, Unit::Count("connection"),
        [TARGET], "Connections on which twenty calls in a row were given up and none was answered";
    SERVER_STARTED = "grpc.server.call.started", Kind::Counter, Unit::Count("call"),
        [METHOD], "Calls begun, those not yet ended included";
    SERVER_DURATION = "grpc.server.call.duration", Kind::Histogram(&LATENCY), Unit::Seconds,
        [METHOD, STATUS], "How long a call took, to the last byte of its answer";
    SERVER_SENT = "grpc.server.call.sent_total_compressed_message_size", Kind::Histogram(&SIZE), Unit::Bytes,
        [METHOD, STATUS], "Bytes of a call's response messages, compressed, without framing";
    SERVER_RCVD = "grpc.server.call.rcvd_total_compressed_message_size", Kind::Histogram(&SIZE), Unit::Bytes,
        [METHOD, STATUS], "Bytes of a call's request messages, compressed, without framing";
    SERVER_BLOCKED = "mizan.server.handler.blocked", Kind::Counter, Unit::Count("time"),
        [METHOD], "How often a handler kept its thread for 10 ms or more without waiting";
    SERVER_CONNECTIONS = "mizan.server.connections", Kind::UpDownCounter, Unit::Count("connection"),
        [], "Connections from clients open now";
    SERVER_OPEN = "mizan.server.calls.open", Kind::UpDownCounter, Unit::Count("call"),
        [], "Calls and pages from their headers to the end of their answer, streams included";
    SERVER_ADMITTED = "mizan.server.calls.admitted", Kind::UpDownCounter, Unit::Count("call"),
        [], "Calls that hold one of the places: admitted, and their answer has not begun";
    SERVER_SHED = "mizan.server.calls.shed", Kind::Counter, Unit::Count("call"),
        [], "Calls refused because every place was taken";
    SERVER_UNREAD = "mizan.server.answers.unread", Kind::UpDownCounter, Unit::Bytes,
        [], "Bytes of answers that clients have not taken, parts of up to 1 KiB left out";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The table of `docs/METRICS.md`, one row a metric.
    fn table() -> String {
        let rows = ALL.iter().map(|metric| {
            let kind = match metric.kind {
                Kind::Counter => "counter",
                Kind::UpDownCounter => "up-down counter",
                Kind::Gauge => "gauge",
                Kind::Histogram(_) => "histogram",
            };
            format!(
                "| `{}` | `{}` | {kind} | `{}` | {} | {} |\n",
                metric.name,
                metric.prometheus(),
                metric.unit,
                metric
                    .attributes
                    .iter()
                    .map(|a| format!("`{a}`"))
                    .collect::<Vec<_>>()
                    .join(", "),
                metric.help,
            )
        });
        rows.collect()
    }

    #[test]
    fn the_documentation_lists_every_metric_as_it_is() {
        let page = include_str!("../../../docs/METRICS.md");
        let rows = |text: &str| -> String {
            let rows = text.lines().filter(|line| line.starts_with("| `"));
            rows.map(|row| format!("{row}\n")).collect()
        };
        assert_eq!(rows(page), table(), "replace the rows of docs/METRICS.md");
    }

    #[test]
    fn names_follow_the_rule_for_prometheus() {
        for (metric, exposed) in [
            (ATTEMPT_STARTED, "grpc_client_attempt_started_total"),
            (CALL_DURATION, "grpc_client_call_duration_seconds"),
            (OPEN_CONNECTIONS, "grpc_subchannel_open_connections"),
            (
                SERVER_SENT,
                "grpc_server_call_sent_total_compressed_message_size_bytes",
            ),
        ] {
            assert_eq!(metric.prometheus(), exposed);
        }
        let distinct: BTreeSet<_> = ALL.iter().map(Metric::prometheus).collect();
        assert_eq!(distinct.len(), ALL.len());
    }

    #[test]
    fn bounds_grow() {
        for metric in ALL {
            if let Kind::Histogram(bounds) = metric.kind {
                assert!(bounds.is_sorted_by(|a, b| a < b), "{}", metric.name);
            }
        }
    }
}
