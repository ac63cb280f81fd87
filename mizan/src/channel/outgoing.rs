//! The body of a request that is a stream: its bytes counted, its messages held to their limit.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tonic::{Status, body::Body};

use super::{message_size::Scanner, response::refused};
use crate::telemetry::metrics::MessageBytes;

/// A stream on its way out.
pub(super) struct Counted {
    inner: Body,
    seen: MessageBytes,
    total: Arc<AtomicU64>,
    sizes: Option<Scanner>,
}

impl Counted {
    pub(super) fn new(inner: Body, total: Arc<AtomicU64>, bytes_max: Option<u32>) -> Self {
        Self {
            inner,
            seen: MessageBytes::default(),
            total,
            sizes: bytes_max.map(Scanner::new),
        }
    }
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            if let Some(Err(too_large)) = this.sizes.as_mut().map(|sizes| sizes.scan(data)) {
                return Poll::Ready(Some(Err(refused(too_large, "to be sent"))));
            }
            this.seen.feed(data);
            this.total.store(this.seen.total(), Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
