//! `/v1/agent/health/service`: the health of the registry's own node's services as a status code,
//! for load balancers that understand nothing else.

use axum::body::Body;
use http::{HeaderName, HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use serde::Serialize;

use super::{
    Consul,
    agent::unknown,
    blocking::json,
    query::Query,
    refusal::Refusal,
    shapes::{self, Check, Reader, Service},
};
use crate::catalogue::{Entry, Status};

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Health {
    aggregated_status: &'static str,
    service: Service,
    checks: Vec<Check>,
}

impl Consul {
    /// `/v1/agent/health/service/id/:id`.
    pub(super) fn agent_health_by_id(
        &self,
        query: &Query,
        accept: &str,
        id: &str,
    ) -> Result<Response<Body>, Refusal> {
        let entry = self.registry.entry(&self.find_service(id)?);
        let entry = entry.ok_or_else(|| unknown(id))?;
        told(entry.status, query, accept, &health(&entry))
    }

    /// `/v1/agent/health/service/name/:name`: the worst of them counts.
    pub(super) fn agent_health_by_name(
        &self,
        query: &Query,
        accept: &str,
        name: &str,
    ) -> Result<Response<Body>, Refusal> {
        let local = self.registry.node(self.registry.local_node());
        let mut entries = local.map(|(_, entries)| entries).unwrap_or_default();
        entries.retain(|entry| entry.instance.service == name);
        let Some(worst) = entries.iter().map(|entry| entry.status).max() else {
            return Err(Refusal::not_found(format!(
                "There is no service \"{name}\" on this node"
            )));
        };
        let each: Vec<_> = entries.iter().map(|entry| health(entry)).collect();
        told(worst, query, accept, &each)
    }
}

fn health(entry: &Entry) -> Health {
    // An agent knows of its own node alone.
    let local = &entry.instance.node;
    let mut checks = shapes::node_checks(&entry.node, Reader::Instance, local);
    checks.extend(shapes::service_checks(entry));
    Health {
        aggregated_status: entry.status.word(),
        service: shapes::of_agent(entry),
        checks,
    }
}

fn told(
    status: Status,
    query: &Query,
    accept: &str,
    health: &impl Serialize,
) -> Result<Response<Body>, Refusal> {
    let text = query.get("format") == Some("text") || accept.starts_with("text/plain");
    let mut response = if text {
        let mut response = Response::new(Body::from(status.word()));
        let plain = HeaderValue::from_static("text/plain");
        response.headers_mut().insert(CONTENT_TYPE, plain);
        response
    } else {
        json(query, health)?
    };
    *response.status_mut() = match status {
        Status::Passing => StatusCode::OK,
        Status::Warning => StatusCode::TOO_MANY_REQUESTS,
        Status::Critical | Status::Maintenance => StatusCode::SERVICE_UNAVAILABLE,
    };
    let reason = HeaderValue::from_static(status.word());
    let name = HeaderName::from_static("x-consul-reason");
    response.headers_mut().insert(name, reason);
    Ok(response)
}
