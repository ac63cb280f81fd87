//! What counts against a callee, and what does not: the breaker, the balancer, the retries.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use mizan::{
    CallContext, Channel, ChannelBuilder, breaker, retry::Policy, status, telemetry::TraceContext,
};
use mizan_contracts::registry::v1::{
    WatchInstancesRequest, registry_service_client::RegistryServiceClient,
};
use prost::Message as _;
use prost_types::{
    FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto, MethodOptions,
    ServiceDescriptorProto, method_options::IdempotencyLevel,
};
use tokio::time::{Instant, sleep};
use tonic::{Code, Request};

use crate::{ends::until, support::call, wire::Wire};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

type Client = RegistryServiceClient<Channel>;

/// A channel that tries once.
fn channel(servers: &[&Wire], with: impl FnOnce(ChannelBuilder) -> ChannelBuilder) -> Channel {
    let authorities = servers.iter().map(|s| s.authority.clone()).collect();
    let builder = Channel::builder("scripted").fixed(authorities);
    with(builder.retry(Policy::never())).connect().unwrap()
}

/// A server whose calls take so long.
async fn taking(time: Duration) -> Wire {
    Wire::start(move |call| async move {
        sleep(time).await;
        call.ok();
    })
    .await
}

async fn call_within(client: &Client, time: Duration) -> Code {
    let mut request = Request::new(Default::default());
    request.set_timeout(time);
    let answer = client.clone().list_services(request).await;
    answer.map_or_else(|status| status.code(), |_| Code::Ok)
}

/// Both breakers: the default, and the one that three calls open.
fn breakers() -> [breaker::Config; 2] {
    [breaker::Config::default(), breaker::Config::gobreaker()]
}

