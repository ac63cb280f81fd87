//! Layers of tower around a server's services.

use std::{convert::Infallible, fmt};

use bytes::Bytes;
use http::{Request, Response};
use tonic::{Status, body::Body};
use tower::{BoxError, Layer, Service, ServiceExt as _, util::BoxCloneSyncService};

use super::{body::panicked, seldom::Everywhere};

type Erased = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// All services of a server, as a layer sees them: what [`Server::layer`](super::Server::layer) is
/// put around.
#[derive(Debug, Clone)]
pub struct Services(Erased);

impl Service<Request<Body>> for Services {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = <Erased as Service<Request<Body>>>::Future;

    fn poll_ready(
        &mut self,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.0.call(request)
    }
}

type Put = Box<dyn Fn(Services) -> Services + Send + Sync>;

/// What was put around the services, the outermost first.
#[derive(Default)]
pub(super) struct Layers(Vec<Put>);

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Layers").field(&self.0.len()).finish()
    }
}

impl Layers {
    pub(super) fn push<L, B>(&mut self, layer: L)
    where
        L: Layer<Services> + Send + Sync + 'static,
        L::Service: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        self.0.push(Box::new(move |inner| {
            let outer = layer.layer(inner);
            let answered = tower::service_fn(move |request| {
                let outer = outer.clone();
                async move {
                    Ok(match outer.oneshot(request).await {
                        Ok(response) => response.map(Body::new),
                        Err(error) => refused(error.into()),
                    })
                }
            });
            Services(BoxCloneSyncService::new(answered))
        }));
    }

    /// The services with all layers around them.
    pub(super) fn around(&self, routes: axum::Router) -> Wrapped {
        if self.0.is_empty() {
            return Wrapped::Bare(routes);
        }
        let routes = routes
            .map_request(|request: Request<Body>| request.map(axum::body::Body::new))
            .map_response(|response: Response<axum::body::Body>| response.map(Body::new));
        let inner = Services(BoxCloneSyncService::new(routes));
        let outermost = self.0.iter().rev().fold(inner, |inner, put| put(inner));
        Wrapped::Layered(outermost)
    }
}

/// What is answered where a layer fails instead of answering.
fn refused(error: BoxError) -> Response<Body> {
    let status = Status::try_from_error(error).unwrap_or_else(|error| {
        static SAID: Everywhere = Everywhere::new();
        if let Some(times) = SAID.happened() {
            tracing::error!(%error, times, "a layer around the services failed");
        }
        panicked()
    });
    status.into_http()
}

/// The services, with or without layers.
#[derive(Debug)]
pub(super) enum Wrapped {
    Bare(axum::Router),
    Layered(Services),
}

impl Wrapped {
    /// Hands a request to the services.
    pub(super) async fn call(
        &self,
        request: Request<axum::body::Body>,
    ) -> Response<axum::body::Body> {
        let answered = match self {
            Self::Bare(router) => router.clone().call(request).await,
            Self::Layered(services) => {
                let request = request.map(Body::new);
                let answered = services.clone().oneshot(request).await;
                answered.map(|response| response.map(axum::body::Body::new))
            }
        };
        match answered {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}
