//! What happens to every call around its handler: record, trace, deadline, admission, panic.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use axum::body::Body;
use futures_util::FutureExt as _;
use http::{Request, Response, header::CONTENT_TYPE};
use hyper::body::Incoming;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tower::Service as _;
use tracing::Instrument as _;

use super::{
    Limits,
    body::{Answering, Guard, InFlight, ResponseBody, stop_retries},
    record::Record,
};
use crate::{
    CallContext, deadline, status,
    telemetry::{self, metrics::ServerMetrics},
};

/// When a caller who was shed may try again: about the time the calls in flight take.
const SHED_RETRY: Duration = Duration::from_millis(100);

/// The way in to all services of a server.
#[derive(Debug)]
pub(super) struct Calls {
    router: axum::Router,
    admitted: Semaphore,
    handler_timeout: Duration,
    metrics: Arc<ServerMetrics>,
    closing: CancellationToken,
}

impl Calls {
    pub(super) fn new(
        router: axum::Router,
        limits: &Limits,
        metrics: Arc<ServerMetrics>,
        closing: CancellationToken,
    ) -> Self {
        Self {
            router,
            metrics,
            admitted: Semaphore::new(limits.calls_max),
            handler_timeout: limits.handler_timeout,
            closing,
        }
    }

    /// Handles one request of a connection; always answers.
    pub(super) async fn handle(
        &self,
        request: Request<Incoming>,
        connection: &InFlight,
    ) -> Response<ResponseBody> {
        let in_flight = connection.begin();
        let endless = request.uri().path() == "/grpc.health.v1.Health/Watch";
        let response = if is_grpc(&request) {
            self.grpc(request, in_flight).await
        } else {
            let response = self.route(request.map(Body::new)).await;
            response.map(|body| ResponseBody::new(body, in_flight))
        };
        if endless {
            let closing = self.closing.clone().cancelled_owned();
            return response.map(|body| body.ended_by(closing));
        }
        response
    }

    /// A gRPC call, from its headers to the beginning of its answer.
    async fn grpc(&self, request: Request<Incoming>, in_flight: Guard) -> Response<ResponseBody> {
        let now = Instant::now();
        let path = request.uri().path().to_owned();
        let callers = deadline::requested(request.headers(), now);
        let handlers = deadline::nearest(Some(self.handler_timeout), request.headers(), now);
        let context = CallContext::received(request.headers(), handlers);
        let span = telemetry::recv(&path, &context.trace(), context.request_id());
        let mut record = Record::begin(&self.metrics, &path, span.clone(), now);
        let request = record.counted(request);
        let answer = self.answer(request, &path, &context);
        let mut response = answer.instrument(span).await;
        record.answered(&path, response.headers());
        stop_retries(&context, record.code(), response.headers_mut());
        let answering = Answering {
            record,
            // The handler's own time ends where its answer begins.
            context: context.with_deadline(callers),
            deadline: callers,
            alarm: None,
        };
        response.map(|body| ResponseBody::new(body, in_flight).answering(answering))
    }

    /// Admits the call and runs its handler, for as long as somebody waits for it.
    async fn answer(
        &self,
        request: Request<Body>,
        path: &str,
        context: &CallContext,
    ) -> Response<Body> {
        // Health and reflection must answer also when the server is full.
        let infrastructure = path.starts_with("/grpc.");
        let Some(_admission) = self.admit(infrastructure) else {
            let shed = status::retry_later(
                Code::ResourceExhausted,
                "OVERLOADED",
                "the server handles as many calls as it can",
                SHED_RETRY,
            );
            return shed.into_http();
        };
        let handler = AssertUnwindSafe(self.route(request)).catch_unwind();
        let handler = context.clone().scope(handler);
        let outcome = match context.deadline() {
            Some(until) => timeout_at(until, handler).await,
            None => Ok(handler.await),
        };
        match outcome {
            Ok(Ok(response)) => response,
            Ok(Err(_panic)) => {
                tracing::error!("the handler panicked");
                status::refused(Code::Internal, "PANICKED", "the handler panicked").into_http()
            }
            Err(_elapsed) => deadline::elapsed("in the handler").into_http(),
        }
    }

    async fn route(&self, request: Request<Body>) -> Response<Body> {
        match self.router.clone().call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    fn admit(&self, infrastructure: bool) -> Option<Option<tokio::sync::SemaphorePermit<'_>>> {
        if infrastructure {
            return Some(None);
        }
        self.admitted.try_acquire().ok().map(Some)
    }
}

fn is_grpc(request: &Request<Incoming>) -> bool {
    let content_type = request.headers().get(CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}
