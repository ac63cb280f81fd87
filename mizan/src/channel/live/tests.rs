//! What the user gave by hand, and what a service config says instead, for as long as it says so.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::{
    Channel, ChannelBuilder,
    breaker::{Outcome, Trip},
    discover::{Discovering, Endpoint, Updates},
    retry::{Thousandths, Throttling},
};

const SECOND: Duration = Duration::from_secs(1);

const CONFIG: &str = r#"{
    "loadBalancingConfig": [{"ring_hash_experimental": {"requestHashHeader": "x-said"}}],
    "retryThrottling": {"maxTokens": 30, "tokenRatio": 0.5},
    "healthCheckConfig": {"serviceName": "said"},
    "mizan": {
        "breaker": {"scope": "instance", "consecutiveFailures": 40},
        "limiter": {"perSecond": 30, "burst": 31},
        "concurrency": {"min": 32, "max": 34, "initial": 33},
        "connections": 3,
        "panicPercent": 35,
        "slowStartWindow": "36s"
    }
}"#;

/// A channel of which everything is as no default is.
fn by_hand(source: impl Discover) -> ChannelBuilder {
    let breaker = breaker::Config {
        trip: Trip::ConsecutiveFailures(2),
        scope: Scope::Service,
        ..breaker::Config::default()
    };
    let concurrency = adaptive::Config {
        limit_min: 12,
        limit_initial: 13,
        limit_max: 14,
        ..adaptive::Config::default()
    };
    let throttling = Throttling {
        tokens_max: Thousandths::new(10_000),
        token_ratio: Thousandths::new(100),
    };
    let outlier = outlier::Config {
        interval: 17 * SECOND,
        ..outlier::Config::off()
    };
    let connection = connection::Config {
        connect_timeout: 18 * SECOND,
        ..connection::Config::default()
    };
    Channel::builder("s")
        .discover(source)
        .breaker(breaker)
        .concurrency(concurrency)
        .throttling(throttling)
        .limit(Rate::new(10, 11).unwrap())
        .outlier_detection(outlier)
        .panic_percent(15)
        .slow_start(16 * SECOND)
        .health_check("built")
        .connections(2)
        .connection(connection)
        .hash_header("x-built")
}

/// Says what the test tells it.
#[derive(Debug)]
struct Told(tokio::sync::mpsc::UnboundedReceiver<Vec<Endpoint>>);

impl Discover for Told {
    fn discover(mut self: Box<Self>, _: String, updates: Updates) -> Discovering {
        Box::pin(async move {
            while let Some(instances) = self.0.recv().await {
                updates.instances(instances);
            }
        })
    }
}

fn nobody() -> Told {
    Told(tokio::sync::mpsc::unbounded_channel().1)
}

/// All that is in force, in words, so that one comparison is enough. What has counted something is
/// named by what it would do next.
fn in_force(channel: &Channel) -> Vec<String> {
    let live = &channel.live;
    let layers = live.core().routes.layers();
    let rate = layers.limiter.map(|limiter| limiter.rate());
    let limit = layers.concurrency.map(|limit| limit.limit());
    let throttle = layers.throttle.left();
    let of_service = layers
        .breakers
        .is_some_and(|breakers| !breakers.all().is_empty());
    let balancing = live.core().balancer.settings();
    let hash = layers.hash_header;
    vec![
        format!("rate {rate:?}"),
        format!("limit {limit:?}"),
        format!("throttle {throttle}"),
        format!("breaker of the service {of_service}"),
        format!("hash {hash:?}"),
        format!(
            "breaker of instances {:?}",
            balancing.breaker.as_ref().map(|b| b.trip)
        ),
        format!("outlier {:?}", balancing.outlier.interval),
        format!("panic {}", balancing.panic_percent),
        format!("slow start {:?}", balancing.slow_start),
        format!("health {:?}", balancing.health_check),
        format!("connections {}", balancing.connections),
        format!("connect {:?}", balancing.connection.connect_timeout),
    ]
}

