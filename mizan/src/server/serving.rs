//! `grpc.health.v1.Health`: whether the server and each of its services serves.
//!
//! tonic-health's own service ends a watch on a service that it does not know with NOT_FOUND; the
//! protocol wants a stream that says SERVICE_UNKNOWN and stays open. Which services there are is
//! known at the start here, and they all serve or all do not, so this is all that it takes.

use std::{pin::Pin, sync::Arc};

use tokio::sync::watch;
use tokio_stream::{Stream, StreamExt as _, wrappers::WatchStream};
use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{Health, HealthServer},
};

/// Who says whether the server serves.
#[derive(Debug)]
pub(super) struct Reporter(watch::Sender<ServingStatus>);

impl Reporter {
    /// From now on nothing is served; watchers are told.
    pub(super) fn stop(&self) {
        self.0.send_replace(ServingStatus::NotServing);
    }
}

/// The health of `services` and, under the empty name, of the server; all serve.
pub(super) fn health(services: &[&'static str]) -> (Reporter, HealthServer<Serving>) {
    let (sender, status) = watch::channel(ServingStatus::Serving);
    let services = services.iter().copied().chain([""]).collect();
    (
        Reporter(sender),
        HealthServer::new(Serving { services, status }),
    )
}

/// The service.
#[derive(Debug)]
pub(super) struct Serving {
    services: Arc<[&'static str]>,
    status: watch::Receiver<ServingStatus>,
}

impl Serving {
    fn knows(&self, service: &str) -> bool {
        self.services.contains(&service)
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
        let status = *self.status.borrow();
        Ok(Response::new(answer(status)))
    }

    /// The server ends the stream when it drains.
    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let stream: Self::WatchStream = if self.knows(&request.get_ref().service) {
            Box::pin(WatchStream::new(self.status.clone()).map(|status| Ok(answer(status))))
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
