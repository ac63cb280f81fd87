//! What the registry counts, and shows under `GET /metrics` beside what every server does.
//!
//! What is so at the moment is asked when somebody looks; what happened is counted when it does.
//! `docs/REGISTRY.md` lists the names, and a test compares it with what is shown.

use std::{fmt, time::Duration};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _, MetricEncoder},
    metrics::{MetricType, counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry as Page, Unit},
};

use crate::{catalogue::Census, check::Trouble, registry::Registry};

/// Seconds: from a check on the same machine to the longest timeout; from a quick disk to one that
/// stands still.
const SECONDS: [f64; 14] = [
    0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// Whose watchers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Api {
    /// `WatchInstances`.
    Grpc,
    /// Blocking queries.
    Consul,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByApi {
    api: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByKind {
    kind: &'static str,
}

/// How a filter ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum FilterEnd {
    /// It was applied to everything.
    Answered,
    /// It is no expression.
    Wrong,
    /// It costs too much.
    Expensive,
    /// It ran for too long.
    Late,
    /// Too many others were applied.
    Busy,
    /// Whoever asked left.
    Left,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByEnd {
    end: &'static str,
}

impl From<FilterEnd> for ByEnd {
    fn from(end: FilterEnd) -> Self {
        let end = match end {
            FilterEnd::Answered => "answered",
            FilterEnd::Wrong => "wrong",
            FilterEnd::Expensive => "expensive",
            FilterEnd::Late => "late",
            FilterEnd::Busy => "busy",
            FilterEnd::Left => "left",
        };
        Self { end }
    }
}

impl From<Api> for ByApi {
    fn from(api: Api) -> Self {
        let api = match api {
            Api::Grpc => "grpc",
            Api::Consul => "consul",
        };
        Self { api }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByLack {
    lacks: &'static str,
}

impl From<Trouble> for ByLack {
    fn from(trouble: Trouble) -> Self {
        let lacks = trouble.word();
        Self { lacks }
    }
}

/// What is counted when it happens. Clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    checks: Family<ByKind, Histogram, fn() -> Histogram>,
    unknown: Family<ByLack, Counter>,
    store: Histogram,
    store_failures: Counter,
    takeovers: Counter,
    watchers: Family<ByApi, Gauge>,
    wakes: Family<ByApi, Counter>,
    filters: Family<ByEnd, Counter>,
    filtering: Gauge,
    filter_time: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            checks: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            unknown: Family::default(),
            store: Histogram::new(SECONDS),
            store_failures: Counter::default(),
            takeovers: Counter::default(),
            watchers: Family::default(),
            wakes: Family::default(),
            filters: Family::default(),
            filtering: Gauge::default(),
            filter_time: Histogram::new(SECONDS),
        };
        for api in [Api::Grpc, Api::Consul] {
            // Shown from the start: a rate needs a first value.
            drop(metrics.watchers.get_or_create(&api.into()));
            drop(metrics.wakes.get_or_create(&api.into()));
        }
        for trouble in Trouble::ALL {
            drop(metrics.unknown.get_or_create(&trouble.into()));
        }
        use FilterEnd::{Answered, Busy, Expensive, Late, Left, Wrong};
        for end in [Answered, Wrong, Expensive, Late, Busy, Left] {
            drop(metrics.filters.get_or_create(&end.into()));
        }
        metrics
    }
}

impl Metrics {
    /// A check was run.
    pub(crate) fn checked(&self, kind: &'static str, took: Duration) {
        let by = ByKind { kind };
        self.checks.get_or_create(&by).observe(took.as_secs_f64());
    }

    /// A check had no result, since the registry lacked something.
    pub(crate) fn unknown(&self, trouble: Trouble) {
        self.unknown.get_or_create(&trouble.into()).inc();
    }

    /// A group of changes became durable.
    pub(crate) fn stored(&self, took: Duration) {
        self.store.observe(took.as_secs_f64());
    }

    /// A group of changes could not be written.
    pub(crate) fn store_failed(&self) {
        self.store_failures.inc();
    }

    /// A process took an instance id from another that lives.
    pub(crate) fn taken_over(&self) {
        self.takeovers.inc();
    }

    /// A watcher was told something.
    pub(crate) fn woke(&self, api: Api) {
        self.wakes.get_or_create(&api.into()).inc();
    }

    /// Somebody watches, until what this answers is dropped.
    pub(crate) fn watching(&self, api: Api) -> Watching {
        let watchers = self.watchers.get_or_create(&api.into()).clone();
        watchers.inc();
        Watching(watchers)
    }

    /// A filter is applied, until what this answers is dropped.
    pub(crate) fn filtering(&self) -> Filtering {
        self.filtering.inc();
        Filtering {
            metrics: self.clone(),
            end: Some(FilterEnd::Left),
            total: Duration::ZERO,
        }
    }

    /// How many filters ended so.
    #[cfg(test)]
    pub(crate) fn filters_ended(&self, end: FilterEnd) -> u64 {
        self.filters.get_or_create(&end.into()).get()
    }

    /// Shows all of it on this page, and what there is in the registry.
    pub(crate) fn show(&self, page: &mut Page, registry: Registry) {
        let seconds = || Unit::Seconds;
        page.register_with_unit(
            "mizan_registry_check_duration",
            "How long one run of a check took",
            seconds(),
            self.checks.clone(),
        );
        page.register(
            "mizan_registry_checks_unknown",
            "Runs of checks without a result, by what the registry itself lacked",
            self.unknown.clone(),
        );
        page.register_with_unit(
            "mizan_registry_store_duration",
            "How long writing a group of changes took, until it was durable",
            seconds(),
            self.store.clone(),
        );
        page.register(
            "mizan_registry_store_failures",
            "Groups of changes that could not be written; each is tried again",
            self.store_failures.clone(),
        );
        page.register(
            "mizan_registry_takeovers",
            "Instance ids that a process took over from another that was still beating",
            self.takeovers.clone(),
        );
        page.register(
            "mizan_registry_watchers",
            "Watch streams and blocking queries that wait now",
            self.watchers.clone(),
        );
        page.register(
            "mizan_registry_wakes",
            "Answers told to watchers that a change woke, and the first ones of watch streams",
            self.wakes.clone(),
        );
        page.register(
            "mizan_registry_filters",
            "Filters of Consul's API, by how they ended",
            self.filters.clone(),
        );
        page.register(
            "mizan_registry_filters_open",
            "Filters that wait for a turn, or are applied, now",
            self.filtering.clone(),
        );
        page.register_with_unit(
            "mizan_registry_filter_duration",
            "How long a filter ran, waiting left out",
            seconds(),
            self.filter_time.clone(),
        );
        page.register_collector(Box::new(Now(registry)));
    }
}

/// A watcher, counted until dropped.
#[derive(Debug)]
pub(crate) struct Watching(Gauge);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A filter, counted when dropped.
#[derive(Debug)]
pub(crate) struct Filtering {
    metrics: Metrics,
    /// Nothing: it is not counted.
    end: Option<FilterEnd>,
    total: Duration,
}

impl Filtering {
    /// It ran for so long.
    pub(crate) fn ran(&mut self, took: Duration) {
        self.total = self.total.saturating_add(took);
    }

    /// How long it ran so far.
    pub(crate) fn total(&self) -> Duration {
        self.total
    }

    /// How it ended.
    pub(crate) fn end(&mut self, end: FilterEnd) {
        self.end = Some(end);
    }

    /// It was only looked at, and is counted when it is applied.
    pub(crate) fn forget(mut self) {
        self.end = None;
    }
}

impl Drop for Filtering {
    fn drop(&mut self) {
        self.metrics.filtering.dec();
        if let Some(end) = self.end {
            self.metrics.filters.get_or_create(&end.into()).inc();
            self.metrics.filter_time.observe(self.total.as_secs_f64());
        }
    }
}

/// What is so when somebody looks.
struct Now(Registry);

impl fmt::Debug for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Now")
    }
}

