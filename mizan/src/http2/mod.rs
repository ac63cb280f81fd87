//! One HTTP/2 connection as gRPC uses it, straight on `h2`.
//!
//! A call writes its headers and its message into the connection's own buffers and waits for its
//! own stream: there is no queue, no worker and no task between a caller and the connection. One
//! task a connection ([`driver`]) moves bytes between these buffers and the socket. A request that
//! is a stream has a task of its own that obeys flow control ([`body`]).

mod body;
mod driver;
mod watched;

use std::{
    future::poll_fn,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use http::{Request, Response};
use http_body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::body::Body;

pub(crate) use body::Incoming;
use body::{Pumping, pump};
use watched::{Seen, Watched};

/// How much a peer may send before we have read it: a message of the largest default size (4 MiB)
/// never waits for a window, and neither do sixteen of 1 MiB at once.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// When a silent connection is asked whether the other side is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeepAlive {
    /// How long nothing must have been heard.
    pub(crate) interval: Duration,
    /// How long the answer may take.
    pub(crate) timeout: Duration,
    /// Also when no call is under way.
    pub(crate) while_idle: bool,
}

/// What a request carries.
#[derive(Debug)]
pub(crate) enum Payload {
    /// All of it, encoded.
    Whole(Bytes),
    /// A stream.
    Stream(Body),
}

/// Why a request got no response.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It never left; here it is again.
    NotSent(Box<Payload>, h2::Error),
    /// The server's HTTP/2 library turned it away before the application saw it.
    RefusedUnseen(h2::Error),
    /// Nobody knows whether the application saw it.
    Unknown(h2::Error),
}

/// A handle of a connection; clones share it, and it closes when the last is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    send: SendRequest<Bytes>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Arc<State>,
    /// Tells the driver that no handle is left.
    _dropped: DropGuard,
}

/// What the driver and the handles tell each other.
#[derive(Debug, Default)]
struct State {
    /// The other side takes no further requests; those under way may still be answered.
    going: AtomicBool,
    /// Cancelled when `going` is set, or the connection is gone.
    draining: CancellationToken,
    /// Cancelled when the connection is gone.
    closed: CancellationToken,
    /// How many calls are under way; counted only if an idle connection is not to be pinged.
    under_way: Option<AtomicUsize>,
    /// Why it is gone, unless both sides simply had enough.
    ended: OnceLock<Ended>,
}

/// How a connection ended.
#[derive(Debug)]
struct Ended {
    /// The reason that the other side, or our own library, gave.
    reason: Option<h2::Reason>,
    message: String,
}

impl State {
    fn go(&self) {
        self.going.store(true, Ordering::Relaxed);
        self.draining.cancel();
    }
}

/// A call, while it is counted.
#[derive(Debug)]
struct UnderWay(Arc<State>);

impl UnderWay {
    fn count(state: &Arc<State>) -> Option<Self> {
        state.under_way.as_ref()?.fetch_add(1, Ordering::Relaxed);
        Some(Self(state.clone()))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(count) = &self.0.under_way {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Handle {
    /// Speaks HTTP/2 over `io`, from a task of its own. It is open once the other side's SETTINGS
    /// have come, which proves that HTTP/2 is spoken there.
    pub(crate) async fn open<IO>(io: IO, keep_alive: Option<KeepAlive>) -> Result<Self, String>
    where
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let seen = Arc::new(Seen::default());
        let (send, connection) = Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .enable_push(false)
            .handshake(Watched::new(io, seen.clone()))
            .await
            .map_err(|error| error.to_string())?;
        let only_busy = keep_alive.is_some_and(|config| !config.while_idle);
        let state = Arc::new(State {
            under_way: only_busy.then(AtomicUsize::default),
            ..State::default()
        });
        let dropped = CancellationToken::new();
        let driver = driver::Driver::new(
            connection,
            send.clone(),
            state.clone(),
            seen.clone(),
            dropped.clone(),
            keep_alive,
        );
        tokio::spawn(driver);
        let shared = Arc::new(Shared {
            state,
            _dropped: dropped.drop_guard(),
        });
        let handle = Self { send, shared };
        tokio::select! {
            () = seen.settings() => Ok(handle),
            () = handle.shared.state.closed.cancelled() => {
                let ended = handle.shared.state.ended.get();
                let why = ended.map_or("it closed the connection", |ended| &ended.message);
                Err(format!("no HTTP/2 there: {why}"))
            }
        }
    }

    /// Whether no further request can be sent: the connection is gone, or the server said GOAWAY.
    pub(crate) fn is_closed(&self) -> bool {
        self.shared.state.going.load(Ordering::Relaxed)
    }

    /// Waits until no further request can be sent.
    pub(crate) async fn draining(&self) {
        self.shared.state.draining.cancelled().await;
    }

    /// Waits until the connection is gone.
    pub(crate) async fn closed(&self) {
        self.shared.state.closed.cancelled().await;
    }

    /// What the other side said when it closed the connection, if it gave a reason.
    pub(crate) fn reason(&self) -> Option<h2::Reason> {
        self.shared.state.ended.get()?.reason
    }

    /// Sends one request and waits for the response's headers.
    pub(crate) async fn send(
        &self,
        request: Request<()>,
        payload: Payload,
    ) -> Result<Response<Incoming>, Failure> {
        let mut send = self.send.clone();
        if let Err(error) = poll_fn(|context| send.poll_ready(context)).await {
            self.shared.state.go();
            return Err(Failure::NotSent(Box::new(payload), error));
        }
        let empty = match &payload {
            Payload::Whole(bytes) => bytes.is_empty(),
            Payload::Stream(body) => body.is_end_stream(),
        };
        let (response, mut stream) = match send.send_request(request, empty) {
            Ok(begun) => begun,
            Err(error) => return Err(Failure::NotSent(Box::new(payload), error)),
        };
        drop(send);
        let under_way = UnderWay::count(&self.shared.state);
        let pumping = match payload {
            _ if empty => None,
            Payload::Whole(bytes) => {
                stream.send_data(bytes, true).map_err(unanswered)?;
                None
            }
            Payload::Stream(body) => Some(Pumping::new(tokio::spawn(pump(body, stream)))),
        };
        let response = response.await.map_err(unanswered)?;
        Ok(response.map(|received| Incoming::new(received, pumping, under_way)))
    }
}

/// An error on a stream that was begun.
fn unanswered(error: h2::Error) -> Failure {
    // Either a REFUSED_STREAM, or a graceful GOAWAY whose last stream came before this one.
    let unseen = error.is_remote()
        && (error.reason() == Some(h2::Reason::REFUSED_STREAM)
            || (error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR)));
    if unseen {
        Failure::RefusedUnseen(error)
    } else {
        Failure::Unknown(error)
    }
}

#[cfg(test)]
mod tests;
