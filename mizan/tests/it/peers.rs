//! What a handler knows of its call, and what a user puts around it: peers, layers, times, the drain.

mod kit;

use std::{
    future::pending,
    os::unix::fs::PermissionsExt as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use mizan::{
    CallContext, Channel, Server,
    server::{Accepted, Limits, Services, Unix},
};
use tokio::{
    net::{TcpListener, TcpStream, UnixStream},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;
use tonic::{
    Status,
    body::Body,
    transport::server::{TcpConnectInfo, TlsConnectInfo, UdsConnectInfo},
};
use tower::ServiceExt as _;

use self::kit::{Client, Methods, ok, serve, source};

/// A request as a tonic handler sees it.
fn seen(request: Request<Body>) -> tonic::Request<()> {
    let (parts, _) = request.into_parts();
    tonic::Request::from_parts(
        tonic::metadata::MetadataMap::from_headers(parts.headers),
        parts.extensions,
        (),
    )
}

#[tokio::test]
async fn a_handler_sees_the_certificates_of_who_calls_by_tls() {
    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use tokio_rustls::{TlsAcceptor, TlsConnector, rustls};

    let named = |name: &str| generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let key = |pair: &CertifiedKey<_>| {
        let pair: &CertifiedKey<rcgen::KeyPair> = pair;
        rustls::pki_types::PrivateKeyDer::try_from(pair.signing_key.serialize_der()).unwrap()
    };
    let (ours, theirs) = (named("localhost"), named("client"));
    let trusting = |cert: &rcgen::Certificate| {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        roots
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        trusting(&theirs.cert).into(),
        provider.clone(),
    );
    let server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![ours.cert.der().clone()], key(&ours))
        .unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(trusting(&ours.cert))
        .with_client_auth_cert(vec![theirs.cert.der().clone()], key(&theirs))
        .unwrap();

    let (tell, mut told) = mpsc::channel(1);
    let methods = Methods::new(move |request| {
        let tell = tell.clone();
        async move {
            let request = seen(request);
            let info = request.extensions().get::<TlsConnectInfo<TcpConnectInfo>>();
            assert!(info.is_some_and(|info| info.get_ref().remote_addr.is_some()));
            let certificates = request.peer_certs().unwrap();
            tell.send((request.remote_addr(), certificates))
                .await
                .unwrap();
            ok()
        }
    });
    let (streams, listener) = source();
    let _server = serve(Server::builder("test"), listener, methods);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let own = stream.local_addr().unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let connector = TlsConnector::from(Arc::new(client));
    let (accepted, connected) = tokio::join!(
        acceptor.accept(accepted),
        connector.connect("localhost".try_into().unwrap(), stream)
    );
    streams
        .send(Accepted::connected(accepted.unwrap()))
        .unwrap();
    let client = Client::over(connected.unwrap()).await;
    assert_eq!(client.call("Get", &[]).await, 0);
    let (remote, certificates) = told.recv().await.unwrap();
    assert_eq!(remote, Some(own));
    assert_eq!(certificates.as_slice(), [theirs.cert.der().clone()]);
}

#[tokio::test]
async fn a_unix_socket_is_for_whom_its_permissions_say_and_a_stale_one_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.sock");
    // As a process leaves it that is killed.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let (tell, mut told) = mpsc::channel(1);
    let methods = Methods::new(move |request| {
        let tell = tell.clone();
        async move {
            let request = seen(request);
            let info = request.extensions().get::<UdsConnectInfo>().cloned();
            tell.send(info.unwrap().peer_cred.unwrap().pid())
                .await
                .unwrap();
            ok()
        }
    });
    let listener = Unix::bind(&path, 0o600).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let in_use = Unix::bind(&path, 0o600).unwrap_err();
    assert_eq!(in_use.kind(), std::io::ErrorKind::AddrInUse);
    let server = serve(Server::builder("test"), listener, methods);
    let client = Client::over(UnixStream::connect(&path).await.unwrap()).await;
    assert_eq!(client.call("Get", &[]).await, 0);
    let pid = told.recv().await.unwrap();
    assert_eq!(pid, i32::try_from(std::process::id()).ok());
    drop(client);
    server.stopped().await;
    assert!(!path.exists(), "the file is left behind");
    // What is no socket is somebody's.
    std::fs::write(&path, "mine").unwrap();
    let refused = Unix::bind(&path, 0o600).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
}

