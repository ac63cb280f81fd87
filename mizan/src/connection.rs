//! One HTTP/2 connection to one instance: a clonable handle that generated tonic clients take.
//!
//! There is no queue and no worker between the caller and the connection, and no reconnecting: a
//! connection that broke says so ([`Connection::closed`]), and its owner opens another.

use std::{
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderValue, Request, Response, Uri, header::USER_AGENT, uri::Authority};
use tokio::{net::TcpStream, time::timeout};
use tonic::{Code, Status, body::Body};

use crate::{
    http2::{Failure, Handle, Incoming, KeepAlive, Payload},
    status,
};

/// How often a connection is asked whether the other side is still there, also when idle, and how
/// long it has to answer: a silent partition is noticed within their sum.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// An open HTTP/2 connection. Clones share it; it closes when all of them are gone.
#[derive(Clone)]
pub struct Connection {
    http2: Handle,
    authority: Authority,
}

/// Why a connection could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot connect to {authority}: {reason}")]
pub struct ConnectError {
    authority: String,
    reason: String,
}

impl ConnectError {
    /// The cause alone, without the address: "connection refused".
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// Why a request got no response.
#[derive(Debug)]
pub(crate) enum SendError {
    /// It never left, or the server's library turned it away unseen: safe to send elsewhere.
    NotProcessed(Status, Option<Box<Request<Body>>>),
    /// The connection broke after it left: nobody knows whether it was processed.
    Unknown(Status),
}

impl Connection {
    /// Connects to `authority`, a `host:port`.
    ///
    /// # Errors
    /// [`ConnectError`] with the system's reason, or that `limit` passed.
    pub async fn open(authority: &str, limit: Duration) -> Result<Self, ConnectError> {
        let fail = |reason: String| ConnectError {
            authority: authority.to_owned(),
            reason,
        };
        let parsed: Authority = authority
            .parse()
            .map_err(|_| fail("not a HOST:PORT".to_owned()))?;
        timeout(limit, Self::handshake(parsed))
            .await
            .map_err(|_| fail(format!("timed out after {limit:?}")))?
            .map_err(|e| fail(innermost(&*e)))
    }

    async fn handshake(authority: Authority) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let stream = TcpStream::connect(authority.as_str()).await?;
        stream.set_nodelay(true)?;
        let keep_alive = KeepAlive {
            interval: KEEP_ALIVE_INTERVAL,
            timeout: KEEP_ALIVE_TIMEOUT,
            while_idle: true,
        };
        let http2 = Handle::open(stream, Some(keep_alive)).await?;
        Ok(Self { http2, authority })
    }

    /// Whether the connection is gone, or going (the server sent GOAWAY).
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.http2.is_closed()
    }

    /// Waits until the connection is gone, or going.
    pub async fn closed(&self) {
        self.http2.draining().await;
    }

    /// Sends one request and waits for the response's headers.
    pub(crate) async fn send(&self, request: Request<Body>) -> Result<Response<Body>, SendError> {
        let (mut parts, body) = request.into_parts();
        self.address(&mut parts);
        let parts_again = parts.clone();
        let request = Request::from_parts(parts, ());
        match self.http2.send(request, Payload::Stream(body)).await {
            Ok(response) => Ok(response.map(|body| Body::new(self.named(body)))),
            Err(Failure::NotSent(payload, error)) => {
                let body = match *payload {
                    Payload::Stream(body) => body,
                    Payload::Whole(_) => Body::empty(),
                };
                let unsent = Request::from_parts(parts_again, body);
                Err(SendError::NotProcessed(
                    self.status("NOT_SENT", &error),
                    Some(Box::new(unsent)),
                ))
            }
            Err(Failure::RefusedUnseen(error)) => Err(SendError::NotProcessed(
                self.status("NOT_SENT", &error),
                None,
            )),
            Err(Failure::Unknown(error)) => {
                Err(SendError::Unknown(self.status("CONNECTION_LOST", &error)))
            }
        }
    }

    fn named(
        &self,
        body: Incoming,
    ) -> impl http_body::Body<Data = bytes::Bytes, Error = Status> + use<> {
        use http_body_util::BodyExt as _;
        let connection = self.authority.clone();
        body.map_err(move |e| Status::unavailable(format!("{connection}: {e}")))
    }

    fn status(&self, reason: &str, error: &h2::Error) -> Status {
        let message = format!("{}: {}", self.authority, innermost(error));
        status::refused(Code::Unavailable, reason, message)
    }

    /// Completes the request: tonic's generated clients give only the path.
    fn address(&self, request: &mut http::request::Parts) {
        let mut parts = std::mem::take(&mut request.uri).into_parts();
        parts.scheme = Some(http::uri::Scheme::HTTP);
        parts.authority = Some(self.authority.clone());
        // A path and an authority always make a URI.
        request.uri = Uri::from_parts(parts).unwrap_or_default();
        request
            .headers
            .entry(USER_AGENT)
            .or_insert(HeaderValue::from_static(concat!(
                "mizan/",
                env!("CARGO_PKG_VERSION")
            )));
    }
}

/// The innermost cause: "Connection refused (os error 111)" rather than "error trying to connect".
pub(crate) fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("authority", &self.authority.as_str())
            .finish_non_exhaustive()
    }
}

impl tower::Service<Request<Body>> for Connection {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let connection = self.clone();
        Box::pin(async move {
            connection.send(request).await.map_err(|error| match error {
                SendError::NotProcessed(status, _) | SendError::Unknown(status) => status,
            })
        })
    }
}
