//! What is measurably wrong with tonic's own channel and server (0.14.9), one test each: here it is
//! right. The letters are those of the list in `docs/CHANNEL.md`.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use mizan::{Channel, Server, retry::Policy};
use mizan_contracts::registry::v1::registry_service_client::RegistryServiceClient;
use tokio::{net::TcpListener, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    ends::{until, within},
    support::{Client, Running, Scripted, call, nowhere},
    wire::Wire,
};

const SECOND: Duration = Duration::from_secs(1);
/// Longer than any of this takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn channel(authorities: Vec<String>) -> Channel {
    Channel::builder("scripted")
        .fixed(authorities)
        .connect()
        .unwrap()
}

#[tokio::test]
async fn a_three_live_and_one_dead_instance_fail_no_call_of_2000() {
    let service = Scripted::ok();
    let mut authorities = vec![nowhere()];
    let mut servers = Vec::new();
    for _ in 0..3 {
        let server = Running::start(&service).await;
        authorities.push(server.authority());
        servers.push(server);
    }
    // No retry hides anything.
    let never = Channel::builder("scripted")
        .fixed(authorities)
        .retry(Policy::never());
    let client = RegistryServiceClient::new(never.connect().unwrap());
    for _ in 0..2_000 {
        call(&client).await.unwrap();
    }
    assert_eq!(service.calls(), 2_000);
}

/// A server that holds the calls of `held` open and answers the others.
async fn holding() -> Wire {
    Wire::start(|mut call| async move {
        if call.headers.contains_key("hold") {
            let mut answer = call.begin();
            answer.message(b"");
            answer.given_up().await;
        } else {
            call.ok();
        }
    })
    .await
}

#[tokio::test]
async fn b_the_first_call_after_a_goaway_with_a_stream_open_fails_0_times_in_20() {
    for _ in 0..20 {
        let server = holding().await;
        let other = holding().await;
        let never = Channel::builder("scripted")
            .fixed(vec![server.authority.clone(), other.authority.clone()])
            .retry(Policy::never());
        let client = RegistryServiceClient::new(never.connect().unwrap());
        let mut streams = Vec::new();
        // One on each.
        while server.calls() == 0 || other.calls() == 0 {
            let mut request = Request::new(tokio_stream::pending());
            request.metadata_mut().insert("hold", "1".parse().unwrap());
            streams.push(client.clone().heartbeat(request).await.unwrap());
        }
        server.go_away();
        for _ in 0..4 {
            call(&client).await.unwrap();
        }
    }
}

