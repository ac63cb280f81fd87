//! A request that can be sent again, also while it is still being written, also several times at
//! once: its encoded bytes are kept, so nothing has to be `Clone`.
//!
//! A unary call's message is there at once and is kept as a whole. Of a stream, what its attempts
//! read is kept until the call is committed, and read by whoever needs more; see [`stream`].
//!
//! What is too large to be kept, for the call or for the channel, commits the call to the attempt
//! that has read the most: it goes on, the request cannot be sent again, and attempts beside it
//! end. A request of which nothing was read yet can always be sent.

mod memory;
mod stream;

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http::{Request, request::Parts};
use http_body::Body as _;
use http_body_util::Full;
use tonic::{Status, body::Body};

pub(crate) use memory::Memory;
use memory::{Share, UNCOUNTED_MAX};
use stream::Stream;

/// A request and what is kept of its body.
#[derive(Debug)]
pub(crate) struct Replay {
    parts: Parts,
    payload: Payload,
}

#[derive(Debug)]
enum Payload {
    /// All of it: any number of attempts.
    Whole { bytes: Bytes, _share: Option<Share> },
    /// Still being written, or too large to keep.
    Stream(Stream),
}

/// What a body had ready.
#[derive(Debug, Default)]
struct Prefix {
    chunks: VecDeque<Bytes>,
    size: usize,
    complete: bool,
}

impl Replay {
    /// Takes what the body has ready, without waiting for more.
    ///
    /// # Errors
    /// The body's own: it could not be written.
    pub(crate) async fn new(request: Request<Body>, memory: &Memory) -> Result<Self, Status> {
        let (parts, mut body) = request.into_parts();
        let mut prefix = Prefix::default();
        poll_fn(|context| prefix.read(&mut body, memory.call_max(), context)).await?;
        let payload = Payload::new(prefix, body, memory);
        Ok(Self { parts, payload })
    }

    /// The encoded body, if it is there as a whole.
    pub(crate) fn whole(&self) -> Option<&Bytes> {
        match &self.payload {
            Payload::Whole { bytes, .. } => Some(bytes),
            Payload::Stream(_) => None,
        }
    }

    /// A copy of the head, for an attempt to add to.
    pub(crate) fn head(&self) -> Request<()> {
        Request::from_parts(self.parts.clone(), ())
    }

    /// The body of a stream for attempt `id`, which no other attempt of the call has; `None` when it
    /// cannot be sent any more.
    pub(crate) fn reader(&self, id: u32) -> Option<Body> {
        match &self.payload {
            Payload::Whole { bytes, .. } => Some(Body::new(Full::new(bytes.clone()))),
            Payload::Stream(stream) => Some(Body::new(stream.reader(id)?)),
        }
    }

    /// The request for attempt `id`.
    #[cfg(test)]
    pub(crate) fn attempt(&self, id: u32) -> Option<Request<Body>> {
        let body = self.reader(id)?;
        Some(self.head().map(|()| body))
    }

    /// Whether [`reader`](Self::reader) has something to give.
    pub(crate) fn can_be_sent(&self) -> bool {
        match &self.payload {
            Payload::Whole { .. } => true,
            Payload::Stream(stream) => stream.can_be_sent(),
        }
    }

    /// The call belongs to attempt `id`: what it has passed is let go, the others get no more.
    pub(crate) fn commit(&self, id: u32) {
        if let Payload::Stream(stream) = &self.payload {
            stream.commit(id);
        }
    }

    /// The attempt that the request belongs to, once it could not be kept or was committed.
    pub(crate) fn committed_to(&self) -> Option<u32> {
        match &self.payload {
            Payload::Whole { .. } => None,
            Payload::Stream(stream) => stream.committed_to(),
        }
    }

    /// Why the body broke off, if it did: the caller's own error, which no attempt can mend and
    /// which says more than what it did to the attempts.
    pub(crate) fn broken_off(&self) -> Option<Status> {
        match &self.payload {
            Payload::Whole { .. } => None,
            Payload::Stream(stream) => stream.broken_off(),
        }
    }
}

impl Prefix {
    fn read(
        &mut self,
        body: &mut Body,
        size_max: usize,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Status>> {
        while self.size <= size_max {
            match Pin::new(&mut *body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.size = self.size.saturating_add(data.len());
                        self.chunks.push_back(data);
                    }
                }
                Poll::Ready(Some(Err(status))) => return Poll::Ready(Err(status)),
                Poll::Ready(None) => {
                    self.complete = true;
                    break;
                }
                Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn joined(mut self) -> Bytes {
        if self.chunks.len() < 2 {
            return self.chunks.pop_front().unwrap_or_default();
        }
        let mut all = BytesMut::with_capacity(self.size);
        for chunk in self.chunks {
            all.extend_from_slice(&chunk);
        }
        all.freeze()
    }
}

impl Payload {
    fn new(prefix: Prefix, rest: Body, memory: &Memory) -> Self {
        if !prefix.complete {
            return Self::Stream(Stream::new(prefix.chunks, Some(rest), memory.share()));
        }
        if prefix.size <= UNCOUNTED_MAX.min(memory.call_max()) {
            let bytes = prefix.joined();
            return Self::Whole {
                bytes,
                _share: None,
            };
        }
        let mut share = memory.share();
        if share.take(prefix.size) {
            let bytes = prefix.joined();
            let _share = Some(share);
            return Self::Whole { bytes, _share };
        }
        Self::Stream(Stream::new(prefix.chunks, None, share))
    }
}

#[cfg(test)]
mod tests;
