//! Consul's HTTP API: the part that service discovery uses.
//!
//! ```text
//!   request ─► route ─► agent, catalog, health, status ─► registry
//!               │          │        │
//!               │          │        └─ query, blocking, answer ─► turns ─► list ─► filter, shapes
//!               │          └────────── input, definition
//!               └─ everything else: 501 and a sentence
//! ```
//!
//! There are no agents here: what a client tells "its agent" is registered on the registry's own
//! node.

mod agent;
mod agent_health;
mod answer;
mod blocking;
mod catalog;
mod catalog_write;
mod checks;
mod definition;
mod duration;
mod filter;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod health;
mod input;
mod list;
mod query;
mod refusal;
mod route;
mod shapes;
mod status;
mod turns;

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::Body,
    routing::{any, get},
};
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ACCEPT, AGE, ALLOW},
};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::sync::Semaphore;

use self::{query::Query, refusal::Refusal, route::Route, turns::Turns};
use crate::registry::Registry;

/// Bytes of a body. The largest valid registration is well below.
const BODY_BYTES_MAX: usize = 512 * 1024;

/// The most queries that wait at once: each holds a connection for as long as its client likes.
const WAITING_MAX: usize = 20_000;

/// What all handlers share.
#[derive(Debug)]
struct Consul {
    registry: Registry,
    /// Where the registry listens.
    address: SocketAddr,
    /// Whether lists have the service `consul`.
    consul_service: bool,
    waiting: Semaphore,
    /// Who filters, and writes large answers, and when.
    turns: Turns,
}

/// Everything below `/v1`, for a registry that listens there.
pub(crate) fn router(registry: Registry, address: SocketAddr, consul_service: bool) -> Router {
    let consul = Arc::new(Consul {
        registry,
        address,
        consul_service,
        waiting: Semaphore::new(WAITING_MAX),
        turns: Turns::default(),
    });
    let handler = any(move |request: Request<Body>| {
        let consul = Arc::clone(&consul);
        async move { consul.handle(request).await }
    });
    let here = "Mizan's registry. gRPC: mizan.registry.v1.RegistryService. Consul's HTTP API: /v1/catalog/services \
        and the like. GET /health and /metrics are pages.\n";
    Router::new()
        .route("/", get(move || async move { here }))
        .route("/v1", handler.clone())
        .route("/v1/", handler.clone())
        .route("/v1/{*path}", handler)
}

impl Consul {
    async fn handle(&self, request: Request<Body>) -> Response<Body> {
        self.answer(request).await.unwrap_or_else(Refusal::answer)
    }

    async fn answer(&self, request: Request<Body>) -> Result<Response<Body>, Refusal> {
        let (head, body) = request.into_parts();
        let path = head.uri.path().strip_prefix("/v1/").unwrap_or_default();
        let route = Route::find(path)?;
        let allowed = route.method();
        if head.method != allowed && head.method != Method::OPTIONS {
            let text = format!("method {} not allowed", head.method);
            let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, text);
            return Ok(allow(refusal.answer(), &allowed));
        }
        if head.method == Method::OPTIONS {
            return Ok(allow(blocking::done(), &allowed));
        }
        let query = Query::parse(head.uri.query().unwrap_or_default());
        let body = if allowed == Method::PUT {
            Limited::new(body, BODY_BYTES_MAX)
                .collect()
                .await
                .map_err(|error| unread(&*error))?
                .to_bytes()
        } else {
            Default::default()
        };
        let accept = head
            .headers
            .get(ACCEPT)
            .and_then(|value| value.to_str().ok());
        let response = self
            .run(route, &query, accept.unwrap_or_default(), &body)
            .await?;
        Ok(cached(response, &query))
    }

    async fn run(
        &self,
        route: Route,
        query: &Query,
        accept: &str,
        body: &[u8],
    ) -> Result<Response<Body>, Refusal> {
        query.datacenter(query.get("dc").unwrap_or_default())?;
        match route {
            Route::AgentSelf => self.agent_self(query),
            Route::AgentMembers => self.agent_members(query).await,
            Route::AgentServices => self.agent_services(query).await,
            Route::AgentService(id) => self.agent_service(query, &id).await,
            Route::AgentChecks => self.agent_checks(query).await,
            Route::RegisterService => self.register_service(query, body).await,
            Route::DeregisterService(id) => self.deregister_service(&id).await,
            Route::ServiceMaintenance(id) => self.service_maintenance(query, &id).await,
            Route::NodeMaintenance => self.node_maintenance(query).await,
            Route::RegisterCheck => self.register_check(body).await,
            Route::DeregisterCheck(id) => self.deregister_check(&id).await,
            Route::ReportCheck(status, id) => self.report_check(query, status, &id),
            Route::UpdateCheck(id) => self.update_check(body, &id),
            Route::AgentHealthById(id) => self.agent_health_by_id(query, accept, &id),
            Route::AgentHealthByName(name) => self.agent_health_by_name(query, accept, &name),
            Route::CatalogRegister => self.catalog_register(query, body).await,
            Route::CatalogDeregister => self.catalog_deregister(query, body).await,
            Route::CatalogDatacenters => status::datacenters(query),
            Route::CatalogServices => self.catalog_services(query).await,
            Route::CatalogService(name) => self.catalog_service(query, &name).await,
            Route::CatalogNodes => self.catalog_nodes(query).await,
            Route::CatalogNode(name) => self.catalog_node(query, &name).await,
            Route::CatalogNodeServices(name) => self.catalog_node_services(query, &name).await,
            Route::HealthService(name) => self.health_service(query, &name).await,
            Route::HealthChecks(name) => self.health_checks(query, &name).await,
            Route::HealthNode(name) => self.health_node(query, &name).await,
            Route::HealthState(state) => self.health_state(query, &state).await,
            Route::StatusLeader => self.leader(query),
            Route::StatusPeers => self.peers(query),
        }
    }
}

/// Whoever asks for what an agent keeps in memory has it: everything here is answered from there, and
/// is as new as it gets.
fn cached(mut response: Response<Body>, query: &Query) -> Response<Body> {
    if query.has("cached") && response.headers().contains_key("x-consul-index") {
        let headers = response.headers_mut();
        headers.insert("x-cache", HeaderValue::from_static("HIT"));
        headers.insert(AGE, HeaderValue::from_static("0"));
    }
    response
}

/// Why a body is not there: it is too large, or it broke off, or it is no body of HTTP.
fn unread(error: &(dyn std::error::Error + 'static)) -> Refusal {
    if error.is::<LengthLimitError>() {
        let text = format!("the body is over {BODY_BYTES_MAX} bytes");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, text)
    } else {
        Refusal::new(StatusCode::BAD_REQUEST, "the body cannot be read")
    }
}

fn allow(mut response: Response<Body>, method: &Method) -> Response<Body> {
    if let Ok(value) = HeaderValue::try_from(format!("OPTIONS,{method}")) {
        response.headers_mut().insert(ALLOW, value);
    }
    response
}
