//! `GET /metrics`, for Prometheus and whatever reads its formats.

use axum::{Router, response::IntoResponse, routing::get};
use http::{
    HeaderMap,
    header::{ACCEPT, CONTENT_TYPE},
};

use crate::telemetry::metrics::{Format, Registry};

pub(super) fn router(registry: Registry) -> Router {
    Router::new().route(
        "/metrics",
        get(move |headers: HeaderMap| async move { page(&registry, &headers) }),
    )
}

fn page(registry: &Registry, headers: &HeaderMap) -> impl IntoResponse + use<> {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    let format = accept.map_or_else(Format::default, Format::accepted);
    (
        [(CONTENT_TYPE, format.content_type())],
        registry.render(format),
    )
}
