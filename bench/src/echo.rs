//! The call that is measured: a unary echo of 100 bytes, served by tonic's own transport, which is
//! the same for every contender.

use std::{
    convert::Infallible,
    future::{Future, ready},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Response, uri::PathAndQuery};
use tonic::{
    Request, Status,
    body::Body,
    client::GrpcService,
    server::{NamedService, UnaryService},
    transport::server::TcpIncoming,
};
use tonic_prost::ProstCodec;
use tower::Service;

use crate::Error;

/// 100 bytes: small enough that the cost is the call's, not the copy's.
const PAYLOAD_BYTES: usize = 100;

const PATH: &str = "/mizan.bench.Echo/Unary";

/// The message, there and back.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Payload {
    /// What is echoed.
    #[prost(bytes = "bytes", tag = "1")]
    pub body: Bytes,
}

/// The server half.
#[derive(Debug, Clone, Copy)]
pub struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "mizan.bench.Echo";
}

impl UnaryService<Payload> for Echo {
    type Response = Payload;
    type Future = std::future::Ready<Result<tonic::Response<Payload>, Status>>;

    fn call(&mut self, request: Request<Payload>) -> Self::Future {
        ready(Ok(tonic::Response::new(request.into_inner())))
    }
}

impl Service<http::Request<Body>> for Echo {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::default());
            Ok(grpc.unary(Self, request).await)
        })
    }
}

/// Serves the echo on a listener until the process ends.
///
/// # Errors
/// What the transport says.
pub async fn serve(listener: tokio::net::TcpListener) -> Result<(), Error> {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = tonic::transport::Server::builder().add_service(Echo);
    Ok(server.serve_with_incoming(incoming).await?)
}

/// One client of the echo, or several in turn; clones share whose turn it is.
#[derive(Debug, Clone)]
pub struct Client<T> {
    channels: Vec<tonic::client::Grpc<T>>,
    turn: Arc<AtomicUsize>,
}

impl<T> Client<T>
where
    T: GrpcService<Body>,
    T::ResponseBody: http_body::Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<Error>,
{
    /// A client of these channels: the hand-rolled rotation when there are several.
    #[must_use]
    pub fn new(channels: Vec<T>) -> Self {
        Self {
            channels: channels.into_iter().map(tonic::client::Grpc::new).collect(),
            turn: Arc::new(AtomicUsize::new(0)),
        }
    }

    /// One call; whether the same bytes came back.
    ///
    /// # Errors
    /// The call's status.
    pub async fn call(&mut self, payload: &Payload) -> Result<bool, Status> {
        let index = if self.channels.len() > 1 {
            self.turn.fetch_add(1, Ordering::Relaxed) % self.channels.len()
        } else {
            0
        };
        let Some(client) = self.channels.get_mut(index) else {
            return Err(Status::internal("no channel"));
        };
        // What generated code does.
        client
            .ready()
            .await
            .map_err(|e| Status::unknown(format!("not ready: {}", e.into())))?;
        let path = PathAndQuery::from_static(PATH);
        let request = Request::new(payload.clone());
        let codec = ProstCodec::<Payload, Payload>::default();
        let response = client.unary(request, path, codec).await?;
        Ok(response.get_ref() == payload)
    }
}

/// The payload of every call.
#[must_use]
pub fn payload() -> Payload {
    Payload {
        body: Bytes::from(vec![b'm'; PAYLOAD_BYTES]),
    }
}
