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
mod closing;
mod connections;
mod failures;
mod frames;
mod fullness;
mod health;
mod layers;
mod lending;
mod life;
mod limits;
mod list;
mod listen;
mod metrics;
mod origin;
mod progress;
mod queue;
mod record;
mod register;
mod rest;
pub(crate) mod seldom;
mod serving;
mod sync;
mod transport;
mod turns;
mod unix;
mod uploads;

use std::{convert::Infallible, future::Future, pin::Pin, sync::Arc, time::Duration};

use axum::response::IntoResponse;
use http::{Request, StatusCode};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tonic::{body::Body, server::NamedService, service::Routes};
use tower::{BoxError, Layer, Service};

pub use layers::Services;
pub use limits::{Http2, Limits};
pub use listen::{Accept, Accepted, Accepting, ConnectInfo, Listener};
pub use unix::Unix;

use self::{layers::Layers, limits::HandlerTimes, origin::Origins};
use crate::{args::ServerArgs, telemetry::metrics::Registry};

/// How long a deregistered instance goes on answering before it turns connections away: the time
/// that watchers get to see it gone. They are told within milliseconds.
const LINGER: Duration = Duration::from_millis(200);

/// What a longer drain counts as: a week, so that its end can be said.
const DRAIN_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// A gRPC server in the making; see the module's documentation.
#[derive(Debug)]
pub struct Server {
    name: String,
    args: Option<ServerArgs>,
    limits: Limits,
    http2: Http2,
    handler_times: Vec<(String, Option<Duration>)>,
    layers: Layers,
    routes: Routes,
    http: axum::Router,
    web: bool,
    pages: Vec<String>,
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
    /// The settings cannot be.
    #[error("cannot serve with these settings: {0}")]
    Settings(&'static str),
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
            http2: Http2::default(),
            handler_times: Vec::new(),
            layers: Layers::default(),
            routes: Routes::default(),
            http: axum::Router::new(),
            web: false,
            pages: Vec::new(),
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
        args.advertise = args.advertise.filter(|address| !address.is_empty());
        args.instance_id = args.instance_id.filter(|id| !id.is_empty());
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

    /// Other settings of HTTP/2 than the default ones. [`serve`](Self::serve) refuses what cannot be.
    #[must_use]
    pub fn http2(mut self, settings: Http2) -> Self {
        self.http2 = settings;
        self
    }

    /// How long the handlers of a method, "package.Service/Method", or of all of a service,
    /// "package.Service", may take until their response begins. With `Some`, no longer than that,
    /// whatever the caller says. With `None`, as long as the caller's deadline allows, and without end
    /// for a caller that sets none. A method goes before its service.
    ///
    /// Where nothing is said here, a caller's deadline is the bound, and
    /// [`Limits::handler_timeout`] for callers without one.
    #[must_use]
    pub fn handler_timeout(mut self, name: impl Into<String>, limit: Option<Duration>) -> Self {
        self.handler_times.push((name.into(), limit));
        self
    }

    /// Puts a layer of tower around all services, reflection included; the one that was put first is
    /// outermost. Not around health, which the registry and load balancers ask without credentials,
    /// nor around plain routes. It takes the layers that tonic's own server takes.
    ///
    /// It is part of a call: within its record, its trace, its deadline and its place among the calls.
    /// A call that is shed never reaches it; its panic is INTERNAL. An error that it returns is
    /// answered as the [`tonic::Status`] that it is, or else as INTERNAL.
    #[must_use]
    pub fn layer<L, B>(mut self, layer: L) -> Self
    where
        L: Layer<Services> + Send + Sync + 'static,
        L::Service: Service<
                Request<Body>,
                Response = http::Response<B>,
                Error: Into<BoxError>,
                Future: Send,
            > + Clone
            + Send
            + Sync
            + 'static,
        B: http_body::Body<Data = bytes::Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        self.layers.push(layer);
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
    /// server's own origin, and to those that are named by [`cors_origins`](Self::cors_origins).
    #[must_use]
    pub fn grpc_web(mut self) -> Self {
        self.web = true;
        self
    }

    /// Serves gRPC-Web to pages of these origins too, each exactly as browsers write it, such as
    /// `https://app.example`: scheme, host, and port (the scheme's own may be left out). Their browsers are
    /// told so (CORS), for the services alone and without credentials such as cookies. Beside those
    /// that the operator names by `--cors-origin`.
    #[must_use]
    pub fn cors_origins<O: Into<String>>(mut self, origins: impl IntoIterator<Item = O>) -> Self {
        self.pages.extend(origins.into_iter().map(Into::into));
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
        let (address, place) = (listener.address()?, listener.place());
        let mut args = self
            .args
            .clone()
            .unwrap_or_else(|| ServerArgs::with_registry(Vec::new()));
        let http2 = self.http2.clone().with(&args.http2);
        if let Some(rule) = http2.broken_rule() {
            return Err(ServeError::Settings(rule));
        }
        let pages: Vec<_> = self
            .pages
            .iter()
            // An environment variable that is empty says nothing.
            .chain(args.cors_origin.iter().filter(|page| !page.is_empty()))
            .cloned()
            .collect();
        if !pages.iter().all(|page| origin::is_origin(page)) {
            return Err(ServeError::Settings(
                "an origin must be as browsers write it, such as https://app.example",
            ));
        }
        let web = self.web || !pages.is_empty();
        let identity = register::Identity::new(&self.name);
        let registration = register::registration(&self.name, &identity, address, &args);
        if registration.port() == 0 && address.is_none() && !args.registry.is_empty() {
            tracing::warn!(
                service = %self.name, %place,
                "registered nowhere: what it listens on has no HOST:PORT, and none is advertised (--advertise)"
            );
            args.registry.clear();
        }
        let reporter = serving::Reporter::new();
        let registers = !args.registry.is_empty();
        let state = health::State::with(registers, reporter.clone(), self.trouble.clone());
        let routers = self.routers(&reporter, &state, identity.health(), web)?;

        let stop_registering = CancellationToken::new();
        // Both end with this future, should it be dropped: then nothing is drained.
        let registration = AbortOnDropHandle::new(tokio::spawn(register::keep_registered(
            registration,
            register::Registries {
                authorities: args.registry.clone(),
                connector: args.connector.clone(),
            },
            state.clone(),
            stop_registering.clone(),
        )));
        let closing = CancellationToken::new();
        let counted = self.metrics.server();
        let origins = Origins::allowing(args.allow_host.clone()).pages(pages);
        let mut times = HandlerTimes::new(self.limits.handler_timeout);
        for (name, limit) in &self.handler_times {
            times.name(name, *limit);
        }
        let calls = calls::Calls::new(
            routers,
            &self.limits,
            times,
            origins,
            counted,
            closing.clone(),
        );
        let calls = Arc::new(calls);
        let _looking = AbortOnDropHandle::new(tokio::spawn(look(
            self.name.clone(),
            calls.load().clone(),
            reporter.clone(),
        )));
        let accepting = AbortOnDropHandle::new(tokio::spawn(accept::accept(
            listener,
            calls,
            accept::Settings {
                limits: self.limits.clone(),
                http2,
            },
            closing.clone(),
        )));
        tracing::info!(service = %self.name, address = %place, "serving");

        shutdown.await;
        tracing::info!(service = %self.name, address = %place, "draining");
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
        tracing::info!(service = %self.name, address = %place, unfinished, "drained");
        Ok(())
    }

    fn routers(
        &self,
        reporter: &serving::Reporter,
        state: &health::State,
        own_name: &str,
        web: bool,
    ) -> Result<calls::Routers, ServeError> {
        let health = list::descriptors().map_err(tonic_reflection::server::Error::DecodeError)?;
        let reflection = || {
            let mut builder = tonic_reflection::server::Builder::configure()
                .register_file_descriptor_set(health.clone())
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
        let (v1, v1alpha) = (reflection().build_v1()?, reflection().build_v1alpha()?);
        #[cfg(feature = "compression")]
        let (v1, v1alpha) = {
            use tonic::codec::CompressionEncoding::{Gzip, Zstd};
            (
                v1.accept_compressed(Gzip).accept_compressed(Zstd),
                v1alpha.accept_compressed(Gzip).accept_compressed(Zstd),
            )
        };
        // tonic's own fallback answers what no service has with UNIMPLEMENTED.
        let services = self
            .routes
            .clone()
            .add_service(v1)
            .add_service(v1alpha)
            .prepare()
            .into_axum_router();
        let services = self.layers.around(services);
        let health = Routes::new(serving::health(&self.services, own_name, reporter))
            .prepare()
            .into_axum_router();
        let names: Arc<[&'static str]> = self.services.iter().copied().collect();
        let known = Arc::clone(&names);
        let pages = axum::Router::new()
            .merge(health::router(state.clone()))
            .merge(metrics::router(self.metrics.clone()))
            .merge(self.http.clone())
            .fallback(move |request| std::future::ready(unknown(&request, &known)));
        Ok(calls::Routers {
            services,
            health,
            pages,
            web,
            names,
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
