//! The response to one call, as it comes.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http::HeaderMap;
use http_body::Frame;
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use super::{exchange::Pipe, failure::classify, headers, streams::Slot};

/// The most of a response that is held back.
const HELD_BYTES_MAX: usize = 64 * 1024;

/// The body of a response.
#[derive(Debug)]
pub(crate) struct Incoming {
    stream: RecvStream,
    held: Held,
    phase: Phase,
    /// Ends the request's stream with the response: whoever has the answer, or lost interest, has
    /// nothing more to say.
    pipe: Option<Pipe>,
    /// It was refused on this side.
    refused: bool,
    /// Given back last: only then is the stream reset, if it was not over.
    slot: Slot,
}

/// What came of a response and was not given out yet.
#[derive(Debug, Default)]
struct Held {
    /// The first of them needs no allocation: as a rule there is one.
    first: Option<Bytes>,
    further: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Held {
    fn keep(&mut self, frame: Frame<Bytes>) {
        match frame.into_data() {
            Ok(bytes) if self.first.is_none() && self.further.is_empty() => {
                self.first = Some(bytes);
            }
            Ok(bytes) => self.further.push_back(bytes),
            Err(frame) => self.trailers = frame.into_trailers().ok(),
        }
    }

    fn next(&mut self) -> Option<Frame<Bytes>> {
        let data = self.first.take().or_else(|| self.further.pop_front());
        data.map(Frame::data)
            .or_else(|| self.trailers.take().map(Frame::trailers))
    }

    fn is_empty(&self) -> bool {
        self.first.is_none() && self.further.is_empty() && self.trailers.is_none()
    }
}

/// How far a response came that was held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Came {
    /// To its end, or to where nothing more is held: its size, its deadline.
    Well,
    /// It takes its time, as a stream does.
    Slowly,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Data,
    Trailers,
    Over,
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.held.next() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => self.poll_next(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_empty() && (self.phase == Phase::Over || self.stream.is_end_stream())
    }
}

impl Incoming {
    /// What follows the headers of a response.
    pub(super) fn new(stream: RecvStream, pipe: Option<Pipe>, slot: Slot) -> Self {
        Self {
            stream,
            held: Held::default(),
            phase: Phase::Data,
            pipe,
            refused: false,
            slot,
        }
    }

    /// Holds the response back until it is there to its end, for `patience` at most, and not beyond
    /// the deadline.
    ///
    /// # Errors
    /// Why its end will never be there. What was there of it is gone.
    pub(crate) async fn hold(
        &mut self,
        patience: Duration,
        deadline: Option<Instant>,
    ) -> Result<Came, Status> {
        let until = Instant::now() + patience;
        let late = deadline.filter(|deadline| *deadline < until);
        match timeout_at(late.unwrap_or(until), self.gather()).await {
            Ok(gathered) => gathered.map(|()| Came::Well),
            Err(_) if late.is_some() => Ok(Came::Well),
            Err(_) => Ok(Came::Slowly),
        }
    }

    async fn gather(&mut self) -> Result<(), Status> {
        let mut bytes = 0;
        while bytes < HELD_BYTES_MAX
            && let Some(frame) = poll_fn(|context| self.poll_next(context))
                .await
                .transpose()?
        {
            bytes += frame.data_ref().map_or(0, Bytes::len);
            self.held.keep(frame);
        }
        Ok(())
    }

    fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.phase == Phase::Data {
            match ready!(self.stream.poll_data(context)) {
                Some(Ok(bytes)) => {
                    // Never more than was received, so it cannot be refused.
                    let _ = self.stream.flow_control().release_capacity(bytes.len());
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(Err(error)) => return Poll::Ready(self.failed(&error)),
                None => self.phase = Phase::Trailers,
            }
        }
        if self.phase == Phase::Over {
            return Poll::Ready(None);
        }
        let trailers = ready!(self.stream.poll_trailers(context));
        self.phase = Phase::Over;
        Poll::Ready(match trailers {
            Ok(trailers) => trailers.map(|trailers| self.checked(trailers)),
            Err(error) => self.failed(&error),
        })
    }

    fn checked(&mut self, mut trailers: HeaderMap) -> Result<Frame<Bytes>, Status> {
        let checked = headers::may_come(&self.slot.peer, &mut trailers, "trailers");
        self.refused = checked.is_err();
        checked.map(|()| Frame::trailers(trailers))
    }

    /// Whether the call failed on this side: the request's own stream did, or the answer is larger
    /// than we allow. It says nothing of the peer.
    pub(crate) fn is_ours(&self) -> bool {
        self.refused || self.pipe.as_ref().is_some_and(|p| p.failure().is_some())
    }

    fn failed(&mut self, error: &h2::Error) -> Option<Result<Frame<Bytes>, Status>> {
        self.phase = Phase::Over;
        // A server that answered in full may stop a request it needs no more of (RFC 9113, 8.1).
        let complete = error.is_reset() && error.reason() == Some(Reason::NO_ERROR);
        if let Some(own) = self.pipe.as_ref().and_then(Pipe::failure) {
            return Some(Err(own.clone()));
        }
        let (peer, number) = (&self.slot.peer, self.slot.number());
        (!complete).then(|| Err(classify(peer, number, error).into_status()))
    }
}
