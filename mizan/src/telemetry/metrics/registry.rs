//! Where metrics are kept until somebody asks for them.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, LazyLock,
        atomic::{Ordering, fence},
    },
};

use parking_lot::Mutex;
use prometheus_client::{collector::Collector, encoding::DescriptorEncoder, registry};

use super::{
    client::{ClientMetrics, ClientTally},
    encode,
    methods::OTHER,
    server::ServerMetrics,
    text,
};

/// The most targets told apart; further channels are counted together. 1024: more services than
/// anything calls.
const TARGETS_MAX: usize = 1024;

/// Metrics and how to show them. Cheap to clone; clones share everything.
///
/// [`Registry::global`] is the one that channels and servers use unless they are given another:
/// one process, one page. With a `prometheus_client` registry of one's own, register a clone of
/// this as a collector there; or add metrics here with [`with`](Self::with), and the server's
/// `GET /metrics` shows them too.
#[derive(Clone)]
pub struct Registry {
    shared: Arc<Shared>,
    own: Arc<Mutex<registry::Registry>>,
}

#[derive(Debug, Default)]
struct Shared {
    channels: Mutex<Channels>,
    server: Arc<ServerMetrics>,
}

#[derive(Debug, Default)]
struct Channels {
    live: Vec<Arc<ClientMetrics>>,
    /// What channels that are gone counted: a counter must not go back.
    gone: BTreeMap<Arc<str>, ClientTally>,
}

/// How a page of metrics is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Format {
    /// Prometheus' text format, version 0.0.4: what everything reads.
    #[default]
    Prometheus,
    /// OpenMetrics 1.0: with units.
    OpenMetrics,
}

impl Format {
    /// What the `Accept` header of a scrape asks for: OpenMetrics if it names it, else the text
    /// format. Prometheus names it first when it wants it; weights are not read.
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// The `Content-Type` of a page.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

impl Registry {
    /// A registry of its own, beside the process's: for tests, or several in one process.
    #[must_use]
    pub fn new() -> Self {
        let shared = Arc::<Shared>::default();
        let mut own = registry::Registry::default();
        own.register_collector(Box::new(Ours(shared.clone())));
        Self {
            shared,
            own: Arc::new(Mutex::new(own)),
        }
    }

    /// The registry of the process.
    #[must_use]
    pub fn global() -> &'static Self {
        static GLOBAL: LazyLock<Registry> = LazyLock::new(Registry::new);
        &GLOBAL
    }

    /// Adds metrics to the page.
    pub fn with(&self, register: impl FnOnce(&mut registry::Registry)) {
        register(&mut self.own.lock());
    }

    /// The page.
    #[must_use]
    pub fn render(&self, format: Format) -> String {
        let mut page = String::new();
        // A string can always be written to; a metric that refuses to be encoded ends the page.
        let written = prometheus_client::encoding::text::encode(&mut page, &self.own.lock());
        if written.is_err() {
            tracing::warn!("a metric could not be encoded; the page is cut short");
        }
        match format {
            Format::OpenMetrics => page,
            Format::Prometheus => text::prometheus(&page),
        }
    }

    /// The metrics of a new channel.
    pub(crate) fn client(&self, target: &str) -> Arc<ClientMetrics> {
        let mut channels = self.shared.channels.lock();
        channels.retire();
        let known = channels.gone.contains_key(target)
            || channels.live.iter().any(|c| &**c.target() == target);
        let full = channels.gone.len() + channels.live.len() >= TARGETS_MAX;
        let name = if known || !full { target } else { OTHER };
        let client = Arc::new(ClientMetrics::new(name));
        channels.live.push(client.clone());
        client
    }

    /// The metrics of the servers.
    pub(crate) fn server(&self) -> Arc<ServerMetrics> {
        self.shared.server.clone()
    }
}

impl Default for Registry {
    /// The process's own: [`Registry::global`].
    fn default() -> Self {
        Self::global().clone()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Registry")
    }
}

impl Collector for Registry {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.shared.encode(encoder)
    }
}

/// Our metrics, without what was added.
#[derive(Debug)]
struct Ours(Arc<Shared>);

