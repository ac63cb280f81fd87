//! Balancing, retrying, deadlines and what travels with a call.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use mizan::{
    Channel,
    limit::Rate,
    retry::{HedgingPolicy, Policy, RetryPolicy, Thousandths, Throttling},
    status,
};
use mizan_contracts::registry::v1::{
    ListServicesRequest, registry_service_client::RegistryServiceClient,
};
use tokio::net::TcpListener;
use tonic::{Code, Request, Status};

use crate::{
    ends::{until, within},
    support::{Client, Running, Scripted, call, client, nowhere},
};

fn unavailable() -> Status {
    Status::unavailable("try again")
}

#[tokio::test]
async fn instances_take_turns() {
    let services = [Scripted::ok(), Scripted::ok(), Scripted::ok()];
    let mut authorities = Vec::new();
    let mut servers = Vec::new();
    for service in &services {
        let server = Running::start(service).await;
        authorities.push(server.authority());
        servers.push(server);
    }
    let client = client(authorities);
    // The first calls may find only some connected.
    while services.iter().any(|service| service.calls() == 0) {
        call(&client).await.unwrap();
    }
    let before: Vec<_> = services.iter().map(Scripted::calls).collect();
    for _ in 0..300 {
        call(&client).await.unwrap();
    }
    let served: Vec<_> = services
        .iter()
        .zip(before)
        .map(|(s, before)| s.calls() - before)
        .collect();
    assert_eq!(served, [100, 100, 100]);
}

#[tokio::test]
async fn a_dead_instance_among_live_ones_fails_no_call() {
    let service = Scripted::ok();
    let servers = [
        Running::start(&service).await,
        Running::start(&service).await,
    ];
    let client = client(vec![
        servers[0].authority(),
        nowhere(),
        servers[1].authority(),
    ]);
    for _ in 0..2_000 {
        call(&client).await.unwrap();
    }
    assert_eq!(service.calls(), 2_000, "and none was sent twice");
}

