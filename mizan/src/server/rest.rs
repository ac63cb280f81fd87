//! The rest of a request that was answered before it was read.
//!
//! Over HTTP/1 a server that closes while bytes of a request are still on their way has its system
//! reset the connection, and the reset may reach the client before the answer does. So what is left is
//! read, if it comes soon, before the answer is sent.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::time::timeout;

/// How long the rest may take, and how much of it is read.
const PATIENCE: Duration = Duration::from_secs(1);
const BYTES_MAX: usize = 256 << 10;

/// Where a body is left when nobody reads on.
#[derive(Debug, Default, Clone)]
pub(super) struct Rest(Arc<Mutex<Option<Incoming>>>);

/// A request's body, which is left in its [`Rest`] when it is dropped.
#[derive(Debug)]
pub(super) struct Left {
    inner: Option<Incoming>,
    rest: Option<Rest>,
}

impl Rest {
    /// The request, and where its body is left.
    pub(super) fn of(request: Request<Incoming>) -> (Request<Left>, Self) {
        let rest = Self::default();
        // HTTP/2 ends one stream, and nothing else. Who asks first whether to send it has not sent it.
        let asks = request.headers().contains_key(http::header::EXPECT);
        let keeps = request.version() < Version::HTTP_2 && !asks;
        let request = request.map(|inner| Left {
            inner: Some(inner),
            rest: keeps.then(|| rest.clone()),
        });
        (request, rest)
    }

    /// Reads what is left.
    pub(super) async fn read(&self) {
        let left = self.0.lock().take();
        let Some(mut left) = left.filter(|left| !left.is_end_stream()) else {
            return;
        };
        let _ = timeout(PATIENCE, async {
            let mut bytes = 0;
            while let Some(Ok(frame)) = left.frame().await {
                bytes += frame.data_ref().map_or(0, Bytes::len);
                if bytes > BYTES_MAX {
                    return;
                }
            }
        })
        .await;
    }
}

impl Body for Left {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.inner {
            Some(inner) => Pin::new(inner).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        if let Some(rest) = &self.rest {
            *rest.0.lock() = self.inner.take();
        }
    }
}
