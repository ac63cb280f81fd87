//! What happens to every call before its handler: admission, trace, deadline, panic.

use std::{panic::AssertUnwindSafe, time::Duration};

use axum::body::Body;
use futures_util::FutureExt as _;
use http::{Request, Response, header::CONTENT_TYPE};
use hyper::body::Incoming;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tower::Service as _;
use tracing::Instrument as _;

use super::{
    Limits,
    body::{InFlight, ResponseBody},
};
use crate::{CallContext, deadline, status, telemetry::TraceContext};

/// When a caller who was shed may try again: about the time the calls in flight take.
const SHED_RETRY: Duration = Duration::from_millis(100);

/// The way in to all services of a server.
#[derive(Debug)]
pub(super) struct Calls {
    router: axum::Router,
    admitted: Semaphore,
    handler_timeout: Duration,
    closing: CancellationToken,
}

impl Calls {
    pub(super) fn new(router: axum::Router, limits: &Limits, closing: CancellationToken) -> Self {
        Self {
            router,
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
        let call = connection.begin();
        let endless = request.uri().path() == "/grpc.health.v1.Health/Watch";
        let response = if is_grpc(&request) {
            self.grpc(request).await
        } else {
            self.route(request.map(Body::new)).await
        };
        response.map(|body| {
            let body = ResponseBody::new(body, call);
            if endless {
                return body.ended_by(self.closing.clone().cancelled_owned());
            }
            body
        })
    }

    async fn grpc(&self, request: Request<Incoming>) -> Response<Body> {
        // Health and reflection must answer also when the server is full.
        let infrastructure = request.uri().path().starts_with("/grpc.");
        let Some(_admission) = self.admit(infrastructure) else {
            let shed = status::retry_later(
                Code::ResourceExhausted,
                "OVERLOADED",
                "the server handles as many calls as it can",
                SHED_RETRY,
            );
            return shed.into_http();
        };
        let now = Instant::now();
        let until = deadline::nearest(Some(self.handler_timeout), request.headers(), now);
        let context = CallContext {
            deadline: until,
            trace: trace_of(&request),
        };
        let method = request.uri().path().to_owned();
        let span = tracing::info_span!(
            "call",
            %method,
            trace_id = %context.trace.trace_id(),
            span_id = %context.trace.span_id(),
        );
        let handler = AssertUnwindSafe(self.route(request.map(Body::new))).catch_unwind();
        let work = context.scope(async {
            match until {
                Some(until) => timeout_at(until, handler).await,
                None => Ok(handler.await),
            }
        });
        async {
            let response = match work.await {
                Ok(Ok(response)) => response,
                Ok(Err(_panic)) => {
                    tracing::error!("the handler panicked");
                    status::refused(Code::Internal, "PANICKED", "the handler panicked").into_http()
                }
                Err(_elapsed) => deadline::elapsed("in the handler").into_http(),
            };
            log(&response, now.elapsed());
            response
        }
        .instrument(span)
        .await
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

/// A span of the caller's trace, or of a new one.
fn trace_of(request: &Request<Incoming>) -> TraceContext {
    let header = request.headers().get(TraceContext::HEADER);
    let parent = header.and_then(|value| TraceContext::parse(value.to_str().ok()?));
    parent.map_or_else(TraceContext::root, |parent| parent.child())
}

/// A line for each call at debug, and a warning for those that a person should look at.
fn log(response: &Response<Body>, took: Duration) {
    // Only an answer without a message carries its status in the headers; the others are OK.
    let code = Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code());
    match code {
        Code::Internal | Code::Unknown | Code::DataLoss => {
            tracing::warn!(?code, ?took, "call failed")
        }
        _ => tracing::debug!(?code, ?took, "call"),
    }
}