#[tokio::test]
async fn c_a_server_that_ends_says_goaway_and_lets_calls_finish() {
    let release = CancellationToken::new();
    let service = Scripted::new({
        let release = release.clone();
        move |_| {
            let release = release.clone();
            async move {
                release.cancelled().await;
                Ok(())
            }
        }
    });
    let server = Running::start(&service).await;
    let client: Client = RegistryServiceClient::new(channel(vec![server.authority()]));
    let running = tokio::spawn(async move { call(&client).await });
    until(|| service.calls() > 0).await;
    // With GOAWAY, our connection says that it takes no more; with a cut it would be gone.
    let raw = mizan::Connection::open(&server.authority(), PATIENCE)
        .await
        .unwrap();
    server.begin_stop();
    raw.closed().await;
    release.cancel();
    running.await.unwrap().unwrap();
    server.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn d_a_timeout_is_deadline_exceeded_whoever_sets_it() {
    let silent = Scripted::silent();
    let server = Running::start(&silent).await;
    let own = Channel::builder("scripted")
        .fixed(vec![server.authority()])
        .deadline(SECOND / 5);
    let late = call(&RegistryServiceClient::new(own.connect().unwrap())).await;
    assert_eq!(late.unwrap_err().code(), Code::DeadlineExceeded);
    let mut request = Request::new(Default::default());
    request.set_timeout(SECOND / 5);
    let mut client = RegistryServiceClient::new(channel(vec![server.authority()]));
    let late = client.list_services(request).await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
}

#[tokio::test(start_paused = true)]
async fn e_with_no_instance_the_deadline_holds() {
    let waiting = Channel::builder("scripted")
        .fixed(Vec::new())
        .wait_for_ready(true);
    let mut client = RegistryServiceClient::new(waiting.connect().unwrap());
    let begun = Instant::now();
    let mut request = Request::new(Default::default());
    request.set_timeout(SECOND / 5);
    let late = client.list_services(request).await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
    assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn f_an_open_watch_does_not_hold_up_a_drain() {
    let server = Running::start(&Scripted::ok()).await;
    let connection = mizan::Connection::open(&server.authority(), PATIENCE)
        .await
        .unwrap();
    let watch = HealthClient::new(connection)
        .watch(HealthCheckRequest::default())
        .await;
    let mut watch = watch.unwrap().into_inner();
    let told = within("health is told", watch.message()).await;
    told.unwrap().unwrap();
    let begun = Instant::now();
    server.stopped().await;
    assert!(begun.elapsed() < 5 * SECOND, "{:?}", begun.elapsed());
}

/// Two descriptors for each connection, both ends being here: more than a shell commonly allows.
fn raise_the_limit_of_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.unwrap_or(8192).min(8192);
    if current.is_some_and(|current| current < wanted) {
        let current = Some(wanted);
        setrlimit(Resource::Nofile, Rlimit { current, maximum }).unwrap();
    }
}

#[tokio::test]
async fn g_1100_instances() {
    raise_the_limit_of_open_files();
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let stop = CancellationToken::new();
    let server = Server::builder("scripted").unregistered();
    let serving = tokio::spawn(server.serve(listener, stop.clone().cancelled_owned()));
    let instances = (0..1_100).map(|i| format!("127.0.{}.{}:{port}", i / 250, i % 250 + 1));
    // A slow machine takes its time to make so many connections.
    let channel = Channel::builder("scripted")
        .fixed(instances.collect())
        .deadline(120 * SECOND)
        .connect()
        .unwrap();
    let mut client = HealthClient::new(channel.clone());
    while channel.stats().ready() < 1_100 {
        client.check(HealthCheckRequest::default()).await.unwrap();
    }
    for _ in 0..2_200 {
        client.check(HealthCheckRequest::default()).await.unwrap();
    }
    serving.abort();
}

#[tokio::test]
async fn h_a_health_watch_on_an_unknown_service_is_answered_by_the_protocol() {
    let server = Running::start(&Scripted::ok()).await;
    let connection = mizan::Connection::open(&server.authority(), PATIENCE)
        .await
        .unwrap();
    let request = HealthCheckRequest {
        service: "nobody".to_owned(),
    };
    let watch = HealthClient::new(connection).watch(request).await.unwrap();
    let first = watch.into_inner().message().await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::ServiceUnknown);
}

#[tokio::test]
async fn i_equal_instances_get_equal_shares() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut servers = Vec::new();
    for instance in 0..3 {
        let order = order.clone();
        servers.push(
            Wire::start(move |call| {
                order.lock().unwrap().push(instance);
                async move { call.ok() }
            })
            .await,
        );
    }
    let channel = channel(servers.iter().map(|s| s.authority.clone()).collect());
    let client = RegistryServiceClient::new(channel.clone());
    while channel.stats().ready() < 3 {
        call(&client).await.unwrap();
    }
    order.lock().unwrap().clear();
    for calls in 1..=3_000 {
        call(&client).await.unwrap();
        let order = order.lock().unwrap();
        let share = |i| order.iter().filter(|served| **served == i).count();
        // Every prefix is as even as it can be.
        if calls % 97 == 0 {
            let shares = [share(0), share(1), share(2)];
            let spread = shares.iter().max().unwrap() - shares.iter().min().unwrap();
            assert!(spread <= 1, "{shares:?}");
        }
    }
}
