//! Headers and trailers that tonic's handlers cannot set: trailers of a call that went well, and headers of
//! one that failed.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use tonic::{Status, body::Body, server::NamedService};
use tower::Service;

/// What a handler wants beside its answer; among the extensions of its request.
#[derive(Clone, Default)]
pub struct Wanted(Arc<Mutex<(HeaderMap, HeaderMap)>>);

impl Wanted {
    /// Of the request that is being handled.
    ///
    /// # Panics
    /// If the service is not wrapped in [`WithMetadata`].
    pub fn of<T>(request: &tonic::Request<T>) -> Self {
        request
            .extensions()
            .get::<Self>()
            .expect("a wrapped service")
            .clone()
    }

    /// These headers, and these trailers.
    pub fn set(&self, headers: HeaderMap, trailers: HeaderMap) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (headers, trailers);
    }

    fn get(&self) -> (HeaderMap, HeaderMap) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// A generated service whose handlers may say [`Wanted::set`].
#[derive(Clone)]
pub struct WithMetadata<S>(pub S);

impl<S: NamedService> NamedService for WithMetadata<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for WithMetadata<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let wanted = Wanted::default();
        request.extensions_mut().insert(wanted.clone());
        let answer = self.0.call(request);
        Box::pin(async move { Ok(with(answer.await?, wanted)) })
    }
}

fn with(mut response: Response<Body>, wanted: Wanted) -> Response<Body> {
    let (headers, trailers) = wanted.get();
    if !response.headers().contains_key(Status::GRPC_STATUS) {
        append(response.headers_mut(), &headers);
        return response.map(|inner| Body::new(Trailed { inner, wanted }));
    }
    if headers.is_empty() {
        append(response.headers_mut(), &trailers);
        return response;
    }
    // A status in the headers becomes headers first, and the status in trailers.
    let mut last = HeaderMap::new();
    for name in [
        Status::GRPC_STATUS,
        Status::GRPC_MESSAGE,
        Status::GRPC_STATUS_DETAILS,
    ] {
        if let Some(value) = response.headers_mut().remove(&name) {
            last.insert(name, value);
        }
    }
    append(&mut last, &trailers);
    append(response.headers_mut(), &headers);
    let frame = Ok::<_, Status>(Frame::<Bytes>::trailers(last));
    *response.body_mut() = Body::new(StreamBody::new(tokio_stream::once(frame)));
    response
}

fn append(to: &mut HeaderMap, from: &HeaderMap) {
    for (name, value) in from {
        to.append(name, value.clone());
    }
}

/// A body whose trailers get more.
struct Trailed {
    inner: Body,
    wanted: Wanted,
}

impl http_body::Body for Trailed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        polled.map_ok(|frame| match frame.into_trailers() {
            Ok(mut trailers) => {
                append(&mut trailers, &self.wanted.get().1);
                Frame::trailers(trailers)
            }
            Err(data) => data,
        })
    }
}
