//! The body of a response on its way out.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Frame, SizeHint};
use tokio_util::sync::WaitForCancellationFutureOwned;

/// How many calls a connection carries: from the request's headers to the last byte of the answer.
#[derive(Debug, Clone, Default)]
pub(super) struct InFlight(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    now: AtomicUsize,
    ever: AtomicUsize,
}

impl InFlight {
    pub(super) fn begin(&self) -> Guard {
        self.0.now.fetch_add(1, Ordering::Relaxed);
        self.0.ever.fetch_add(1, Ordering::Relaxed);
        Guard(self.0.clone())
    }

    /// How many calls there were so far, if none is under way: the same number twice means that
    /// nothing was carried in between.
    pub(super) fn idle_after(&self) -> Option<usize> {
        let idle = self.0.now.load(Ordering::Relaxed) == 0;
        idle.then(|| self.0.ever.load(Ordering::Relaxed))
    }
}

/// One call of [`InFlight`]; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Guard(Arc<Counts>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A response's body: counted while it lasts and, for the server's own endless streams (health
/// watches), ended when the server closes, so that they do not hold up the drain.
pub(super) struct ResponseBody {
    inner: axum::body::Body,
    _call: Guard,
    ended_by: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl ResponseBody {
    pub(super) fn new(inner: axum::body::Body, call: Guard) -> Self {
        Self {
            inner,
            _call: call,
            ended_by: None,
        }
    }

    pub(super) fn ended_by(mut self, closing: WaitForCancellationFutureOwned) -> Self {
        self.ended_by = Some(Box::pin(closing));
        self
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) {
            return Poll::Ready(frame);
        }
        if let Some(closing) = &mut this.ended_by
            && closing.as_mut().poll(context).is_ready()
        {
            this.ended_by = None;
            this.inner = axum::body::Body::empty();
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("14"));
            trailers.insert("grpc-message", HeaderValue::from_static("draining"));
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
