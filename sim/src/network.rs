//! The simulated network, where connections and listeners are asked for.

use std::{io, net::SocketAddr};

use mizan::{
    connection::{Connecting, Connector, Transport},
    server::{Accept, Accepted, Accepting, Listener},
};
use turmoil::net::{TcpListener, TcpStream};

/// Connects over the simulated network.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Simulated;

impl Connector for Simulated {
    fn connect<'a>(&'a self, authority: &'a str) -> Connecting<'a> {
        Box::pin(async move {
            let stream = TcpStream::connect(authority).await?;
            let stream: Box<dyn Transport> = Box::new(stream);
            Ok(stream)
        })
    }
}

/// Listens on a port of this machine, whose name is `host`.
pub(crate) async fn listen(host: &str, port: u16) -> io::Result<Listener> {
    let listener = TcpListener::bind(("0.0.0.0", port)).await?;
    let address = SocketAddr::new(turmoil::lookup(host), port);
    Ok(Listener::new(Listening { listener, address }))
}

struct Listening {
    listener: TcpListener,
    address: SocketAddr,
}

impl std::fmt::Debug for Listening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Listening").field(&self.address).finish()
    }
}

impl Accept for Listening {
    fn accept(&self) -> Accepting<'_> {
        Box::pin(async move {
            let (stream, _) = self.listener.accept().await?;
            Ok(Accepted::new(stream))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}