/// How many failures in a row open the breaker of the service.
fn failures_until_open(channel: &Channel) -> usize {
    let breaker = channel.breakers().remove(0);
    let now = tokio::time::Instant::now().into_std();
    let mut failures = 0;
    while let Ok(permit) = breaker.admit_owned(now) {
        permit.record(Outcome::Failure, now);
        failures += 1;
        assert!(failures < 1_000, "it never opens");
    }
    failures
}

fn built() -> Vec<&'static str> {
    vec![
        "rate Some(Rate",
        "limit Some(13)",
        "throttle 10",
        "breaker of the service true",
        r#"hash Some("x-built")"#,
        "breaker of instances None",
        "outlier 17s",
        "panic 15",
        "slow start Some(16s)",
        r#"health Some("built")"#,
        "connections 2",
        "connect 18s",
    ]
}

#[track_caller]
fn assert_like(found: &[String], expected: &[&str]) {
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}, not {expected}");
    }
    assert_eq!(found.len(), expected.len());
}

#[tokio::test]
async fn what_a_config_says_holds_for_as_long_as_it_says_it_and_then_what_was_given_by_hand() {
    let channel = by_hand(nobody()).connect().unwrap();
    let before = in_force(&channel);
    assert_like(&before, &built());

    channel.set_service_config(CONFIG).unwrap();
    let said = in_force(&channel);
    assert_like(
        &said,
        &[
            "rate Some(Rate",
            "limit Some(33)",
            "throttle 30",
            "breaker of the service false",
            r#"hash Some("x-said")"#,
            "breaker of instances Some(ConsecutiveFailures(40))",
            "outlier 17s",
            "panic 35",
            "slow start Some(36s)",
            r#"health Some("said")"#,
            "connections 3",
            "connect 18s",
        ],
    );
    assert_ne!(said[0], before[0]);

    channel.set_service_config("{}").unwrap();
    assert_eq!(in_force(&channel), before);
    assert_eq!(failures_until_open(&channel), 2);

    // One that says the same again begins nothing anew.
    channel.set_service_config("{}").unwrap();
    assert!(channel.live.core().routes.layers().breakers.is_some());
    let open = channel.stats().breakers_open;
    assert_eq!(open, 1, "it is the breaker that has counted");
}

