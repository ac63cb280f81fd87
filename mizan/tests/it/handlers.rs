//! What handlers are told of their callers and of the server, and what is put around them.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use mizan::{CallContext, Channel, Connection, Server, server::Http2};
use mizan_contracts::registry::v1::{
    ListServicesRequest, registry_service_client::RegistryServiceClient,
    registry_service_server::RegistryServiceServer,
};
use tokio::{net::TcpListener, sync::Notify};
use tonic::{
    Code, Request, Status,
    codec::CompressionEncoding::{Gzip, Zstd},
    service::InterceptorLayer,
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::{
    ends::within,
    serving::get,
    support::{Running, Scripted, call, client},
};

/// Longer than any of this takes.
const PATIENCE: Duration = Duration::from_secs(120);

async fn raw(server: &Running) -> RegistryServiceClient<Connection> {
    let connection = Connection::open(&server.authority(), PATIENCE).await;
    RegistryServiceClient::new(connection.unwrap())
}

fn server() -> Server {
    Server::builder("scripted").unregistered()
}

#[tokio::test]
async fn a_handler_knows_both_addresses_and_the_name_it_was_called_by() {
    let seen = Arc::new(Mutex::new(None));
    let noted = seen.clone();
    let look = InterceptorLayer::new(move |request: Request<()>| {
        let authority = CallContext::current().and_then(|c| c.authority().map(str::to_owned));
        let addresses = (request.local_addr(), request.remote_addr());
        *noted.lock().unwrap() = Some((addresses, authority));
        Ok(request)
    });
    let server = Running::start_server(server().layer(look), &Scripted::ok()).await;
    call(&client(vec![server.authority()])).await.unwrap();
    let ((local, remote), authority) = seen.lock().unwrap().take().unwrap();
    assert_eq!(local, Some(server.address));
    let remote = remote.unwrap();
    assert!(remote.ip().is_loopback() && remote.port() != server.address.port());
    assert_eq!(authority, Some(server.authority()));
}

#[tokio::test]
async fn layers_are_around_the_services_the_first_outermost_and_not_around_health() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let layer = |name: &'static str| {
        let order = order.clone();
        InterceptorLayer::new(move |request: Request<()>| {
            order.lock().unwrap().push(name);
            Ok(request)
        })
    };
    let refusing = InterceptorLayer::new(|request: Request<()>| {
        match request.metadata().contains_key("authorization") {
            true => Ok(request),
            false => Err(Status::unauthenticated("who are you?")),
        }
    });
    let service = Scripted::ok();
    let server = server().layer(layer("a")).layer(layer("b")).layer(refusing);
    let server = Running::start_server(server, &service).await;
    let mut raw = raw(&server).await;
    let refused = raw.list_services(ListServicesRequest::default()).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(service.calls(), 0);
    let mut known = Request::new(ListServicesRequest::default());
    known
        .metadata_mut()
        .insert("authorization", "x".parse().unwrap());
    raw.list_services(known).await.unwrap();
    assert_eq!(*order.lock().unwrap(), ["a", "b", "a", "b"]);
    let connection = Connection::open(&server.authority(), PATIENCE)
        .await
        .unwrap();
    let mut health = HealthClient::new(connection);
    health.check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(order.lock().unwrap().len(), 4);
}

#[tokio::test]
async fn a_layer_that_fails_or_panics_ends_one_call() {
    let calls = Arc::new(AtomicUsize::new(0));
    let layer = tower::layer::layer_fn(move |inner: mizan::server::Services| {
        let calls = calls.clone();
        tower::service_fn(move |request: http::Request<tonic::body::Body>| {
            let (call, mut inner) = (calls.fetch_add(1, Ordering::SeqCst), inner.clone());
            async move {
                match call {
                    0 => panic!("a layer with a bug"),
                    1 => Err(tower::BoxError::from("lost")),
                    2 => Err(Status::permission_denied("no").into()),
                    _ => Ok(tower::Service::call(&mut inner, request).await?),
                }
            }
        })
    });
    let server = Running::start_server(server().layer(layer), &Scripted::ok()).await;
    let mut raw = raw(&server).await;
    for expected in [
        Code::Internal,
        Code::Internal,
        Code::PermissionDenied,
        Code::Ok,
    ] {
        let outcome = raw.list_services(ListServicesRequest::default()).await;
        let code = outcome.map_or_else(|status| status.code(), |_| Code::Ok);
        assert_eq!(code, expected);
    }
}

