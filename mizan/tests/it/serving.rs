//! What every server serves: health, reflection, `/health`; and what it survives.

use std::time::Duration;

use mizan::{Connection, Server, server::Limits, status, telemetry::metrics::Registry};
use mizan_contracts::registry::v1::{
    ListServicesRequest, ListServicesResponse, RegisterRequest,
    registry_service_client::RegistryServiceClient,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_stream::StreamExt as _;
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    ends::{until, within},
    support::{Running, Scripted, call, client},
};

/// Longer than any of this takes.
const PATIENCE: Duration = Duration::from_secs(20);

async fn connection(server: &Running) -> Connection {
    Connection::open(&server.authority(), PATIENCE)
        .await
        .unwrap()
}

async fn get_health(server: &Running) -> String {
    get(server, "/health").await
}

pub(crate) async fn get(server: &Running, path: &str) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn health_is_served_for_the_server_and_for_each_service() {
    let server = Running::start(&Scripted::ok()).await;
    let mut health = HealthClient::new(connection(&server).await);
    for service in ["", "mizan.registry.v1.RegistryService"] {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let answer = health.check(request).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
    }
    let unknown = HealthCheckRequest {
        service: "unknown".to_owned(),
    };
    assert_eq!(
        health.check(unknown).await.unwrap_err().code(),
        Code::NotFound
    );
}

