//! Where a server's connections come from: TCP, or whatever a user supplies.

use std::{fmt, io, net::SocketAddr};

use tokio::net::TcpListener;

use crate::connection::{Connecting, Transport};

/// Accepts the byte streams on which a server speaks HTTP: for TLS, for a simulated network in
/// tests. The counterpart of a channel's [`Connector`](crate::connection::Connector).
pub trait Accept: fmt::Debug + Send + Sync {
    /// Waits for the next stream. Dropped before it is ready, it has taken none.
    fn accept(&self) -> Connecting<'_>;

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

    pub(super) fn accept(&self) -> Connecting<'_> {
        self.0.accept()
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::new(listener)
    }
}

impl Accept for TcpListener {
    fn accept(&self) -> Connecting<'_> {
        Box::pin(async move {
            let (stream, _) = Self::accept(self).await?;
            // Without it a small answer waits for the client's acknowledgement of the one before.
            let _ = stream.set_nodelay(true);
            let stream: Box<dyn Transport> = Box::new(stream);
            Ok(stream)
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Self::local_addr(self)
    }
}
