//! Requests that end when the server closes: of its own services, whose streams nobody else would end.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http_body::{Body, Frame, SizeHint};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// A request's body, which is over once the server closes. A handler that reads it in a task of its own
/// would hold the connection, long after its answer has ended.
pub(super) struct UntilClosing<B> {
    inner: B,
    closing: Pin<Box<WaitForCancellationFutureOwned>>,
    over: bool,
}

impl<B> UntilClosing<B> {
    pub(super) fn new(inner: B, closing: CancellationToken) -> Self {
        Self {
            inner,
            closing: Box::pin(closing.cancelled_owned()),
            over: false,
        }
    }
}

impl<B: Body + Unpin> Body for UntilClosing<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        let polled = Pin::new(&mut this.inner).poll_frame(context);
        if polled.is_pending() && this.closing.as_mut().poll(context).is_ready() {
            this.over = true;
            return Poll::Ready(None);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
