//! The answers that many ask for, given out as they were encoded once: ListInstances and
//! WatchInstances. Everything else goes through the generated server.

use std::{
    convert::Infallible,
    future::ready,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::{FutureExt as _, Stream, future::BoxFuture, stream};
use http_body::Frame;
use mizan_contracts::registry::v1::{
    ListInstancesRequest, WatchInstancesRequest, registry_service_server::RegistryServiceServer,
};
use tonic::{
    Request, Response, Status,
    body::Body,
    codec::CompressionEncoding,
    server::{Grpc, NamedService},
};
use tonic_prost::ProstCodec;
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
            generated: RegistryServiceServer::from_arc(Arc::clone(&api))
                .accept_compressed(CompressionEncoding::Gzip)
                .accept_compressed(CompressionEncoding::Zstd),
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
                let mut listed = None;
                let list = service_fn(|request: Request<ListInstancesRequest>| {
                    let list = api.list(request.into_inner());
                    ready(list.map(|answer| {
                        listed = Some(answer);
                        Response::new(())
                    }))
                });
                let mut grpc = taking(Grpc::new(ProstCodec::<(), ListInstancesRequest>::default()));
                let response = grpc.unary(list, request).await;
                let answers = listed.map(|answer| stream::iter([Ok(answer)]));
                Ok(answered(response, answers))
            }
            .boxed(),
            WATCH => async move {
                let mut watched = None;
                let watch = service_fn(|request: Request<WatchInstancesRequest>| {
                    let watch = api.watch(request);
                    ready(watch.map(|answers| {
                        watched = Some(answers);
                        Response::new(stream::empty())
                    }))
                });
                let mut grpc =
                    taking(Grpc::new(ProstCodec::<(), WatchInstancesRequest>::default()));
                let response = grpc.server_streaming(watch, request).await;
                Ok(answered(response, watched))
            }
            .boxed(),
            _ => self.generated.call(request),
        }
    }
}

/// With requests that are compressed.
fn taking<T: tonic::codec::Codec>(grpc: Grpc<T>) -> Grpc<T> {
    grpc.accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd)
}

/// A response with these messages instead of those that the library would have written into a
/// buffer of their own for each caller; the refusal that it is when there are none.
fn answered<S>(response: http::Response<Body>, messages: Option<S>) -> http::Response<Body>
where
    S: Stream<Item = Result<Bytes, Status>> + Send + Unpin + 'static,
{
    let Some(messages) = messages else {
        return response;
    };
    response.map(|_| {
        Body::new(Messages {
            messages,
            message: Bytes::new(),
            ended: false,
        })
    })
}

/// Up to this size a message is copied behind its prefix: cheaper than a frame of its own.
const COPIED_BYTES: usize = 4 * 1024;

/// What gRPC puts before a message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// Messages on their way, shared by all who are sent the same, and the status behind them.
struct Messages<S> {
    messages: S,
    /// What follows its prefix.
    message: Bytes,
    ended: bool,
}

impl<S> http_body::Body for Messages<S>
where
    S: Stream<Item = Result<Bytes, Status>> + Unpin,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if !self.message.is_empty() {
            let message = std::mem::take(&mut self.message);
            return Poll::Ready(Some(Ok(Frame::data(message))));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        let next = match Pin::new(&mut self.messages).poll_next(context) {
            Poll::Ready(next) => next,
            Poll::Pending => return Poll::Pending,
        };
        let status = match next {
            Some(Ok(message)) => match prefixed(message) {
                Ok((begin, rest)) => {
                    self.message = rest;
                    return Poll::Ready(Some(Ok(Frame::data(begin))));
                }
                Err(status) => status,
            },
            Some(Err(status)) => status,
            None => Status::ok(""),
        };
        self.ended = true;
        let mut trailers = http::HeaderMap::new();
        status.add_header(&mut trailers)?;
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

/// A message as gRPC frames it: what is to be sent first, and what then, if anything.
fn prefixed(message: Bytes) -> Result<(Bytes, Bytes), Status> {
    let Ok(length) = u32::try_from(message.len()) else {
        return Err(Status::out_of_range("the answer is longer than gRPC takes"));
    };
    let copied = if message.len() <= COPIED_BYTES {
        message.len()
    } else {
        0
    };
    let mut begin = BytesMut::with_capacity(PREFIX_BYTES + copied);
    begin.put_u8(0);
    begin.put_u32(length);
    if copied == message.len() {
        begin.put(message);
        return Ok((begin.freeze(), Bytes::new()));
    }
    Ok((begin.freeze(), message))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use tonic::Code;

    use super::*;

    async fn sent(messages: Vec<Result<Bytes, Status>>) -> (Vec<Bytes>, Status) {
        let response = http::Response::new(Body::empty());
        let response = answered(response, Some(stream::iter(messages)));
        let (mut body, mut data) = (response.into_body(), Vec::new());
        while let Some(frame) = body.frame().await {
            match frame.unwrap().into_data() {
                Ok(bytes) => data.push(bytes),
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap();
                    assert!(body.frame().await.is_none());
                    return (data, Status::from_header_map(&trailers).unwrap());
                }
            }
        }
        panic!("no status");
    }

    #[tokio::test]
    async fn what_is_large_is_sent_as_it_is_and_what_is_small_in_one_piece() {
        let (small, large) = (Bytes::from_static(b"abc"), Bytes::from(vec![7; 100_000]));
        let (data, status) = sent(vec![Ok(small), Ok(large.clone()), Ok(Bytes::new())]).await;
        assert_eq!(status.code(), Code::Ok);
        let [small, prefix, shared, empty] = data.as_slice() else {
            panic!("{} pieces", data.len());
        };
        assert_eq!(small.as_ref(), b"\0\0\0\0\x03abc");
        assert_eq!(prefix.as_ref(), [0, 0, 1, 0x86, 0xa0]);
        assert_eq!(shared.as_ptr(), large.as_ptr(), "copied");
        assert_eq!(empty.as_ref(), [0; 5]);
    }

    #[tokio::test]
    async fn a_status_ends_the_answer() {
        let (data, status) = sent(vec![Err(Status::unavailable("stops")), Ok(Bytes::new())]).await;
        assert!(data.is_empty());
        assert_eq!(
            (status.code(), status.message()),
            (Code::Unavailable, "stops")
        );
    }
}
