//! Where a server's connections come from: TCP, or whatever a user supplies.

use std::{fmt, future::Future, io, net::SocketAddr, pin::Pin, sync::Arc};

use http::Extensions;
use tokio::net::TcpListener;
use tonic::transport::server::{Connected, TcpConnectInfo};

use crate::connection::Transport;

/// A byte stream from a client.
pub struct Accepted {
    /// The stream.
    pub stream: Box<dyn Transport>,
    /// The address of ours that the client connected to, where there is one.
    pub local: Option<SocketAddr>,
    /// The client's address, where there is one.
    pub remote: Option<SocketAddr>,
    /// What each request of this stream tells its handler of the client.
    pub info: ConnectInfo,
}

/// What the requests of a connection carry in their extensions, for their handlers to find.
#[derive(Clone, Default)]
pub struct ConnectInfo(Option<Arc<Put>>);

/// Puts what is known into the extensions of a request.
type Put = dyn Fn(&mut Extensions) + Send + Sync;

impl ConnectInfo {
    /// One value, such as tonic's [`TcpConnectInfo`].
    #[must_use]
    pub fn new(value: impl Clone + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(move |extensions| {
            extensions.insert(value.clone());
        })))
    }

    /// The same, and another value.
    #[must_use]
    pub fn and(self, value: impl Clone + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(move |extensions| {
            self.put(extensions);
            extensions.insert(value.clone());
        })))
    }

    pub(super) fn put(&self, extensions: &mut Extensions) {
        if let Some(put) = &self.0 {
            put(extensions);
        }
    }
}

impl fmt::Debug for ConnectInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectInfo").finish_non_exhaustive()
    }
}

impl Accepted {
    /// A stream without addresses: of a simulated network, say.
    #[must_use]
    pub fn new(stream: impl Transport + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            local: None,
            remote: None,
            info: ConnectInfo::default(),
        }
    }

    /// A stream that knows its client as tonic's do: TCP, a Unix socket, TLS over TCP (by
    /// `tokio_rustls`, where tonic has a feature for TLS), or one of your own. So handlers find
    /// `TlsConnectInfo` and `Request::peer_certs`. The addresses are set apart from it.
    #[must_use]
    pub fn connected<S: Transport + Connected + 'static>(stream: S) -> Self {
        let info = ConnectInfo::new(stream.connect_info());
        Self {
            info,
            ..Self::new(stream)
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
    /// The system's; `Unsupported`, the default, where there is none.
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Where it listens, in words for the log. By default the address.
    fn place(&self) -> String {
        let address = self.local_addr();
        address.map_or_else(|_| "a source without an address".into(), |a| a.to_string())
    }
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

    /// The address, unless it listens on something that has none.
    pub(super) fn address(&self) -> io::Result<Option<SocketAddr>> {
        match self.0.local_addr() {
            Ok(address) => Ok(Some(address)),
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn place(&self) -> String {
        self.0.place()
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

impl From<super::unix::Unix> for Listener {
    fn from(listener: super::unix::Unix) -> Self {
        Self::new(listener)
    }
}

impl Accept for TcpListener {
    fn accept(&self) -> Accepting<'_> {
        Box::pin(async move {
            let (stream, remote) = Self::accept(self).await?;
            // Without it a small answer waits for the client's acknowledgement of the one before.
            let _ = stream.set_nodelay(true);
            let local = stream.local_addr().ok();
            let info = TcpConnectInfo {
                local_addr: local,
                remote_addr: Some(remote),
            };
            Ok(Accepted {
                local,
                remote: Some(remote),
                info: ConnectInfo::new(info),
                stream: Box::new(stream),
            })
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Self::local_addr(self)
    }
}
