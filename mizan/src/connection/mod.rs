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
mod frames;
mod keep_alive;
#[cfg(test)]
pub(crate) mod testing;
mod transport;
mod wire;

use std::{
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
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
pub(crate) use exchange::{Came, Incoming, Payload, SendError};
pub use transport::{Connecting, Connector, Tcp, Transport};

use batched::Batched;
use exchange::Peer;
use keep_alive::CallCount;
use wire::{Watched, Wire};

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
    /// Connects to `authority`, a `host:port`, over TCP.
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

    /// Connects to `authority`, a `host:port`, with these settings, over this connector's streams.
    ///
    /// # Errors
    /// [`ConnectError`] with the system's reason, or what else happened within the limit: a
    /// listener that accepts is not enough, the peer's SETTINGS must arrive.
    pub async fn open_with(
        authority: &str,
        config: &Config,
        connector: &dyn Connector,
    ) -> Result<Self, ConnectError> {
        Self::establish(authority, config, connector)
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
    ) -> Result<Self, String> {
        let limit = config.connect_timeout;
        let parsed: Authority = authority
            .parse()
            .map_err(|_| "not a HOST:PORT".to_owned())?;
        // One too far away to be said is an hour, the most that settings may ask for.
        let hour = Duration::from_secs(3600);
        let end = Instant::now() + limit.min(hour);
        let transport = timeout_at(end, connector.connect(authority))
            .await
            .map_err(|_| format!("timed out after {limit:?}"))?
            .map_err(|error| innermost(&error))?;

        let wire = Arc::new(Wire::new(config.keep_alive_interval.is_some()));
        let (watched, settled) = Watched::new(transport, wire.clone());
        let (send, connection) = timeout_at(end, builder(config).handshake(watched))
            .await
            .map_err(|_| format!("timed out after {limit:?}"))?
            .map_err(|error| innermost(&error))?;
        let peer = Arc::new(Peer {
            authority: parsed,
            scheme: connector.scheme(),
            wire: wire.clone(),
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

    /// The `host:port` it was opened to.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.shared.peer.authority.as_str()
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

    /// Sends one request and waits for the response's headers. Dropped early, the call is cancelled
    /// and the server told so.
    pub(crate) async fn exchange(
        &self,
        request: Request<()>,
        payload: Payload,
    ) -> Result<Response<Incoming>, SendError> {
        exchange::send(&self.shared.send, &self.shared.peer, request, payload).await
    }

    /// The same for a request that is in one piece.
    pub(crate) async fn send(&self, request: Request<Body>) -> Result<Response<Body>, SendError> {
        let (head, body) = request.into_parts();
        let payload = Payload::of(body).await.map_err(SendError::Unknown)?;
        let head = Request::from_parts(head, ());
        Ok(self.exchange(head, payload).await?.map(Body::new))
    }
}

fn builder(config: &Config) -> Builder {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(config.stream_window)
        .initial_connection_window_size(config.connection_window)
        .max_header_list_size(config.headers_max);
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
