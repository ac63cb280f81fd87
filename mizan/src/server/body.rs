//! The body of a response on its way out.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::{Code, Status};

use super::record::{Record, code_of};
use crate::{CallContext, deadline};

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
    inner: Body,
    _connection: Guard,
    ended_by: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    call: Option<Answering>,
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
    pub(super) fn new(inner: Body, connection: Guard) -> Self {
        Self {
            inner,
            _connection: connection,
            ended_by: None,
            call: None,
        }
    }

    pub(super) fn answering(mut self, call: Answering) -> Self {
        self.call = Some(call);
        self
    }

    pub(super) fn ended_by(mut self, closing: WaitForCancellationFutureOwned) -> Self {
        self.ended_by = Some(Box::pin(closing));
        self
    }

    /// Ends the body with a status, and what the handler had still to say with it.
    fn end(&mut self, status: &Status) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.inner = Body::empty();
        self.ended_by = None;
        let mut trailers = HeaderMap::new();
        if status.add_header(&mut trailers).is_err() {
            trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("2"));
        }
        if let Some(call) = &mut self.call {
            call.deadline = None;
            call.trailers(&mut trailers);
        }
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }
}

impl Answering {
    /// Polls the handler's stream as part of the call, and notes what it says.
    fn poll(
        &mut self,
        inner: &mut Body,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
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
        let code = code_of(trailers).unwrap_or(Code::Unknown);
        self.record.ended(code);
        stop_retries(&self.context, code, trailers);
    }

    /// Whether the caller has stopped waiting.
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
/// that a failed dependency comes out as, and never against the handler's own word.
pub(super) fn stop_retries(context: &CallContext, code: Code, answer: &mut HeaderMap) {
    let passed_on = matches!(
        code,
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Internal
            | Code::Unknown
    );
    if passed_on && context.gave_up() && !answer.contains_key(PUSHBACK) {
        answer.insert(PUSHBACK, HeaderValue::from_static("-1"));
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
        let polled = match &mut this.call {
            Some(call) => call.poll(&mut this.inner, context),
            None => Pin::new(&mut this.inner).poll_frame(context),
        };
        if polled.is_ready() {
            return polled;
        }
        if let Some(closing) = &mut this.ended_by
            && closing.as_mut().poll(context).is_ready()
        {
            return this.end(&Status::unavailable("draining"));
        }
        if this.call.as_mut().is_some_and(|call| call.is_late(context)) {
            return this.end(&deadline::elapsed("in the handler's stream"));
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

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use http_body_util::StreamBody;
    use tokio_stream::{Stream, StreamExt as _};

    use super::*;
    use crate::telemetry::{TraceContext, metrics::Registry};

    fn answered_by<S>(stream: S, deadline: Option<Instant>) -> (ResponseBody, CallContext)
    where
        S: Stream<Item = Result<Frame<Bytes>, axum::Error>> + Send + 'static,
    {
        let context = CallContext::new(deadline, TraceContext::root());
        let metrics = Registry::new().server();
        let answering = Answering {
            record: Record::begin(&metrics, "/a.B/C", tracing::Span::none(), Instant::now()),
            context: context.clone(),
            deadline,
            alarm: None,
        };
        let inner = Body::new(StreamBody::new(stream));
        let body = ResponseBody::new(inner, InFlight::default().begin());
        (body.answering(answering), context)
    }

    async fn next(body: &mut ResponseBody) -> Option<Frame<Bytes>> {
        let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await;
        frame.map(Result::unwrap)
    }

    #[tokio::test]
    async fn a_stream_polled_after_the_answer_began_is_still_part_of_the_call() {
        let stream = tokio_stream::once(()).map(|()| {
            let id = CallContext::current().map(|c| c.request_id().to_owned());
            Ok(Frame::data(Bytes::from(id.unwrap_or_default())))
        });
        let (mut body, context) = answered_by(stream, None);
        let said = next(&mut body).await.unwrap().into_data().unwrap();
        assert_eq!(said, context.request_id());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_when_its_caller_stops_waiting() {
        let until = Instant::now() + Duration::from_secs(5);
        let (mut body, _) = answered_by(tokio_stream::pending(), Some(until));
        let trailers = next(&mut body).await.unwrap().into_trailers().unwrap();
        assert_eq!(code_of(&trailers), Some(Code::DeadlineExceeded));
        assert_eq!(Instant::now(), until);
        assert!(next(&mut body).await.is_none());
    }

    #[tokio::test]
    async fn a_stream_that_fails_after_a_call_was_given_up_says_not_to_retry() {
        let stream = tokio_stream::once(()).map(|()| {
            CallContext::note_gave_up();
            let mut trailers = HeaderMap::new();
            trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("14"));
            Ok(Frame::trailers(trailers))
        });
        let (mut body, _) = answered_by(stream, None);
        let trailers = next(&mut body).await.unwrap().into_trailers().unwrap();
        assert_eq!(trailers[PUSHBACK], "-1");
    }

    #[tokio::test]
    async fn retries_are_stopped_only_for_what_a_given_up_call_caused() {
        let pushback = |context: &CallContext, code| {
            let mut answer = HeaderMap::new();
            stop_retries(context, code, &mut answer);
            answer.remove(PUSHBACK)
        };
        let context = CallContext::new(None, TraceContext::root());
        assert_eq!(pushback(&context, Code::Unavailable), None);
        context.sync_scope(CallContext::note_gave_up);
        assert_eq!(pushback(&context, Code::Unavailable).unwrap(), "-1");
        assert_eq!(pushback(&context, Code::Ok), None);
        assert_eq!(pushback(&context, Code::InvalidArgument), None);
        let mut own = HeaderMap::new();
        own.insert(PUSHBACK, HeaderValue::from_static("250"));
        stop_retries(&context, Code::Unavailable, &mut own);
        assert_eq!(own[PUSHBACK], "250");
    }
}
