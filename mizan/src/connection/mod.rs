//! One HTTP/2 connection to one instance: a clonable handle that generated tonic clients take.
//!
//! *What it does.* A call is written by the task that makes it, straight into the HTTP/2 library's
//! buffers, and its response is read by that task: there is no queue, no worker and no task per
//! call between the caller and the connection. A connection is open once the peer's SETTINGS
//! arrived, because a listener that accepts is not yet a server that answers. It ends for new calls
//! the moment the peer's GOAWAY is read; what it carries then is finished. It never reconnects: it
//! says that it ended ([`Connection::closed`]), and its owner opens another. When many calls in a
//! row are given up and nothing is heard meanwhile, it asks the peer by a PING and sends no further
//! call until something arrives: a peer too busy to answer is not sent a storm of resets.
//!
//! *What it does not do.* Deadlines, retries, balancing: those belong to the channel.

mod batched;
mod config;
mod exchange;
mod eyeballs;
mod failure;
mod frames;
mod headers;
mod incoming;
mod keep_alive;
mod streams;
#[cfg(test)]
pub(crate) mod testing;
mod transport;
mod wire;

use std::{
    error::Error,
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use h2::client::{self, Builder, SendRequest};
use http::{Request, Response, uri::Authority};
use tokio::time::{Instant, timeout_at};
use tonic::{Status, body::Body};

pub use config::{Config, InvalidConfig};
pub(crate) use exchange::Payload;
pub(crate) use failure::SendError;
pub(crate) use incoming::{Came, Incoming};
pub(crate) use streams::{Freed, Slot, Waiting};
pub use transport::{Connecting, Connector, Tcp, Transport};

use batched::Batched;
use exchange::Peer;
use keep_alive::CallCount;
use wire::{Watched, Wire};

use crate::discover::unix_path;

/// An open HTTP/2 connection. Clones share it; it closes when all of them are gone and the calls it
/// carries are over.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Shared>,
}

/// What the clones of a handle share. Its calls do not hold it, only the peer: so it closes with
/// the last handle.
struct Shared {
    send: SendRequest<Bytes>,
    peer: Arc<Peer>,
    wire: Arc<Wire>,
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

impl Connection {
    /// Connects to `authority`, a `host:port` over TCP, or a `unix:PATH`.
    ///
    /// # Errors
    /// [`ConnectError`] with the system's reason, or what else happened within `limit`.
    pub async fn open(authority: &str, limit: Duration) -> Result<Self, ConnectError> {
        let config = Config {
            connect_timeout: limit,
            ..Config::default()
        };
        Self::open_with(authority, &config, &Tcp).await
    }

    /// Connects to `authority`, a `host:port` or `unix:PATH`, with these settings, over this connector's streams.
    ///
    /// # Errors
    /// [`ConnectError`] with the system's reason, or what else happened within the limit: a
    /// listener that accepts is not enough, the peer's SETTINGS must arrive.
    pub async fn open_with(
        authority: &str,
        config: &Config,
        connector: &dyn Connector,
    ) -> Result<Self, ConnectError> {
        Self::open_among(authority, config, connector, Arc::default()).await
    }

    /// The same, one of several connections that tell `freed` when they have a free stream.
    pub(crate) async fn open_among(
        authority: &str,
        config: &Config,
        connector: &dyn Connector,
        freed: Arc<Freed>,
    ) -> Result<Self, ConnectError> {
        let wire = Wire::new(
            config.keep_alive_interval.is_some(),
            freed,
            wire::RESETS_MAX,
        );
        Self::establish(authority, config, connector, wire)
            .await
            .map_err(|reason| ConnectError {
                authority: authority.to_owned(),
                reason,
            })
    }

    async fn establish(
        authority: &str,
        config: &Config,
        connector: &dyn Connector,
        wire: Wire,
    ) -> Result<Self, String> {
        let limit = config.connect_timeout;
        let called = match unix_path(authority) {
            Some(_) => OVER_UNIX,
            None => authority,
        };
        let called: Authority = called.parse().map_err(|_| "not a HOST:PORT".to_owned())?;
        // One too far away to be said is an hour, the most that settings may ask for.
        let hour = Duration::from_secs(3600);
        let end = Instant::now() + limit.min(hour);
        let transport = timeout_at(end, connector.connect(authority))
            .await
            .map_err(|_| format!("timed out after {limit:?}"))?
            .map_err(|error| innermost(&error))?;

        let wire = Arc::new(wire);
        let (watched, settled) = Watched::new(transport, wire.clone());
        let (send, connection) = timeout_at(end, builder(config).handshake(watched))
            .await
            .map_err(|_| format!("timed out after {limit:?}"))?
            .map_err(|error| innermost(&error))?;
        let peer = Arc::new(Peer {
            address: authority.to_owned(),
            authority: called,
            scheme: connector.scheme(),
            wire: wire.clone(),
            headers_max: config.headers_max,
        });
        spawn(connection, &wire, &peer, config);
        match timeout_at(end, settled).await {
            Ok(Ok(Ok(()))) => Ok(Self {
                shared: Arc::new(Shared { send, peer, wire }),
            }),
            Ok(Ok(Err(stranger))) => Err(stranger.to_owned()),
            Ok(Err(_)) => Err("it accepts connections and closes them".to_owned()),
            Err(_) => Err(format!(
                "it accepts connections, but sent no HTTP/2 SETTINGS within {limit:?}"
            )),
        }
    }

    /// The `host:port` or `unix:PATH` it was opened to.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.shared.peer.address
    }

