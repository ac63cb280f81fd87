//! Answers with an index, and waiting for the next one.

use std::time::Duration;

use axum::body::Body;
use http::{HeaderName, HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};
use tokio::time::Instant;

use super::{Consul, query::Query, refusal::Refusal};
use crate::registry::Watched;

/// A wait is longer by up to this part of it, so that clients that began together do not all ask
/// again together (Consul's rule).
const JITTER_PART: u32 = 16;

impl Consul {
    /// The revision of what is read, after waiting for another one than the client holds, if that
    /// is what it wants. To be called before reading: what is read may then be newer than the
    /// revision, never older.
    pub(super) async fn index(&self, query: &Query, watched: &Watched) -> Result<u64, Refusal> {
        let held = query.index()?;
        let until = self.until(query)?;
        let Some(held) = held else {
            return Ok(self.registry.revision(watched));
        };
        let Ok(_admitted) = self.waiting.try_acquire() else {
            return Err(too_many_wait());
        };
        Ok(self.registry.changed(watched, held, until).await)
    }

    /// When a query that waits is answered whatever happened.
    pub(super) fn until(&self, query: &Query) -> Result<Instant, Refusal> {
        Ok(Instant::now() + jittered(query.wait()?))
    }
}

/// Each that waits holds a connection.
pub(super) fn too_many_wait() -> Refusal {
    let text = "the registry has as many blocking queries open as it takes";
    Refusal::new(StatusCode::TOO_MANY_REQUESTS, text)
}

fn jittered(wait: Duration) -> Duration {
    let most = u64::try_from((wait / JITTER_PART).as_nanos()).unwrap_or(u64::MAX);
    wait + Duration::from_nanos(fastrand::u64(0..=most))
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pretty: bool,
    index: Option<Index>,
}

/// How new an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Index {
    revision: u64,
    consistency: &'static str,
}

impl Head {
    /// As it is.
    pub(super) fn new(query: &Query) -> Self {
        Self {
            pretty: query.has("pretty"),
            index: None,
        }
    }

    /// With the headers that say how new it is.
    pub(super) fn indexed(query: &Query, revision: u64) -> Result<Self, Refusal> {
        let consistency = query.consistency()?;
        let index = Some(Index {
            revision,
            consistency,
        });
        Ok(Self {
            index,
            ..Self::new(query)
        })
    }

    /// An object.
    pub(super) fn write(self, value: &impl Serialize) -> Result<Response<Body>, Refusal> {
        let failed = |_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "cannot write the answer");
        let mut text = Vec::new();
        if self.pretty {
            let spaced = PrettyFormatter::with_indent(b"    ");
            let mut serializer = Serializer::with_formatter(&mut text, spaced);
            value.serialize(&mut serializer).map_err(failed)?;
            text.push(b'\n');
        } else {
            serde_json::to_writer(&mut text, value).map_err(failed)?;
        }
        let mut response = Response::new(Body::from(text));
        let json = HeaderValue::from_static("application/json");
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, json);
        let Some(index) = self.index else {
            return Ok(response);
        };
        // Clients that read a 0 ask again and again without waiting.
        let revision = HeaderValue::from(index.revision.max(1));
        headers.insert(HeaderName::from_static("x-consul-index"), revision);
        for (name, value) in [
            ("x-consul-knownleader", "true"),
            ("x-consul-lastcontact", "0"),
            ("x-consul-effective-consistency", index.consistency),
            ("x-consul-query-backend", "blocking-query"),
            ("x-consul-default-acl-policy", "allow"),
        ] {
            let name = HeaderName::from_static(name);
            headers.insert(name, HeaderValue::from_static(value));
        }
        Ok(response)
    }
}

/// An object.
pub(super) fn json(query: &Query, value: &impl Serialize) -> Result<Response<Body>, Refusal> {
    Head::new(query).write(value)
}

/// An object with the headers that say how new it is.
pub(super) fn indexed(
    query: &Query,
    index: u64,
    value: &impl Serialize,
) -> Result<Response<Body>, Refusal> {
    Head::indexed(query, index)?.write(value)
}

/// Done, without anything to say.
pub(super) fn done() -> Response<Body> {
    Response::new(Body::empty())
}
