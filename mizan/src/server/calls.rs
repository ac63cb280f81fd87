//! What happens to every call around its handler: record, trace, deadline, admission, panic.

use std::{
    net::IpAddr,
    panic::AssertUnwindSafe,
    sync::{Arc, Weak},
    time::Duration,
};

use axum::{body::Body, response::IntoResponse as _};
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{
    HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{self, CONTENT_TYPE},
};
use http_body_util::Either;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic_web::GrpcWebLayer;
use tower::{Layer as _, Service as _};
use tracing::Instrument as _;

use super::{
    Limits,
    blocking::Blocking,
    body::{Answering, ResponseBody, Way, late, panicked, stop_retries, translate, unread_status},
    closing::UntilClosing,
    connections::Connections,
    failures::Failures,
    layers::Wrapped,
    lending::Lending,
    life::{ConnectionLoad, Life, Load, Received},
    limits::HandlerTimes,
    listen::ConnectInfo,
    origin::{self, Origins},
    progress::Progress,
    record::Record,
    rest::Rest,
    seldom::Everywhere,
    uploads::Upload,
};
use crate::{
    CallContext, deadline, status,
    telemetry::{
        self,
        metrics::{Carried, Carries, ServerMetrics},
    },
};

/// When a caller who was shed may try again: about the time the calls in flight take.
const SHED_RETRY: Duration = Duration::from_millis(100);

/// What a server serves, each only to whom it is for.
#[derive(Debug)]
pub(super) struct Routers {
    /// The services: gRPC.
    pub(super) services: Wrapped,
    /// `grpc.health.v1.Health`, which nothing is put around.
    pub(super) health: axum::Router,
    /// Pages and routes: plain HTTP.
    pub(super) pages: axum::Router,
    /// Whether gRPC-Web reaches the services too.
    pub(super) web: bool,
    /// What services there are.
    pub(super) names: Arc<[&'static str]>,
}

/// What is sent back: an answer, or one that is translated to gRPC-Web.
pub(super) type Answer = Either<ResponseBody, tonic::body::Body>;

/// The way in to all services of a server.
#[derive(Debug)]
pub(super) struct Calls {
    routers: Routers,
    origins: Origins,
    load: Arc<Load>,
    connections: Arc<Connections>,
    times: HandlerTimes,
    metrics: Arc<ServerMetrics>,
    failures: Arc<Failures>,
    blocking: Blocking,
    closing: CancellationToken,
}

impl Calls {
    pub(super) fn new(
        routers: Routers,
        limits: &Limits,
        times: HandlerTimes,
        origins: Origins,
        metrics: Arc<ServerMetrics>,
        closing: CancellationToken,
    ) -> Self {
        let load = Arc::new(Load::new(limits.calls_max, limits.held_max));
        let observed: Weak<Load> = Arc::downgrade(&load);
        metrics.observe(observed);
        Self {
            routers,
            origins,
            metrics,
            load,
            connections: Arc::default(),
            times,
            failures: Arc::default(),
            blocking: Blocking::default(),
            closing,
        }
    }

    /// What all of its calls hold.
    pub(super) fn load(&self) -> &Arc<Load> {
        &self.load
    }

    /// Its connections.
    pub(super) fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }

    /// A request has arrived. Counted now, because on a busy machine those whose turn has not come
    /// are the load: admitted only when they run, they would queue past every deadline and none
    /// would be refused.
    pub(super) fn arrive<B>(
        &self,
        request: &Request<B>,
        connection: &Arc<ConnectionLoad>,
    ) -> Arrival {
        let web = self.routers.web && says_grpc_web(request);
        let (kind, life) = if !web && !is_call(request) {
            (Kind::Http, Life::exempt(connection))
        } else if is_infrastructure(request.uri().path()) {
            // Health and reflection must answer also when the server is full.
            (Kind::Infrastructure, Life::exempt(connection))
        } else {
            let life = Life::counted(connection);
            if life.is_shed() {
                self.metrics.shed();
            }
            (Kind::Call, life)
        };
        if self.load.is_beyond() {
            // Each call that is open costs something, however little its answer is.
            self.connections.make_room_or_go(connection);
        }
        Arrival {
            at: Instant::now(),
            kind,
            web,
            way: Way {
                life,
                progress: Arc::default(),
            },
        }
    }

    /// Handles one request of a connection to this peer; always answers.
    pub(super) async fn handle(
        &self,
        mut request: Request<Incoming>,
        arrival: Arrival,
        peer: &Peer,
    ) -> Response<Answer> {
        peer.info.put(request.extensions_mut());
        if arrival.kind != Kind::Http && !arrival.web {
            return self.call(request, arrival).await.map(Either::Left);
        }
        // A page that may call the services, though it is another site's.
        let page = self.origins.page(&request).cloned();
        let page = page.filter(|_| arrival.web || self.is_asked_before_a_call(&request));
        // What a browser can send, for whatever page it shows.
        if let Some(refused) = self.origins.refuse(&request, peer.local, page.is_some()) {
            return sized(refused.into_response(), arrival.way).map(Either::Left);
        }
        if let Some(page) = page {
            return Box::pin(self.page_calls(request, arrival, page)).await;
        }
        // In boxes: in the future of a call they would take room that is moved with each of them.
        if arrival.web {
            return Box::pin(self.web(request, arrival))
                .await
                .map(Either::Right);
        }
        Box::pin(self.page(request, arrival))
            .await
            .map(Either::Left)
    }

