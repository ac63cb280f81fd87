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
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{net::TcpStream, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, body::Body};

use crate::status;

/// How often a connection is asked whether the other side is still there, also when idle, and how
/// long it has to answer: a silent partition is noticed within their sum.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// An open HTTP/2 connection. Clones share it; it closes when all of them are gone.
#[derive(Clone)]
pub struct Connection {
    send: SendRequest<Body>,
    authority: Authority,
    closed: CancellationToken,
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
        let (send, connection) = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(stream))
            .await?;
        let closed = CancellationToken::new();
        let on_close = closed.clone().drop_guard();
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = %innermost(&error), "connection lost");
            }
            drop(on_close);
        });
        Ok(Self {
            send,
            authority,
            closed,
        })
    }

    /// Whether the connection is gone, or going (the server sent GOAWAY).
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.is_cancelled() || self.send.is_closed()
    }

    /// Waits until the connection is gone.
    pub async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// Sends one request and waits for the response's headers.
    pub(crate) async fn send(
        &self,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, SendError> {
        self.address(&mut request);
        let mut send = self.send.clone();
        match send.try_send_request(request).await {
            Ok(response) => Ok(response.map(Body::new)),
            Err(mut error) => {
                let unsent = error.take_message();
                Err(self.classify(unsent, error.error()))
            }
        }
    }

    /// Completes the request: tonic's generated clients give only the path.
    fn address(&self, request: &mut Request<Body>) {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(http::uri::Scheme::HTTP);
        parts.authority = Some(self.authority.clone());
        // A path and an authority always make a URI.
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        request
            .headers_mut()
            .entry(USER_AGENT)
            .or_insert(HeaderValue::from_static(concat!(
                "mizan/",
                env!("CARGO_PKG_VERSION")
            )));
    }

    fn classify(&self, unsent: Option<Request<Body>>, error: &hyper::Error) -> SendError {
        let message = format!("{}: {}", self.authority, innermost(error));
        let unprocessed = unsent.is_some() || refused_unseen(error);
        if unprocessed {
            let status = status::refused(Code::Unavailable, "NOT_SENT", message);
            return SendError::NotProcessed(status, unsent.map(Box::new));
        }
        SendError::Unknown(status::refused(
            Code::Unavailable,
            "CONNECTION_LOST",
            message,
        ))
    }
}

/// Whether the server's HTTP/2 library refused the stream before the application saw it: a
/// REFUSED_STREAM, or a graceful GOAWAY that excludes it.
fn refused_unseen(error: &hyper::Error) -> bool {
    let Some(h2) = error.source().and_then(|e| e.downcast_ref::<h2::Error>()) else {
        return false;
    };
    h2.is_remote()
        && (h2.reason() == Some(h2::Reason::REFUSED_STREAM)
            || (h2.is_go_away() && h2.reason() == Some(h2::Reason::NO_ERROR)))
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
