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
                let mut grpc = Grpc::new(Encoded::<ListInstancesRequest>::default());
                Ok(grpc.unary(list, request).await)
            }
            .boxed(),
            WATCH => async move {
                let watch = service_fn(|request: Request<WatchInstancesRequest>| {
                    ready(api.watch(request.into_inner()).map(Response::new))
                });
                let mut grpc = Grpc::new(Encoded::<WatchInstancesRequest>::default());
                Ok(grpc.server_streaming(watch, request).await)
            }
            .boxed(),
            _ => self.generated.call(request),
        }
    }
}

/// Reads `Q`, and writes what is encoded already.
#[derive(Debug)]
struct Encoded<Q>(PhantomData<fn() -> Q>);

impl<Q> Default for Encoded<Q> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<Q: Message + Default + Send + 'static> Codec for Encoded<Q> {
    type Encode = Bytes;
    type Decode = Q;
    type Encoder = AsItIs;
    type Decoder = ProstDecoder<Q>;

    fn encoder(&mut self) -> AsItIs {
        AsItIs
    }

    fn decoder(&mut self) -> ProstDecoder<Q> {
        ProstCodec::<Q, Q>::raw_decoder(BufferSettings::default())
    }
}

#[derive(Debug)]
struct AsItIs;

impl Encoder for AsItIs {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, bytes: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(bytes);
        Ok(())
    }
}