#[tokio::test]
async fn a_handler_hears_of_the_drain_and_its_call_is_finished() {
    let (begun, told) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let (begins, tells) = (begun.clone(), told.clone());
    let service = Scripted::new(move |_| {
        let (begins, tells) = (begins.clone(), tells.clone());
        async move {
            begins.notify_one();
            CallContext::current().unwrap().draining().cancelled().await;
            tells.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    });
    let server = Running::start(&service).await;
    let client = client(vec![server.authority()]);
    let call = tokio::spawn(async move { call(&client).await });
    begun.notified().await;
    assert_eq!(told.load(Ordering::SeqCst), 0);
    server.stopped().await;
    call.await.unwrap().unwrap();
    assert_eq!(told.load(Ordering::SeqCst), 1);
}

/// What becomes of a call whose handler takes 12 s, and when.
async fn of_twelve_seconds(server: Server, timeout: Option<u64>) -> (Code, u64) {
    let service = Scripted::new(|_| async {
        tokio::time::sleep(Duration::from_secs(12)).await;
        Ok(())
    });
    let server = Running::start_server(server, &service).await;
    let mut raw = raw(&server).await;
    let mut request = Request::new(ListServicesRequest::default());
    if let Some(seconds) = timeout {
        request.set_timeout(Duration::from_secs(seconds));
    }
    let begun = tokio::time::Instant::now();
    let outcome = raw.list_services(request).await;
    let code = outcome.map_or_else(|status| status.code(), |_| Code::Ok);
    (code, begun.elapsed().as_secs())
}

#[tokio::test(start_paused = true)]
async fn a_call_lives_as_long_as_its_caller_allows() {
    let service = "mizan.registry.v1.RegistryService";
    let method = "mizan.registry.v1.RegistryService/ListServices";
    let five = Some(Duration::from_secs(5));
    let late = Code::DeadlineExceeded;
    for (server, timeout, expected) in [
        (server(), Some(60), (Code::Ok, 12)),
        (server(), None, (late, 10)),
        (server().handler_timeout(method, None), None, (Code::Ok, 12)),
        (server().handler_timeout(service, five), Some(60), (late, 5)),
    ] {
        assert_eq!(of_twelve_seconds(server, timeout).await, expected);
    }
}

#[tokio::test]
async fn a_timeout_that_says_nothing_is_refused() {
    let service = Scripted::ok();
    let server = Running::start(&service).await;
    let mut raw = raw(&server).await;
    for (timeout, code) in [
        ("", Code::Internal),
        ("10", Code::Internal),
        ("-1S", Code::Internal),
        ("123456789S", Code::Internal),
        ("99999999H", Code::Ok),
    ] {
        let mut request = Request::new(ListServicesRequest::default());
        let value = timeout.parse().unwrap();
        request.metadata_mut().insert("grpc-timeout", value);
        let outcome = raw.list_services(request).await;
        let got = outcome.map_or_else(|status| status.code(), |_| Code::Ok);
        assert_eq!(got, code, "{timeout:?}");
    }
    assert_eq!(service.calls(), 1);
}

#[tokio::test]
async fn settings_that_cannot_be_are_refused_before_anything_is_served() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = Http2 {
        streams_max: 0,
        ..Http2::default()
    };
    let served = server().http2(settings);
    let refused = served.serve(listener, std::future::pending()).await;
    let told = refused.unwrap_err().to_string();
    assert!(told.contains("streams_max must be 1 at least"), "{told}");
}

#[tokio::test]
async fn compressed_calls_go_through_the_channel_and_a_bomb_does_not_burst() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let service = Scripted::ok();
    let generated = RegistryServiceServer::new(service.clone())
        .accept_compressed(Gzip)
        .accept_compressed(Zstd)
        .send_compressed(Gzip)
        .send_compressed(Zstd);
    let served = server().add_service(generated);
    let _serving = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(
        served.serve(listener, std::future::pending()),
    ));
    for encoding in [Gzip, Zstd] {
        // Packing 64 MiB takes a slow machine its time.
        let channel = Channel::builder("scripted").fixed(vec![address.clone()]);
        let channel = channel.deadline(PATIENCE).connect().unwrap();
        let mut client = RegistryServiceClient::new(channel)
            .send_compressed(encoding)
            .accept_compressed(encoding);
        let of = |bytes| ListServicesRequest {
            page_token: "x".repeat(bytes),
            ..ListServicesRequest::default()
        };
        let answer = client.list_services(of(3 << 20)).await.unwrap();
        let name = if encoding == Gzip { "gzip" } else { "zstd" };
        assert_eq!(answer.metadata().get("grpc-encoding").unwrap(), name);
        // Some kilobytes on the wire, 64 MiB within.
        let bomb = client.list_services(of(64 << 20)).await.unwrap_err();
        assert!(
            [Code::OutOfRange, Code::ResourceExhausted].contains(&bomb.code()),
            "{bomb}"
        );
    }
    assert_eq!(service.calls(), 2);
}

