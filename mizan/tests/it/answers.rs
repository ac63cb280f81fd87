//! Callees that are full, late, too talkative or broken: what that costs, and whom.

use std::{sync::Arc, time::Duration};

use mizan::{Channel, breaker, connection, retry::Policy, status};
use mizan_contracts::registry::v1::{
    ListServicesRequest, WatchInstancesRequest, registry_service_client::RegistryServiceClient,
};
use tokio::sync::Notify;
use tonic::{Code, Request, Status};

use crate::{
    support::{Client, Running, Scripted, call},
    wire::Wire,
};

fn channel(server: &Wire) -> mizan::ChannelBuilder {
    Channel::builder("scripted").fixed(vec![server.authority.clone()])
}

fn client(channel: mizan::ChannelBuilder) -> (Channel, Client) {
    let channel = channel.connect().unwrap();
    (channel.clone(), RegistryServiceClient::new(channel))
}

/// A call whose caller waits so long.
async fn call_within(client: &Client, limit: Duration) -> Result<(), Status> {
    let mut request = Request::new(ListServicesRequest::default());
    request.set_timeout(limit);
    client.clone().list_services(request).await.map(drop)
}

fn failures(channel: &Channel) -> u64 {
    let breakers = channel.breakers();
    let failed = |breaker: &breaker::Breaker| breaker.counts().failures;
    breakers.iter().map(failed).sum()
}

