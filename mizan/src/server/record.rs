//! The record of one call: its metrics, its log line and its span, whatever becomes of it.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body::{Frame, SizeHint};
use tokio::time::Instant;
use tonic::{Code, Status};
use tracing::Span;

use super::failures::{Failures, Fault, fault};
use crate::telemetry::{
    self,
    metrics::{MessageBytes, ServerMethod, ServerMetrics, status_name},
};

/// Written when it is dropped. A call that ends without a status was left by its caller:
/// CANCELLED.
#[derive(Debug)]
pub(super) struct Record {
    metrics: Arc<ServerMetrics>,
    failures: Arc<Failures>,
    /// Known from the start for a method that was answered before.
    method: Option<Arc<ServerMethod>>,
    begun: Instant,
    code: Code,
    fault: Fault,
    /// How often the handler kept its thread for too long.
    blocked: u64,
    sent: MessageBytes,
    rcvd: Arc<Came>,
    span: Span,
}

/// What came of a request's body.
#[derive(Debug, Default)]
struct Came {
    bytes: AtomicU64,
    /// Whether it broke off: its client left, or sent what is no body.
    broke: AtomicBool,
}

impl Record {
    /// A call begins.
    pub(super) fn begin(
        metrics: &Arc<ServerMetrics>,
        failures: &Arc<Failures>,
        path: &str,
        span: Span,
        begun: Instant,
    ) -> Self {
        let method = metrics.method(path);
        if let Some(method) = &method {
            method.started();
        }
        Self {
            metrics: metrics.clone(),
            failures: failures.clone(),
            method,
            begun,
            code: Code::Cancelled,
            fault: Fault::Ours,
            blocked: 0,
            sent: MessageBytes::default(),
            rcvd: Arc::default(),
            span,
        }
    }

    /// The request, whose messages are counted as the handler reads them.
    pub(super) fn counted<B>(&self, request: Request<B>) -> Request<axum::body::Body>
    where
        B: http_body::Body<Data = Bytes, Error: Into<axum::BoxError>> + Send + Unpin + 'static,
    {
        request.map(|inner| {
            axum::body::Body::new(Counted {
                inner,
                bytes: MessageBytes::default(),
                came: self.rcvd.clone(),
            })
        })
    }

    /// The answer begins, and may be its status alone. Only now is it known whether some service
    /// has the method: paths are the callers' words, and must not fill the metrics.
    pub(super) fn answered(&mut self, path: &str, headers: &HeaderMap) {
        let code = code_of(headers);
        if self.method.is_none() {
            let method = match code {
                Some(Code::Unimplemented) => self.metrics.other(),
                _ => self.metrics.learn(path),
            };
            method.started();
            self.method = Some(method);
        }
        if let Some(code) = code {
            self.ended(code, headers);
        }
    }

    /// A part of the answer.
    pub(super) fn sent(&mut self, chunk: &[u8]) {
        self.sent.feed(chunk);
    }

    /// The status that the answer ends with, and what it stands in.
    pub(super) fn ended(&mut self, code: Code, answer: &HeaderMap) {
        self.code = code;
        if code == Code::Internal && self.fault == Fault::Ours {
            self.fault = fault(answer);
        }
    }

    /// The handler kept its thread for too long, so often.
    pub(super) fn blocked(&mut self, times: u64) {
        self.blocked = times;
    }

    /// The request itself is wrong, whatever it is answered.
    pub(super) fn blame_caller(&mut self) {
        self.fault = Fault::Callers;
    }

    pub(super) fn code(&self) -> Code {
        self.code
    }

    pub(super) fn span(&self) -> &Span {
        &self.span
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let took = self.begun.elapsed();
        // What a handler says of a request that broke off is about its client, who hears none of it.
        if self.rcvd.broke.load(Relaxed) && is_failure(self.code) {
            self.code = Code::Cancelled;
        }
        let method = self.method.take().unwrap_or_else(|| {
            let other = self.metrics.other();
            other.started();
            other
        });
        method.ended(
            self.code,
            took,
            self.sent.total(),
            self.rcvd.bytes.load(Relaxed),
        );
        method.blocked(self.blocked);
        telemetry::ended(&self.span, self.code);
        let told = if is_failure(self.code) {
            // Where a method's metrics are, they stay: it is known by the place.
            let number = Arc::as_ptr(&method).addr();
            let now = Instant::now();
            self.failures.happened(number, self.code, self.fault, now)
        } else {
            None
        };
        self.span
            .in_scope(|| log(self.code, self.fault, took, told));
    }
}

/// Whether a person should look at a call that ended so.
fn is_failure(code: Code) -> bool {
    matches!(code, Code::Internal | Code::Unknown | Code::DataLoss)
}

/// A line for each call at debug, and now and then a warning for those that a person should look at.
fn log(code: Code, fault: Fault, took: Duration, told: Option<u64>) {
    let code = status_name(code);
    match (told, fault) {
        (Some(times), Fault::Ours) => tracing::warn!(code, ?took, times, "call failed"),
        (Some(times), Fault::Callers) => {
            tracing::info!(code, ?took, times, "a request could not be read");
        }
        (None, _) => tracing::debug!(code, ?took, "call"),
    }
}

/// The status in an answer's headers or trailers, if it is there.
pub(super) fn code_of(headers: &HeaderMap) -> Option<Code> {
    let value = headers.get(Status::GRPC_STATUS)?;
    Some(Code::from_bytes(value.as_bytes()))
}

/// A request's body, counted.
struct Counted<B> {
    inner: B,
    bytes: MessageBytes,
    came: Arc<Came>,
}

impl<B: http_body::Body<Data = Bytes> + Unpin> http_body::Body for Counted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.inner).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    this.bytes.feed(data);
                    this.came.bytes.store(this.bytes.total(), Relaxed);
                }
            }
            Poll::Ready(Some(Err(_))) => this.came.broke.store(true, Relaxed),
            Poll::Ready(None) | Poll::Pending => {}
        }
        polled
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
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;
    use crate::telemetry::metrics::{Format, Registry};

    #[tokio::test]
    async fn a_request_that_breaks_off_is_a_client_that_left_whatever_its_handler_says() {
        let registry = Registry::new();
        let metrics = registry.server();
        for (breaks, code) in [(true, "CANCELLED"), (false, "UNKNOWN")] {
            let failures = Arc::new(Failures::default());
            let now = Instant::now();
            let mut record = Record::begin(&metrics, &failures, "/a.A/Put", Span::none(), now);
            let part = Ok(Frame::data(Bytes::from_static(b"part")));
            let broken = Err(std::io::Error::other("reset by peer"));
            let parts = [part].into_iter().chain(breaks.then_some(broken));
            let body = StreamBody::new(tokio_stream::iter(parts));
            let mut body = record.counted(Request::new(body)).into_body();
            while let Some(Ok(_)) = body.frame().await {}
            let mut answer = HeaderMap::new();
            answer.insert(Status::GRPC_STATUS, http::HeaderValue::from_static("2"));
            record.answered("/a.A/Put", &answer);
            drop(record);
            let page = registry.render(Format::Prometheus);
            assert!(page.contains(&format!("\"{code}\"")), "{code}: {page}");
        }
    }
}