impl Collector for Ours {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.encode(encoder)
    }
}

impl Shared {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (live, mut targets) = {
            let mut channels = self.channels.lock();
            channels.retire();
            (channels.live.clone(), channels.gone.clone())
        };
        // Outside the lock: the gauges ask the channels.
        for client in live {
            let target = targets.entry(client.target().clone()).or_default();
            target.merge(client.tally());
        }
        let server = &self.server;
        let carried = server.carried();
        let carried = carried.map(|carried| (carried, server.all_shed()));
        encode::page(encoder, &targets, &server.tally(), carried)
    }
}

impl Channels {
    /// Keeps the numbers of channels that nobody holds any more, and lets go of the rest.
    fn retire(&mut self) {
        let gone = &mut self.gone;
        self.live.retain(|client| {
            // Nobody else can clone the last reference, so what is unused stays unused.
            let used = Arc::strong_count(client) > 1 || client.in_use();
            if !used {
                // What their last holders recorded is seen from here on.
                fence(Ordering::Acquire);
                let total = gone.entry(client.target().clone()).or_default();
                total.merge(client.tally());
            }
            used
        });
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Weak, time::Duration};

    use tonic::Code;

    use super::*;
    use crate::telemetry::metrics::{Detection, Gauges, Observe, Phase, Retried};

    const MS: Duration = Duration::from_millis(1);

    fn one_call(client: &ClientMetrics) {
        let method = client.method("/a.B/C");
        method.attempt_started();
        method.attempt_ended(Code::Ok, MS, 10, 2000);
        method.call_ended(Code::Ok, MS, &Retried::default());
    }

    fn has(page: &str, line: &str) {
        assert!(page.lines().any(|l| l == line), "no {line:?} in:\n{page}");
    }

    #[test]
    fn a_page_shows_what_was_recorded_under_the_names_of_the_list() {
        let registry = Registry::new();
        let client = registry.client("say \"b\"");
        one_call(&client);
        client.connected();
        client.ejected(Detection::SuccessRate);
        client.breaker_changed(Phase::Closed, Phase::Open);
        client.limiter_waited(MS);
        let page = registry.render(Format::Prometheus);
        let method = r#"grpc_method="a.B/C",grpc_target="say \"b\"""#;
        for line in [
            "# TYPE grpc_client_attempt_started_total counter".to_owned(),
            format!("grpc_client_attempt_started_total{{{method}}} 1"),
            "# TYPE grpc_client_call_duration_seconds histogram".to_owned(),
            format!("grpc_client_call_duration_seconds_sum{{{method},grpc_status=\"OK\"}} 0.001"),
            format!("grpc_client_call_duration_seconds_bucket{{le=\"0.0008\",{method},grpc_status=\"OK\"}} 0"),
            format!("grpc_client_call_duration_seconds_bucket{{le=\"0.001\",{method},grpc_status=\"OK\"}} 1"),
            format!("grpc_client_call_duration_seconds_bucket{{le=\"+Inf\",{method},grpc_status=\"OK\"}} 1"),
            format!("grpc_client_attempt_rcvd_total_compressed_message_size_bytes_sum{{{method},grpc_status=\"OK\"}} 2000.0"),
            r#"grpc_subchannel_open_connections{grpc_target="say \"b\""} 1"#.to_owned(),
            r#"mizan_client_breaker_transitions_total{grpc_target="say \"b\"",from="closed",to="open"} 1"#.to_owned(),
        ] {
            has(&page, &line);
        }
        assert!(
            !page.contains("# EOF") && !page.contains("call_retries"),
            "{page}"
        );
        assert!(registry.render(Format::OpenMetrics).ends_with("# EOF\n"));
    }

