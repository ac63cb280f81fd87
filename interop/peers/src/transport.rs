//! Mizan's server and channel, or tonic's.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response};
use mizan::{Channel, Server, retry::Policy};
use tokio::net::TcpListener;
use tonic::{Status, body::Body, server::NamedService, transport};
use tower::Service;

/// Serves until it is killed.
///
/// # Panics
/// If it cannot.
pub async fn serve<S>(which: &str, web: bool, listener: TcpListener, service: S)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
{
    if which == "tonic" {
        let incoming = transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
        let mut server = transport::Server::builder().accept_http1(true);
        let served = match web {
            true => {
                let layered = tower::Layer::layer(&tonic_web::GrpcWebLayer::new(), service);
                server
                    .add_service(layered)
                    .serve_with_incoming(incoming)
                    .await
            }
            false => {
                server
                    .add_service(service)
                    .serve_with_incoming(incoming)
                    .await
            }
        };
        return served.expect("tonic serves");
    }
    let server = Server::builder("peer")
        .unregistered()
        .descriptors(crate::DESCRIPTORS);
    let server = if web { server.grpc_web() } else { server };
    let served = server
        .add_service(service)
        .serve(listener, std::future::pending());
    served.await.expect("Mizan serves");
}

/// A client's channel.
#[derive(Clone)]
pub enum Client {
    /// Ours.
    Mizan(Channel),
    /// tonic's.
    Tonic(transport::Channel),
}

/// `mizan`: without retries and breaker, which the suites would take for the caller's; `mizan-default`: as
/// a user gets it; `tonic`.
///
/// # Panics
/// If the address is none.
pub fn connect(which: &str, authority: &str) -> Client {
    let contracts = crate::DESCRIPTORS;
    let channel = Channel::builder("peer")
        .fixed(vec![authority.to_owned()])
        .contracts(contracts);
    match which {
        "tonic" => {
            let endpoint = transport::Endpoint::from_shared(format!("http://{authority}"));
            Client::Tonic(endpoint.expect("an address").connect_lazy())
        }
        "mizan-default" => Client::Mizan(channel.connect().expect("a channel")),
        _ => {
            let bare = channel.retry(Policy::never()).no_breaker().no_deadline();
            Client::Mizan(bare.connect().expect("a channel"))
        }
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

impl Service<Request<Body>> for Client {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Answer;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Status>> {
        match self {
            Self::Mizan(channel) => channel.poll_ready(context),
            Self::Tonic(channel) => channel.poll_ready(context).map_err(status),
        }
    }

    fn call(&mut self, request: Request<Body>) -> Answer {
        match self {
            Self::Mizan(channel) => Box::pin(channel.call(request)),
            Self::Tonic(channel) => {
                let answer = channel.call(request);
                Box::pin(async move { answer.await.map_err(status) })
            }
        }
    }
}

fn status(error: transport::Error) -> Status {
    Status::from_error(Box::new(error))
}