#[tokio::test]
async fn what_nobody_serves_is_said_to_a_browser_and_to_a_grpc_client_each_in_its_own_way() {
    let server = Running::start(&Scripted::ok()).await;
    for path in ["/", "/nothing", "/no.Such/Method"] {
        let page = get(&server, path).await;
        assert!(page.starts_with("HTTP/1.1 404 Not Found\r\n"), "{page}");
        assert!(page.contains("There is nothing here."), "{page}");
    }
    let mut grpc = tonic::client::Grpc::new(connection(&server).await);
    let codec = tonic_prost::ProstCodec::<HealthCheckRequest, HealthCheckRequest>::default();
    let path = http::uri::PathAndQuery::from_static("/no.Such/Method");
    let call = grpc.unary(
        tonic::Request::new(HealthCheckRequest::default()),
        path,
        codec,
    );
    assert_eq!(call.await.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn a_watch_says_what_it_knows_and_then_stays() {
    let server = Running::start(&Scripted::ok()).await;
    let health = HealthClient::new(connection(&server).await);
    let mut watches = Vec::new();
    for (service, status) in [
        ("", ServingStatus::Serving),
        ("unknown", ServingStatus::ServiceUnknown),
    ] {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let mut watch = health.clone().watch(request).await.unwrap().into_inner();
        let first = watch.message().await.unwrap().unwrap();
        assert_eq!(first.status(), status, "{service:?}");
        watches.push(watch);
    }
    server.begin_stop();
    let mut unknown = watches.pop().unwrap();
    let end = unknown.message().await.unwrap_err();
    assert_eq!(end.code(), Code::Unavailable, "only the drain ends it");
    let second = watches[0].message().await.unwrap().unwrap();
    assert_eq!(second.status(), ServingStatus::NotServing);
}

async fn get_metrics(server: &Running, accept: &str) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = format!(
        "GET /metrics HTTP/1.1\r\nhost: x\r\naccept: {accept}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn calls_are_counted_by_method_and_status_and_strangers_words_are_not() {
    let registry = Registry::new();
    let server = Server::builder("scripted").unregistered().metrics(registry);
    let service = Scripted::new(|call| async move {
        if call == 0 {
            Ok(())
        } else {
            Err(tonic::Status::not_found("gone"))
        }
    });
    let server = Running::start_server(server, &service).await;
    let client = client(vec![server.authority()]);
    call(&client).await.unwrap();
    call(&client).await.unwrap_err();
    let mut stranger = tonic::client::Grpc::new(connection(&server).await);
    stranger.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/not.There/AtAll");
    let codec = tonic_prost::ProstCodec::<ListServicesRequest, ListServicesRequest>::default();
    let unknown = tonic::Request::new(ListServicesRequest::default());
    let refused = stranger.unary(unknown, path, codec).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);

    let name = r#"grpc_method="mizan.registry.v1.RegistryService/ListServices""#;
    let expected = [
        "content-type: text/plain; version=0.0.4; charset=utf-8".to_owned(),
        "# TYPE grpc_server_call_started_total counter".to_owned(),
        format!("grpc_server_call_started_total{{{name}}} 2"),
        format!(r#"grpc_server_call_duration_seconds_count{{{name},grpc_status="OK"}} 1"#),
        format!(r#"grpc_server_call_duration_seconds_count{{{name},grpc_status="NOT_FOUND"}} 1"#),
        r#"grpc_server_call_started_total{grpc_method="other"} 1"#.to_owned(),
    ];
    // A call's record is written when the connection lets go of its answer, just after the caller
    // has it.
    let page = loop {
        let page = get_metrics(&server, "*/*").await;
        if expected.iter().all(|line| page.contains(line.as_str())) {
            break page;
        }
        tokio::task::yield_now().await;
    };
    assert!(!page.contains("not.There"), "{page}");
    let open = get_metrics(&server, "application/openmetrics-text;version=1.0.0").await;
    assert!(
        open.contains("content-type: application/openmetrics-text") && open.contains("# EOF"),
        "{open}"
    );
}

#[tokio::test]
async fn reflection_lists_the_services_in_both_versions() {
    use tonic_reflection::pb::{v1, v1alpha};
    let server = Running::start(&Scripted::ok()).await;
    let expected = [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "mizan.registry.v1.RegistryService",
    ];

    let list = v1::server_reflection_request::MessageRequest::ListServices(String::new());
    let request = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(list),
    };
    let mut reflection =
        v1::server_reflection_client::ServerReflectionClient::new(connection(&server).await);
    let stream = reflection
        .server_reflection_info(tokio_stream::once(request))
        .await
        .unwrap();
    let answer = stream
        .into_inner()
        .next()
        .await
        .unwrap()
        .unwrap()
        .message_response
        .unwrap();
    let v1::server_reflection_response::MessageResponse::ListServicesResponse(listed) = answer
    else {
        panic!("{answer:?}");
    };
    let mut names: Vec<_> = listed.service.into_iter().map(|s| s.name).collect();
    names.sort();
    assert_eq!(names, expected);

    let list = v1alpha::server_reflection_request::MessageRequest::ListServices(String::new());
    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(list),
    };
    let mut reflection =
        v1alpha::server_reflection_client::ServerReflectionClient::new(connection(&server).await);
    let stream = reflection
        .server_reflection_info(tokio_stream::once(request))
        .await
        .unwrap();
    let answer = stream
        .into_inner()
        .next()
        .await
        .unwrap()
        .unwrap()
        .message_response
        .unwrap();
    let v1alpha::server_reflection_response::MessageResponse::ListServicesResponse(listed) = answer
    else {
        panic!("{answer:?}");
    };
    assert!(
        listed
            .service
            .iter()
            .any(|s| s.name == "mizan.registry.v1.RegistryService")
    );
}

#[tokio::test]
async fn plain_http_on_the_same_port_tells_the_health() {
    let server = Running::start(&Scripted::ok()).await;
    let answer = get_health(&server).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(
        answer.contains(r#""status":"healthy""#) && answer.contains(r#""uptime":""#),
        "{answer}"
    );
}

#[tokio::test]
async fn an_instance_that_the_registry_does_not_know_is_degraded() {
    let args = mizan::args::ServerArgs::with_registry(vec![crate::support::nowhere()]);
    let server =
        Running::start_server(Server::builder("scripted").args(&args), &Scripted::ok()).await;
    let answer = get_health(&server).await;
    assert!(answer.contains(r#""status":"degraded""#), "{answer}");
    assert!(answer.contains(r#""reason":""#), "{answer}");
}

#[tokio::test]
async fn a_panic_is_an_internal_error_and_the_server_lives() {
    let server = Running::start(&Scripted::ok()).await;
    let mut raw = RegistryServiceClient::new(connection(&server).await);
    let status = raw.register(RegisterRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert_eq!(status::reason(&status).as_deref(), Some("PANICKED"));
    call(&client(vec![server.authority()])).await.unwrap();
}

#[tokio::test]
async fn a_full_server_sheds_and_still_answers_health() {
    let service = Scripted::silent();
    let limits = Limits {
        calls_max: 1,
        ..Limits::default()
    };
    let server = Running::start_server(
        Server::builder("scripted").unregistered().limits(limits),
        &service,
    )
    .await;
    let raw = RegistryServiceClient::new(connection(&server).await);
    let mut held = raw.clone();
    let held =
        tokio::spawn(async move { held.list_services(ListServicesRequest::default()).await });
    until(|| service.calls() > 0).await;
    let shed = raw
        .clone()
        .list_services(ListServicesRequest::default())
        .await
        .unwrap_err();
    assert_eq!(shed.code(), Code::ResourceExhausted);
    assert_eq!(status::reason(&shed).as_deref(), Some("OVERLOADED"));
    assert!(status::retry_after(&shed).is_some());
    let mut health = HealthClient::new(connection(&server).await);
    health.check(HealthCheckRequest::default()).await.unwrap();
    held.abort();
}

#[tokio::test]
async fn a_handler_that_takes_too_long_is_a_deadline_exceeded() {
    let limits = Limits {
        handler_timeout: Duration::from_millis(50),
        ..Limits::default()
    };
    let server = Server::builder("scripted").unregistered().limits(limits);
    let server = Running::start_server(server, &Scripted::silent()).await;
    let mut raw = RegistryServiceClient::new(connection(&server).await);
    let late = raw
        .list_services(ListServicesRequest::default())
        .await
        .unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let service = Scripted::silent();
    let limits = Limits {
        idle_timeout: Duration::from_millis(50),
        ..Limits::default()
    };
    let server = Running::start_server(
        Server::builder("scripted").unregistered().limits(limits),
        &service,
    )
    .await;
    let busy = connection(&server).await;
    let mut raw = RegistryServiceClient::new(busy.clone());
    let call = tokio::spawn(async move { raw.list_services(ListServicesRequest::default()).await });
    until(|| service.calls() > 0).await;
    let idle = connection(&server).await;
    idle.closed().await;
    assert!(!busy.is_closed());
    call.abort();
}

/// Reads until the server closes.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A connection that is reset is closed as well.
    let _ = stream.read_to_end(&mut bytes).await;
    bytes
}

#[tokio::test]
async fn headers_that_do_not_come_in_time_end_the_connection() {
    let limits = Limits {
        header_timeout: Duration::from_millis(50),
        ..Limits::default()
    };
    let server = Server::builder("scripted").unregistered().limits(limits);
    let server = Running::start_server(server, &Scripted::ok()).await;
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n")
        .await
        .unwrap();
    let answer = rest(&mut slow).await;
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
}

#[tokio::test]
async fn a_connection_on_which_nothing_is_said_is_closed() {
    let limits = Limits {
        idle_timeout: Duration::from_millis(50),
        ..Limits::default()
    };
    let server = Server::builder("scripted").unregistered().limits(limits);
    let server = Running::start_server(server, &Scripted::ok()).await;
    for beginning in ["", "PRI * HTTP/2.0\r\n", "GET /health"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        assert!(!rest(&mut stream).await.starts_with(b"HTTP/1.1 200"));
    }
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_while_none_is_idle() {
    let limits = Limits {
        connections_max: 1,
        ..Limits::default()
    };
    let service = Scripted::silent();
    let server = Server::builder("scripted").unregistered().limits(limits);
    let server = Running::start_server(server, &service).await;
    let first = connection(&server).await;
    let mut raw = RegistryServiceClient::new(first.clone());
    let call = tokio::spawn(async move { raw.list_services(ListServicesRequest::default()).await });
    while service.calls() == 0 {
        tokio::task::yield_now().await;
    }
    let authority = server.authority();
    let refused = Connection::open(&authority, PATIENCE).await.unwrap_err();
    assert!(!refused.reason().contains("timed out"), "{refused}");
    assert!(!first.is_closed());
    call.abort();
    drop(first);
    let admitted = async {
        while Connection::open(&authority, PATIENCE).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    within("another connection is admitted", admitted).await;
}

#[tokio::test]
async fn a_full_server_sends_the_oldest_idle_connections_away_for_new_ones() {
    let limits = Limits {
        connections_max: 4,
        ..Limits::default()
    };
    let server = Server::builder("scripted").unregistered().limits(limits);
    let server = Running::start_server(server, &Scripted::ok()).await;
    let mut open = Vec::new();
    // Two speak HTTP/2, and the others say nothing at all.
    for _ in 0..2 {
        open.push(connection(&server).await);
    }
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    for connection in &open {
        connection.closed().await;
    }
    // Whoever comes now is served, though all that came before are still held by their clients.
    loop {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let request = b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        let _ = stream.write_all(request).await;
        if rest(&mut stream).await.starts_with(b"HTTP/1.1 200") {
            break;
        }
    }
}

#[tokio::test]
async fn a_message_above_four_mib_is_refused() {
    let server = Running::start(&Scripted::ok()).await;
    let raw = RegistryServiceClient::new(connection(&server).await);
    let send = async |bytes| {
        let request = ListServicesRequest {
            page_token: "x".repeat(bytes),
            ..ListServicesRequest::default()
        };
        raw.clone().list_services(request).await
    };
    send(3 << 20).await.unwrap();
    let refused = send(4 << 20).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
}

#[tokio::test]
async fn a_unary_call_without_a_message_is_unimplemented() {
    let service = Scripted::ok();
    let server = Running::start(&service).await;
    let mut grpc = tonic::client::Grpc::new(connection(&server).await);
    let codec = tonic_prost::ProstCodec::<ListServicesRequest, ListServicesResponse>::default();
    let method = "/mizan.registry.v1.RegistryService/ListServices";
    let path = http::uri::PathAndQuery::from_static(method);
    let nothing = tonic::Request::new(tokio_stream::empty());
    let refused = grpc.streaming(nothing, path, codec).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented, "{refused}");
    assert_eq!(service.calls(), 0);
}

/// What `grpc.health.v1.Health/List` answers (gRFC A90).
#[derive(Clone, PartialEq, prost::Message)]
struct Listed {
    #[prost(map = "string, message", tag = "1")]
    statuses: std::collections::HashMap<String, tonic_health::pb::HealthCheckResponse>,
}

#[tokio::test]
async fn health_is_listed_for_the_server_and_for_each_service() {
    let server = Running::start(&Scripted::ok()).await;
    let mut grpc = tonic::client::Grpc::new(connection(&server).await);
    let codec = tonic_prost::ProstCodec::<HealthCheckRequest, Listed>::default();
    let path = http::uri::PathAndQuery::from_static("/grpc.health.v1.Health/List");
    let request = tonic::Request::new(HealthCheckRequest::default());
    let listed = grpc.unary(request, path, codec).await.unwrap().into_inner();
    let mut names: Vec<_> = listed.statuses.iter().collect();
    names.sort_by_key(|(name, _)| (*name).clone());
    let names: Vec<_> = names
        .iter()
        .map(|(n, s)| (n.as_str(), s.status()))
        .collect();
    let serving = ServingStatus::Serving;
    assert_eq!(
        names,
        [
            ("", serving),
            ("mizan.registry.v1.RegistryService", serving)
        ]
    );
}
