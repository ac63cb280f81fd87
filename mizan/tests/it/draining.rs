//! Draining: nothing in flight is lost, and it ends.

use std::{sync::Arc, time::Duration};

use mizan::{Channel, Connection, Server, args::ServerArgs, retry::Policy, server::Limits};
use mizan_contracts::registry::v1::{
    DeregisterResponse, ListServicesRequest, registry_service_client::RegistryServiceClient,
};
use prost::Message as _;
use tokio::{
    sync::Notify,
    time::{Instant, advance},
};
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    ends::{hold_the_clock, until, within},
    serving::get,
    support::{Running, Scripted, call},
    wire::{Received, Wire},
};

/// Longer than any of this takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until nobody takes connections there.
async fn turned_away(authority: &str) {
    let asking = async {
        while Connection::open(authority, PATIENCE).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    within("new connections are turned away", asking).await;
}

#[tokio::test]
async fn a_call_in_flight_is_finished_and_new_connections_are_refused() {
    let release = Arc::new(Notify::new());
    let released = release.clone();
    let service = Scripted::new(move |_| {
        let released = released.clone();
        async move {
            released.notified().await;
            Ok(())
        }
    });
    let server = Running::start(&service).await;
    let connection = Connection::open(&server.authority(), PATIENCE)
        .await
        .unwrap();
    let mut raw = RegistryServiceClient::new(connection.clone());
    let call = tokio::spawn(async move { raw.list_services(ListServicesRequest::default()).await });
    until(|| service.calls() > 0).await;
    server.begin_stop();
    turned_away(&server.authority()).await;
    assert!(!call.is_finished());
    release.notify_one();
    call.await.unwrap().expect("finished, not cut");
    server.stopped().await;
}

#[tokio::test]
async fn health_watches_see_the_drain_and_do_not_hold_it_up() {
    let server = Running::start(&Scripted::ok()).await;
    let connection = Connection::open(&server.authority(), PATIENCE)
        .await
        .unwrap();
    let watch = HealthClient::new(connection)
        .watch(HealthCheckRequest::default())
        .await;
    let mut watch = watch.unwrap().into_inner();
    let mut next = async || within("health is told", watch.message()).await;
    let told = next().await.unwrap().unwrap();
    assert_eq!(told.status(), ServingStatus::Serving);
    server.begin_stop();
    let told = next().await.unwrap().unwrap();
    assert_eq!(told.status(), ServingStatus::NotServing);
    assert_eq!(next().await.unwrap_err().code(), Code::Unavailable);
    server.stopped().await;
}

#[tokio::test]
async fn a_server_that_is_dropped_lets_go_of_its_port_and_its_connections() {
    let server = Running::start(&Scripted::ok()).await;
    let authority = server.authority();
    let connection = Connection::open(&authority, PATIENCE).await.unwrap();
    server.cut().await;
    within("the connection is free", connection.closed()).await;
    turned_away(&authority).await;
}

#[tokio::test]
async fn an_instance_that_drains_with_a_long_call_on_it_fails_no_other() {
    let silent = Scripted::silent();
    let draining = Running::start(&silent).await;
    let service = Scripted::ok();
    let other = Running::start(&service).await;
    let channel = Channel::builder("scripted").fixed(vec![draining.authority()]);
    let held = RegistryServiceClient::new(channel.connect().unwrap());
    let both = Channel::builder("scripted")
        .fixed(vec![draining.authority(), other.authority()])
        .retry(Policy::never());
    let both = RegistryServiceClient::new(both.connect().unwrap());
    let long: Vec<_> = [held, both.clone(), both.clone()]
        .into_iter()
        .map(|client| tokio::spawn(async move { call(&client).await }))
        .collect();
    let held_there = async {
        while silent.calls() < 2 {
            tokio::spawn({
                let both = both.clone();
                async move { call(&both).await }
            });
            tokio::task::yield_now().await;
        }
    };
    within("a call of both is held there", held_there).await;
    draining.begin_stop();
    turned_away(&draining.authority()).await;
    for _ in 0..50 {
        call(&both).await.unwrap();
    }
    for call in long {
        call.abort();
    }
}

#[tokio::test]
async fn an_open_reflection_stream_does_not_hold_up_the_drain() {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    let server = Running::start(&Scripted::ok()).await;
    let connection = Connection::open(&server.authority(), PATIENCE)
        .await
        .unwrap();
    let stream = ServerReflectionClient::new(connection)
        .server_reflection_info(tokio_stream::pending())
        .await;
    let mut stream = stream.unwrap().into_inner();
    server.begin_stop();
    assert_eq!(
        stream.message().await.unwrap_err().code(),
        Code::Unavailable
    );
    let asked = std::time::Instant::now();
    server.stopped().await;
    // Its limit is 30 s.
    assert!(asked.elapsed() < PATIENCE, "{:?}", asked.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_drain_takes_no_longer_than_its_limit_whatever_the_registry_does() {
    // Connections to it are taken by the system, and nobody ever answers.
    let silent_registry = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let registry = silent_registry.local_addr().unwrap().to_string();
    let limits = Limits {
        handler_timeout: Duration::from_secs(3600),
        ..Limits::default()
    };
    let server = Server::builder("scripted")
        .args(&ServerArgs::with_registry(vec![registry]))
        .limits(limits);
    let service = Scripted::silent();
    let server = Running::start_server(server, &service).await;
    let raw = Connection::open(&server.authority(), PATIENCE)
        .await
        .unwrap();
    let mut raw = RegistryServiceClient::new(raw);
    let call = tokio::spawn(async move { raw.list_services(ListServicesRequest::default()).await });
    until(|| service.calls() > 0).await;
    let asked = Instant::now();
    server.stopped().await;
    assert_eq!(asked.elapsed().as_secs(), 30);
    let cut = call.await.unwrap().unwrap_err();
    assert_eq!(cut.code(), Code::Unavailable);
}

/// How long an instance serves at least after the registry took it out.
const LINGER: Duration = Duration::from_millis(200);

/// A registry that knows each instance, and answers a deregistration when it is let go.
async fn slow_registry(bound: Arc<Notify>, asked: Arc<Notify>, let_go: Arc<Notify>) -> Wire {
    let answering = move |mut call: Received| {
        let (bound, asked, let_go) = (bound.clone(), asked.clone(), let_go.clone());
        async move {
            match call.path.rsplit('/').next().unwrap() {
                "Register" => call.ok(),
                "Heartbeat" => {
                    let mut answer = call.begin();
                    bound.notify_one();
                    answer.given_up().await;
                }
                "Deregister" => {
                    asked.notify_one();
                    let_go.notified().await;
                    let removed = DeregisterResponse {
                        removed: true,
                        ..DeregisterResponse::default()
                    };
                    let mut answer = call.begin();
                    answer.message(&removed.encode_to_vec());
                    answer.end(0);
                }
                other => panic!("{other}"),
            }
        }
    };
    Wire::start(answering).await
}

#[tokio::test(start_paused = true)]
async fn one_that_leaves_is_unhealthy_at_once_and_serves_until_watchers_know() {
    let clock = hold_the_clock();
    let [bound, asked, let_go] = [(); 3].map(|()| Arc::new(Notify::new()));
    let registry = slow_registry(bound.clone(), asked.clone(), let_go.clone()).await;
    let server = Server::builder("scripted")
        .args(&ServerArgs::with_registry(vec![registry.authority.clone()]));
    let service = Scripted::ok();
    let server = Running::start_server(server, &service).await;
    within("it is registered", bound.notified()).await;
    let health = get(&server, "/health").await;
    assert!(health.contains(r#""status":"healthy""#), "{health}");
    let authority = server.authority();
    let held = Connection::open(&authority, PATIENCE).await.unwrap();
    let watch = HealthClient::new(held)
        .watch(HealthCheckRequest::default())
        .await;
    let mut watch = watch.unwrap().into_inner();
    let serving = watch.message().await.unwrap().unwrap();
    assert_eq!(serving.status(), ServingStatus::Serving);

    server.begin_stop();
    within("it deregisters", asked.notified()).await;
    // While the registry takes its time, who looks in plain HTTP is told already.
    let health = get(&server, "/health").await;
    assert!(health.starts_with("HTTP/1.1 503 "), "{health}");
    assert!(health.contains(r#""status":"unhealthy""#), "{health}");

    let_go.notify_one();
    let told = within("its watchers are told", watch.message()).await;
    let told = told.unwrap().unwrap();
    assert_eq!(told.status(), ServingStatus::NotServing);
    let left = Instant::now();
    advance(LINGER - Duration::from_millis(1)).await;
    // Who was given its address just before still comes.
    let late = Connection::open(&authority, PATIENCE).await;
    let mut late = RegistryServiceClient::new(late.unwrap());
    late.list_services(ListServicesRequest::default())
        .await
        .unwrap();
    drop(clock);
    server.stopped().await;
    assert!(left.elapsed() >= LINGER, "{:?}", left.elapsed());
}