    #[cfg(feature = "server")]
    #[test]
    fn what_servers_carry_is_added_up_and_goes_with_them() {
        use crate::telemetry::metrics::{Carried, Carries};

        struct One;

        impl Carries for One {
            fn carried(&self) -> Carried {
                Carried {
                    connections: 2,
                    open: 3,
                    admitted: 1,
                    unread: 4096,
                }
            }
        }

        let registry = Registry::new();
        let page = || registry.render(Format::Prometheus);
        assert!(!page().contains("mizan_server"), "there is no server");
        let servers = [Arc::new(One), Arc::new(One)];
        for server in &servers {
            let weak: Weak<dyn Carries> = Arc::downgrade(&(server.clone() as Arc<dyn Carries>));
            registry.server().observe(weak);
        }
        registry.server().shed();
        has(&page(), "mizan_server_connections 4");
        has(&page(), "mizan_server_calls_open 6");
        has(&page(), "mizan_server_calls_admitted 2");
        has(&page(), "mizan_server_answers_unread_bytes 8192");
        drop(servers);
        has(&page(), "mizan_server_connections 0");
        has(&page(), "mizan_server_calls_shed_total 1");
    }

    #[test]
    fn a_counter_does_not_go_back_when_a_channel_goes() {
        let registry = Registry::new();
        let started = || registry.render(Format::Prometheus);
        for calls in 1..=3 {
            let client = registry.client("b");
            one_call(&client);
            drop(client);
            let line = format!(
                r#"grpc_client_attempt_started_total{{grpc_method="a.B/C",grpc_target="b"}} {calls}"#
            );
            has(&started(), &line);
        }
        assert!(registry.shared.channels.lock().live.is_empty());
    }

    #[test]
    fn a_call_that_outlives_its_channel_still_counts() {
        let registry = Registry::new();
        let method = registry.client("b").method("a.B/C");
        let _ = registry.render(Format::Prometheus);
        method.attempt_started();
        has(
            &registry.render(Format::Prometheus),
            r#"grpc_client_attempt_started_total{grpc_method="a.B/C",grpc_target="b"} 1"#,
        );
    }

    #[test]
    fn gauges_are_asked_for_while_the_channel_lives_and_added_up() {
        let registry = Registry::new();
        let observed = Arc::new(|| Gauges {
            breakers: [1, 0, 0],
            instances: vec![("ready", 2)],
            stalled: 1,
            discovery_age: Some(Duration::from_millis(1500)),
        });
        let clients = [registry.client("b"), registry.client("b")];
        let weak: Weak<dyn Observe> = Arc::downgrade(&(observed.clone() as Arc<dyn Observe>));
        for client in &clients {
            client.observe(weak.clone());
        }
        let page = registry.render(Format::Prometheus);
        has(
            &page,
            r#"mizan_client_instances{grpc_target="b",state="ready"} 4"#,
        );
        has(
            &page,
            r#"mizan_client_connections_stalled{grpc_target="b"} 2"#,
        );
        has(
            &page,
            r#"mizan_client_breaker_state{grpc_target="b",state="closed"} 2"#,
        );
        has(
            &page,
            r#"mizan_client_discovery_age_seconds{grpc_target="b"} 1.5"#,
        );
        drop(observed);
        assert!(
            !registry
                .render(Format::Prometheus)
                .contains("mizan_client_instances")
        );
    }

    #[test]
    fn targets_are_bounded() {
        let registry = Registry::new();
        let clients: Vec<_> = (0..=TARGETS_MAX)
            .map(|n| registry.client(&n.to_string()))
            .collect();
        assert_eq!(clients.last().map(|c| &**c.target()), Some(OTHER));
        assert_eq!(&**registry.client("0").target(), "0");
    }

    #[test]
    fn ones_own_metrics_stand_on_the_same_page_and_ours_on_ones_own() {
        let ours = Registry::new();
        let counter = prometheus_client::metrics::counter::Counter::<u64>::default();
        ours.with(|r| r.register("payments", "Payments", counter.clone()));
        has(&ours.render(Format::Prometheus), "payments_total 0");

        one_call(&ours.client("b"));
        let mut own = registry::Registry::default();
        own.register_collector(Box::new(ours));
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &own).unwrap();
        assert!(page.contains("grpc_client_attempt_started_total") && !page.contains("payments"));
    }

    #[test]
    fn a_scrape_gets_the_format_it_accepts() {
        let prometheus =
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
        assert_eq!(Format::accepted(prometheus), Format::OpenMetrics);
        assert_eq!(Format::accepted("*/*"), Format::Prometheus);
    }
}