    /// Whether a browser asks whether a page may call a service (CORS's preflight).
    fn is_asked_before_a_call<B>(&self, request: &Request<B>) -> bool {
        let service = request.uri().path().strip_prefix('/');
        let service = service.and_then(|path| path.split_once('/'));
        request.method() == Method::OPTIONS
            && request
                .headers()
                .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
            && service.is_some_and(|(name, _)| self.routers.names.contains(&name))
    }

    /// What a page that was named asks or calls, with the headers by which its browser shows it the
    /// answer.
    async fn page_calls(
        &self,
        request: Request<Incoming>,
        arrival: Arrival,
        page: HeaderValue,
    ) -> Response<Answer> {
        let mut response = if arrival.web {
            self.web(request, arrival).await.map(Either::Right)
        } else {
            let allowed = origin::preflight(request.headers());
            sized(allowed, arrival.way).map(Either::Left)
        };
        origin::show(&page, response.headers_mut());
        response
    }

    /// A call by gRPC-Web, translated there and back; in between it is a call as any other.
    async fn web(
        &self,
        request: Request<Incoming>,
        arrival: Arrival,
    ) -> Response<tonic::body::Body> {
        let mut arrival = Some(arrival);
        let call = tower::service_fn(|request: Request<tonic::body::Body>| {
            let arrival = arrival.take();
            async move {
                match arrival {
                    Some(arrival) => Ok(self.call(request, arrival).await),
                    // The translator calls once.
                    None => Err(()),
                }
            }
        });
        let (request, rest) = Rest::of(request);
        let answered = GrpcWebLayer::new().layer(call).call(request).await;
        rest.read().await;
        answered.unwrap_or_else(|()| panicked().into_http())
    }

    async fn call<B>(&self, request: Request<B>, arrival: Arrival) -> Response<ResponseBody>
    where
        B: http_body::Body<Data = Bytes, Error: Into<axum::BoxError>> + Send + Unpin + 'static,
    {
        if arrival.kind != Kind::Infrastructure {
            return self.grpc(request, arrival).await;
        }
        // Streams of the server's own, which nobody ends: a health watch, reflection.
        let closing = self.closing.clone();
        let request = request.map(|body| UntilClosing::new(body, closing.clone()));
        let response = Box::pin(self.grpc(request, arrival)).await;
        response.map(|body| body.ended_by(closing.cancelled_owned()))
    }

