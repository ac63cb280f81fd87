//! A server whose handlers a test writes, over streams that it makes; and a client that says what
//! it is told to.

use std::{
    convert::Infallible,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request, Response};
use mizan::{
    Server,
    connection::Transport,
    server::{Accept, Accepted, Accepting, Listener},
};
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tonic::{body::Body, server::NamedService};
use tower::Service;

pub(super) type Answer = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// A service without a contract.
#[derive(Clone)]
pub(super) struct Methods(Arc<dyn Fn(Request<Body>) -> Answer + Send + Sync>);

impl Methods {
    pub(super) fn new<F, A>(handler: F) -> Self
    where
        F: Fn(Request<Body>) -> A + Send + Sync + 'static,
        A: Future<Output = Response<Body>> + Send + 'static,
    {
        Self(Arc::new(move |request| Box::pin(handler(request))))
    }
}

impl NamedService for Methods {
    const NAME: &'static str = "test.Methods";
}

impl Service<Request<Body>> for Methods {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = (self.0)(request);
        Box::pin(async move { Ok(answer.await) })
    }
}

/// OK, and nothing else.
pub(super) fn ok() -> Response<Body> {
    let response = Response::builder()
        .header("content-type", "application/grpc")
        .header("grpc-status", "0");
    response.body(Body::empty()).unwrap()
}

#[derive(Debug)]
struct Source(Mutex<mpsc::UnboundedReceiver<Accepted>>);

impl Accept for Source {
    fn accept(&self) -> Accepting<'_> {
        Box::pin(async move {
            let next = self.0.lock().await.recv().await;
            match next {
                Some(accepted) => Ok(accepted),
                None => std::future::pending::<io::Result<_>>().await,
            }
        })
    }
}

/// What a server serves on, and where its streams are put.
pub(super) fn source() -> (mpsc::UnboundedSender<Accepted>, Listener) {
    let (streams, source) = mpsc::unbounded_channel();
    (streams, Listener::new(Source(Mutex::new(source))))
}

pub(super) struct Running {
    stop: CancellationToken,
    done: JoinHandle<()>,
}

impl Running {
    pub(super) async fn stopped(self) {
        self.stop.cancel();
        self.done.await.unwrap();
    }
}

pub(super) fn serve(server: Server, listener: impl Into<Listener>, methods: Methods) -> Running {
    let stop = CancellationToken::new();
    let server = server.unregistered().add_service(methods);
    let listener: Listener = listener.into();
    let serving = server.serve(listener, stop.clone().cancelled_owned());
    let done = tokio::spawn(async move { serving.await.unwrap() });
    Running { stop, done }
}

#[derive(Clone)]
pub(super) struct Client(SendRequest<Bytes>);

impl Client {
    pub(super) async fn new(streams: &mpsc::UnboundedSender<Accepted>) -> Self {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        streams.send(Accepted::new(theirs)).unwrap();
        Self::over(ours).await
    }

    pub(super) async fn over(stream: impl Transport + 'static) -> Self {
        let (requests, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        Self(requests.ready().await.unwrap())
    }

    pub(super) fn request(path: &str, headers: &[(&str, &str)]) -> Request<()> {
        let uri = format!("http://test.example:50051{path}");
        let mut request = Request::post(uri).header("content-type", "application/grpc");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    /// Sends a request with an empty message, to the beginning of its answer.
    async fn send(&self, request: Request<()>) -> Response<h2::RecvStream> {
        let (response, mut body) = self.0.clone().send_request(request, false).unwrap();
        body.send_data(Bytes::from_static(&[0; 5]), true).unwrap();
        response.await.unwrap()
    }

    /// Sends a body in these parts, as far as the windows let it, and waits for its answer.
    pub(super) fn upload(
        &self,
        method: &str,
        parts: Vec<Bytes>,
    ) -> impl Future<Output = Response<h2::RecvStream>> + use<> {
        let request = Self::request(&format!("/test.Methods/{method}"), &[]);
        let (response, mut body) = self.0.clone().send_request(request, false).unwrap();
        for part in parts {
            body.send_data(part, false).unwrap();
        }
        body.send_data(Bytes::new(), true).unwrap();
        async move { response.await.unwrap() }
    }

    pub(super) async fn begin(
        &self,
        method: &str,
        headers: &[(&str, &str)],
    ) -> Response<h2::RecvStream> {
        let path = format!("/test.Methods/{method}");
        self.send(Self::request(&path, headers)).await
    }

    /// The status that a method ends with.
    pub(super) async fn call(&self, method: &str, headers: &[(&str, &str)]) -> i32 {
        let path = format!("/test.Methods/{method}");
        self.call_path(&path, headers).await
    }

    pub(super) async fn call_path(&self, path: &str, headers: &[(&str, &str)]) -> i32 {
        let mut response = self.send(Self::request(path, headers)).await;
        if let Some(code) = code(response.headers()) {
            return code;
        }
        let body = response.body_mut();
        while let Some(data) = body.data().await {
            let length = data.unwrap().len();
            body.flow_control().release_capacity(length).unwrap();
        }
        code(&body.trailers().await.unwrap().unwrap()).unwrap()
    }
}

/// The status in the headers or the trailers of an answer.
pub(super) fn code(headers: &HeaderMap) -> Option<i32> {
    let code = headers.get("grpc-status")?;
    Some(code.to_str().unwrap().parse().unwrap())
}
