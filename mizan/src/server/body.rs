//! The body of a response on its way out.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::{Code, Status};

use super::{
    life::{Full, Life, Unread},
    progress::Progress,
    record::{Record, code_of},
    seldom::Everywhere,
};
use crate::{CallContext, status};

/// When to ask again whose answer had no room: about the time that answers take to leave.
const UNREAD_RETRY: Duration = Duration::from_secs(1);

/// The most of an answer that is handed on at once: a frame of HTTP/2 as every peer takes it. So an
/// answer that leaves slowly is seen to move, and one that does not stays here, not in the library.
const PART_BYTES: usize = 16 * 1024;

/// Parts of answers up to this size are not counted as unread by themselves: what a call costs by
/// being open is more.
const SMALL_BYTES: usize = 1024;

/// What a body is asked for.
type Part = Poll<Option<Result<Frame<Bytes>, axum::Error>>>;

/// What answers of a server leave by: what a call holds, and how far it has come.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) life: Life,
    pub(super) progress: Arc<Progress>,
}

impl Way {
    /// So many bytes more wait for the client; nothing where there is no room for them.
    fn unread(&self, bytes: usize, first: bool) -> Result<Unread, Full> {
        let (life, connection) = (&self.life, self.life.connection());
        let held = if first {
            life.unread(bytes)
        } else if life.is_beyond() {
            // What came before has left already, so the connection has room.
            Err(Full::Server)
        } else {
            Ok(life.unread_beyond(bytes))
        };
        match held {
            Err(Full::Server) if connection.make_room() => Ok(life.unread_beyond(bytes)),
            held => held,
        }
    }
}

/// A response's body: counted while it lasts and, for the server's own endless streams (health
/// watches), ended when the server closes, so that they do not hold up the drain.
pub(super) struct ResponseBody {
    inner: Body,
    way: Way,
    /// Of the answer's first part, where its length was known before.
    reserved: Option<Unread>,
    begun: bool,
    /// Of a part of the answer, what has not been handed on.
    rest: Bytes,
    ended_by: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    call: Option<Answering>,
}

/// Bytes of an answer, counted until the last of them has left.
struct Counted {
    bytes: Bytes,
    _unread: Unread,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The gRPC call that a body answers.
pub(super) struct Answering {
    pub(super) record: Record,
    /// What calls that the stream makes inherit: it is still the handler's work.
    pub(super) context: CallContext,
    /// When the caller stops waiting.
    pub(super) deadline: Option<Instant>,
    /// Made only when there is something to wait for.
    pub(super) alarm: Option<Pin<Box<Sleep>>>,
}

impl ResponseBody {
    pub(super) fn new(inner: Body, way: Way) -> Self {
        Self {
            inner,
            way,
            reserved: None,
            begun: false,
            rest: Bytes::new(),
            ended_by: None,
            call: None,
        }
    }

    /// Holds what an answer needs whose length is known.
    ///
    /// # Errors
    /// Where it has no room.
    pub(super) fn reserve(&mut self) -> Result<(), Full> {
        let bytes = self.inner.size_hint().exact();
        let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok());
        if let Some(bytes) = bytes.filter(|bytes| *bytes > SMALL_BYTES) {
            self.reserved = Some(self.way.unread(bytes, true)?);
        }
        Ok(())
    }

    /// Another answer than the one it had.
    pub(super) fn replace(&mut self, inner: Body) {
        self.inner = inner;
    }

    pub(super) fn answering(mut self, call: Answering) -> Self {
        self.call = Some(call);
        self
    }

    pub(super) fn ended_by(mut self, closing: WaitForCancellationFutureOwned) -> Self {
        self.ended_by = Some(Box::pin(closing));
        self
    }

    /// Ends the body with a status, and what the handler had still to say with it. A page has no
    /// status: it breaks off.
    fn end(&mut self, status: &Status) -> Part {
        self.inner = Body::empty();
        self.ended_by = None;
        let Some(call) = &mut self.call else {
            return Poll::Ready(Some(Err(axum::Error::new(status.clone()))));
        };
        let mut trailers = HeaderMap::new();
        if status.add_header(&mut trailers).is_err() {
            trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("2"));
        }
        call.deadline = None;
        call.trailers(&mut trailers);
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    /// Asks the handler's body for more. A panic there ends this answer and nothing else.
    fn ask(&mut self, context: &mut Context<'_>) -> Result<Part, Status> {
        let (inner, call) = (&mut self.inner, &mut self.call);
        let asked = catch_unwind(AssertUnwindSafe(|| match call {
            Some(call) => call.poll(inner, context),
            None => Pin::new(inner).poll_frame(context),
        }));
        asked.map_err(|_panic| {
            static SAID: Everywhere = Everywhere::new();
            if let Some(times) = SAID.happened() {
                tracing::error!(times, "the handler panicked in its answer");
            }
            panicked()
        })
    }

