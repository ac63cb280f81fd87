//! What happens to every call around its handler: record, trace, deadline, admission, panic.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use axum::body::Body;
use futures_util::FutureExt as _;
use http::{Request, Response, header::CONTENT_TYPE};
use hyper::body::Incoming;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
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
    admitted: Arc<Semaphore>,
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
            admitted: Arc::new(Semaphore::new(limits.calls_max)),
            handler_timeout: limits.handler_timeout,
            closing,
        }
    }

    /// A request has arrived. Counted now, because on a busy machine those whose turn has not come
    /// are the load: admitted only when they run, they would queue past every deadline and none
    /// would be refused.
    pub(super) fn arrive<B>(&self, request: &Request<B>, connection: &InFlight) -> Arrival {
        Arrival {
            at: Instant::now(),
            in_flight: connection.begin(),
            kind: if !is_grpc(request) {
                Kind::Http
            } else if request.uri().path().starts_with("/grpc.") {
                // Health and reflection must answer also when the server is full.
                Kind::Infrastructure
            } else {
                let permit = self.admitted.clone().try_acquire_owned();
                permit.map_or(Kind::Shed, Kind::Admitted)
            },
        }
    }

    /// Handles one request of a connection; always answers.
    pub(super) async fn handle(
        &self,
        request: Request<Incoming>,
        arrival: Arrival,
    ) -> Response<ResponseBody> {
        // Streams of the server's own, which nobody ends: a health watch, reflection.
        let endless = matches!(arrival.kind, Kind::Infrastructure);
        let response = if matches!(arrival.kind, Kind::Http) {
            let response = self.route(request.map(Body::new)).await;
            response.map(|body| ResponseBody::new(body, arrival.in_flight))
        } else {
            self.grpc(request, arrival).await
        };
        if endless {
            let closing = self.closing.clone().cancelled_owned();
            return response.map(|body| body.ended_by(closing));
        }
        response
    }

    /// A gRPC call, from its headers to the beginning of its answer.
    async fn grpc(&self, request: Request<Incoming>, arrival: Arrival) -> Response<ResponseBody> {
        let now = arrival.at;
        let path = request.uri().path().to_owned();
        let callers = deadline::requested(request.headers(), now);
        let handlers = deadline::nearest(Some(self.handler_timeout), request.headers(), now);
        let context = CallContext::received(request.headers(), handlers);
        let span = telemetry::recv(&path, &context.trace(), context.request_id());
        let mut record = Record::begin(&self.metrics, &path, span.clone(), now);
        let request = record.counted(request);
        let answer = self.answer(request, arrival.kind, &context);
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
        response.map(|body| ResponseBody::new(body, arrival.in_flight).answering(answering))
    }

    /// Runs the handler of a call that was admitted, for as long as somebody waits for it.
    async fn answer(
        &self,
        request: Request<Body>,
        kind: Kind,
        context: &CallContext,
    ) -> Response<Body> {
        if matches!(kind, Kind::Shed) {
            let shed = status::retry_later(
                Code::ResourceExhausted,
                "OVERLOADED",
                "the server handles as many calls as it can",
                SHED_RETRY,
            );
            return shed.into_http();
        }
        // Nobody waits any more for what had to wait too long for its turn; handling it all the
        // same is how a busy server becomes one that answers nobody.
        if context
            .deadline()
            .is_some_and(|until| until <= Instant::now())
        {
            return deadline::elapsed("before the handler began").into_http();
        }
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
}

/// A request that has arrived.
#[derive(Debug)]
pub(super) struct Arrival {
    at: Instant,
    in_flight: Guard,
    kind: Kind,
}

/// What becomes of it.
#[derive(Debug)]
enum Kind {
    /// Not a call: a plain HTTP route.
    Http,
    /// Health and reflection.
    Infrastructure,
    /// A call. It holds its place until its answer begins.
    Admitted(
        #[expect(dead_code, reason = "dropped, it gives the place back")] OwnedSemaphorePermit,
    ),
    /// A call too many.
    Shed,
}

/// Whether a request is a gRPC call, by what it says of its body.
pub(super) fn is_grpc<B>(request: &Request<B>) -> bool {
    let content_type = request.headers().get(CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::{server::record::code_of, telemetry::TraceContext, telemetry::metrics::Registry};

    fn calls(router: axum::Router, limits: &Limits) -> Calls {
        let metrics = Registry::new().server();
        Calls::new(router, limits, metrics, CancellationToken::new())
    }

    fn request(path: &str) -> Request<Body> {
        let request = Request::post(path).header(CONTENT_TYPE, "application/grpc");
        request.body(Body::empty()).unwrap()
    }

    #[test]
    fn calls_that_wait_for_their_turn_are_load_already() {
        let limits = Limits {
            calls_max: 2,
            ..Limits::default()
        };
        let calls = calls(axum::Router::new(), &limits);
        let connection = InFlight::default();
        let arrive = |path| calls.arrive(&request(path), &connection);
        // None of them has been polled.
        let waiting = [arrive("/a.A/B"), arrive("/a.A/B")];
        assert!(waiting.iter().all(|a| matches!(a.kind, Kind::Admitted(_))));
        assert!(matches!(arrive("/a.A/B").kind, Kind::Shed));
        let health = arrive("/grpc.health.v1.Health/Check");
        assert!(matches!(health.kind, Kind::Infrastructure));
        let page = Request::get("/metrics").body(()).unwrap();
        assert!(matches!(calls.arrive(&page, &connection).kind, Kind::Http));
        drop(waiting);
        assert!(matches!(arrive("/a.A/B").kind, Kind::Admitted(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_whose_turn_comes_too_late_is_not_handled() {
        let handled = Arc::new(AtomicU32::new(0));
        let counted = handled.clone();
        let router = axum::Router::new().fallback(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            std::future::ready(())
        });
        let calls = calls(router, &Limits::default());
        let connection = InFlight::default();
        let until = Instant::now() + Duration::from_secs(1);
        let answer = async || {
            let request = request("/a.A/B");
            let kind = calls.arrive(&request, &connection).kind;
            let context = CallContext::new(Some(until), TraceContext::root());
            let answer = calls.answer(request, kind, &context).await;
            code_of(answer.headers())
        };
        assert_eq!((answer().await, handled.load(Ordering::SeqCst)), (None, 1));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(answer().await, Some(Code::DeadlineExceeded));
        assert_eq!(handled.load(Ordering::SeqCst), 1);
    }
}
