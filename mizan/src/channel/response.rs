//! The body of a response: the call is over only when this is.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::{Code, Status, body::Body};

use crate::{
    breaker::{self, Permit},
    connection, deadline,
    retry::{Codes, Throttle},
    status,
};

/// A response's body that keeps the deadline and tells breaker and throttle how the call ended.
/// Dropped early it says nothing: the caller lost interest.
pub(super) struct Tracked {
    inner: Body,
    authority: Arc<str>,
    permit: Option<Permit>,
    throttle: Arc<Throttle>,
    /// What the throttle counts.
    codes: Codes,
    deadline: Option<Instant>,
    /// Made only when there is something to wait for.
    alarm: Option<Pin<Box<Sleep>>>,
    over: bool,
}

impl Tracked {
    pub(super) fn new(
        inner: Body,
        authority: Arc<str>,
        permit: Option<Permit>,
        throttle: Arc<Throttle>,
        codes: Codes,
        deadline: Option<Instant>,
    ) -> Self {
        Self {
            inner,
            authority,
            permit,
            throttle,
            codes,
            deadline,
            alarm: None,
            over: false,
        }
    }

    fn finish(&mut self, code: Code) {
        self.over = true;
        if let Some(permit) = self.permit.take() {
            permit.record(breaker::outcome_of(code));
        }
        self.throttle.settle(self.codes, code);
    }

    fn late(&mut self) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.finish(Code::DeadlineExceeded);
        self.inner = Body::empty();
        Poll::Ready(Some(Err(deadline::elapsed("while reading the response"))))
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
}

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        match Pin::new(&mut this.inner).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    this.finish(code_of(trailers));
                } else if this.deadline.is_some_and(|end| end < Instant::now()) {
                    // A callee that always has more ready must not outlast the deadline either.
                    return this.late();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.finish(Code::Unavailable);
                let message = format!("{}: {}", this.authority, connection::innermost(&error));
                let status = status::refused(Code::Unavailable, "CONNECTION_LOST", message);
                Poll::Ready(Some(Err(status)))
            }
            Poll::Ready(None) => {
                // No trailers: the client library reports it; for the breaker it is no answer.
                this.finish(Code::Unknown);
                Poll::Ready(None)
            }
            Poll::Pending if this.is_late(context) => this.late(),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn code_of(trailers: &HeaderMap) -> Code {
    trailers
        .get(Status::GRPC_STATUS)
        .map_or(Code::Unknown, |value| Code::from_bytes(value.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_always_has_more_ends_at_the_deadline() {
        let frame = || Ok::<_, Status>(Frame::data(Bytes::from_static(b"more")));
        let endless = StreamBody::new(tokio_stream::iter(std::iter::repeat_with(frame)));
        let throttle = Arc::new(Throttle::new(None));
        let end = Instant::now() + Duration::from_secs(5);
        let codes = Codes::default();
        let body = Body::new(endless);
        let mut body = Tracked::new(body, "a".into(), None, throttle, codes, Some(end));
        assert!(body.frame().await.unwrap().is_ok());
        tokio::time::advance(Duration::from_secs(6)).await;
        let late = body.frame().await.unwrap().unwrap_err();
        assert_eq!(late.code(), Code::DeadlineExceeded);
        assert!(body.frame().await.is_none());
    }
}
