//! Where a connection's bytes travel: TCP, or whatever a user supplies.

use std::{fmt, future::Future, io, pin::Pin, sync::Arc};

use http::uri::Scheme;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

use super::eyeballs;
use crate::discover::unix_path;

/// A byte stream to an instance.
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// The way to an instance, being made.
pub type Connecting<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Transport>>> + Send + 'a>>;

/// Opens the byte streams on which connections speak HTTP/2: for TLS, for a proxy, for Unix
/// sockets, for a simulated network in tests.
pub trait Connector: fmt::Debug + Send + Sync {
    /// Opens a stream to `authority`, a HOST:PORT or `unix:PATH`. It is bounded by the caller:
    /// [`Config::connect_timeout`](super::Config::connect_timeout) covers it too.
    fn connect<'a>(&'a self, authority: &'a str) -> Connecting<'a>;

    /// The `:scheme` of requests: `http` by default, `https` over TLS.
    fn scheme(&self) -> Scheme {
        Scheme::HTTP
    }
}

impl<C: Connector + ?Sized> Connector for Arc<C> {
    fn connect<'a>(&'a self, authority: &'a str) -> Connecting<'a> {
        (**self).connect(authority)
    }

    fn scheme(&self) -> Scheme {
        (**self).scheme()
    }
}

/// Plain TCP, the default, or a Unix socket for an authority `unix:PATH`. Of a name with several
/// addresses, whichever answers first is connected to (RFC 8305): one that swallows what is sent to it
/// costs a quarter of a second. Small frames leave at once (`TCP_NODELAY`): a call must not wait for
/// the acknowledgement of the one before.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tcp;

impl Connector for Tcp {
    fn connect<'a>(&'a self, authority: &'a str) -> Connecting<'a> {
        Box::pin(async move {
            if let Some(path) = unix_path(authority) {
                let stream: Box<dyn Transport> = Box::new(UnixStream::connect(path).await?);
                return Ok(stream);
            }
            let addresses = tokio::net::lookup_host(authority).await?;
            let stream = eyeballs::connect(addresses, TcpStream::connect).await?;
            stream.set_nodelay(true)?;
            let stream: Box<dyn Transport> = Box::new(stream);
            Ok(stream)
        })
    }
}
