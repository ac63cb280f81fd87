//! `/v1/status` and the data centres: one node is all there is.

use axum::body::Body;
use http::Response;

use super::{Consul, blocking::json, query::Query, refusal::Refusal, shapes::DATACENTER};

impl Consul {
    /// `/v1/status/leader`.
    pub(super) fn leader(&self, query: &Query) -> Result<Response<Body>, Refusal> {
        json(query, &self.address.to_string())
    }

    /// `/v1/status/peers`.
    pub(super) fn peers(&self, query: &Query) -> Result<Response<Body>, Refusal> {
        json(query, &[self.address.to_string()])
    }
}

/// `/v1/catalog/datacenters`.
pub(super) fn datacenters(query: &Query) -> Result<Response<Body>, Refusal> {
    json(query, &[DATACENTER])
}