#[tokio::test]
async fn twenty_thousand_calls_that_give_up_in_the_queue_cost_nothing() {
    let (held, free) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(1);
    let server = Wire::start_by(builder, {
        let (held, free) = (held.clone(), free.clone());
        move |call| {
            let (held, free) = (held.clone(), free.clone());
            async move {
                if call.number == 0 {
                    held.notify_one();
                    free.notified().await;
                }
                call.ok();
            }
        }
    })
    .await;
    let one = connection::Config {
        connections_max: 1,
        ..connection::Config::default()
    };
    let policy = Policy::never();
    let (channel, client) = client(channel(&server).connection(one).retry(policy).no_deadline());
    let first = tokio::spawn({
        let client = client.clone();
        async move { call(&client).await }
    });
    held.notified().await;
    for _ in 0..100 {
        let calls = (0..200).map(|_| call_within(&client, Duration::from_millis(5)));
        for ended in futures_util::future::join_all(calls).await {
            assert_eq!(ended.unwrap_err().code(), Code::DeadlineExceeded);
        }
    }
    assert_eq!(channel.stats().waiting_for_stream, 0);
    assert_eq!(failures(&channel), 0, "none of them reached the callee");
    free.notify_one();
    first.await.unwrap().unwrap();
    call(&client).await.unwrap();
    assert_eq!((server.calls(), server.connections()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn who_is_late_is_told_so_whatever_ended_the_call_then() {
    for how in 0..4 {
        let server = Wire::start(move |mut call| async move {
            // The callee keeps the same deadline, which reached it rounded down.
            tokio::time::sleep(Duration::from_millis(99)).await;
            match how {
                0 => call.reset(h2::Reason::CANCEL),
                1 => call.refuse(1, &[]),
                2 => {
                    let answer = call.begin();
                    answer.end(1);
                }
                _ => call.cut(),
            }
        })
        .await;
        let (channel, client) = client(channel(&server).retry(Policy::never()));
        call_within(&client, Duration::from_millis(100))
            .await
            .map_err(|status| assert_eq!(status.code(), Code::DeadlineExceeded, "{how}"))
            .unwrap_err();
        assert_eq!(channel.stats().calls_with(Code::DeadlineExceeded), 1);
    }
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_told_once_and_blames_nobody() {
    let large = "m".repeat(20 << 10);
    let server = Wire::start(move |call| {
        let large = large.clone();
        async move {
            match call.number % 2 {
                0 => call.answer(&[("x-large", &large)], &[("grpc-status", "0")]),
                _ => call.answer(&[], &[("grpc-status", "3"), ("grpc-message", &large)]),
            }
        }
    })
    .await;
    let (channel, client) = client(channel(&server));
    for calls in 1..=20 {
        let error = call(&client).await.unwrap_err();
        assert_eq!(error.code(), Code::ResourceExhausted);
        let reason = status::reason(&error);
        assert_eq!(reason.as_deref(), Some("ANSWER_METADATA_TOO_LARGE"));
        assert_eq!(server.calls(), calls, "and it was not tried again");
    }
    assert_eq!(failures(&channel), 0);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn metadata_that_the_callee_does_not_take_is_its_callers_own_fault() {
    // One says so before, the other only then, as a proxy does.
    let mut builder = h2::server::Builder::new();
    builder.max_header_list_size(16 << 10);
    let strict = Wire::start_by(builder, |call| async move { call.ok() }).await;
    let proxy = Wire::start(|call| async move {
        match call.headers.contains_key("x-token") {
            true => call.page(431),
            false => call.ok(),
        }
    })
    .await;
    let expected = [
        (strict, 0, Code::ResourceExhausted),
        (proxy, 20, Code::Unknown),
    ];
    for (server, reached, code) in expected {
        let (channel, client) = client(channel(&server));
        for _ in 0..20 {
            let mut request = Request::new(ListServicesRequest::default());
            let token = "t".repeat(20 << 10).parse().unwrap();
            request.metadata_mut().insert("x-token", token);
            let error = client.clone().list_services(request).await.unwrap_err();
            assert_eq!(error.code(), code);
            let reason = status::reason(&error);
            assert_eq!(reason.as_deref(), Some("METADATA_TOO_LARGE"));
        }
        assert_eq!(server.calls(), reached);
        assert_eq!(failures(&channel), 0);
        call(&client).await.unwrap();
    }
}

#[tokio::test]
async fn details_that_cannot_be_read_are_ignored_and_break_no_caller() {
    const BROKEN: &str = "!!! not base64 !!!";
    let server = Wire::start(|call| async move {
        match call.number {
            0 => call.refuse(9, &[("grpc-status-details-bin", BROKEN)]),
            1 => {
                let trailers = [("grpc-status", "9"), ("grpc-status-details-bin", BROKEN)];
                call.answer(&[], &trailers);
            }
            _ => call.ok(),
        }
    })
    .await;
    let (_channel, client) = client(channel(&server));
    for _ in 0..2 {
        let error = call(&client).await.unwrap_err();
        assert_eq!(error.code(), Code::FailedPrecondition);
        assert_eq!(error.details(), b"");
    }
    call(&client).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_health_answer_that_cannot_be_read_keeps_nobody_connecting_for_ever() {
    let server = Wire::start(|call| async move {
        if !call.path.ends_with("/Watch") {
            return call.ok();
        }
        if call.number == 0 {
            let broken = ("grpc-status-details-bin", "!!! not base64 !!!");
            return call.refuse(14, &[broken]);
        }
        let mut call = call;
        let mut answer = call.begin();
        answer.message(&[8, 1]);
        answer.given_up().await;
    })
    .await;
    let (_channel, client) = client(channel(&server).health_check("").wait_for_ready(true));
    call_within(&client, Duration::from_secs(30)).await.unwrap();
}

#[tokio::test]
async fn what_a_callee_says_beside_its_status_is_its_callers_and_goes_no_further() {
    let callee = Wire::start(|call| async move {
        let said = [
            ("grpc-status", "9"),
            ("grpc-message", "why"),
            ("server", "internal/1.2"),
            ("set-cookie", "session=1"),
            ("x-shard", "7"),
        ];
        match call.number % 2 {
            0 => call.refuse(9, &said[1..]),
            _ => call.answer(&[("x-shard", "7")], &said),
        }
    })
    .await;
    let (_channel, inner) = client(channel(&callee));
    let handler = Scripted::new(move |_| {
        let inner = inner.clone();
        async move {
            // The handler sees all of it, and adds something of its own.
            let mut status = call(&inner).await.unwrap_err();
            assert_eq!(status.metadata().get("x-shard").unwrap(), "7");
            let own = "1".parse().unwrap();
            status.metadata_mut().insert("x-own", own);
            Err(status)
        }
    });
    let server = Running::start(&handler).await;
    let client = crate::support::client(vec![server.authority()]);
    for _ in 0..4 {
        let status = call(&client).await.unwrap_err();
        let said = (status.code(), status.message());
        assert_eq!(said, (Code::FailedPrecondition, "why"));
        let metadata = status.metadata();
        for name in ["server", "set-cookie", "x-shard"] {
            assert!(!metadata.contains_key(name), "{name}: {metadata:?}");
        }
        assert_eq!(metadata.get("x-own").unwrap(), "1");
    }
}

#[tokio::test]
async fn an_answer_that_says_ok_in_the_middle_of_a_message_is_none() {
    for cut in [3, 7] {
        let server = Wire::start(move |mut call| async move {
            let mut answer = call.begin();
            answer.raw(&[0, 0, 0, 0, 9, 1, 2][..cut]);
            answer.end(0);
        })
        .await;
        let (_, client) = client(channel(&server).retry(Policy::never()));
        let answers = client
            .clone()
            .watch_instances(WatchInstancesRequest::default())
            .await;
        let broken = match answers {
            Ok(answers) => answers.into_inner().message().await.unwrap_err(),
            Err(broken) => broken,
        };
        assert_eq!(broken.code(), Code::Internal, "{broken:?}");
        assert_eq!(status::reason(&broken).as_deref(), Some("ANSWER_MALFORMED"));
    }
}

#[tokio::test]
async fn a_status_among_headers_that_are_not_the_end_is_what_is_left_when_nothing_follows() {
    // What follows it: nothing, trailers, a message and trailers.
    for (follows, code) in [(0, Code::NotFound), (1, Code::Ok), (2, Code::Ok)] {
        let server = Wire::start(move |mut call| async move {
            let mut answer = call.begin_with(&[("grpc-status", "5")]);
            match follows {
                0 => answer.close(),
                1 => answer.end(9),
                _ => {
                    answer.message(b"");
                    answer.end(0);
                }
            }
        })
        .await;
        let (_, client) = client(channel(&server).retry(Policy::never()));
        let answer = call(&client).await;
        let expected = if follows == 1 {
            Code::FailedPrecondition
        } else {
            code
        };
        let told = answer.map_or_else(|status| status.code(), |()| Code::Ok);
        assert_eq!(told, expected, "{follows}");
    }
}
