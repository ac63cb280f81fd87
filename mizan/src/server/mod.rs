//! The server: what every service must do and nobody should write twice.
//!
//! *What it does.* Registers with the registry and stays registered, also when the registry forgot;
//! serves gRPC health and reflection (v1 and v1alpha), `GET /health` and `GET /metrics` beside the
//! services, on one port; continues the caller's trace, deadline and request id in the handler and
//! in the stream it answers with; bounds concurrency, handler and header time and idle connections;
//! turns a panic into INTERNAL; tells callers not to retry what was retried below; and drains
//! without dropping a call.
//!
//! *Drain*, in this order: deregister → health NOT_SERVING → let watchers see it → stop accepting,
//! GOAWAY → finish what is in flight → return. All of it within the drain limit: what is not
//! finished then is cut.
//!
//! *What it does not do.* It knows no business word, and it opens no port: it takes a bound
//! listener, so a port in use is the caller's to report.

mod accept;
mod blocking;
mod body;
mod calls;
mod connections;
mod files;
mod fullness;
mod health;
mod life;
mod listen;
mod metrics;
mod origin;
mod progress;
mod queue;
mod record;
mod register;
mod seldom;
mod serving;
mod sync;
mod transport;
mod turns;
mod uploads;

use std::{
    convert::Infallible,
    future::Future,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use axum::response::IntoResponse;
use http::{Request, StatusCode};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tonic::{body::Body, server::NamedService, service::Routes};
use tower::Service;

pub use listen::{Accept, Accepted, Accepting, Listener};

use self::origin::Origins;
use crate::{args::ServerArgs, telemetry::metrics::Registry};

/// How long a deregistered instance goes on answering before it turns connections away: the time
/// that watchers get to see it gone. They are told within milliseconds.
const LINGER: Duration = Duration::from_millis(200);

/// What a longer drain counts as: a week, so that its end can be said.
const DRAIN_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// What a server allows, each with its reason.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The most calls handled, or waiting for their turn, at once; further ones are refused with
    /// RESOURCE_EXHAUSTED before they cost anything. A call counts until its answer begins: a
    /// stream that is quiet costs memory only, and the bound on that is the connections'. Health
    /// and reflection are exempt. 1024: far above what two cores keep busy, far below what memory
    /// holds, and worked off within the channel's default deadline at 205 calls a second. While there
    /// are other connections, the last quarter is for those that hold at most a sixteenth.
    pub calls_max: usize,
    /// The most connections at once, each with up to 1000 calls; further ones are closed as they
    /// come. 10,000: more than a fleet of 300 services opens to one instance.
    pub connections_max: usize,
    /// The longest a handler may take until its response begins. 10 s: twice the channel's default
    /// deadline, for callers that set none.
    pub handler_timeout: Duration,
    /// The longest a client may take to send the headers of an HTTP/1 request. 10 s.
    pub header_timeout: Duration,
    /// How long a connection may carry nothing before it is told to go. 60 s.
    pub idle_timeout: Duration,
    /// The most bytes of answers that wait for one connection's client. An answer that does not fit
    /// is refused with RESOURCE_EXHAUSTED, `ANSWERS_UNREAD` (a page with 503), unless it is the only
    /// one there; a stream that has begun waits. 64 MiB: sixteen messages of the most that gRPC
    /// clients take by default.
    pub unread_max: usize,
    /// How long a client may leave an answer unread, not taking a part of it, before its stream is
    /// reset; and its connection, before it is cut, if no byte of it leaves for so long. 60 s: a
    /// client on a slow line that has megabytes in its buffers asks for more only now and then.
    pub unread_timeout: Duration,
    /// The most bytes for all that is open: 6 KiB for each call, also a quiet stream, and the
    /// answers that wait. Beyond that the connection which holds most is cut. 512 MiB.
    pub held_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls_max: 1024,
            connections_max: 10_000,
            handler_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            unread_max: 64 << 20,
            unread_timeout: Duration::from_secs(60),
            held_max: 512 << 20,
        }
    }
}

/// A gRPC server in the making; see the module's documentation.
#[derive(Debug)]
pub struct Server {
    name: String,
    args: Option<ServerArgs>,
    limits: Limits,
    routes: Routes,
    http: axum::Router,
    web: bool,
    services: Vec<&'static str>,
    descriptors: Vec<&'static [u8]>,
    metrics: Registry,
    trouble: Option<tokio::sync::watch::Receiver<Option<String>>>,
}

/// Why a server could not start or ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The descriptors for reflection do not fit the services.
    #[error("cannot serve reflection")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The listener is not usable.
    #[error("cannot use the listener")]
    Listener(#[from] std::io::Error),
}