#[tokio::test]
async fn health_and_its_list_take_what_is_compressed() {
    let server = Running::start(&Scripted::ok()).await;
    for encoding in [Gzip, Zstd] {
        let connection = Connection::open(&server.authority(), PATIENCE)
            .await
            .unwrap();
        let mut health = HealthClient::new(connection.clone()).send_compressed(encoding);
        let request = HealthCheckRequest {
            service: "mizan.registry.v1.RegistryService".to_owned(),
        };
        health.check(request).await.unwrap();
        let mut list = tonic::client::Grpc::new(connection).send_compressed(encoding);
        list.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<HealthCheckRequest, HealthCheckRequest>::default();
        let path = "/grpc.health.v1.Health/List".parse().unwrap();
        let listed = list.unary(Request::new(HealthCheckRequest::default()), path, codec);
        // Its messages are others; that it answers one is enough.
        let code = listed
            .await
            .map_or_else(|status| status.code(), |_| Code::Ok);
        assert_ne!(code, Code::Unimplemented, "{encoding:?}");
    }
}

#[tokio::test]
async fn reflection_knows_healths_list() {
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let server = Running::start(&Scripted::ok()).await;
    let connection = Connection::open(&server.authority(), PATIENCE)
        .await
        .unwrap();
    let symbols = [
        "grpc.health.v1.Health.List",
        "grpc.health.v1.HealthListRequest",
        "grpc.health.v1.HealthListResponse",
        "grpc.health.v1.HealthListResponse.StatusesEntry",
        "grpc.health.v1.Health",
    ];
    let asked = symbols.map(|symbol| ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::FileContainingSymbol(symbol.to_owned())),
    });
    let answers = ServerReflectionClient::new(connection)
        .send_compressed(Gzip)
        .server_reflection_info(tokio_stream::iter(asked))
        .await;
    let mut answers = answers.unwrap().into_inner();
    for symbol in symbols {
        let answer = answers.message().await.unwrap().unwrap();
        let Some(MessageResponse::FileDescriptorResponse(files)) = answer.message_response else {
            panic!("{symbol}: {answer:?}");
        };
        let [file] = &files.file_descriptor_proto[..] else {
            panic!("{symbol}: not one file");
        };
        let text = String::from_utf8_lossy(file);
        assert!(text.contains("HealthListResponse"), "{symbol}");
    }
}

#[tokio::test]
async fn an_environment_variable_that_is_empty_says_nothing() {
    // As clap reads `MIZAN_CORS_ORIGIN=` and `MIZAN_ADVERTISE=`.
    let mut args = mizan::args::ServerArgs::with_registry(vec![String::new()]);
    args.cors_origin = vec![String::new()];
    args.advertise = Some(String::new());
    let server = Server::builder("scripted").args(&args);
    let server = Running::start_server(server, &Scripted::ok()).await;
    call(&client(vec![server.authority()])).await.unwrap();
    server.stopped().await;
}

#[tokio::test]
async fn a_handler_that_blocks_is_counted_by_its_method() {
    let metrics = mizan::telemetry::metrics::Registry::new();
    let blocks = Scripted::new(|_| {
        let begun = std::time::Instant::now();
        while begun.elapsed() < Duration::from_millis(20) {
            std::hint::spin_loop();
        }
        std::future::ready(Ok(()))
    });
    let server = Running::start_server(server().metrics(metrics), &blocks).await;
    let client = client(vec![server.authority()]);
    for _ in 0..3 {
        call(&client).await.unwrap();
    }
    let name = "mizan_server_handler_blocked_total{grpc_method=\"mizan.registry.v1.RegistryService/ListServices\"} ";
    // What a call counts is there when the server is done with it, after its answer. A busy machine may
    // hold up other parts of a handler too.
    let counted = async {
        loop {
            let page = get(&server, "/metrics").await;
            let times = page.lines().find_map(|line| line.strip_prefix(name));
            if times.is_some_and(|times| times.trim().parse::<u64>().unwrap() >= 3) {
                break;
            }
        }
    };
    within("all three are counted", counted).await;
}
