//! Where a server's connections come from: TCP, or whatever a user supplies.

use std::{fmt, future::Future, io, net::SocketAddr, pin::Pin};

use tokio::net::TcpListener;

use crate::connection::Transport;

/// A byte stream from a client.
pub struct Accepted {
    /// The stream.
    pub stream: Box<dyn Transport>,
    /// The address of ours that the client connected to, where there is one.
    pub local: Option<SocketAddr>,
    /// The client's address, where there is one.
    pub remote: Option<SocketAddr>,
}

impl Accepted {
    /// A stream without addresses: of a simulated network, say.
    #[must_use]
    pub fn new(stream: impl Transport + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            local: None,
            remote: None,
        }
    }
}

impl fmt::Debug for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepted")
            .field("local", &self.local)
            .field("remote", &self.remote)
            .finish_non_exhaustive()
    }
}

/// The next client, being waited for.
pub type Accepting<'a> = Pin<Box<dyn Future<Output = io::Result<Accepted>> + Send + 'a>>;

/// Accepts the byte streams on which a server speaks HTTP: for TLS, for a simulated network in
/// tests. The counterpart of a channel's [`Connector`](crate::connection::Connector).
pub trait Accept: fmt::Debug + Send + Sync {
    /// Waits for the next stream. Dropped before it is ready, it has taken none.
    fn accept(&self) -> Accepting<'_>;

    /// The address that it listens on.
    ///
    /// # Errors
    /// The system's.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// What a server serves on: a bound TCP listener, or another source of streams.
#[derive(Debug)]
pub struct Listener(Box<dyn Accept>);

impl Listener {
    /// Another source of streams than TCP.
    #[must_use]
    pub fn new(source: impl Accept + 'static) -> Self {
        Self(Box::new(source))
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// The system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    pub(super) fn accept(&self) -> Accepting<'_> {
        self.0.accept()
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::new(listener)
    }
}

impl Accept for TcpListener {
    fn accept(&self) -> Accepting<'_> {
        Box::pin(async move {
            let (stream, remote) = Self::accept(self).await?;
            // Without it a small answer waits for the client's acknowledgement of the one before.
            let _ = stream.set_nodelay(true);
            Ok(Accepted {
                local: stream.local_addr().ok(),
                remote: Some(remote),
                stream: Box::new(stream),
            })
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Self::local_addr(self)
    }
}
