//! The answers that many ask for, given out as they were encoded once: ListInstances and
//! WatchInstances. Everything else goes through the generated server.

use std::{
    convert::Infallible,
    future::ready,
    marker::PhantomData,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{BufMut as _, Bytes};
use futures_util::{FutureExt as _, future::BoxFuture};
use mizan_contracts::registry::v1::{
    ListInstancesRequest, WatchInstancesRequest, registry_service_server::RegistryServiceServer,
};
use prost::Message;
use tonic::{
    Request, Response, Status,
    body::Body,
    codec::{BufferSettings, Codec, EncodeBuf, Encoder},
    server::{Grpc, NamedService},
};
use tonic_prost::{ProstCodec, ProstDecoder};
use tower::{Service, service_fn};

use crate::api::grpc::Api;

const LIST: &str = "/mizan.registry.v1.RegistryService/ListInstances";
const WATCH: &str = "/mizan.registry.v1.RegistryService/WatchInstances";

/// The whole RegistryService.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    api: Arc<Api>,
    generated: RegistryServiceServer<Api>,
}

impl Server {
    /// Serves this.
    pub(crate) fn new(api: Api) -> Self {
        let api = Arc::new(api);
        Self {
            generated: RegistryServiceServer::from_arc(Arc::clone(&api)),
            api,
        }
    }
}

impl NamedService for Server {
    const NAME: &'static str = RegistryServiceServer::<Api>::NAME;
}

impl Service<http::Request<Body>> for Server {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let api = Arc::clone(&self.api);
        match request.uri().path() {
            LIST => async move {
                let list = service_fn(|request: Request<ListInstancesRequest>| {
                    ready(api.list(request.into_inner()).map(Response::new))
                });
                let mut grpc = Grpc::new(Encoded::<ListInstancesRequest>::new(LISTED_BYTES));
                Ok(grpc.unary(list, request).await)
            }
            .boxed(),
            WATCH => async move {
                let watch = service_fn(|request: Request<WatchInstancesRequest>| {
                    ready(api.watch(request.into_inner()).map(Response::new))
                });
                let mut grpc = Grpc::new(Encoded::<WatchInstancesRequest>::new(WATCHED_BYTES));
                Ok(grpc.server_streaming(watch, request).await)
            }
            .boxed(),
            _ => self.generated.call(request),
        }
    }
}

/// The room for an answer before it is known how long it is.
const LISTED_BYTES: usize = 8 * 1024;

/// The same of a watch, which holds it for as long as it lasts: ten thousand that wait are not to hold
/// a page or two each for what they may be told some day.
const WATCHED_BYTES: usize = 128;

/// How much may gather before it is handed on, as `tonic` has it.
const YIELD_BYTES: usize = 32 * 1024;

/// Reads `Q`, and writes what is encoded already.
#[derive(Debug)]
struct Encoded<Q> {
    buffer: usize,
    reads: PhantomData<fn() -> Q>,
}

impl<Q> Encoded<Q> {
    fn new(buffer: usize) -> Self {
        let reads = PhantomData;
        Self { buffer, reads }
    }
}

impl<Q: Message + Default + Send + 'static> Codec for Encoded<Q> {
    type Encode = Bytes;
    type Decode = Q;
    type Encoder = AsItIs;
    type Decoder = ProstDecoder<Q>;

    fn encoder(&mut self) -> AsItIs {
        AsItIs {
            buffer: self.buffer,
        }
    }

    fn decoder(&mut self) -> ProstDecoder<Q> {
        ProstCodec::<Q, Q>::raw_decoder(BufferSettings::default())
    }
}

#[derive(Debug)]
struct AsItIs {
    buffer: usize,
}

impl Encoder for AsItIs {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, bytes: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(bytes);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(self.buffer, YIELD_BYTES)
    }
}