/// Answers that nobody reads hold their own windows, however many there are, and nothing of others'.
#[tokio::test]
async fn responses_that_their_caller_does_not_read_hold_up_no_other_call() {
    const UNREAD: usize = 40;
    const WINDOW: usize = 2 << 20;
    let sent: Arc<[AtomicUsize; UNREAD]> = Arc::new(std::array::from_fn(|_| AtomicUsize::new(0)));
    let (counted, streams) = (sent.clone(), AtomicUsize::new(0));
    let methods = Methods::new(move |request| {
        if request.uri().path() == "/test.Methods/Get" {
            return Box::pin(std::future::ready(ok())) as kit::Answer;
        }
        let (sent, stream) = (counted.clone(), streams.fetch_add(1, Ordering::SeqCst));
        let parts = futures_util::stream::repeat_with(move || {
            let part = Bytes::from_static(&[0; 64 << 10]);
            sent[stream].fetch_add(part.len(), Ordering::SeqCst);
            Ok::<_, Status>(http_body::Frame::data(part))
        });
        let body = Body::new(http_body_util::StreamBody::new(parts));
        let response = Response::builder().header("content-type", "application/grpc");
        Box::pin(std::future::ready(response.body(body).unwrap()))
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = serve(Server::builder("test"), listener, methods);
    let channel = Channel::builder("test").fixed(vec![address]);
    let channel = channel.connect().unwrap();
    let call = async |method: &str| {
        let request = Request::post(format!("/test.Methods/{method}"));
        let request = request.header("content-type", "application/grpc");
        let request = request.body(Body::empty()).unwrap();
        channel.clone().oneshot(request).await.unwrap()
    };
    let mut unread = Vec::new();
    for _ in 0..UNREAD {
        unread.push(call("Endless").await);
    }
    // Each has all that its own window takes, which is more than 64 MiB together.
    let full = async {
        while sent.iter().any(|sent| sent.load(Ordering::SeqCst) < WINDOW) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), full)
        .await
        .expect("those before hold the windows of those after");
    let answer = call("Get").await;
    assert_eq!(answer.headers()["grpc-status"], "0");
    drop((answer, unread, channel));
    server.stopped().await;
}

#[tokio::test]
async fn a_channel_calls_over_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a b.sock");
    let (tell, mut told) = mpsc::channel(1);
    let methods = Methods::new(move |_| {
        let tell = tell.clone();
        async move {
            let authority = CallContext::current().and_then(|c| c.authority().map(str::to_owned));
            tell.send(authority).await.unwrap();
            ok()
        }
    });
    let server = serve(
        Server::builder("test"),
        Unix::bind(&path, 0o600).unwrap(),
        methods,
    );
    for target in ["unix:", "unix://"] {
        let target = format!("{target}{}", path.display());
        let channel = Channel::builder("test").fixed(vec![target.clone()]);
        let channel = channel.connect().unwrap();
        let request = Request::post("/test.Methods/Get").header("content-type", "application/grpc");
        let request = request.body(Body::empty()).unwrap();
        let answer = channel.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        // A path is no authority: other clients say the same.
        assert_eq!(told.recv().await.unwrap().as_deref(), Some("localhost"));
        assert_eq!(*channel.stats().instances[0].authority, *target);
    }
    server.stopped().await;
}