impl Collector for Now {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Census {
            services,
            nodes,
            instances,
            checks,
            flapping,
            heartbeats,
            held,
            revision,
        } = self.0.census();
        let plain = [
            ("services", "Services with instances", services),
            ("nodes", "Nodes", nodes),
            (
                "flapping",
                "Instances held as warning because they flap",
                flapping,
            ),
            ("heartbeats", "Heartbeat streams that count", heartbeats),
            (
                "guard_held",
                "Expiries that the mass-expiry guard holds back",
                held,
            ),
        ];
        for (name, help, count) in plain {
            gauge(&mut encoder, name, help, |metric| {
                number(count).encode(metric)
            })?;
        }
        gauge(&mut encoder, "revision", "The newest revision", |metric| {
            number(usize::try_from(revision).unwrap_or(usize::MAX)).encode(metric)
        })?;
        gauge(
            &mut encoder,
            "instances",
            "Instances by status",
            |mut metric| {
                instances.iter().try_for_each(|(status, count)| {
                    number(*count).encode(metric.encode_family(&[("status", status.word())])?)
                })
            },
        )?;
        gauge(
            &mut encoder,
            "checks",
            "Checks by kind and status",
            |mut metric| {
                checks.iter().try_for_each(|((kind, status), count)| {
                    let labels = [("kind", *kind), ("status", status.word())];
                    number(*count).encode(metric.encode_family(&labels)?)
                })
            },
        )
    }
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl FnOnce(MetricEncoder<'_>) -> fmt::Result,
) -> fmt::Result {
    let name = format!("mizan_registry_{name}");
    let help = format!("{help}.");
    values(encoder.encode_descriptor(&name, &help, None, MetricType::Gauge)?)
}

fn number(count: usize) -> Gauge {
    let gauge = Gauge::default();
    gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
    gauge
}
