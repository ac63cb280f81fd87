//! What a server is told, by its builder or by flags, is what its clients meet.

use std::{sync::Arc, time::Duration};

use mizan::{
    Server,
    args::{Http2Args, ServerArgs},
    server::{Http2, Limits},
};
use prost::Message as _;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
    time::advance,
};
use tokio_stream::StreamExt as _;

use crate::{
    ends::{hold_the_clock, within},
    support::{Running, Scripted},
};

/// Nothing registers, and this is said.
fn args() -> ServerArgs {
    ServerArgs::with_registry(vec![String::new()])
}

async fn running(server: Server) -> Running {
    Running::start_server(server, &Scripted::ok()).await
}

/// The answer to a plain request of these lines.
async fn said(server: &Running, lines: &[&str]) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = format!("{}\r\nconnection: close\r\n\r\n", lines.join("\r\n"));
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// A client of HTTP/2 that says no more than it must.
struct Frames(TcpStream);

const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;

impl Frames {
    async fn open(server: &Running) -> Self {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
            .await
            .unwrap();
        Self(stream)
    }

    /// The next frame that is no acknowledgement: its kind and what it holds; nothing at the end.
    async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.ok()?;
            let size = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; usize::try_from(size).unwrap()];
            self.0.read_exact(&mut payload).await.ok()?;
            if !(head[3] == SETTINGS && head[4] == ACK) {
                return Some((head[3], payload));
            }
        }
    }

    async fn of(&mut self, kind: u8) -> Vec<u8> {
        loop {
            let (next, payload) = within("a frame comes", self.next()).await.unwrap();
            if next == kind {
                return payload;
            }
        }
    }
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.try_into().unwrap())
}

/// The most streams, the window of a stream and that of the connection, as the server announces them.
async fn announced(server: &Running) -> [u32; 3] {
    let mut frames = Frames::open(server).await;
    let settings = frames.of(SETTINGS).await;
    let of = |id: u16| {
        let mut each = settings.chunks(6);
        let found = each.find(|setting| setting[..2] == id.to_be_bytes());
        number(&found.unwrap()[2..])
    };
    let (streams, window) = (of(3), of(4));
    let more = number(&frames.of(WINDOW_UPDATE).await);
    [streams, window, 65_535 + more]
}

/// Gives whatever would be wrong the time to happen.
async fn a_moment() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// Fails unless a client that is silent is asked after `interval`, and cut `timeout` later.
async fn is_kept_alive(server: &Running, interval: Duration, timeout: Duration) {
    let second = Duration::from_secs(1);
    let mut frames = Frames::open(server).await;
    frames.of(WINDOW_UPDATE).await;
    a_moment().await;
    let mut next = Box::pin(frames.next());
    advance(interval - second).await;
    a_moment().await;
    assert!(futures_util::poll!(next.as_mut()).is_pending(), "early");
    advance(second).await;
    let (kind, _) = within("it is asked", next).await.unwrap();
    assert_eq!(kind, PING);
    let mut next = Box::pin(frames.next());
    advance(timeout - second).await;
    a_moment().await;
    assert!(futures_util::poll!(next.as_mut()).is_pending(), "cut early");
    advance(second).await;
    let end = within("it is cut", next).await;
    assert!(end.is_none_or(|(kind, _)| kind == GOAWAY));
}

#[tokio::test(start_paused = true)]
async fn the_settings_of_http_2_are_those_of_the_builder_and_flags_go_before_them() {
    let _clock = hold_the_clock();
    let built = Http2 {
        stream_window: 70_000,
        connection_window: 900_000,
        streams_max: 7,
        keep_alive_interval: Some(Duration::from_secs(9)),
        keep_alive_timeout: Duration::from_secs(4),
    };
    let server = running(Server::builder("a").http2(built.clone()).args(&args())).await;
    assert_eq!(announced(&server).await, [7, 70_000, 900_000]);
    is_kept_alive(&server, Duration::from_secs(9), Duration::from_secs(4)).await;

    let http2 = Http2Args {
        http2_stream_window: Some(80_000),
        http2_connection_window: Some(1_000_000),
        http2_streams_max: Some(8),
        http2_keep_alive_seconds: Some(5),
        http2_keep_alive_timeout_seconds: Some(2),
    };
    let args = ServerArgs { http2, ..args() };
    let server = running(Server::builder("a").http2(built).args(&args)).await;
    assert_eq!(announced(&server).await, [8, 80_000, 1_000_000]);
    is_kept_alive(&server, Duration::from_secs(5), Duration::from_secs(2)).await;
}