#[tokio::test]
async fn layers_are_around_the_services_and_not_around_health_or_what_was_shed() {
    let asked = Arc::new(AtomicUsize::new(0));
    let (outer, inner) = (asked.clone(), asked.clone());
    let guard = tower::layer::layer_fn(move |services: Services| {
        let outer = outer.clone();
        tower::service_fn(move |request: Request<Body>| {
            let (services, outer) = (services.clone(), outer.clone());
            async move {
                outer.fetch_add(1, Ordering::SeqCst);
                assert!(!request.headers().contains_key("panic"), "as it was told");
                if !request.headers().contains_key("authorization") {
                    return Err(Status::unauthenticated("who are you?"));
                }
                match services.oneshot(request).await {
                    Ok(response) => Ok(response),
                    Err(never) => match never {},
                }
            }
        })
    });
    // The second is within the first, and changes what is answered.
    let mark = tower::ServiceBuilder::new()
        .map_request(move |request: Request<Body>| {
            assert!(inner.load(Ordering::SeqCst) > 0, "the other came first");
            request
        })
        .map_response(|mut response: Response<Body>| {
            let headers = response.headers_mut();
            headers.insert("marked", "yes".parse().unwrap());
            response
        })
        .into_inner();
    let limits = Limits {
        calls_max: 1,
        ..Limits::default()
    };
    let methods = Methods::new(|request| async move {
        if request.uri().path().ends_with("/Wait") {
            pending::<()>().await;
        }
        ok()
    });
    let server = Server::builder("test").limits(limits);
    let (streams, listener) = source();
    let _server = serve(server.layer(guard).layer(mark), listener, methods);
    let client = Client::new(&streams).await;
    assert_eq!(client.call("Get", &[]).await, 16, "UNAUTHENTICATED");
    let answer = client.begin("Get", &[("authorization", "me")]).await;
    assert_eq!(answer.headers()["marked"], "yes");
    drop(answer);
    assert_eq!(client.call("Get", &[("panic", "now")]).await, 13);
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    let health = "/grpc.health.v1.Health/Check";
    assert_eq!(client.call_path(health, &[]).await, 0);
    let me = [("authorization", "me")];
    let waiting = client.begin("Wait", &me);
    let shed = async {
        while asked.load(Ordering::SeqCst) < 4 {
            tokio::task::yield_now().await;
        }
        client.call("Get", &me).await
    };
    tokio::select! {
        _ = waiting => panic!("it waits for ever"),
        code = shed => assert_eq!(code, 8, "RESOURCE_EXHAUSTED"),
    }
    assert_eq!(asked.load(Ordering::SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn the_callers_deadline_is_the_handlers_and_the_servers_own_is_for_who_says_none() {
    // An upload of 12 s whose caller waits for 60 s was ended by the server after 10 s.
    let methods = Methods::new(|request| async move {
        let seconds = request.headers()["seconds"].to_str().unwrap();
        tokio::time::sleep(Duration::from_secs(seconds.parse().unwrap())).await;
        ok()
    });
    let server = Server::builder("test")
        .handler_timeout("test.Methods/Long", Some(Duration::from_secs(30)))
        .handler_timeout("test.Methods/Endless", None);
    let (streams, listener) = source();
    let _server = serve(server, listener, methods);
    let client = Client::new(&streams).await;
    for (method, seconds, timeout, code) in [
        ("Upload", "12", Some("60S"), 0),
        ("Upload", "12", None, 4),
        ("Upload", "9", None, 0),
        ("Upload", "12", Some("11S"), 4),
        ("Long", "29", None, 0),
        ("Long", "31", None, 4),
        ("Long", "31", Some("60S"), 4),
        ("Endless", "3000", None, 0),
        ("Endless", "12", Some("11S"), 4),
    ] {
        let mut headers = vec![("seconds", seconds)];
        headers.extend(timeout.map(|timeout| ("grpc-timeout", timeout)));
        let ended = client.call(method, &headers).await;
        assert_eq!(ended, code, "{method} {seconds} {timeout:?}");
    }
}

#[tokio::test]
async fn a_stream_that_would_go_on_for_ever_is_told_of_the_drain() {
    let methods = Methods::new(|_| async {
        let draining = CallContext::current().unwrap().draining();
        assert!(!draining.is_cancelled());
        let (head, _) = ok().into_parts();
        let last = async move {
            draining.cancelled().await;
            let mut trailers = http::HeaderMap::new();
            let status = Status::unavailable("draining: call another instance");
            status.add_header(&mut trailers).unwrap();
            Ok::<_, Status>(http_body::Frame::<Bytes>::trailers(trailers))
        };
        let body = http_body_util::StreamBody::new(futures_util::stream::once(last));
        Response::from_parts(head, Body::new(body))
    });
    let (streams, listener) = source();
    let server = serve(Server::builder("test"), listener, methods);
    let client = Client::new(&streams).await;
    let mut stream = client.begin("Watch", &[]).await;
    let stopped = tokio::spawn(server.stopped());
    let trailers = stream.body_mut().trailers().await.unwrap().unwrap();
    assert_eq!(trailers["grpc-status"], "14");
    stopped.await.unwrap();
}

/// A handler of `Hold` reads nothing until it is told to, and then all; others read at once.
fn holding(release: &CancellationToken) -> Methods {
    let release = release.clone();
    Methods::new(move |request| {
        let release = release.clone();
        async move {
            if request.uri().path().ends_with("/Hold") {
                release.cancelled().await;
            }
            let read = request.into_body().collect().await.unwrap().to_bytes();
            let mut response = ok();
            let headers = response.headers_mut();
            headers.insert("read", read.len().into());
            response
        }
    })
}

/// Sends these parts on a stream that is held, and says what others get meanwhile; then what it gets.
async fn held_beside_others(parts: Vec<Bytes>) {
    let release = CancellationToken::new();
    let (streams, listener) = source();
    let _server = serve(Server::builder("test"), listener, holding(&release));
    let client = Client::new(&streams).await;
    let length: usize = parts.iter().map(Bytes::len).sum();
    let held = client.upload("Hold", parts);
    for bytes in [0, 5, 200 << 10] {
        let answer = client.upload("Get", vec![vec![0; bytes].into()]).await;
        assert_eq!(answer.headers()["read"], bytes.to_string());
    }
    release.cancel();
    assert_eq!(held.await.headers()["read"], length.to_string());
}

#[tokio::test]
async fn an_upload_that_its_handler_does_not_read_holds_up_no_other_call() {
    held_beside_others(vec![vec![0; 3 << 20].into()]).await;
}

#[tokio::test]
async fn thousands_of_tiny_messages_to_a_busy_handler_end_no_connection() {
    let tiny = Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1]);
    held_beside_others(vec![tiny; 20_000]).await;
}

#[tokio::test]
async fn as_many_empty_messages_as_a_window_takes_end_no_connection() {
    held_beside_others(vec![Bytes::from_static(&[0; 5]); 100_000]).await;
}
