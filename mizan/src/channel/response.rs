//! The body of a response: the call is over only when this is.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::{Code, Status};

use super::{
    ending::{AttemptEnding, CallEnding},
    message_size::{Scanner, TooLarge},
};
use crate::{connection::Incoming, deadline, received, status};

/// A response's body that keeps the deadline and the size of messages, and tells how the call
/// ended. Dropped early it says nothing: the caller lost interest.
pub(super) struct Tracked {
    /// None once it is of no use.
    inner: Option<Incoming>,
    attempt: AttemptEnding,
    call: Option<CallEnding>,
    sizes: Option<Scanner>,
    deadline: Option<Instant>,
    /// A status that came with the headers although something may follow; nearly never.
    early: Option<Box<HeaderMap>>,
    /// Made only when there is something to wait for.
    alarm: Option<Pin<Box<Sleep>>>,
    /// How it ended, once it has.
    ended: Option<Code>,
}

impl Tracked {
    /// The body of a response whose headers have come.
    pub(super) fn new(
        inner: Incoming,
        attempt: AttemptEnding,
        response_bytes_max: Option<u32>,
        deadline: Option<Instant>,
    ) -> Self {
        Self {
            inner: Some(inner),
            attempt,
            call: None,
            sizes: response_bytes_max.map(Scanner::new),
            deadline,
            early: None,
            alarm: None,
            ended: None,
        }
    }

    /// The status came with the headers: there is no body.
    pub(super) fn ended(inner: Incoming, mut attempt: AttemptEnding, code: Code) -> Self {
        attempt.finish(code);
        if code == Code::Ok {
            attempt.settle(code);
        }
        Self {
            ended: Some(code),
            ..Self::new(inner, attempt, None, None)
        }
    }

    /// The headers say a status, but are not the end: it holds if nothing follows. What follows goes
    /// before it, as in gRPC's other clients.
    pub(super) fn with_early(self, status: HeaderMap) -> Self {
        Self {
            early: Some(Box::new(status)),
            ..self
        }
    }

    fn trailers(&mut self, mut trailers: HeaderMap) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let code = code_of(&trailers);
        if code == Code::Cancelled && self.has_passed() {
            return self.late();
        }
        if code == Code::Ok && !self.attempt.received.is_whole() {
            let message = "the answer says OK in the middle of a message";
            return self.fail(status::refused(Code::Internal, "ANSWER_MALFORMED", message));
        }
        self.attempt.asked_for(code, &trailers);
        self.finish(code);
        if code != Code::Ok {
            received::mark(&mut trailers);
        }
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    /// This is the call's answer: the call ends with it.
    pub(super) fn answers(&mut self, mut call: CallEnding) {
        match self.ended {
            Some(code) => call.finish(code),
            None => self.call = Some(call),
        }
    }

    fn finish(&mut self, code: Code) {
        self.ended = Some(code);
        self.attempt.finish(code);
        self.attempt.settle(code);
        if let Some(call) = &mut self.call {
            call.finish(code);
        }
    }

    fn fail(&mut self, status: Status) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.finish(status.code());
        self.inner = None;
        Poll::Ready(Some(Err(status)))
    }

    fn late(&mut self) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.fail(deadline::elapsed("while reading the response"))
    }

    fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        let Some(deadline) = self.deadline else {
            return false;
        };
        let alarm = self
            .alarm
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        alarm.as_mut().poll(context).is_ready()
    }

    /// Whether the deadline has passed, also if our own timer has not said so yet.
    fn has_passed(&self) -> bool {
        self.deadline
            .is_some_and(|end| deadline::has_passed(end, Instant::now()))
    }

    fn data(&mut self, frame: Frame<Bytes>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        // A callee that always has more ready must not outlast the deadline either.
        if self.deadline.is_some_and(|end| end < Instant::now()) {
            return self.late();
        }
        if let Some(data) = frame.data_ref() {
            self.attempt.received.feed(data);
            let fits = self.sizes.as_mut().map_or(Ok(()), |s| s.scan(data));
            if let Err(too_large) = fits {
                // Our limit, not the callee's trouble.
                self.attempt.finish_by_own_limit(Code::ResourceExhausted);
                return self.fail(refused(too_large, "received"));
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }
}

/// RESOURCE_EXHAUSTED, as gRPC answers a message above its limit.
pub(super) fn refused(TooLarge { size, max }: TooLarge, which: &str) -> Status {
    let message = format!("a message {which} has {size} bytes, at most {max} are allowed");
    status::refused(Code::ResourceExhausted, "MESSAGE_TOO_LARGE", message)
}

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some(inner) = this.inner.as_mut().filter(|_| this.ended.is_none()) else {
            return Poll::Ready(None);
        };
        match Pin::new(&mut *inner).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => match frame.into_trailers() {
                Ok(trailers) => this.trailers(trailers),
                Err(frame) => {
                    if frame.data_ref().is_some_and(|data| !data.is_empty()) {
                        this.early = None;
                    }
                    this.data(frame)
                }
            },
            Poll::Ready(Some(Err(status))) => {
                if inner.is_ours() {
                    // What failed on this side says nothing of the callee.
                    this.attempt.unsent(status.code());
                } else if this.has_passed() {
                    // Whatever broke then, the call is late; and its callee may see that first.
                    return this.late();
                }
                this.fail(status)
            }
            Poll::Ready(None) => {
                if let Some(early) = this.early.take() {
                    return this.trailers(*early);
                }
                // No trailers: the client library reports it; for the breaker it is no answer.
                this.finish(Code::Unknown);
                Poll::Ready(None)
            }
            Poll::Pending if this.is_late(context) => this.late(),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended.is_some()
    }
}

fn code_of(trailers: &HeaderMap) -> Code {
    trailers
        .get(Status::GRPC_STATUS)
        .map_or(Code::Unknown, |value| Code::from_bytes(value.as_bytes()))
}
