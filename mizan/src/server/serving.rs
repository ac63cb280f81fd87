//! `grpc.health.v1.Health`: whether the server and each of its services serves.
//!
//! tonic-health's own service ends a watch on a service that it does not know with NOT_FOUND; the
//! protocol wants a stream that says SERVICE_UNKNOWN and stays open. Which services there are is
//! known at the start here, and they all serve or all do not, so this is all that it takes.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::watch;
use tokio_stream::{Stream, StreamExt as _, wrappers::WatchStream};
use tonic::{
    Request, Response, Status,
    body::Body,
    server::{Grpc, NamedService},
};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{Health, HealthServer},
};
use tonic_prost::ProstCodec;
use tower::Service;

use super::list::{HealthListRequest, HealthListResponse, PATH};

/// Whether the server serves, for all who ask by whatever way. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Reporter(Arc<watch::Sender<Standing>>);

/// What a server says of itself. It serves when nothing speaks against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Standing {
    /// It is on its way out.
    pub(super) draining: bool,
    /// It refuses every call.
    pub(super) refusing: bool,
}

impl Standing {
    /// Whether it serves.
    pub(super) fn serves(self) -> bool {
        self == Self::default()
    }

    fn status(self) -> ServingStatus {
        if self.serves() {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        }
    }
}

impl Reporter {
    /// A server that serves.
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Standing::default())))
    }

    /// From now on nothing is served; watchers are told.
    pub(super) fn drain(&self) {
        self.0.send_modify(|standing| standing.draining = true);
    }

    /// Whether every call is refused; watchers are told, if it is news.
    pub(super) fn refuses(&self, refusing: bool) -> bool {
        self.0.send_if_modified(|standing| {
            std::mem::replace(&mut standing.refusing, refusing) != refusing
        })
    }

    /// What it says now.
    pub(super) fn standing(&self) -> Standing {
        *self.0.borrow()
    }
}

/// The health of `services` and, under the empty name and its own, of the server: all that `reporter`
/// says.
pub(super) fn health(services: &[&'static str], own_name: &str, reporter: &Reporter) -> WithList {
    let services = services.iter().copied().chain([""]).collect();
    let own_name = own_name.into();
    let standing = reporter.0.subscribe();
    let serving = Serving {
        services,
        own_name,
        standing,
    };
    WithList {
        serving: serving.clone(),
        health: taking_compressed(HealthServer::new(serving)),
    }
}

/// With requests in gzip and zstd, as every service.
fn taking_compressed(health: HealthServer<Serving>) -> HealthServer<Serving> {
    #[cfg(feature = "compression")]
    let health = {
        use tonic::codec::CompressionEncoding::{Gzip, Zstd};
        health.accept_compressed(Gzip).accept_compressed(Zstd)
    };
    health
}

/// The service as it is generated, and `List` (gRFC A90), which it does not have yet.
#[derive(Debug, Clone)]
pub(super) struct WithList {
    health: HealthServer<Serving>,
    serving: Serving,
}

impl NamedService for WithList {
    const NAME: &'static str = "grpc.health.v1.Health";
}

impl Service<http::Request<Body>> for WithList {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() != PATH {
            return self.health.call(request);
        }
        let serving = self.serving.clone();
        Box::pin(async move {
            let list = tower::service_fn(move |_: Request<HealthListRequest>| {
                std::future::ready(Ok::<_, Status>(Response::new(serving.list())))
            });
            let codec = ProstCodec::<HealthListResponse, HealthListRequest>::default();
            let mut grpc = Grpc::new(codec);
            #[cfg(feature = "compression")]
            {
                use tonic::codec::CompressionEncoding::{Gzip, Zstd};
                grpc = grpc.accept_compressed(Gzip).accept_compressed(Zstd);
            }
            Ok(grpc.unary(list, request).await)
        })
    }
}

/// The service.
#[derive(Debug, Clone)]
pub(super) struct Serving {
    services: Arc<[&'static str]>,
    /// Of this life: known, but not listed.
    own_name: Arc<str>,
    standing: watch::Receiver<Standing>,
}

impl Serving {
    fn knows(&self, service: &str) -> bool {
        self.services.contains(&service) || *self.own_name == *service
    }

    fn list(&self) -> HealthListResponse {
        let status = self.standing.borrow().status();
        let names = self.services.iter().map(|name| (*name).to_owned());
        HealthListResponse {
            statuses: names.map(|name| (name, answer(status))).collect(),
        }
    }
}

#[tonic::async_trait]
impl Health for Serving {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if !self.knows(&request.get_ref().service) {
            return Err(Status::not_found("no such service"));
        }
        let standing = *self.standing.borrow();
        Ok(Response::new(answer(standing.status())))
    }

    /// The server ends the stream when it drains.
    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let stream: Self::WatchStream = if self.knows(&request.get_ref().service) {
            let standings = WatchStream::new(self.standing.clone());
            Box::pin(standings.map(|standing| Ok(answer(standing.status()))))
        } else {
            // No service is added once the server runs, so nothing follows.
            let unknown = tokio_stream::once(Ok(answer(ServingStatus::ServiceUnknown)));
            Box::pin(unknown.chain(tokio_stream::pending()))
        };
        Ok(Response::new(stream))
    }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}