#[tokio::test]
async fn what_instances_announce_goes_before_what_was_given_and_gives_way_to_it() {
    let (tell, told) = tokio::sync::mpsc::unbounded_channel();
    let own = r#"{"mizan": {"panicPercent": 25}}"#;
    let channel = by_hand(Told(told)).service_config(own).unwrap();
    let channel = channel.announced_service_config(true).connect().unwrap();
    let panic = || channel.live.core().balancer.settings().panic_percent;
    let until = async |percent| {
        let is_so = async {
            while panic() != percent {
                tokio::task::yield_now().await;
            }
        };
        let so = tokio::time::timeout(60 * SECOND, is_so).await;
        assert!(so.is_ok(), "{} is not {percent}", panic());
    };
    let instance = |config: Option<&str>| {
        let metadata = config.map(|text| (announced::KEY.to_owned(), text.to_owned()));
        let endpoint = Endpoint::new("127.0.0.1:1").unwrap();
        vec![endpoint.with_metadata(metadata.into_iter().collect())]
    };
    assert_eq!(panic(), 25);
    tell.send(instance(Some(r#"{"mizan": {"panicPercent": 75}}"#)))
        .unwrap();
    until(75).await;
    // Nobody is there: that is no word about the config. Nor is one that cannot be read.
    let known = channel.live.shown.discovery.known();
    for nothing in [Vec::new(), instance(Some("{]"))] {
        tell.send(nothing.clone()).unwrap();
        let heard = discover::Known::Instances(nothing);
        let heard = known
            .clone()
            .wait_for(|known| *known == heard)
            .await
            .is_ok();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(heard && panic() == 75);
    }
    // They say nothing: what the user gave is in force again.
    tell.send(instance(None)).unwrap();
    until(25).await;
    assert_like(
        &in_force(&channel)[8..],
        &[
            "slow start Some(16s)",
            r#"health Some("built")"#,
            "connections 2",
            "connect 18s",
        ],
    );
}

#[tokio::test]
async fn a_channel_that_does_not_follow_stays_as_it_was_given() {
    let (tell, told) = tokio::sync::mpsc::unbounded_channel();
    let channel = by_hand(Told(told)).connect().unwrap();
    let config = (
        announced::KEY.to_owned(),
        r#"{"mizan": {"panicPercent": 75}}"#.to_owned(),
    );
    let endpoint = Endpoint::new("127.0.0.1:1").unwrap();
    let instances = vec![endpoint.with_metadata([config].into())];
    tell.send(instances.clone()).unwrap();
    let heard = discover::Known::Instances(instances);
    let known = channel.live.shown.discovery.known();
    known
        .clone()
        .wait_for(|known| *known == heard)
        .await
        .unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(channel.live.core().balancer.settings().panic_percent, 15);
}

/// Reaches nobody, and counts who asks.
#[derive(Debug, Clone, Default)]
struct Counting(Arc<AtomicUsize>);

impl connection::Connector for Counting {
    fn connect<'a>(&'a self, _: &'a str) -> connection::Connecting<'a> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::ready(Err(
            std::io::ErrorKind::ConnectionRefused.into(),
        )))
    }
}

#[tokio::test]
async fn registries_and_instances_are_reached_by_the_users_connector() {
    for builder in [
        Channel::builder("s").fixed(vec!["nowhere.example:1".to_owned()]),
        Channel::builder("s").registry(vec!["nowhere.example:1".to_owned()]),
    ] {
        let counting = Counting::default();
        let channel = builder.connector(counting.clone()).connect().unwrap();
        let asked = async {
            while counting.0.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(60 * SECOND, asked).await.unwrap();
        drop(channel);
    }
}

#[test]
fn what_cannot_be_is_refused_and_named_and_what_is_just_allowed_is_not() {
    type Change = fn(ChannelBuilder) -> ChannelBuilder;
    let cases: [(&str, Change, Change); 9] = [
        (
            "deadline",
            |c| c.deadline(Duration::ZERO),
            |c| c.deadline(SECOND),
        ),
        (
            "attempt_timeout",
            |c| c.attempt_timeout(Duration::ZERO),
            |c| c.attempt_timeout(SECOND),
        ),
        (
            "slow_start",
            |c| c.slow_start(Duration::ZERO),
            |c| c.slow_start(SECOND),
        ),
        ("connections", |c| c.connections(0), |c| c.connections(1)),
        ("connections", |c| c.connections(65), |c| c.connections(64)),
        (
            "panic_percent",
            |c| c.panic_percent(101),
            |c| c.panic_percent(100),
        ),
        (
            "hash_header",
            |c| c.hash_header("a b"),
            |c| c.hash_header("a-b"),
        ),
        (
            "breaker",
            |c| {
                c.breaker(breaker::Config {
                    probes_max: 0,
                    ..Default::default()
                })
            },
            |c| c.no_breaker(),
        ),
        (
            "limit_min",
            |c| {
                c.concurrency(adaptive::Config {
                    limit_min: 0,
                    ..Default::default()
                })
            },
            |c| c.concurrency(adaptive::Config::default()),
        ),
    ];
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _entered = runtime.enter();
    for (name, refused, allowed) in cases {
        let builder = || Channel::builder("s").discover(nobody());
        let error = refused(builder()).connect().unwrap_err().to_string();
        assert!(error.contains(name), "{name}: {error}");
        assert!(allowed(builder()).connect().is_ok(), "{name}");
    }
    assert!(Channel::builder("").connect().is_err());
}