impl Server {
    /// A server whose instances register as `name`. It registers nowhere unless told by
    /// [`args`](Self::args).
    #[must_use]
    pub fn builder(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            args: None,
            limits: Limits::default(),
            routes: Routes::default(),
            http: axum::Router::new(),
            web: false,
            services: Vec::new(),
            descriptors: vec![mizan_contracts::FILE_DESCRIPTOR_SET],
            metrics: Registry::default(),
            trouble: None,
        }
    }

    /// Where and how to register, and how long to drain. With no registry it registers nowhere.
    #[must_use]
    pub fn args(mut self, args: &ServerArgs) -> Self {
        let mut args = args.clone();
        args.registry.retain(|registry| !registry.is_empty());
        self.args = Some(args);
        self
    }

    /// Registers nowhere: for the registry itself, and for tests.
    #[must_use]
    pub fn unregistered(mut self) -> Self {
        self.args = Some(ServerArgs {
            registry: Vec::new(),
            ..self
                .args
                .unwrap_or_else(|| ServerArgs::with_registry(Vec::new()))
        });
        self
    }

    /// While this holds a reason, `GET /health` is `degraded` and tells it: calls are served, and somebody
    /// should look.
    #[must_use]
    pub fn trouble(mut self, told: tokio::sync::watch::Receiver<Option<String>>) -> Self {
        self.trouble = Some(told);
        self
    }

    /// Other limits than the default ones.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Counts into this registry and shows it under `GET /metrics`, instead of the process's own.
    #[must_use]
    pub fn metrics(mut self, registry: Registry) -> Self {
        self.metrics = registry;
        self
    }

    /// Adds an encoded `FileDescriptorSet` for reflection; Mizan's own contracts are known.
    #[must_use]
    pub fn descriptors(mut self, encoded: &'static [u8]) -> Self {
        self.descriptors.push(encoded);
        self
    }

    /// Adds a service that tonic generated.
    #[must_use]
    pub fn add_service<S>(mut self, service: S) -> Self
    where
        S: Service<Request<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Response: IntoResponse,
        S::Future: Send + 'static,
    {
        self.services.push(S::NAME);
        self.routes = self.routes.add_service(service);
        self
    }

    /// Serves gRPC-Web too, for browsers: by HTTP/1.1 or 2, binary or as text. Only to pages of the
    /// server's own origin; those of other sites are refused, and `Server` sends no CORS headers.
    #[must_use]
    pub fn grpc_web(mut self) -> Self {
        self.web = true;
        self
    }

    /// Adds plain HTTP routes on the same port. They are neither counted among the calls nor bound
    /// by the handler's time: a route that waits bounds its own waiting.
    #[must_use]
    pub fn routes(mut self, routes: axum::Router) -> Self {
        self.http = self.http.merge(routes);
        self
    }

    /// Serves until `shutdown` resolves, then drains. Dropped before it is done, it is cut off: the
    /// port is free and every connection closed, as if the process had died.
    ///
    /// # Errors
    /// [`ServeError`]; once it serves, nothing that a client does ends it.
    pub async fn serve<F>(
        self,
        listener: impl Into<Listener>,
        shutdown: F,
    ) -> Result<(), ServeError>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.erased(listener.into(), Box::pin(shutdown)).await
    }

    /// Neither generic nor `async`, so that all of the server is compiled here, once: the code of
    /// an `async fn` is made in every package that awaits it.
    fn erased(
        self,
        listener: Listener,
        shutdown: Pin<Box<dyn Future<Output = ()> + Send>>,
    ) -> Pin<Box<dyn Future<Output = Result<(), ServeError>> + Send>> {
        Box::pin(self.serve_until(listener, shutdown))
    }

    async fn serve_until(
        self,
        listener: Listener,
        shutdown: Pin<Box<dyn Future<Output = ()> + Send>>,
    ) -> Result<(), ServeError> {
        let address = listener.local_addr()?;
        let args = self
            .args
            .clone()
            .unwrap_or_else(|| ServerArgs::with_registry(Vec::new()));
        let reporter = serving::Reporter::new();
        let registers = !args.registry.is_empty();
        let state = health::State::with(registers, reporter.clone(), self.trouble.clone());
        let identity = register::Identity::new(&self.name);
        let routers = self.routers(&reporter, &state, identity.health())?;

        let stop_registering = CancellationToken::new();
        // Both end with this future, should it be dropped: then nothing is drained.
        let registration = AbortOnDropHandle::new(tokio::spawn(register::keep_registered(
            register::registration(&self.name, &identity, address, &args),
            register::Registries {
                authorities: args.registry.clone(),
                connector: args.connector.clone(),
            },
            state.clone(),
            stop_registering.clone(),
        )));
        let closing = CancellationToken::new();
        let counted = self.metrics.server();
        let origins = Origins::allowing(args.allow_host.clone());
        let calls = calls::Calls::new(routers, &self.limits, origins, counted, closing.clone());
        let calls = Arc::new(calls);
        let _looking = AbortOnDropHandle::new(tokio::spawn(look(
            self.name.clone(),
            calls.load().clone(),
            reporter.clone(),
        )));
        let accepting = AbortOnDropHandle::new(tokio::spawn(accept::accept(
            listener,
            calls,
            self.limits.clone(),
            closing.clone(),
        )));
        tracing::info!(service = %self.name, %address, "serving");

        shutdown.await;
        tracing::info!(service = %self.name, %address, "draining");
        let end = Instant::now() + args.drain().min(DRAIN_MAX);
        state.drain();
        stop_registering.cancel();
        let deregistered = timeout_at(end, registration).await;
        reporter.drain();
        if matches!(deregistered, Ok(Ok(true))) {
            sleep_until(end.min(Instant::now() + LINGER)).await;
        }
        closing.cancel();
        let unfinished = match accepting.await {
            Ok(connections) => accept::finish(connections, end).await,
            Err(_) => 0,
        };
        tracing::info!(service = %self.name, %address, unfinished, "drained");
        Ok(())
    }

    fn routers(
        &self,
        reporter: &serving::Reporter,
        state: &health::State,
        own_name: &str,
    ) -> Result<calls::Routers, ServeError> {
        let reflection = || {
            let mut builder = tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
                // So that clients such as grpcurl can show the details of an error.
                .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
                .with_service_name("grpc.health.v1.Health")
                .with_service_name("grpc.reflection.v1.ServerReflection");
            for encoded in &self.descriptors {
                builder = builder.register_encoded_file_descriptor_set(encoded);
            }
            for name in &self.services {
                builder = builder.with_service_name(*name);
            }
            builder
        };
        // tonic's own fallback answers what no service has with UNIMPLEMENTED.
        let services = self
            .routes
            .clone()
            .add_service(serving::health(&self.services, own_name, reporter))
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?)
            .prepare()
            .into_axum_router();
        let names: Arc<[&'static str]> = self.services.iter().copied().collect();
        let pages = axum::Router::new()
            .merge(health::router(state.clone()))
            .merge(metrics::router(self.metrics.clone()))
            .merge(self.http.clone())
            .fallback(move |request| std::future::ready(unknown(&request, &names)));
        Ok(calls::Routers {
            services,
            pages,
            web: self.web,
        })
    }
}

