//! Draining: nothing in flight is lost, and it ends.

use std::{sync::Arc, time::Duration};

use mizan::{Channel, Connection, Server, args::ServerArgs, retry::Policy, server::Limits};
use mizan_contracts::registry::v1::{
    ListServicesRequest, registry_service_client::RegistryServiceClient,
};
use tokio::sync::Notify;
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::support::{Running, Scripted, call};

/// Longer than any of this takes.
const PATIENCE: Duration = Duration::from_secs(20);

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
    while service.calls() == 0 {
        tokio::task::yield_now().await;
    }
    server.begin_stop();
    while Connection::open(&server.authority(), PATIENCE)
        .await
        .is_ok()
    {
        tokio::task::yield_now().await;
    }
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
    assert_eq!(
        watch.message().await.unwrap().unwrap().status(),
        ServingStatus::Serving
    );
    server.begin_stop();
    assert_eq!(
        watch.message().await.unwrap().unwrap().status(),
        ServingStatus::NotServing
    );
    assert_eq!(watch.message().await.unwrap_err().code(), Code::Unavailable);
    server.stopped().await;
}

#[tokio::test]
async fn a_server_that_is_dropped_lets_go_of_its_port_and_its_connections() {
    let server = Running::start(&Scripted::ok()).await;
    let authority = server.authority();
    let connection = Connection::open(&authority, PATIENCE).await.unwrap();
    server.cut().await;
    let let_go = async {
        connection.closed().await;
        while Connection::open(&authority, PATIENCE).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    let let_go = tokio::time::timeout(PATIENCE, let_go);
    let_go.await.expect("the port and the connection are free");
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
    while silent.calls() < 2 {
        tokio::spawn({
            let both = both.clone();
            async move { call(&both).await }
        });
        tokio::task::yield_now().await;
    }
    draining.begin_stop();
    while Connection::open(&draining.authority(), PATIENCE)
        .await
        .is_ok()
    {
        tokio::task::yield_now().await;
    }
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
    server.stopped().await;
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
    while service.calls() == 0 {
        tokio::task::yield_now().await;
    }
    let asked = tokio::time::Instant::now();
    server.stopped().await;
    assert_eq!(asked.elapsed().as_secs(), 30);
    let cut = call.await.unwrap().unwrap_err();
    assert_eq!(cut.code(), Code::Unavailable);
}