    /// A request that is not a call: it reaches no service.
    async fn page(&self, request: Request<Incoming>, arrival: Arrival) -> Response<ResponseBody> {
        let received = Received::begin(arrival.way.life.connection());
        let (request, rest) = Rest::of(request);
        let (request, upload) = Upload::watch(request, received, Arc::clone(&self.connections));
        let answer = route(&self.routers.pages, request);
        let answer = AssertUnwindSafe(answer).catch_unwind().await;
        let answer = answer.unwrap_or_else(|_panic| {
            static SAID: Everywhere = Everywhere::new();
            if let Some(times) = SAID.happened() {
                tracing::error!(times, "a route panicked");
            }
            let text = "The server has a defect; its log has the place.\n";
            (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
        });
        if !upload.is_late() {
            rest.read().await;
        }
        sized(upload.answered(answer), arrival.way)
    }

    /// A gRPC call, from its headers to the beginning of its answer.
    async fn grpc<B>(&self, request: Request<B>, arrival: Arrival) -> Response<ResponseBody>
    where
        B: http_body::Body<Data = Bytes, Error: Into<axum::BoxError>> + Send + Unpin + 'static,
    {
        let now = arrival.at;
        let path = request.uri().path().to_owned();
        let callers = deadline::requested(request.headers(), now);
        let own = self.times.of(&path, callers.is_some());
        let handlers = deadline::nearest(own, request.headers(), now);
        let context = CallContext::received(
            request.headers(),
            handlers,
            request.uri().authority(),
            Some(&self.closing),
        );
        let span = telemetry::recv(&path, &context.trace(), context.request_id());
        let mut record = Record::begin(&self.metrics, &self.failures, &path, span.clone(), now);
        let Arrival { mut way, .. } = arrival;
        let request = record.counted(Lending::of(request, way.life.seat()));
        if let Some(until) = callers {
            way.progress.until(until);
        }
        let mut response = if deadline::is_malformed(request.headers()) {
            record.blame_caller();
            malformed_timeout()
        } else {
            let answer = self.answer(request, way.life.is_shed(), &context);
            let answer = self.blocking.watch(&path, answer);
            let (answer, blocked) = answer.instrument(span).await;
            record.blocked(blocked);
            answer
        };
        way.life.answers();
        translate(response.headers_mut());
        record.answered(&path, response.headers());
        stop_retries(&context, record.code(), response.headers_mut());
        let answering = Answering {
            record,
            // The handler's own time ends where its answer begins.
            context: context.with_deadline(callers),
            deadline: callers,
            alarm: None,
        };
        response.map(|body| ResponseBody::new(body, way).answering(answering))
    }

    /// Runs the handler of a call that was admitted, for as long as somebody waits for it.
    async fn answer(
        &self,
        request: Request<Body>,
        is_shed: bool,
        context: &CallContext,
    ) -> Response<Body> {
        if is_shed {
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
            return late("before the handler began").into_http();
        }
        let handler = async {
            if is_health(request.uri().path()) {
                route(&self.routers.health, request).await
            } else {
                self.routers.services.call(request).await
            }
        };
        let handler = AssertUnwindSafe(handler).catch_unwind();
        let handler = context.clone().scope(handler);
        let outcome = match context.deadline() {
            Some(until) => timeout_at(until, handler).await,
            None => Ok(handler.await),
        };
        match outcome {
            Ok(Ok(response)) => response,
            Ok(Err(_panic)) => {
                static SAID: Everywhere = Everywhere::new();
                if let Some(times) = SAID.happened() {
                    tracing::error!(times, "the handler panicked");
                }
                panicked().into_http()
            }
            Err(_elapsed) => late("in the handler").into_http(),
        }
    }
}

/// As gRPC's own servers answer it: a bad request, whose status is INTERNAL.
fn malformed_timeout() -> Response<Body> {
    let status = status::refused(
        Code::Internal,
        "MALFORMED_TIMEOUT",
        "malformed grpc-timeout: it must be at most eight digits and one of H, M, S, m, u, n",
    );
    let mut response = status.into_http();
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response
}

/// A page, or the refusal that takes its place where there is no room for it.
fn sized(response: Response<Body>, way: Way) -> Response<ResponseBody> {
    let (mut head, body) = response.into_parts();
    let mut body = ResponseBody::new(body, way);
    if let Err(full) = body.reserve() {
        let text = format!("{}\n", unread_status(full).message());
        let refused = (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
        let (refused, text) = refused.into_parts();
        head = refused;
        body.replace(text);
    }
    Response::from_parts(head, body)
}

impl Carries for Load {
    fn carried(&self) -> Carried {
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        Carried {
            connections: number(self.connections()),
            open: number(self.calls()),
            admitted: number(self.taken()),
            unread: number(self.unread()),
        }
    }
}

async fn route(router: &axum::Router, request: Request<Body>) -> Response<Body> {
    match router.clone().call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// Who is at the other end of a connection, and by which address of ours.
#[derive(Debug, Default)]
pub(super) struct Peer {
    pub(super) local: Option<IpAddr>,
    pub(super) info: ConnectInfo,
}

/// A request that has arrived.
#[derive(Debug)]
pub(super) struct Arrival {
    at: Instant,
    kind: Kind,
    /// Whether it comes by gRPC-Web.
    web: bool,
    way: Way,
}

impl Arrival {
    /// How far its answer comes.
    pub(super) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.way.progress)
    }
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Not a call: a plain HTTP route.
    Http,
    /// Health and reflection.
    Infrastructure,
    /// A call. It holds its place, if there was one, until its answer begins.
    Call,
}

/// Whether a path is one that answers also when the server is full. By name: whatever else begins
/// with `/grpc.` is somebody's service.
fn is_infrastructure(path: &str) -> bool {
    let service = path.strip_prefix("/grpc.");
    let service = service.and_then(|rest| rest.rsplit_once('/'));
    service.is_some_and(|(service, _)| {
        matches!(
            service,
            "health.v1.Health"
                | "reflection.v1.ServerReflection"
                | "reflection.v1alpha.ServerReflection"
        )
    })
}

/// Whether a path is health's.
fn is_health(path: &str) -> bool {
    path.starts_with("/grpc.health.v1.Health/")
}

/// Whether a request is a call, which only gRPC as gRPC is: a POST by HTTP/2 whose body says so. A
/// page that a browser shows can send none of it without asking first, so no site that somebody
/// visits reaches a service.
pub(super) fn is_call<B>(request: &Request<B>) -> bool {
    request.version() == Version::HTTP_2 && request.method() == Method::POST && says_grpc(request)
}

/// Whether a request says that its body is gRPC, with whatever codec; gRPC-Web is something else.
pub(super) fn says_grpc<B>(request: &Request<B>) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    let content_type = request.headers().get(CONTENT_TYPE);
    content_type.is_some_and(|value| {
        let (name, rest) = value.as_bytes().split_at(GRPC.len().min(value.len()));
        name.eq_ignore_ascii_case(GRPC) && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
    })
}

/// Whether a request says that its body is gRPC-Web, as the translator reads it.
fn says_grpc_web<B>(request: &Request<B>) -> bool {
    let content_type = request.headers().get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let encoding = content_type.and_then(|value| value.strip_prefix("application/grpc-web"));
    matches!(encoding, Some("" | "+proto" | "-text" | "-text+proto"))
}

#[cfg(test)]
mod tests;