#[tokio::test]
async fn names_and_origins_that_the_operator_allows_are_let_in_and_no_others() {
    let host = ["GET /health HTTP/1.1", "host: svc.example"];
    let path = "/mizan.registry.v1.RegistryService/ListServices";
    let asks = format!("OPTIONS {path} HTTP/1.1");
    let page = [
        asks.as_str(),
        "host: localhost",
        "origin: https://app.example",
        "access-control-request-method: POST",
    ];
    let calls = format!("POST {path} HTTP/1.1");
    let web = [
        calls.as_str(),
        "host: localhost",
        "origin: https://app.example",
        "content-type: application/grpc-web+proto",
        "content-length: 0",
    ];
    let closed = running(Server::builder("a").args(&args())).await;
    assert!(said(&closed, &host).await.starts_with("HTTP/1.1 421 "));
    for lines in [&page[..], &web] {
        let answer = said(&closed, lines).await;
        assert!(!answer.contains("access-control-allow-origin"), "{answer}");
    }
    let args = ServerArgs {
        allow_host: vec!["svc.example".to_owned()],
        cors_origin: vec!["https://app.example".to_owned()],
        ..args()
    };
    let open = running(Server::builder("a").args(&args)).await;
    assert!(said(&open, &host).await.starts_with("HTTP/1.1 200 "));
    let allowed = "access-control-allow-origin: https://app.example";
    let answer = said(&open, &page).await;
    assert!(
        answer.starts_with("HTTP/1.1 204 ") && answer.contains(allowed),
        "{answer}"
    );
    // Translated, since a page of another site was named.
    let answer = said(&open, &web).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains(allowed),
        "{answer}"
    );
    assert!(
        answer.contains("content-type: application/grpc-web"),
        "{answer}"
    );
}

#[tokio::test]
async fn what_troubles_a_service_is_read_on_its_health_page() {
    let (trouble, told) = watch::channel(None);
    let server = running(Server::builder("a").args(&args()).trouble(told)).await;
    let health = ["GET /health HTTP/1.1", "host: x"];
    let answer = said(&server, &health).await;
    assert!(answer.contains(r#""status":"healthy""#), "{answer}");
    assert!(!answer.contains("reason"), "{answer}");
    trouble.send_replace(Some("the disk is full".to_owned()));
    let answer = said(&server, &health).await;
    assert!(answer.contains(r#""status":"degraded""#), "{answer}");
    assert!(
        answer.contains(r#""reason":"the disk is full""#),
        "{answer}"
    );
}

#[tokio::test]
async fn what_is_no_page_is_told_from_what_is_a_service() {
    let server = running(Server::builder("a").args(&args())).await;
    for (path, status) in [
        ("/mizan.registry.v1.RegistryService/ListServices", 415),
        ("/grpc.health.v1.Health/Check", 415),
        ("/grpc.reflection.v1.ServerReflection/Any", 415),
        ("/no.Such/Method", 404),
    ] {
        let answer = said(&server, &[&format!("GET {path} HTTP/1.1"), "host: x"]).await;
        let expected = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&expected), "{path}: {answer}");
    }
}

#[tokio::test]
async fn contracts_of_the_users_own_are_reflected_beside_ours() {
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest,
        server_reflection_response::MessageResponse::FileDescriptorResponse,
    };
    let file = FileDescriptorProto {
        name: Some("of/the/user.proto".to_owned()),
        package: Some("of.the.user".to_owned()),
        syntax: Some("proto3".to_owned()),
        ..FileDescriptorProto::default()
    };
    let set = FileDescriptorSet { file: vec![file] }.encode_to_vec();
    let server = Server::builder("a").unregistered().descriptors(set.leak());
    let server = running(server).await;
    for name in ["of/the/user.proto", "mizan/registry/v1/registry.proto"] {
        let authority = server.authority();
        let connection = mizan::Connection::open(&authority, Duration::from_secs(60));
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::FileByFilename(name.to_owned())),
        };
        let answers = ServerReflectionClient::new(connection.await.unwrap())
            .server_reflection_info(tokio_stream::once(request))
            .await;
        let first = answers.unwrap().into_inner().next().await.unwrap().unwrap();
        let answer = first.message_response;
        assert!(
            matches!(answer, Some(FileDescriptorResponse(_))),
            "{name}: {answer:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn headers_have_as_long_as_the_limits_say() {
    let _clock = hold_the_clock();
    let header_timeout = Duration::from_secs(3);
    let limits = Limits {
        header_timeout,
        ..Limits::default()
    };
    let server = running(Server::builder("a").unregistered().limits(limits)).await;
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(b"GET /health HTTP/1.1\r\n").await.unwrap();
    a_moment().await;
    let mut bytes = Vec::new();
    let mut end = Box::pin(slow.read_to_end(&mut bytes));
    advance(header_timeout - Duration::from_secs(1)).await;
    a_moment().await;
    assert!(futures_util::poll!(end.as_mut()).is_pending(), "early");
    advance(Duration::from_secs(2)).await;
    // A connection that is reset is closed as well.
    let _ = within("it is closed", end).await;
    assert!(!bytes.starts_with(b"HTTP/1.1 200"));
}

/// Reaches nobody, and says who was asked for.
#[derive(Debug)]
struct Refusing(watch::Sender<String>);

impl mizan::connection::Connector for Refusing {
    fn connect<'a>(&'a self, authority: &'a str) -> mizan::connection::Connecting<'a> {
        self.0.send_replace(authority.to_owned());
        Box::pin(std::future::ready(Err(
            std::io::ErrorKind::ConnectionRefused.into(),
        )))
    }
}

#[tokio::test]
async fn a_registry_is_reached_by_the_embedders_connector() {
    let (asked, mut seen) = watch::channel(String::new());
    let args = ServerArgs {
        connector: Arc::new(Refusing(asked)),
        ..ServerArgs::with_registry(vec!["registry.example:8500".to_owned()])
    };
    let _server = running(Server::builder("a").args(&args)).await;
    let asked = seen.wait_for(|authority| authority == "registry.example:8500");
    within("the connector is asked", asked).await.unwrap();
}