#[tokio::test(start_paused = true)]
async fn callers_in_a_hurry_do_not_open_the_breaker() {
    for config in breakers() {
        let server = taking(50 * MS).await;
        let channel = channel(&[&server], |c| c.breaker(config));
        let client = Client::new(channel.clone());
        // Before anybody knows how long a call takes, and when it is known.
        for known in [false, true] {
            for _ in 0..30 {
                assert_eq!(call_within(&client, 10 * MS).await, Code::DeadlineExceeded);
            }
            assert_eq!(channel.stats().breakers_closed, 1, "{known}");
            assert_eq!(call_within(&client, SECOND).await, Code::Ok);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_little_a_caller_has_left_does_not_open_the_breaker() {
    let server = taking(50 * MS).await;
    let channel = channel(&[&server], |c| c.breaker(breaker::Config::gobreaker()));
    let client = Client::new(channel.clone());
    for _ in 0..30 {
        let handled = CallContext::new(Some(Instant::now() + 10 * MS), TraceContext::root());
        let late = handled.scope(call(&client)).await.unwrap_err();
        assert_eq!(late.code(), Code::DeadlineExceeded);
    }
    assert_eq!(channel.stats().breakers_closed, 1);
}

#[tokio::test(start_paused = true)]
async fn a_callee_that_became_slow_opens_it_though_its_callers_are_brief() {
    let server = Wire::start(|call| async move {
        // Quick at first, and then as if frozen.
        let time = if call.number < 20 { MS } else { 3600 * SECOND };
        sleep(time).await;
        call.ok();
    })
    .await;
    let channel = channel(&[&server], |c| c);
    let client = Client::new(channel.clone());
    for _ in 0..20 {
        assert_eq!(call_within(&client, 100 * MS).await, Code::Ok);
    }
    for _ in 0..20 {
        assert_eq!(call_within(&client, 100 * MS).await, Code::DeadlineExceeded);
    }
    assert_eq!(channel.stats().breakers_open, 1, "20 failures of 40");
}

#[tokio::test(start_paused = true)]
async fn a_callee_that_never_answered_opens_it_by_the_channels_own_deadline() {
    let server = taking(3600 * SECOND).await;
    let channel = channel(&[&server], |c| {
        c.breaker(breaker::Config::gobreaker()).deadline(SECOND)
    });
    let client = Client::new(channel.clone());
    for _ in 0..3 {
        let late = call(&client).await.unwrap_err();
        assert_eq!(late.code(), Code::DeadlineExceeded);
    }
    assert_eq!(channel.stats().breakers_open, 1);
}

#[tokio::test]
async fn a_stream_that_lasted_until_its_time_was_over_is_no_failure() {
    let server = Wire::start(|mut call| async move {
        let mut answer = call.begin();
        answer.message(b"");
        answer.given_up().await;
    })
    .await;
    let channel = channel(&[&server], |c| c.breaker(breaker::Config::gobreaker()));
    let mut client = Client::new(channel.clone());
    for _ in 0..10 {
        let mut request = Request::new(WatchInstancesRequest::default());
        request.set_timeout(3600 * SECOND);
        let mut answers = client.watch_instances(request).await.unwrap().into_inner();
        answers.message().await.unwrap().unwrap();
        tokio::time::pause();
        let over = answers.message().await.unwrap_err();
        tokio::time::resume();
        assert_eq!(over.code(), Code::DeadlineExceeded);
    }
    assert_eq!(channel.stats().breakers_closed, 1);
}

#[tokio::test]
async fn the_channels_own_limit_on_messages_is_no_failure_of_the_callee() {
    let server = Wire::start(|mut call| async move {
        let mut answer = call.begin();
        answer.message(&[0; 100]);
        answer.end(0);
    })
    .await;
    for config in breakers() {
        let channel = channel(&[&server], |c| {
            c.breaker(config).message_bytes(None, Some(10))
        });
        let client = Client::new(channel.clone());
        for _ in 0..30 {
            let refused = call(&client).await.unwrap_err();
            assert_eq!(
                status::reason(&refused).as_deref(),
                Some("MESSAGE_TOO_LARGE")
            );
        }
        assert_eq!(channel.stats().breakers_closed, 1);
    }
}

#[tokio::test]
async fn one_bad_instance_of_three_costs_nobody_the_others() {
    let bad = Wire::start(|call| async move { call.refuse(13, &[]) }).await;
    let good = [taking(Duration::ZERO).await, taking(Duration::ZERO).await];
    let channel = channel(&[&bad, &good[0], &good[1]], |c| c);
    until(|| channel.stats().ready() == 3).await;
    let client = Client::new(channel.clone());
    let mut failed = 0;
    for _ in 0..300 {
        if let Err(status) = call(&client).await {
            assert_eq!(status.code(), Code::Internal, "{status:?}");
            failed += 1;
        }
    }
    assert_eq!(failed, 20, "what it takes to know it");
    let stats = channel.stats();
    assert_eq!((stats.breakers_open, stats.breakers_closed), (1, 2));
}

#[tokio::test]
async fn three_failures_of_a_busy_service_close_it_to_nobody() {
    let server = Wire::start(|call| async move {
        match call.number {
            0..3 => call.refuse(13, &[]),
            _ => call.ok(),
        }
    })
    .await;
    let client = Client::new(channel(&[&server], |c| c));
    for _ in 0..3 {
        call(&client).await.unwrap_err();
    }
    for _ in 0..20 {
        call(&client).await.unwrap();
    }
}

/// An instance that takes ten calls a second, in bursts of one, and says when to come back.
async fn limited(say: fn(Duration) -> (&'static str, String)) -> (Wire, Arc<AtomicUsize>) {
    let begun = Instant::now();
    let taken = Arc::new(AtomicUsize::new(0));
    let server = Wire::start({
        let taken = taken.clone();
        move |call| {
            let taken = taken.clone();
            async move {
                let now = begun.elapsed();
                let free = 100 * MS * u32::try_from(taken.load(Ordering::SeqCst)).unwrap();
                if now < free {
                    let (name, value) = say(free - now);
                    return call.refuse(8, &[(name, &value)]);
                }
                taken.fetch_add(1, Ordering::SeqCst);
                call.ok();
            }
        }
    })
    .await;
    (server, taken)
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_asks_to_be_left_alone_is_and_nobody_else_suffers() {
    let pushback = |left: Duration| ("grpc-retry-pushback-ms", (left.as_millis() + 1).to_string());
    let details = |left: Duration| {
        let status = status::retry_later(Code::ResourceExhausted, "SLOWLY", "slowly", left + MS);
        let response = status.into_http::<tonic::body::Body>();
        let value = response.headers()["grpc-status-details-bin"]
            .to_str()
            .unwrap();
        ("grpc-status-details-bin", value.to_owned())
    };
    for say in [pushback, details] {
        let (slow, taken) = limited(say).await;
        let good = [taking(Duration::ZERO).await, taking(Duration::ZERO).await];
        let channel = channel(&[&slow, &good[0], &good[1]], |c| c);
        let client = Client::new(channel.clone());
        until(|| channel.stats().ready() == 3).await;
        let mut refused = 0;
        // 500 calls a second for 4 s.
        for _ in 0..2000 {
            if let Err(status) = call(&client).await {
                assert_eq!(status.code(), Code::ResourceExhausted);
                refused += 1;
            }
            sleep(2 * MS).await;
        }
        let taken = taken.load(Ordering::SeqCst);
        assert!(
            (20..=42).contains(&taken),
            "{taken} taken by the limited one"
        );
        assert!(
            refused <= 42,
            "{refused} refused: about one for each time it was asked again"
        );
        assert_eq!(channel.stats().breakers_closed, 3);
        assert!(good.iter().all(|good| good.calls() > 900));
    }
}

#[tokio::test]
async fn who_alone_asks_to_be_left_alone_is_asked_all_the_same() {
    let server = Wire::start(|call| async move {
        match call.number {
            0 => call.refuse(8, &[("grpc-retry-pushback-ms", "60000")]),
            _ => call.ok(),
        }
    })
    .await;
    let client = Client::new(channel(&[&server], |c| c));
    call(&client).await.unwrap_err();
    call(&client).await.unwrap();
}

/// A contract of the method called here, that says this.
fn contract(level: Option<IdempotencyLevel>) -> Vec<u8> {
    let method = MethodDescriptorProto {
        name: Some("ListServices".to_owned()),
        options: level.map(|level| MethodOptions {
            idempotency_level: Some(level.into()),
            ..MethodOptions::default()
        }),
        ..MethodDescriptorProto::default()
    };
    let service = ServiceDescriptorProto {
        name: Some("RegistryService".to_owned()),
        method: vec![method],
        ..ServiceDescriptorProto::default()
    };
    let file = FileDescriptorProto {
        package: Some("mizan.registry.v1".to_owned()),
        service: vec![service],
        ..FileDescriptorProto::default()
    };
    FileDescriptorSet { file: vec![file] }.encode_to_vec()
}

/// What a call meets that may have been done.
#[derive(Debug, Clone, Copy)]
enum Met {
    /// The server dies with it.
    Death,
    /// A proxy says so by a page of this status.
    Page(u16),
    /// A proxy says so in gRPC's own words, as Envoy does.
    Unavailable,
}

/// Whether a call reaches more than once a server where it always meets this.
async fn made_twice(met: Met, with: impl FnOnce(ChannelBuilder) -> ChannelBuilder) -> bool {
    let server = Wire::start(move |call| async move {
        match met {
            Met::Page(status) => call.page(status),
            Met::Unavailable => call.refuse(14, &[]),
            Met::Death => {
                call.cut();
                // Dropped, it would be reset before.
                std::future::pending().await
            }
        }
    })
    .await;
    let builder = Channel::builder("scripted").fixed(vec![server.authority.clone()]);
    let channel = with(builder).connect().unwrap();
    let failed = call(&Client::new(channel)).await.unwrap_err();
    assert_eq!(failed.code(), Code::Unavailable);
    server.calls() > 1
}

#[tokio::test]
async fn a_call_that_may_have_been_done_is_made_twice_only_where_it_may_be() {
    use IdempotencyLevel::*;
    for met in [Met::Death, Met::Page(502), Met::Page(503), Met::Unavailable] {
        for once in [None, Some(IdempotencyUnknown)] {
            let contracts = contract(once);
            let made = made_twice(met, |c| c.contracts(&contracts)).await;
            assert!(!made, "{met:?} {once:?}");
        }
        for often in [NoSideEffects, Idempotent] {
            let contracts = contract(Some(often));
            let made = made_twice(met, |c| c.contracts(&contracts)).await;
            assert!(made, "{met:?} {often:?}");
        }
        assert!(made_twice(met, |c| c).await, "as documented");
        assert!(!made_twice(met, |c| c.retry(Policy::never())).await);
        // What somebody chose goes before the contract.
        let silent = |c: ChannelBuilder| c.contracts(&contract(None));
        assert!(made_twice(met, |c| silent(c).retry(Policy::default())).await);
        let config = r#"{"methodConfig": [{"name": [{}], "retryPolicy": {
            "maxAttempts": 5, "initialBackoff": "0.1s", "maxBackoff": "1s",
            "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}]}"#;
        assert!(made_twice(met, |c| silent(c).service_config(config).unwrap()).await);
    }
}

#[tokio::test]
async fn an_answer_that_nobody_would_ask_for_again_is_as_it_was_given() {
    let server = Wire::start(|call| async move {
        match call.number {
            0..200 => call.refuse(5, &[]),
            200 => call.refuse(14, &[("grpc-retry-pushback-ms", "1")]),
            _ => call.ok(),
        }
    })
    .await;
    let channel = Channel::builder("scripted")
        .fixed(vec![server.authority.clone()])
        .contracts(&contract(None));
    let client = Client::new(channel.connect().unwrap());
    for _ in 0..200 {
        let missing = call(&client).await.unwrap_err();
        assert_eq!(missing.code(), Code::NotFound);
        assert!(missing.metadata().get("grpc-retry-pushback-ms").is_none());
    }
    // Nor was it charged to the throttle, which would now let nothing be tried again.
    call(&client).await.unwrap();
    assert_eq!(server.calls(), 202);
}

#[tokio::test]
async fn what_the_callee_says_to_try_again_is_made_again_whatever_the_contract_says() {
    let server = Wire::start(|call| async move {
        match call.number {
            0 => call.refuse(14, &[("grpc-retry-pushback-ms", "1")]),
            _ => call.ok(),
        }
    })
    .await;
    let channel = Channel::builder("scripted")
        .fixed(vec![server.authority.clone()])
        .contracts(&contract(None));
    call(&Client::new(channel.connect().unwrap()))
        .await
        .unwrap();
    assert_eq!(server.calls(), 2);
}

#[tokio::test]
async fn what_surely_was_not_done_is_made_again_whatever_the_contract_says() {
    let server = Wire::start(|call| async move {
        match call.number {
            0 => call.reset(h2::Reason::REFUSED_STREAM),
            _ => call.ok(),
        }
    })
    .await;
    let channel = Channel::builder("scripted")
        .fixed(vec![server.authority.clone()])
        .contracts(&contract(None));
    call(&Client::new(channel.connect().unwrap()))
        .await
        .unwrap();
    assert_eq!(server.calls(), 2);
}

#[tokio::test]
async fn a_proxys_429_is_a_rate_and_its_503_is_a_failure_whatever_either_says_of_later() {
    for (page, open) in [(429, 0), (503, 1)] {
        let server = Wire::start(move |call| async move { call.page(page) }).await;
        let channel = channel(&[&server], |c| c.breaker(breaker::Config::gobreaker()));
        let client = Client::new(channel.clone());
        for _ in 0..3 {
            let refused = call(&client).await.unwrap_err();
            assert_eq!(refused.code(), Code::Unavailable);
        }
        assert_eq!(channel.stats().breakers_open, open, "{page}");
    }
}