    /// Whether the connection is gone, or going (the server sent GOAWAY): a call made now would not
    /// be sent.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.wire.is_over()
    }

    /// Whether calls are given up on it and nothing arrives: one made now would wait, unsent, for a
    /// sign of life.
    pub(crate) fn is_stalled(&self) -> bool {
        self.shared.wire.is_stalled()
    }

    /// Whether calls on it are given up one after another, and none is answered, though the peer may
    /// show signs of life.
    pub(crate) fn is_fruitless(&self) -> bool {
        self.shared.wire.is_fruitless()
    }

    /// Waits until the connection is gone, or going.
    pub async fn closed(&self) {
        self.shared.wire.ending().await;
    }

    /// Why the connection ended, once it has.
    pub(crate) fn reason(&self) -> String {
        self.shared.wire.reason().unwrap_or_default()
    }

    /// Whether it ended because the server finds our keepalive too eager (gRFC A8).
    pub(crate) fn pinged_too_often(&self) -> bool {
        let goodbye = self.shared.wire.goodbye();
        goodbye.is_some_and(|goodbye| goodbye.is_too_many_pings())
    }

    /// Whether the peer takes another stream now.
    pub(crate) fn has_free_stream(&self) -> bool {
        self.shared.wire.streams().has_free()
    }

    /// How many streams it carries, and how many it ever began: the same twice, and none, is a
    /// connection at rest.
    pub(crate) fn streams(&self) -> (u32, u32) {
        let streams = self.shared.wire.streams();
        (streams.taken(), streams.begun())
    }

    /// Which it is.
    #[cfg(test)]
    pub(crate) fn id(&self) -> usize {
        Arc::as_ptr(&self.shared).addr()
    }

    /// A place for one call, if the peer takes another stream now.
    pub(crate) fn slot(&self) -> Option<Slot> {
        Slot::take(&self.shared.peer)
    }

    /// The same, waited for. `None` when the connection ends before.
    async fn slot_waited(&self) -> Option<Slot> {
        if let Some(slot) = self.slot() {
            return Some(slot);
        }
        let freed = self.shared.wire.streams().freed();
        let _waiting = freed.join(u32::MAX)?;
        loop {
            let mut told = pin!(freed.told());
            // From now on it is told, so that nothing falls between.
            told.as_mut().enable();
            if let Some(slot) = self.slot() {
                return Some(slot);
            }
            tokio::select! {
                () = told => {}
                () = self.closed() => return None,
            }
        }
    }

    /// Sends one request in its place and waits for the response's headers. Dropped early, the call
    /// is cancelled and the server told so.
    pub(crate) async fn exchange(
        &self,
        slot: Slot,
        request: Request<()>,
        payload: Payload,
    ) -> Result<Response<Incoming>, SendError> {
        exchange::send(&self.shared.send, slot, request, payload).await
    }

    /// The same for a request that is in one piece, when there is a place for it.
    pub(crate) async fn send(&self, request: Request<Body>) -> Result<Response<Body>, SendError> {
        let slot = self.slot_waited().await;
        let slot = slot.ok_or_else(|| failure::not_sent(&self.shared.peer))?;
        self.send_in(slot, request).await
    }

    /// The same in a place that it has.
    pub(crate) async fn send_in(
        &self,
        slot: Slot,
        request: Request<Body>,
    ) -> Result<Response<Body>, SendError> {
        let (head, body) = request.into_parts();
        let payload = Payload::of(body).await.map_err(SendError::Ours)?;
        let head = Request::from_parts(head, ());
        Ok(self.exchange(slot, head, payload).await?.map(Body::new))
    }
}

/// The `:authority` of calls over a Unix socket, as other gRPC clients say it: a path is none.
const OVER_UNIX: &str = "localhost";

/// The most that the HTTP/2 library reads of headers, at least: what is above our own limit is read,
/// and refused by us, so that one answer's size ends neither its connection nor says less than it could.
const HEADERS_READ: u32 = 256 << 10;

/// How many streams that were reset are remembered, and how long: what still comes of them is
/// passed over. Later it is answered by a reset of its own.
const RESETS_REMEMBERED: usize = 4096;
const RESETS_REMEMBERED_FOR: Duration = Duration::from_secs(30);

fn builder(config: &Config) -> Builder {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(config.stream_window)
        .initial_connection_window_size(config.connection_window)
        .max_header_list_size(config.headers_max.saturating_mul(4).max(HEADERS_READ))
        .max_concurrent_reset_streams(RESETS_REMEMBERED)
        .reset_stream_duration(RESETS_REMEMBERED_FOR)
        .max_local_error_reset_streams(Some(wire::STRAYS_MAX));
    builder
}

/// Drives the connection, and keepalive beside it, until it ends.
fn spawn(
    connection: client::Connection<Watched, Bytes>,
    wire: &Arc<Wire>,
    peer: &Arc<Peer>,
    config: &Config,
) {
    let mut connection = connection;
    let pings = connection.ping_pong();
    let gone = Gone(wire.clone());
    let driver = tokio::spawn(async move {
        if let Err(error) = Batched::new(connection).await {
            gone.0.end(|| innermost(&error));
        }
    });
    if let Some(pings) = pings.filter(|_| config.keep_alive_interval.is_some()) {
        let calls = CallCount(Arc::downgrade(peer));
        let connection = driver.abort_handle();
        let config = config.clone();
        tokio::spawn(keep_alive::keep(
            pings,
            wire.clone(),
            calls,
            config,
            connection,
        ));
    }
}

/// Says that the connection is gone, also when its task was aborted.
struct Gone(Arc<Wire>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.lost();
        let reason = self.0.reason().unwrap_or_default();
        tracing::debug!(%reason, "connection ended");
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
            .field("authority", &self.authority())
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
            connection
                .send(request)
                .await
                .map_err(SendError::into_status)
        })
    }
}

#[cfg(test)]
mod tests;