    /// Hands on what there is of the answer, part by part.
    fn part(&mut self) -> Part {
        let part = self.rest.split_to(self.rest.len().min(PART_BYTES));
        self.way.progress.gave();
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    /// A part of the answer has come, and waits for the client from now on.
    fn came(&mut self, bytes: Bytes) -> Part {
        let first = !std::mem::replace(&mut self.begun, true);
        self.rest = if bytes.len() <= SMALL_BYTES {
            bytes
        } else {
            let reserved = self.reserved.take();
            let unread = reserved.map_or_else(|| self.way.unread(bytes.len(), first), Ok);
            match unread {
                Ok(unread) => Bytes::from_owner(Counted {
                    bytes,
                    _unread: unread,
                }),
                Err(full) => return self.end(&unread_status(full)),
            }
        };
        self.part()
    }
}

/// What a call ends with that ran out of time here. The code says it all: gRPC's own servers, and its
/// conformance suite, know no details of it.
pub(super) fn late(what: &str) -> Status {
    Status::deadline_exceeded(format!("deadline exceeded {what}"))
}

/// What a call ends with whose handler panicked.
pub(super) fn panicked() -> Status {
    status::refused(Code::Internal, "PANICKED", "the handler panicked")
}

/// Says what tonic's codec says as gRPC does. A message beyond the limit is OUT_OF_RANGE to it and
/// RESOURCE_EXHAUSTED to gRPC, and a unary call without a message is INTERNAL and UNIMPLEMENTED. What
/// carries details is a handler's own word and stays. None are added: gRPC's servers give none here,
/// and its conformance suite wants none.
pub(super) fn translate(answer: &mut HeaderMap) {
    const DETAILS: &str = "grpc-status-details-bin";
    let code = code_of(answer);
    if !matches!(code, Some(Code::OutOfRange | Code::Internal)) || answer.contains_key(DETAILS) {
        return;
    }
    let Some(status) = Status::from_header_map(answer) else {
        return;
    };
    let message = status.message();
    let is_large = message.starts_with("Error, decoded message length too large")
        || message.starts_with("Error, encoded message length too large");
    let said = match status.code() {
        Code::OutOfRange if is_large => Status::resource_exhausted(message),
        Code::Internal if message == "Missing request message." => {
            Status::unimplemented("the request has no message, and the method takes one")
        }
        _ => return,
    };
    // It was read from headers, so it fits into them.
    let _ = said.add_header(answer);
}

/// What is told to whom there is no room to answer.
pub(super) fn unread_status(full: Full) -> Status {
    let text = match full {
        Full::Connection => {
            "answers wait for this connection that it has not read: read them, or ask for less at once"
        }
        Full::Server => "the server holds as many unread answers as it can",
    };
    status::retry_later(
        Code::ResourceExhausted,
        "ANSWERS_UNREAD",
        text,
        UNREAD_RETRY,
    )
}

impl Answering {
    /// Polls the handler's stream as part of the call, and notes what it says.
    fn poll(&mut self, inner: &mut Body, context: &mut Context<'_>) -> Part {
        let span = self.record.span().clone();
        let _entered = span.enter();
        let polled = self
            .context
            .sync_scope(|| Pin::new(inner).poll_frame(context));
        match polled {
            Poll::Ready(Some(Ok(frame))) => match frame.into_trailers() {
                Ok(mut trailers) => {
                    self.trailers(&mut trailers);
                    Poll::Ready(Some(Ok(Frame::trailers(trailers))))
                }
                Err(frame) => {
                    if let Some(data) = frame.data_ref() {
                        self.record.sent(data);
                    }
                    Poll::Ready(Some(Ok(frame)))
                }
            },
            other => other,
        }
    }

    fn trailers(&mut self, trailers: &mut HeaderMap) {
        translate(trailers);
        let code = code_of(trailers).unwrap_or(Code::Unknown);
        self.record.ended(code, trailers);
        stop_retries(&self.context, code, trailers);
    }

    /// Whether the caller stopped waiting while its answer was on its way.
    fn is_past(&self) -> bool {
        self.deadline.is_some_and(|until| until <= Instant::now())
    }

    /// Whether the caller has stopped waiting, and if not, is woken then.
    fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        let Some(deadline) = self.deadline else {
            return false;
        };
        let alarm = self
            .alarm
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        alarm.as_mut().poll(context).is_ready()
    }
}

/// The trailer by which a server has its say in whether it is called again (gRFC A6).
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// Tells the caller not to retry, when the handler failed after a call of its own had already been
/// retried to the end: tried again at every hop, three attempts become 27. Only for the statuses
/// that a failed dependency comes out as, and never against the handler's own word. What the failed
/// call's callee said beside its status stays here.
pub(super) fn stop_retries(context: &CallContext, code: Code, answer: &mut HeaderMap) {
    let passed_on = matches!(
        code,
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Internal
            | Code::Unknown
    );
    crate::received::take_out(answer);
    if passed_on && context.gave_up() && !answer.contains_key(PUSHBACK) {
        answer.insert(PUSHBACK, HeaderValue::from_static("-1"));
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Part {
        let this = &mut *self;
        if this.begun && this.call.as_ref().is_some_and(Answering::is_past) {
            this.rest = Bytes::new();
            return this.end(&late("in the handler's stream"));
        }
        if !this.rest.is_empty() {
            return this.part();
        }
        if !this.begun || !this.way.life.connection().is_crowded(context.waker()) {
            match this.ask(context) {
                Err(panicked) => return this.end(&panicked),
                Ok(Poll::Ready(Some(Ok(frame)))) => {
                    return match frame.into_data() {
                        Ok(bytes) => this.came(bytes),
                        Err(trailers) => Poll::Ready(Some(Ok(trailers))),
                    };
                }
                Ok(Poll::Pending) => {}
                Ok(ended) => return ended,
            }
        }
        this.way.progress.asked();
        if let Some(closing) = &mut this.ended_by
            && closing.as_mut().poll(context).is_ready()
        {
            return this.end(&Status::unavailable("draining"));
        }
        if this.call.as_mut().is_some_and(|call| call.is_late(context)) {
            return this.end(&late("in the handler's stream"));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.rest.is_empty() {
            self.inner.size_hint()
        } else {
            SizeHint::default()
        }
    }
}

#[cfg(test)]
mod tests;
