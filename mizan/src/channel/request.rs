//! A request that can be sent again: its encoded bytes are kept, so nothing has to be `Clone`.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf as _, Bytes, BytesMut};
use http::{Request, request::Parts};
use http_body::{Body as _, Frame};
use http_body_util::Full;
use tonic::{Status, body::Body};

/// The largest request that is kept for another attempt. 1 MiB: larger ones are sent once.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// A request, whole or begun.
#[derive(Debug)]
pub(super) struct Outgoing {
    parts: Parts,
    payload: Payload,
}

#[derive(Debug)]
enum Payload {
    /// All of it: any number of attempts.
    Whole(Bytes),
    /// A stream still being written, or too large to keep: one attempt.
    Once(Option<Body>),
}

impl Outgoing {
    /// Takes what the body has ready. A unary call's message is there at once; what is not is a
    /// stream, and passes through untouched.
    pub(super) async fn new(request: Request<Body>) -> Result<Self, Status> {
        let (parts, mut body) = request.into_parts();
        let mut chunks = VecDeque::new();
        let mut size = 0;
        let whole = poll_fn(|context| {
            loop {
                match Pin::new(&mut body).poll_frame(context) {
                    Poll::Ready(Some(Ok(frame))) => {
                        if let Ok(data) = frame.into_data() {
                            size += data.len();
                            chunks.push_back(data);
                        }
                        if size > KEPT_BYTES_MAX {
                            return Poll::Ready(Ok(false));
                        }
                    }
                    Poll::Ready(Some(Err(status))) => return Poll::Ready(Err(status)),
                    Poll::Ready(None) => return Poll::Ready(Ok(true)),
                    Poll::Pending => return Poll::Ready(Ok(false)),
                }
            }
        })
        .await?;
        let payload = if whole {
            Payload::Whole(joined(chunks))
        } else {
            Payload::Once(Some(Body::new(Resumed { chunks, rest: body })))
        };
        Ok(Self { parts, payload })
    }

    pub(super) fn headers_mut(&mut self) -> &mut http::HeaderMap {
        &mut self.parts.headers
    }

    /// The request for one attempt, or `None` when it was already sent and is not kept.
    pub(super) fn take(&mut self) -> Option<Request<Body>> {
        let body = match &mut self.payload {
            Payload::Whole(bytes) => Body::new(Full::new(bytes.clone())),
            Payload::Once(body) => body.take()?,
        };
        Some(Request::from_parts(self.parts.clone(), body))
    }

    /// Puts back a request that never left.
    pub(super) fn put_back(&mut self, unsent: Request<Body>) {
        if let Payload::Once(body) = &mut self.payload {
            *body = Some(unsent.into_body());
        }
    }

    /// Whether [`take`](Self::take) has something to give.
    pub(super) fn can_be_sent(&self) -> bool {
        !matches!(self.payload, Payload::Once(None))
    }
}

fn joined(mut chunks: VecDeque<Bytes>) -> Bytes {
    if chunks.len() < 2 {
        return chunks.pop_front().unwrap_or_default();
    }
    let mut all = BytesMut::with_capacity(chunks.iter().map(Bytes::len).sum());
    for chunk in chunks {
        all.extend_from_slice(chunk.chunk());
    }
    all.freeze()
}

/// A body of which some was already read.
struct Resumed {
    chunks: VecDeque<Bytes>,
    rest: Body,
}

impl http_body::Body for Resumed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(chunk) = self.chunks.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        Pin::new(&mut self.rest).poll_frame(context)
    }
}