#[tokio::test]
async fn an_instance_that_goes_away_under_load_fails_no_call() {
    let service = Scripted::ok();
    let mut servers = vec![
        Running::start(&service).await,
        Running::start(&service).await,
    ];
    let client = client(servers.iter().map(Running::authority).collect());
    let load: Vec<_> = (0..8)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                for _ in 0..200 {
                    call(&client).await.unwrap();
                }
            })
        })
        .collect();
    until(|| service.calls() >= 200).await;
    servers.remove(0).stopped().await;
    for task in load {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn with_nobody_there_a_call_fails_fast_and_says_so() {
    let client = client(vec![nowhere()]);
    let refusal = call(&client).await.unwrap_err();
    assert_eq!(refusal.code(), Code::Unavailable);
    assert_eq!(status::reason(&refusal).as_deref(), Some("NO_INSTANCES"));
    assert!(
        refusal.message().contains("Connection refused"),
        "{}",
        refusal.message()
    );
}

#[tokio::test]
async fn with_no_registry_a_call_fails_fast_and_says_so() {
    let channel = Channel::builder("scripted")
        .registry(vec![nowhere()])
        .connect()
        .unwrap();
    let refusal = call(&RegistryServiceClient::new(channel))
        .await
        .unwrap_err();
    assert_eq!(status::reason(&refusal).as_deref(), Some("NO_INSTANCES"));
    assert!(
        refusal.message().contains("registry"),
        "{}",
        refusal.message()
    );
}

#[tokio::test]
async fn unavailable_is_retried_and_the_attempts_are_counted() {
    let service =
        Scripted::new(|call| async move { if call < 2 { Err(unavailable()) } else { Ok(()) } });
    let server = Running::start(&service).await;
    call(&client(vec![server.authority()])).await.unwrap();
    let previous: Vec<_> = service
        .seen()
        .iter()
        .map(|headers| {
            headers
                .get("grpc-previous-rpc-attempts")
                .map(|v| v.to_str().unwrap().to_owned())
        })
        .collect();
    assert_eq!(previous, [None, Some("1".to_owned()), Some("2".to_owned())]);
}

#[tokio::test]
async fn after_three_attempts_the_callees_own_answer_is_returned() {
    let service = Scripted::new(|_| async {
        Err(status::refused(
            Code::Unavailable,
            "CLOSED_FOR_LUNCH",
            "come back later",
        ))
    });
    let server = Running::start(&service).await;
    let answer = call(&client(vec![server.authority()])).await.unwrap_err();
    assert_eq!(status::reason(&answer).as_deref(), Some("CLOSED_FOR_LUNCH"));
    assert_eq!(service.calls(), 3);
}

#[tokio::test]
async fn a_channel_may_allow_more_attempts_than_five() {
    let service =
        Scripted::new(|call| async move { if call < 7 { Err(unavailable()) } else { Ok(()) } });
    let server = Running::start(&service).await;
    let often = Policy::Retry(RetryPolicy {
        attempts_max: 20,
        backoff_initial: Duration::from_millis(1),
        backoff_max: Duration::from_millis(1),
        ..RetryPolicy::default()
    });
    let channel = || {
        Channel::builder("scripted")
            .fixed(vec![server.authority()])
            .deadline(Duration::from_secs(60))
            .no_breaker()
            .retry(often)
    };
    let capped = RegistryServiceClient::new(channel().connect().unwrap());
    assert_eq!(call(&capped).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(service.calls(), 5);
    let allowed = channel().attempts_cap(20).connect().unwrap();
    call(&RegistryServiceClient::new(allowed)).await.unwrap();
    assert_eq!(service.calls(), 8);
}

#[tokio::test]
async fn a_callers_own_mistake_is_not_retried() {
    for code in [
        Code::InvalidArgument,
        Code::Aborted,
        Code::Internal,
        Code::DeadlineExceeded,
    ] {
        let service = Scripted::new(move |_| async move { Err(Status::new(code, "no")) });
        let server = Running::start(&service).await;
        assert_eq!(
            call(&client(vec![server.authority()]))
                .await
                .unwrap_err()
                .code(),
            code
        );
        assert_eq!(service.calls(), 1, "{code:?}");
    }
}

#[tokio::test]
async fn a_callee_can_forbid_the_retry() {
    let service = Scripted::new(|_| async {
        let mut status = unavailable();
        status
            .metadata_mut()
            .insert("grpc-retry-pushback-ms", "-1".parse().unwrap());
        Err(status)
    });
    let server = Running::start(&service).await;
    call(&client(vec![server.authority()])).await.unwrap_err();
    assert_eq!(service.calls(), 1);
}

fn hasty(authority: String) -> Client {
    let channel = Channel::builder("scripted")
        .fixed(vec![authority])
        .deadline(Duration::from_millis(200));
    RegistryServiceClient::new(channel.retry(Policy::never()).connect().unwrap())
}

#[tokio::test]
async fn a_silent_server_is_a_deadline_exceeded() {
    let server = Running::start(&Scripted::silent()).await;
    let late = call(&hasty(server.authority())).await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
    assert_eq!(status::reason(&late).as_deref(), Some("DEADLINE_EXCEEDED"));
}

#[tokio::test]
async fn a_timeout_that_the_caller_sets_holds_too() {
    let server = Running::start(&Scripted::silent()).await;
    let mut request = Request::new(ListServicesRequest::default());
    request.set_timeout(Duration::from_millis(100));
    let late = client(vec![server.authority()])
        .list_services(request)
        .await
        .unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn deadline_and_trace_cross_hops_untold() {
    let last = Scripted::ok();
    let last_server = Running::start(&last).await;
    let onward = client(vec![last_server.authority()]);
    let middle = Scripted::new(move |_| {
        let onward = onward.clone();
        async move { call(&onward).await }
    });
    let middle_server = Running::start(&middle).await;
    let mut request = Request::new(ListServicesRequest::default());
    request.set_timeout(Duration::from_secs(60));
    client(vec![middle_server.authority()])
        .list_services(request)
        .await
        .unwrap();

    let header = |service: &Scripted, name: &str| {
        service.seen()[0]
            .get(name)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    };
    let trace = |service: &Scripted| {
        header(service, "traceparent")
            .split('-')
            .nth(1)
            .unwrap()
            .to_owned()
    };
    assert_eq!(trace(&middle), trace(&last));
    let timeout = header(&last, "grpc-timeout");
    let micros: u64 = timeout.strip_suffix('u').unwrap().parse().unwrap();
    assert!(
        micros < 60_000_000,
        "less than the first caller's minute: {timeout}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_as_the_timeout_is_what_is_left_after_waiting() {
    let service = Scripted::ok();
    let server = Running::start(&service).await;
    let channel = Channel::builder("scripted")
        .fixed(vec![server.authority()])
        .limit(Rate::new(2, 1).unwrap())
        .deadline(Duration::from_secs(5))
        .connect()
        .unwrap();
    let client = RegistryServiceClient::new(channel);
    call(&client).await.unwrap();
    // This one waits for its token, half a second less what the first took.
    call(&client).await.unwrap();
    let timeout = service.seen()[1].get("grpc-timeout").unwrap().clone();
    let micros = timeout.to_str().unwrap().strip_suffix('u').unwrap();
    assert!(micros.parse::<u64>().unwrap() < 4_950_000, "{timeout:?}");
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_token_would_come_in_the_last_tenth_of_its_time_is_refused_at_once() {
    let service = Scripted::ok();
    let server = Running::start(&service).await;
    let channel = Channel::builder("scripted")
        .fixed(vec![server.authority()])
        .limit(Rate::new(2, 1).unwrap())
        .deadline(Duration::from_millis(1_050))
        .connect()
        .unwrap();
    let client = RegistryServiceClient::new(channel);
    call(&client).await.unwrap();
    // Its token comes after half a second, that of the next after a whole one.
    let next = tokio::spawn({
        let client = client.clone();
        async move { call(&client).await }
    });
    tokio::task::yield_now().await;
    let refused = call(&client).await.unwrap_err();
    let reason = status::reason(&refused);
    assert_eq!(reason.as_deref(), Some("RATE_LIMITED"));
    next.await.unwrap().unwrap();
    assert_eq!(service.calls(), 2);
}

#[tokio::test]
async fn a_listener_that_turns_connections_away_is_not_besieged() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = accepted.clone();
    tokio::spawn(async move {
        loop {
            drop(listener.accept().await.unwrap());
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    let client = client(vec![authority]);
    let refusal = call(&client).await.unwrap_err();
    assert_eq!(refusal.code(), Code::Unavailable);
    assert_eq!(accepted.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn with_no_registry_to_ask_a_call_fails_fast() {
    let channel = Channel::builder("scripted")
        .registry(Vec::new())
        .connect()
        .unwrap();
    let refusal = call(&RegistryServiceClient::new(channel))
        .await
        .unwrap_err();
    assert_eq!(status::reason(&refusal).as_deref(), Some("NO_INSTANCES"));
}

#[tokio::test]
async fn while_nobody_is_there_the_retry_budget_is_not_used_up() {
    let authority = nowhere();
    let channel = Channel::builder("scripted").fixed(vec![authority.clone()]);
    let policy = RetryPolicy {
        backoff_initial: Duration::from_millis(1),
        ..RetryPolicy::default()
    };
    let throttling = Throttling {
        tokens_max: Thousandths::whole(4),
        ..Throttling::default()
    };
    let channel = channel.retry(Policy::Retry(policy));
    let client = RegistryServiceClient::new(channel.throttling(throttling).connect().unwrap());
    for _ in 0..10 {
        let refusal = call(&client).await.unwrap_err();
        assert_eq!(status::reason(&refusal).as_deref(), Some("NO_INSTANCES"));
    }
    let service = Scripted::new(|call| async move {
        if call == 1 {
            Err(unavailable())
        } else {
            Ok(())
        }
    });
    let _server = Running::start_at(&authority, &service).await;
    // Until it is connected, nobody is there.
    let connected = async {
        while call(&client).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    within("a call succeeds", connected).await;
    call(&client).await.expect("refused once, and retried");
    assert_eq!(service.calls(), 3);
}

fn with_policy(authorities: Vec<String>, policy: Policy) -> Client {
    let channel = Channel::builder("scripted").fixed(authorities);
    RegistryServiceClient::new(channel.retry(policy).connect().unwrap())
}

#[tokio::test]
async fn a_hedged_call_is_answered_by_whoever_answers() {
    let (silent, quick) = (Scripted::silent(), Scripted::ok());
    let servers = [Running::start(&silent).await, Running::start(&quick).await];
    let policy = Policy::Hedge(HedgingPolicy {
        delay: Duration::ZERO,
        ..HedgingPolicy::default()
    });
    let client = with_policy(servers.iter().map(Running::authority).collect(), policy);
    while silent.calls() == 0 {
        call(&client).await.unwrap();
    }
    let hedged = |service: &Scripted| {
        let seen = service.seen();
        let second = |headers: &tonic::metadata::MetadataMap| {
            headers
                .get("grpc-previous-rpc-attempts")
                .is_some_and(|v| v == "1")
        };
        seen.iter().filter(|headers| second(headers)).count()
    };
    assert!(hedged(&quick) + hedged(&silent) > 0);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_runs_out_of_its_own_time_is_tried_elsewhere() {
    let service = Scripted::new(|call| async move {
        if call == 0 {
            std::future::pending::<()>().await;
        }
        Ok(())
    });
    let server = Running::start(&service).await;
    let policy = Policy::Retry(RetryPolicy {
        attempt_timeout: Some(Duration::from_millis(50)),
        backoff_initial: Duration::from_millis(1),
        ..RetryPolicy::default()
    });
    call(&with_policy(vec![server.authority()], policy))
        .await
        .unwrap();
    assert_eq!(service.calls(), 2);
}

#[tokio::test]
async fn retries_are_not_multiplied_from_hop_to_hop() {
    let last = Scripted::new(|_| async { Err(unavailable()) });
    let last_server = Running::start(&last).await;
    let onward = client(vec![last_server.authority()]);
    let middle = Scripted::new(move |_| {
        let onward = onward.clone();
        async move { call(&onward).await }
    });
    let middle_server = Running::start(&middle).await;
    let answer = call(&client(vec![middle_server.authority()])).await;
    assert_eq!(answer.unwrap_err().message(), "try again");
    assert_eq!((middle.calls(), last.calls()), (1, 3));
}
