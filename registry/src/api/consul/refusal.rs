//! Errors as Consul's clients expect them: a status and one plain sentence.

use axum::body::Body;
use http::{Response, StatusCode, header::CONTENT_TYPE};

use super::filter::Wrong;
use crate::{catalogue::Violation, registry::Refused};

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) text: String,
}

impl Refusal {
    /// With any status.
    pub(crate) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { status, text }
    }

    /// The request is wrong.
    pub(crate) fn bad(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    /// What it names is not there.
    pub(crate) fn not_found(text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, text)
    }

    /// It asks for a part of Consul that there is not here. Not 404: clients read that as "no such key"
    /// and ask again at once, for ever.
    pub(crate) fn not_served(text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, text)
    }

    /// Every field that is wrong, behind what they are the fields of.
    pub(crate) fn fields(what: &str, found: &[Violation]) -> Self {
        let each = found
            .iter()
            .map(|v| format!("{} {}", v.field, v.description));
        Self::bad(format!("{what}: {}", each.collect::<Vec<_>>().join("; ")))
    }

    /// The answer that says it.
    pub(crate) fn answer(self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.text));
        *response.status_mut() = self.status;
        let plain = http::HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, plain);
        response
    }
}

impl From<Refused> for Refusal {
    fn from(why: Refused) -> Self {
        let (status, text) = match &why {
            Refused::Full(_) => (StatusCode::TOO_MANY_REQUESTS, why.to_string()),
            Refused::Unknown => (StatusCode::NOT_FOUND, why.to_string()),
            Refused::Held(_) => (StatusCode::CONFLICT, why.to_string()),
            Refused::Checks(_) | Refused::Forbidden(_) => {
                (StatusCode::BAD_REQUEST, format!("Invalid check: {why}"))
            }
            Refused::Unavailable => (StatusCode::INTERNAL_SERVER_ERROR, why.to_string()),
        };
        Self::new(status, text)
    }
}

impl From<Wrong> for Refusal {
    fn from(why: Wrong) -> Self {
        Self::bad(why.to_string())
    }
}
