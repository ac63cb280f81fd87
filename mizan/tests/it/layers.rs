//! What holds for every layer, whichever is switched on: always ready, clones share, and whoever
//! loses interest gives back what was held. Then the order of the layers, by script.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use mizan::{
    Channel, ChannelBuilder,
    balance::{
        outlier,
        policy::{LeastRequest, PeakEwma, PickFirst, RingHash, RoundRobin, ZoneAware},
    },
    breaker::{self, Scope, Trip},
    limit::{Rate, adaptive},
    retry::{HedgingPolicy, Policy},
    status,
};
use mizan_contracts::registry::v1::{
    HeartbeatRequest, WatchInstancesRequest, registry_service_client::RegistryServiceClient,
};
use tokio::{
    sync::mpsc,
    time::{Instant, advance, timeout},
};
use tonic::Code;
use tower::Service as _;

use crate::{
    ends::{hold_the_clock, until},
    support::call,
    wire::Wire,
};

const SECOND: Duration = Duration::from_secs(1);

fn tripping(scope: Scope) -> breaker::Config {
    breaker::Config {
        trip: Trip::ConsecutiveFailures(1),
        probes_max: 1,
        scope,
        ..breaker::Config::default()
    }
}

/// Switches a layer on.
type Layer = fn(ChannelBuilder) -> ChannelBuilder;

/// A channel with one layer switched on, for each of them.
fn each_layer() -> Vec<(&'static str, Layer)> {
    vec![
        ("deadline", |c| c.deadline(20 * SECOND)),
        ("no deadline", |c| c.no_deadline()),
        ("attempt timeout", |c| c.attempt_timeout(20 * SECOND)),
        ("wait for ready", |c| c.wait_for_ready(true)),
        ("retry", |c| c.retry(Policy::default())),
        ("hedging", |c| {
            let delay = 20 * SECOND;
            c.retry(Policy::Hedge(HedgingPolicy {
                delay,
                ..HedgingPolicy::default()
            }))
        }),
        ("limiter", |c| c.limit(Rate::new(1_000, 100).unwrap())),
        ("concurrency", |c| {
            c.concurrency(adaptive::Config::default())
        }),
        ("breaker of the service", |c| {
            c.breaker(tripping(Scope::Service))
        }),
        ("breakers of instances", |c| {
            c.breaker(tripping(Scope::Instance))
        }),
        ("breakers of methods", |c| {
            c.breaker(tripping(Scope::Method))
        }),
        ("no breaker", |c| c.no_breaker()),
        ("round robin", |c| c.balance(RoundRobin::default())),
        ("least request", |c| c.balance(LeastRequest::default())),
        ("peak ewma", |c| c.balance(PeakEwma::default())),
        ("ring hash", |c| c.balance(RingHash::default())),
        ("zone", |c| {
            c.balance(ZoneAware::new("a", Arc::new(RoundRobin::default())))
        }),
        ("pick first", |c| c.balance(PickFirst::new())),
        ("outliers", |c| {
            c.outlier_detection(outlier::Config::default())
        }),
        ("connections", |c| c.connections(3)),
        ("sizes", |c| c.message_bytes(Some(1 << 20), Some(1 << 20))),
    ]
}

fn built(layer: Layer, server: &Wire) -> Channel {
    let channel = Channel::builder("scripted").fixed(vec![server.authority.clone()]);
    layer(channel).connect().unwrap()
}

fn in_flight(channel: &Channel) -> u32 {
    channel.stats().instances.iter().map(|i| i.in_flight).sum()
}

