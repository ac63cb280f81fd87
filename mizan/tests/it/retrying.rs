//! gRFC A6 on the wire: retries, hedges, pushback, transparent retries, and when they stop.

use std::{sync::Arc, time::Duration};

use mizan::{
    Channel, discover,
    retry::{Codes, Policy, RetryPolicy},
    status,
};
use mizan_contracts::registry::v1::{
    WatchInstancesRequest, registry_service_client::RegistryServiceClient,
};
use tokio::sync::{Barrier, mpsc};
use tonic::Code;

use crate::{
    ends::until,
    support::{call, nowhere},
    wire::{Received, Wire},
};

const PREVIOUS: &str = "grpc-previous-rpc-attempts";
const PUSHBACK: &str = "grpc-retry-pushback-ms";

fn channel(servers: &[&Wire]) -> mizan::ChannelBuilder {
    let authorities = servers.iter().map(|server| server.authority.clone());
    Channel::builder("scripted").fixed(authorities.collect())
}

fn config(text: &str) -> String {
    format!(r#"{{"methodConfig": [{{"name": [{{}}], {text}}}]}}"#)
}

fn previous(call: &Received) -> Option<&str> {
    call.headers.get(PREVIOUS).map(|n| n.to_str().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_call_refused_unseen_is_sent_again_once_at_once_and_at_no_cost() {
    let server = Wire::start(|call| async move {
        assert_eq!(
            previous(&call),
            None,
            "no attempt in A6's sense came before"
        );
        if call.number == 0 {
            call.reset(h2::Reason::REFUSED_STREAM);
        } else {
            call.ok();
        }
    })
    .await;
    let channel = channel(&[&server]).connect().unwrap();
    call(&RegistryServiceClient::new(channel.clone()))
        .await
        .unwrap();
    assert_eq!(server.calls(), 2);
    assert_eq!(channel.stats().transparent_retries, 1);
    assert_eq!(channel.stats().retries, 0);
}

#[tokio::test(start_paused = true)]
async fn a_callee_sets_the_pause_or_forbids_the_retry() {
    let server = Wire::start(|call| async move {
        match call.number {
            0 => call.refuse(14, &[(PUSHBACK, "7000")]),
            1 => call.refuse(14, &[(PUSHBACK, "-1")]),
            _ => call.ok(),
        }
    })
    .await;
    let channel = channel(&[&server]).deadline(Duration::from_secs(60));
    let client = RegistryServiceClient::new(channel.connect().unwrap());
    let begun = tokio::time::Instant::now();
    call(&client).await.unwrap_err();
    assert_eq!(server.calls(), 2);
    assert!(begun.elapsed() >= Duration::from_secs(7));
}

#[tokio::test]
async fn a_retry_goes_to_an_instance_not_yet_tried() {
    let refusing = Wire::start(|call| async move { call.refuse(14, &[]) }).await;
    let serving = Wire::start(|call| async move {
        call.ok();
    })
    .await;
    let channel = channel(&[&refusing, &serving])
        .no_breaker()
        .connect()
        .unwrap();
    until(|| channel.stats().ready() == 2).await;
    let client = RegistryServiceClient::new(channel);
    for _ in 0..40 {
        call(&client).await.unwrap();
    }
    // Each of them was refused at most once.
    assert!(refusing.calls() <= 40, "{}", refusing.calls());
    assert_eq!(serving.calls(), 40);
}

#[tokio::test(start_paused = true)]
async fn a_hedge_wins_and_the_slow_attempt_is_cancelled() {
    let (told, mut cancelled) = mpsc::channel(1);
    let server = Wire::start(move |mut call| {
        let told = told.clone();
        async move {
            if call.number == 0 {
                told.send(call.given_up().await).await.unwrap();
            } else {
                assert_eq!(previous(&call), Some("1"));
                call.ok();
            }
        }
    })
    .await;
    let hedging = config(r#""hedgingPolicy": {"maxAttempts": 3, "hedgingDelay": "0.05s"}"#);
    let channel = channel(&[&server])
        .service_config(&hedging)
        .unwrap()
        .connect()
        .unwrap();
    call(&RegistryServiceClient::new(channel.clone()))
        .await
        .unwrap();
    assert_eq!(cancelled.recv().await, Some(h2::Reason::CANCEL));
    assert_eq!(channel.stats().hedges, 1);
}

#[tokio::test]
async fn without_a_delay_all_hedges_go_at_once() {
    let all = Arc::new(Barrier::new(3));
    let server = Wire::start(move |call| {
        let all = all.clone();
        async move {
            // Answered only when three are there.
            all.wait().await;
            call.ok();
        }
    })
    .await;
    let hedging = config(r#""hedgingPolicy": {"maxAttempts": 3}"#);
    let channel = channel(&[&server])
        .service_config(&hedging)
        .unwrap()
        .connect()
        .unwrap();
    call(&RegistryServiceClient::new(channel)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_attempt_has_a_time_of_its_own() {
    let server = Wire::start(|mut call| async move {
        if call.number == 0 {
            call.given_up().await;
        } else {
            call.ok();
        }
    })
    .await;
    let channel = channel(&[&server])
        .attempt_timeout(Duration::from_millis(200))
        .connect()
        .unwrap();
    call(&RegistryServiceClient::new(channel)).await.unwrap();
    assert_eq!(server.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_has_its_time_whatever_the_policy() {
    let server = Wire::start(|mut call| async move {
        call.given_up().await;
    })
    .await;
    let limited = || channel(&[&server]).attempt_timeout(Duration::from_millis(200));
    let never = limited().retry(Policy::never()).no_deadline();
    let twice = r#""retryPolicy": {"maxAttempts": 2, "initialBackoff": "0.01s", "maxBackoff": "0.01s",
        "backoffMultiplier": 1, "retryableStatusCodes": ["UNAVAILABLE"]}"#;
    let twice = limited().service_config(&config(twice)).unwrap();
    for (channel, attempts) in [(never, 1), (twice, 2)] {
        let before = server.calls();
        let begun = tokio::time::Instant::now();
        let client = RegistryServiceClient::new(channel.connect().unwrap());
        let late = tokio::time::timeout(Duration::from_secs(60), call(&client)).await;
        let late = late.expect("it has an end").unwrap_err();
        assert_eq!(late.code(), Code::DeadlineExceeded);
        assert_eq!(server.calls() - before, attempts);
        assert!(begun.elapsed() < Duration::from_secs(1));
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_given_up_after_retries_tells_callers_not_to_try_again() {
    let server = Wire::start(|call| async move { call.refuse(14, &[]) }).await;
    let client = RegistryServiceClient::new(channel(&[&server]).connect().unwrap());
    let given_up = call(&client).await.unwrap_err();
    assert_eq!(server.calls(), 3);
    let pushback = given_up
        .metadata()
        .get(PUSHBACK)
        .expect("a caller up the chain is told");
    assert_eq!(pushback, "-1");
}

#[tokio::test(start_paused = true)]
async fn a_failure_lists_the_instances_that_were_tried() {
    let silent = Wire::start(|call| async move { call.reset(h2::Reason::INTERNAL_ERROR) }).await;
    let other = Wire::start(|call| async move { call.reset(h2::Reason::INTERNAL_ERROR) }).await;
    let policy = Policy::Retry(RetryPolicy {
        codes: Codes::of(&[Code::Internal]),
        ..RetryPolicy::default()
    });
    let channel = channel(&[&silent, &other]).retry(policy).connect().unwrap();
    until(|| channel.stats().ready() == 2).await;
    let failed = call(&RegistryServiceClient::new(channel))
        .await
        .unwrap_err();
    for server in [&silent, &other] {
        assert!(
            failed.message().contains(&server.authority),
            "{}",
            failed.message()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_proxys_page_is_read_as_grpc_says_and_retried_like_a_status() {
    for (http, code, attempts) in [
        (503, Code::Unavailable, 3),
        (429, Code::Unavailable, 3),
        (404, Code::Unimplemented, 1),
        (401, Code::Unauthenticated, 1),
        (500, Code::Unknown, 1),
    ] {
        let proxy = Wire::start(move |call| async move { call.page(http) }).await;
        let channel = channel(&[&proxy]).no_breaker().connect().unwrap();
        let failed = call(&RegistryServiceClient::new(channel))
            .await
            .unwrap_err();
        assert_eq!((failed.code(), proxy.calls()), (code, attempts), "{http}");
        assert_eq!(status::reason(&failed).as_deref(), Some("HTTP_STATUS"));
        let told = failed.message();
        assert!(
            told.contains(&proxy.authority) && told.contains(&http.to_string()),
            "{told}"
        );
    }
    let recovering = Wire::start(|call| async move {
        match call.number {
            0 => call.page(502),
            _ => call.ok(),
        }
    })
    .await;
    let channel = channel(&[&recovering]).connect().unwrap();
    call(&RegistryServiceClient::new(channel)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn wait_for_ready_waits_for_the_first_instance() {
    let authority = nowhere();
    let channel = Channel::builder("scripted").fixed(vec![authority.clone()]);
    let channel = channel
        .wait_for_ready(true)
        .deadline(Duration::from_secs(600));
    let client = RegistryServiceClient::new(channel.connect().unwrap());
    let waiting = tokio::spawn(async move { call(&client).await });
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!waiting.is_finished());
    let service = crate::support::Scripted::ok();
    let _server = crate::support::Running::start_at(&authority, &service).await;
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_service_config_changes_a_running_channel_and_a_bad_one_changes_nothing() {
    let server = Wire::start(|call| async move { call.refuse(14, &[]) }).await;
    let channel = channel(&[&server]).no_breaker().connect().unwrap();
    let client = RegistryServiceClient::new(channel.clone());
    let five = r#""retryPolicy": {"maxAttempts": 5, "initialBackoff": "0.001s", "maxBackoff": "0.001s",
        "backoffMultiplier": 1, "retryableStatusCodes": ["UNAVAILABLE"]}"#;
    channel.set_service_config(&config(five)).unwrap();
    call(&client).await.unwrap_err();
    assert_eq!(server.calls(), 5);
    let bad = five.replace("\"maxAttempts\": 5", "\"maxAttempts\": 1");
    let refused = channel.set_service_config(&config(&bad)).unwrap_err();
    assert_eq!(refused.path(), "methodConfig[0].retryPolicy.maxAttempts");
    call(&client).await.unwrap_err();
    assert_eq!(server.calls(), 10, "what held before holds");
}

#[tokio::test]
async fn messages_beyond_their_limit_are_refused() {
    let server = Wire::start(|mut call| async move {
        let mut answer = call.begin();
        answer.message(&[0; 100]);
        answer.end(0);
    })
    .await;
    let channel = channel(&[&server])
        .service_config(&config(r#""maxResponseMessageBytes": 99"#))
        .unwrap();
    let channel = channel.connect().unwrap();
    let client = RegistryServiceClient::new(channel.clone());
    let refused = call(&client).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(
        status::reason(&refused).as_deref(),
        Some("MESSAGE_TOO_LARGE")
    );
    channel
        .set_service_config(&config(r#""maxRequestMessageBytes": 0"#))
        .unwrap();
    let page = mizan_contracts::registry::v1::ListServicesRequest {
        page_size: 1,
        ..Default::default()
    };
    let refused = client.clone().list_services(page).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(server.calls(), 1, "nothing was sent");
}

/// Names one instance, with this service config in its metadata, as often as it is told to.
#[derive(Debug)]
struct Announcing {
    authority: String,
    configs: mpsc::UnboundedReceiver<String>,
}

impl discover::Discover for Announcing {
    fn discover(
        mut self: Box<Self>,
        _service: String,
        updates: discover::Updates,
    ) -> discover::Discovering {
        Box::pin(async move {
            while let Some(config) = self.configs.recv().await {
                let metadata = [("service_config".to_owned(), config)];
                let instance = discover::Endpoint::new(self.authority.clone()).unwrap();
                updates.instances(vec![instance.with_metadata(metadata.into())]);
            }
            std::future::pending::<()>().await;
        })
    }
}

#[tokio::test(start_paused = true)]
async fn the_config_that_instances_carry_is_followed_if_so_wished() {
    let server = Wire::start(|call| async move { call.refuse(14, &[]) }).await;
    for (followed, attempts) in [(true, 2), (false, 3)] {
        let (announce, configs) = mpsc::unbounded_channel();
        let authority = server.authority.clone();
        let channel = Channel::builder("scripted")
            .discover(Announcing { authority, configs })
            .announced_service_config(followed)
            .no_breaker()
            .connect()
            .unwrap();
        let client = RegistryServiceClient::new(channel);
        let two = r#"{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 2,
            "initialBackoff": "0.01s", "maxBackoff": "1s", "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE"]}}]}"#;
        // One that is not valid changes nothing, blank or extreme.
        let deep = "[".repeat(100_000);
        let long = format!(
            r#"{{"methodConfig": [{{"name": [{{}}], "timeout": "{}s"}}]}}"#,
            "9".repeat(400)
        );
        let many = format!(
            r#"{{"retryThrottling": {{"maxTokens": {}, "tokenRatio": 1e999}}}}"#,
            u64::MAX
        );
        let invalid = [
            "",
            " \n",
            r#"{"methodConfig": 1}"#,
            &deep,
            &long,
            &many,
            "null",
            "[]",
        ];
        for config in [two].into_iter().chain(invalid) {
            announce.send(config.to_owned()).unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
            let before = server.calls();
            call(&client).await.unwrap_err();
            assert_eq!(server.calls() - before, attempts, "{followed}");
        }
    }
}

/// A process that is killed in the middle of its answer: nobody has had anything of it, so it is asked
/// for again.
#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_is_asked_for_again() {
    let server = Wire::start(|mut call| async move {
        if call.number == 2 {
            return call.ok();
        }
        let mut begun = call.begin();
        if call.number == 1 {
            begun.message(b"");
        }
        // The connection, woken before, sends what there is.
        tokio::task::yield_now().await;
        call.cut();
        // As a process that is gone, it ends nothing.
        std::future::pending::<()>().await;
    })
    .await;
    // Where a connection was cut, the next one takes its time.
    let channel = channel(&[&server]).no_breaker().wait_for_ready(true);
    let channel = channel.connect().unwrap();
    call(&RegistryServiceClient::new(channel.clone()))
        .await
        .unwrap();
    assert_eq!(server.calls(), 3);
    assert_eq!(channel.stats().retries, 2);
}

/// The first stream of a method is held back for a moment, in which it might have been an answer; the
/// next is given out at once.
#[tokio::test(start_paused = true)]
async fn a_stream_is_held_back_once() {
    let server = Wire::start(|mut call| async move {
        let mut begun = call.begin();
        begun.message(b"");
        begun.given_up().await;
    })
    .await;
    let channel = channel(&[&server]).deadline(Duration::from_secs(60));
    let mut client = RegistryServiceClient::new(channel.connect().unwrap());
    for held in [true, false] {
        let begun = tokio::time::Instant::now();
        let request = WatchInstancesRequest::default();
        let mut stream = client.watch_instances(request).await.unwrap().into_inner();
        assert!(stream.message().await.unwrap().is_some());
        let took = begun.elapsed();
        assert_eq!(took >= Duration::from_millis(50), held, "{took:?}");
        assert!(took < Duration::from_secs(1), "{took:?}");
        let silence = tokio::time::timeout(Duration::from_secs(10), stream.message());
        assert!(silence.await.is_err());
    }
    assert_eq!(server.calls(), 2);
}