/// Looks again and again whether the server still admits calls, and has its health say so.
async fn look(name: String, load: Arc<life::Load>, reporter: serving::Reporter) {
    let mut fullness = fullness::Fullness::default();
    let mut looks = tokio::time::interval(fullness::LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let refuses = fullness.look(looks.tick().await, load.is_full(), load.freed());
        if reporter.refuses(refuses) {
            if refuses {
                let calls = load.taken();
                tracing::error!(
                    service = %name,
                    calls,
                    "no call was admitted for {:?}: every place is taken; health says NOT_SERVING",
                    fullness::REFUSES_AFTER
                );
            } else {
                tracing::info!(service = %name, "calls are admitted again");
            }
        }
    }
}

/// What is no page: a call in another way than by gRPC, or nothing at all.
fn unknown(request: &Request<axum::body::Body>, services: &[&str]) -> axum::response::Response {
    let path = request.uri().path().strip_prefix('/');
    let service = path
        .and_then(|path| path.split_once('/'))
        .map(|(name, _)| name);
    let is_service =
        service.is_some_and(|name| name.starts_with("grpc.") || services.contains(&name));
    if is_service || calls::says_grpc(request) {
        let text =
            "Services are called by gRPC alone: POST by HTTP/2, content-type application/grpc.\n";
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response();
    }
    let text =
        "There is nothing here. GET /health and /metrics are pages; the services speak gRPC.\n";
    (StatusCode::NOT_FOUND, text).into_response()
}

/// The host, without the brackets of IPv6, and the port that others reach a listener by.
fn advertised(address: SocketAddr, args: &ServerArgs) -> (String, u16) {
    let plain = |host: &str| host.trim_matches(['[', ']']).to_owned();
    let Some(advertise) = args.advertise.as_deref() else {
        return (register::reachable_host(address, args), address.port());
    };
    if let Ok(ip) = plain(advertise).parse::<IpAddr>() {
        // The colons of an IPv6 address announce no port.
        return (ip.to_string(), address.port());
    }
    match advertise
        .rsplit_once(':')
        .map(|(host, port)| (host, port.parse()))
    {
        Some((host, Ok(port))) => (plain(host), port),
        _ => (plain(advertise), address.port()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_advertised_wins_over_where_it_listens() {
        let args = |advertise: Option<&str>| ServerArgs {
            advertise: advertise.map(str::to_owned),
            ..ServerArgs::with_registry(Vec::new())
        };
        let listening: SocketAddr = "[::1]:50051".parse().unwrap();
        for (advertise, host, port) in [
            (None, "::1", 50051),
            (Some("svc.example:80"), "svc.example", 80),
            (Some("svc.example"), "svc.example", 50051),
            (Some("[2001:db8::1]:80"), "2001:db8::1", 80),
            (Some("[2001:db8::1]"), "2001:db8::1", 50051),
            (Some("2001:db8::1"), "2001:db8::1", 50051),
            (Some("192.0.2.1"), "192.0.2.1", 50051),
        ] {
            let found = advertised(listening, &args(advertise));
            assert_eq!(found, (host.to_owned(), port), "{advertise:?}");
        }
    }
}