#[tokio::test]
async fn every_layer_is_ready_answers_and_is_shared_by_clones() {
    for (name, layer) in each_layer() {
        let server = Wire::start(|call| async move { call.ok() }).await;
        let mut channel = built(layer, &server);
        let clone = channel.clone();
        let ready = std::future::poll_fn(|context| Poll::Ready(channel.poll_ready(context)));
        assert!(matches!(ready.await, Poll::Ready(Ok(()))), "{name}");
        for channel in [&channel, &clone] {
            let answer = call(&RegistryServiceClient::new(channel.clone())).await;
            answer.unwrap_or_else(|status| panic!("{name}: {status}"));
        }
        for channel in [&channel, &clone] {
            assert_eq!(channel.stats().calls_with(Code::Ok), 2, "{name}");
        }
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_gives_back_what_every_layer_held() {
    for (name, layer) in each_layer() {
        let (told, mut reset) = mpsc::channel(8);
        let server = Wire::start(move |mut call| {
            let told = told.clone();
            async move {
                let _ = told.send(call.given_up().await).await;
            }
        })
        .await;
        let channel = built(layer, &server);
        let client = RegistryServiceClient::new(channel.clone());
        let held = tokio::spawn(async move { call(&client).await });
        until(|| server.calls() > 0 && in_flight(&channel) == 1).await;
        held.abort();
        assert_eq!(reset.recv().await, Some(h2::Reason::CANCEL), "{name}");
        until(|| in_flight(&channel) == 0).await;
        let stats = channel.stats();
        assert_eq!(stats.calls_with(Code::Cancelled), 1, "{name}");
        assert_eq!(
            stats.breakers_open, 0,
            "{name}: it says nothing of the callee"
        );
    }
}

#[tokio::test]
async fn a_stream_that_is_dropped_gives_back_what_every_layer_held() {
    for (name, layer) in each_layer() {
        let (told, mut reset) = mpsc::channel(8);
        let server = Wire::start(move |mut call| {
            let told = told.clone();
            async move {
                let mut answer = call.begin();
                answer.message(b"");
                let _ = told.send(answer.given_up().await).await;
            }
        })
        .await;
        let channel = built(layer, &server);
        let mut client = RegistryServiceClient::new(channel.clone());
        let answers = client
            .watch_instances(WatchInstancesRequest::default())
            .await;
        let mut answers = answers.unwrap().into_inner();
        answers.message().await.unwrap().unwrap();
        assert_eq!(in_flight(&channel), 1, "{name}: until the stream's end");
        drop(answers);
        assert_eq!(reset.recv().await, Some(h2::Reason::CANCEL), "{name}");
        assert_eq!(in_flight(&channel), 0, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passes_in_any_layer_is_deadline_exceeded() {
    for (name, layer) in each_layer() {
        let server = Wire::start(|mut call| async move {
            call.given_up().await;
        })
        .await;
        let channel = built(layer, &server);
        let mut request = tonic::Request::new(Default::default());
        request.set_timeout(SECOND);
        let begun = Instant::now();
        let late = RegistryServiceClient::new(channel.clone())
            .list_services(request)
            .await
            .unwrap_err();
        assert_eq!(late.code(), Code::DeadlineExceeded, "{name}: {late}");
        assert!(
            begun.elapsed() < 2 * SECOND,
            "{name}: {:?}",
            begun.elapsed()
        );
        until(|| in_flight(&channel) == 0).await;
    }
}

#[tokio::test]
async fn a_channel_that_is_dropped_closes_its_connections() {
    for (name, layer) in each_layer() {
        let server = Wire::start(|call| async move { call.ok() }).await;
        let channel = built(layer, &server);
        call(&RegistryServiceClient::new(channel.clone()))
            .await
            .unwrap();
        assert!(server.open() > 0, "{name}");
        drop(channel);
        until(|| server.open() == 0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_takes_a_token_of_its_own() {
    let server = Wire::start(|call| async move {
        match call.number {
            0 => call.refuse(14, &[]),
            _ => call.ok(),
        }
    })
    .await;
    let channel = built(
        |c| c.limit(Rate::new(1, 1).unwrap()).deadline(60 * SECOND),
        &server,
    );
    let begun = Instant::now();
    call(&RegistryServiceClient::new(channel.clone()))
        .await
        .unwrap();
    assert!(begun.elapsed() >= SECOND, "{:?}", begun.elapsed());
    assert_eq!(channel.stats().limiter_waits, 1);
}

#[tokio::test(start_paused = true)]
async fn what_the_limiter_refuses_says_nothing_to_the_breaker() {
    let server = Wire::start(|call| async move { call.ok() }).await;
    let channel = built(
        |c| {
            let limited = c.limit(Rate::new(1, 1).unwrap()).deadline(SECOND / 2);
            limited.breaker(tripping(Scope::Service))
        },
        &server,
    );
    let client = RegistryServiceClient::new(channel.clone());
    call(&client).await.unwrap();
    for _ in 0..5 {
        let refused = call(&client).await.unwrap_err();
        assert_eq!(status::reason(&refused).as_deref(), Some("RATE_LIMITED"));
    }
    assert_eq!(channel.breakers()[0].counts().requests, 1);
    assert_eq!(
        channel.stats().limiter_refused,
        5,
        "and none was tried again"
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_its_token_holds_no_probe() {
    let server = Wire::start(|call| async move {
        match call.number {
            0 => call.refuse(14, &[]),
            _ => call.ok(),
        }
    })
    .await;
    let channel = built(
        |c| {
            let limited = c.limit(Rate::new(1, 1).unwrap()).no_deadline();
            limited
                .breaker(tripping(Scope::Service))
                .retry(Policy::never())
        },
        &server,
    );
    let client = RegistryServiceClient::new(channel.clone());
    call(&client).await.unwrap_err();
    advance(31 * SECOND).await;
    // One token, one probe. The second call waits for its token, and only then for the breaker,
    // which the first has closed by then; the other way round it would be refused at once. Until
    // then no time passes: it would, while the network takes its own.
    let clock = hold_the_clock();
    let first = async {
        let answered = call(&client).await;
        drop(clock);
        answered
    };
    let (first, second) = tokio::join!(first, call(&client));
    first.unwrap();
    second.unwrap();
    assert_eq!(channel.stats().breakers_closed, 1);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_token_is_not_the_callees_slowness() {
    let server = Wire::start(|call| async move { call.ok() }).await;
    let channel = built(
        |c| {
            let limited = c.limit(Rate::new(1, 1).unwrap()).deadline(60 * SECOND);
            limited.breaker(breaker::Config {
                slow: Some(breaker::Slow {
                    threshold: SECOND / 2,
                    percent: 1,
                    requests_min: 1,
                }),
                ..breaker::Config::default()
            })
        },
        &server,
    );
    let client = RegistryServiceClient::new(channel.clone());
    for _ in 0..4 {
        call(&client).await.unwrap();
    }
    assert_eq!(channel.stats().limiter_waits, 3);
    assert_eq!(channel.breakers()[0].counts().slow, 0);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_token_is_not_the_attempts_own_time() {
    let server = Wire::start(|call| async move { call.ok() }).await;
    let channel = built(
        |c| {
            let limited = c.limit(Rate::new(1, 1).unwrap()).deadline(60 * SECOND);
            limited.attempt_timeout(SECOND / 2).retry(Policy::default())
        },
        &server,
    );
    let client = RegistryServiceClient::new(channel);
    for _ in 0..3 {
        call(&client).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_dropped_frees_its_place() {
    let server = Wire::start(|mut call| async move {
        match call.number {
            0 => call.refuse(14, &[]),
            1 => {
                call.given_up().await;
            }
            _ => call.ok(),
        }
    })
    .await;
    let channel = built(
        |c| c.breaker(tripping(Scope::Service)).retry(Policy::never()),
        &server,
    );
    let client = RegistryServiceClient::new(channel);
    call(&client).await.unwrap_err();
    let refused = call(&client).await.unwrap_err();
    assert_eq!(status::reason(&refused).as_deref(), Some("BREAKER_OPEN"));
    advance(31 * SECOND).await;
    assert!(
        timeout(SECOND, call(&client)).await.is_err(),
        "the probe hangs and is given up"
    );
    call(&client).await.unwrap();
}

#[tokio::test]
async fn each_scope_opens_for_its_own() {
    let failing = Wire::start(|call| async move { call.refuse(14, &[]) }).await;
    let serving = Wire::start(|call| async move { call.ok() }).await;
    let both = vec![failing.authority.clone(), serving.authority.clone()];
    let channel = |scope| {
        Channel::builder("scripted")
            .fixed(both.clone())
            .breaker(tripping(scope))
            .retry(Policy::never())
            .connect()
            .unwrap()
    };
    // By instance: only the one that fails is left out.
    let by_instance = channel(Scope::Instance);
    until(|| by_instance.stats().ready() == 2).await;
    let client = RegistryServiceClient::new(by_instance);
    let mut failures = 0;
    for _ in 0..20 {
        failures += u32::from(call(&client).await.is_err());
    }
    assert_eq!(failures, 1, "the one that opened it");
    // By method: another method of the same service still goes.
    let by_method = channel(Scope::Method);
    until(|| by_method.stats().ready() == 2).await;
    let mut client = RegistryServiceClient::new(by_method);
    while call(&client).await.is_ok() {}
    let refused = call(&client).await.unwrap_err();
    assert_eq!(status::reason(&refused).as_deref(), Some("BREAKER_OPEN"));
    let beats = tokio_stream::iter([HeartbeatRequest::default()]);
    let other = client.heartbeat(beats).await;
    let other = other.err().and_then(|status| status::reason(&status));
    assert_ne!(other.as_deref(), Some("BREAKER_OPEN"));
}

#[tokio::test(start_paused = true)]
async fn an_outlier_is_left_out_and_comes_back() {
    let mut servers = Vec::new();
    for instance in 0..5 {
        servers.push(
            Wire::start(move |call| async move {
                if instance == 0 && call.number < 400 {
                    call.refuse(13, &[]);
                } else {
                    call.ok();
                }
            })
            .await,
        );
    }
    let channel = Channel::builder("scripted")
        .fixed(servers.iter().map(|s| s.authority.clone()).collect())
        .no_breaker()
        .connect()
        .unwrap();
    until(|| channel.stats().ready() == 5).await;
    let client = RegistryServiceClient::new(channel.clone());
    let round = || async {
        for _ in 0..600 {
            let _ = call(&client).await;
        }
        servers[0].calls()
    };
    assert!(round().await >= 119);
    advance(10 * SECOND).await;
    until(|| channel.stats().ejections == 1).await;
    let before = servers[0].calls();
    assert_eq!(round().await, before, "left out");
    assert_eq!(channel.stats().ready(), 4);
    // 30 s, and the next sweep after that.
    for _ in 0..5 {
        advance(10 * SECOND).await;
        tokio::task::yield_now().await;
    }
    until(|| channel.stats().ready() == 5).await;
    assert!(round().await > before, "back");
}

#[tokio::test]
async fn one_key_meets_one_instance() {
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut servers = Vec::new();
    for instance in 0..4 {
        let order = order.clone();
        servers.push(
            Wire::start(move |call| {
                order.lock().unwrap().push(instance);
                async move { call.ok() }
            })
            .await,
        );
    }
    let channel = Channel::builder("scripted")
        .fixed(servers.iter().map(|s| s.authority.clone()).collect())
        .balance(RingHash::default())
        .hash_header("x-customer")
        .connect()
        .unwrap();
    until(|| channel.stats().ready() == 4).await;
    let client = RegistryServiceClient::new(channel);
    let mut met = std::collections::BTreeSet::new();
    for customer in 0..40 {
        for _ in 0..3 {
            let mut request = tonic::Request::new(Default::default());
            let key = customer.to_string().parse().unwrap();
            request.metadata_mut().insert("x-customer", key);
            client.clone().list_services(request).await.unwrap();
        }
        let met_by: Vec<_> = order.lock().unwrap().drain(..).collect();
        assert!(
            met_by.windows(2).all(|pair| pair[0] == pair[1]),
            "{met_by:?}"
        );
        met.insert(met_by[0]);
    }
    assert_eq!(met.len(), 4, "and the keys are spread");
}

#[tokio::test]
async fn a_new_service_config_keeps_connections_and_what_was_counted() {
    let server = Wire::start(|call| async move { call.refuse(14, &[]) }).await;
    let quick: Layer = |c| {
        c.breaker(breaker::Config::gobreaker())
            .retry(Policy::never())
    };
    let channel = built(quick, &server);
    let client = RegistryServiceClient::new(channel.clone());
    for _ in 0..2 {
        call(&client).await.unwrap_err();
    }
    let policy = r#"{"loadBalancingConfig": [{"least_request_experimental": {}}]}"#;
    channel.set_service_config(policy).unwrap();
    call(&client).await.unwrap_err();
    let refused = call(&client).await.unwrap_err();
    assert_eq!(
        status::reason(&refused).as_deref(),
        Some("BREAKER_OPEN"),
        "the two failures before were not forgotten"
    );
    assert_eq!(server.connections(), 1);
    // Another breaker begins anew, and none is none.
    let breaker = r#"{"mizan": {"breaker": {"consecutiveFailures": 2}}}"#;
    channel.set_service_config(breaker).unwrap();
    let failed = call(&client).await.unwrap_err();
    assert_ne!(status::reason(&failed).as_deref(), Some("BREAKER_OPEN"));
    assert_eq!(server.connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_new_rate_holds_from_then_on_and_for_those_that_wait() {
    let server = Wire::start(|call| async move { call.ok() }).await;
    let channel = built(|c| c.limit(Rate::new(1, 1).unwrap()).no_deadline(), &server);
    let client = RegistryServiceClient::new(channel.clone());
    call(&client).await.unwrap();
    let waiting = {
        let client = client.clone();
        tokio::spawn(async move { call(&client).await })
    };
    let faster = r#"{"mizan": {"limiter": {"perSecond": 1000, "burst": 1000}}}"#;
    channel.set_service_config(faster).unwrap();
    let begun = Instant::now();
    for _ in 0..200 {
        call(&client).await.unwrap();
    }
    waiting.await.unwrap().unwrap();
    assert!(
        begun.elapsed() < 60 * SECOND,
        "200 calls at 1 a second take 200 s"
    );
}

#[tokio::test]
async fn who_asked_to_hear_of_a_breaker_hears_of_it_beside_the_metrics() {
    let heard = Arc::new(AtomicUsize::new(0));
    let server = Wire::start(|call| async move { call.refuse(13, &[]) }).await;
    for scope in [Scope::Service, Scope::Instance] {
        let count = heard.clone();
        let config = breaker::Config {
            on_state_change: Some(breaker::OnStateChange::new(move |_| {
                count.fetch_add(1, Ordering::SeqCst);
            })),
            ..tripping(scope)
        };
        let channel = Channel::builder("scripted")
            .fixed(vec![server.authority.clone()])
            .breaker(config)
            .connect()
            .unwrap();
        call(&RegistryServiceClient::new(channel.clone()))
            .await
            .unwrap_err();
        assert_eq!(heard.swap(0, Ordering::SeqCst), 1, "{scope:?}");
        assert_eq!(channel.stats().breakers_open, 1);
    }
}
