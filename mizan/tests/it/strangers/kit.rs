//! A server whose methods a test writes, and clients for it that do as they are told.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use mizan::{Connection, Server, server::Limits};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{body::Body, server::NamedService};
use tonic_health::pb::health_client::HealthClient;
use tower::Service;

/// Longer than any of this takes.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A service without a contract, whose methods a test writes.
#[derive(Clone)]
struct Methods {
    answer: Arc<dyn Fn(&str) -> Body + Send + Sync>,
    calls: Arc<AtomicUsize>,
}

impl NamedService for Methods {
    const NAME: &'static str = "test.Methods";
}

impl Service<Request<Body>> for Methods {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let method = request.uri().path().rsplit('/').next().unwrap().to_owned();
        let response = Response::builder().header("content-type", "application/grpc");
        ready(Ok(response.body((self.answer)(&method)).unwrap()))
    }
}

fn trailers(code: &'static str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", code.parse().unwrap());
    trailers
}

/// A message of so many bytes, and OK.
pub(super) fn message(bytes: usize) -> Body {
    let frames = [
        Frame::data(Bytes::from(vec![7; bytes])),
        Frame::trailers(trailers("0")),
    ];
    let frames = frames.map(Ok::<_, Infallible>);
    Body::new(StreamBody::new(tokio_stream::iter(frames)))
}

/// What says when it is dropped.
#[derive(Clone, Default)]
pub(super) struct Gone(CancellationToken);

pub(super) struct Present {
    _tells: DropGuard,
}

impl Gone {
    pub(super) fn when_dropped(&self) -> Present {
        Present {
            _tells: self.0.clone().drop_guard(),
        }
    }

    pub(super) async fn wait(&self) {
        let gone = tokio::time::timeout(PATIENCE, self.0.cancelled()).await;
        gone.expect("it is still there");
    }
}

pub(super) struct Running {
    pub(super) authority: String,
    pub(super) calls: Arc<AtomicUsize>,
    pub(super) _stop: DropGuard,
}

pub(super) async fn start(
    limits: Limits,
    routes: axum::Router,
    answer: impl Fn(&str) -> Body + Send + Sync + 'static,
) -> Running {
    start_server(Server::builder("test").routes(routes), limits, answer).await
}

pub(super) async fn start_server(
    server: Server,
    limits: Limits,
    answer: impl Fn(&str) -> Body + Send + Sync + 'static,
) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let stop = CancellationToken::new();
    let methods = Methods {
        answer: Arc::new(answer),
        calls: Arc::default(),
    };
    let calls = methods.calls.clone();
    let server = server.unregistered().limits(limits).add_service(methods);
    let serving = server.serve(listener, stop.clone().cancelled_owned());
    tokio::spawn(async move { serving.await.unwrap() });
    Running {
        authority,
        calls,
        _stop: stop.drop_guard(),
    }
}

impl Running {
    pub(super) async fn health(&self) -> HealthClient<Connection> {
        HealthClient::new(Connection::open(&self.authority, PATIENCE).await.unwrap())
    }

    /// An HTTP/2 connection whose windows open only as they are told to.
    pub(super) async fn h2(&self, window: u32) -> SendRequest<Bytes> {
        let stream = TcpStream::connect(&self.authority).await.unwrap();
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(window);
        let (requests, connection) = builder.handshake(stream).await.unwrap();
        tokio::spawn(connection);
        requests.ready().await.unwrap()
    }

    pub(super) fn request(&self, path: &str, content_type: &str) -> http::request::Builder {
        let uri = format!("http://{}{path}", self.authority);
        Request::post(uri).header("content-type", content_type)
    }

    pub(super) fn grpc(&self, method: &str) -> http::request::Builder {
        self.request(&format!("/test.Methods/{method}"), "application/grpc")
    }

    /// The answer to a request as it is written, to the end of the connection.
    pub(super) async fn plain(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.authority).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer));
        read.await.expect("it ends").unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

pub(super) async fn call(
    requests: &mut SendRequest<Bytes>,
    request: http::request::Builder,
) -> Response<h2::RecvStream> {
    let (response, _) = requests
        .send_request(request.body(()).unwrap(), true)
        .unwrap();
    tokio::time::timeout(PATIENCE, response)
        .await
        .unwrap()
        .unwrap()
}

/// The rest of an answer, and its `grpc-status`.
pub(super) async fn read(
    body: &mut h2::RecvStream,
) -> Result<(usize, Option<HeaderMap>), h2::Error> {
    let mut bytes = 0;
    while let Some(data) = body.data().await {
        let data = data?;
        bytes += data.len();
        body.flow_control().release_capacity(data.len())?;
    }
    Ok((bytes, body.trailers().await?))
}
