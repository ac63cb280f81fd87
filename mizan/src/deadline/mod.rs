//! Deadlines: how long a call may take, and how that crosses the wire.
//!
//! *Problem.* A timeout per hop lets work go on that nobody waits for any more.
//!
//! *What it does.* A call's deadline is the nearest of three: the channel's own timeout, the
//! `grpc-timeout` that the caller set on the request, and what is left of the deadline of the call
//! that is being handled. The rest is sent on as `grpc-timeout`. Elapsed means DEADLINE_EXCEEDED,
//! never CANCELLED.
//!
//! *Where it sits.* Outside retry, so that all attempts share it.

mod wire;

use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::{context::CallContext, status, telemetry::unindexed};

pub(crate) const HEADER: &str = "grpc-timeout";

/// When a call made at `now` must be over; `None` if nothing bounds it.
pub(crate) fn nearest(own: Option<Duration>, headers: &HeaderMap, now: Instant) -> Option<Instant> {
    let inherited = CallContext::look(CallContext::deadline).flatten();
    [
        // One too far away to be said bounds nothing.
        own.and_then(|timeout| now.checked_add(timeout)),
        requested(headers, now),
        inherited,
    ]
    .into_iter()
    .flatten()
    .min()
}

/// When the caller of a request stops waiting, by its `grpc-timeout`.
pub(crate) fn requested(headers: &HeaderMap, now: Instant) -> Option<Instant> {
    let value = headers.get(HEADER)?.to_str().ok()?;
    now.checked_add(wire::parse(value)?)
}

/// Whether a request has a `grpc-timeout` that says nothing.
#[cfg(feature = "server")]
pub(crate) fn is_malformed(headers: &HeaderMap) -> bool {
    let said = headers.get(HEADER);
    said.is_some_and(|value| value.to_str().ok().and_then(wire::parse).is_none())
}

/// The `grpc-timeout` that says what is left of a deadline.
pub(crate) fn header(deadline: Instant, now: Instant) -> HeaderValue {
    let text = wire::format(deadline.saturating_duration_since(now));
    // Digits and a letter always make a header value.
    let value = HeaderValue::try_from(text);
    unindexed(value.unwrap_or_else(|_| HeaderValue::from_static("0n")))
}

/// The answer to a call that ran out of time.
pub(crate) fn elapsed(what: &str) -> Status {
    status::refused(
        Code::DeadlineExceeded,
        "DEADLINE_EXCEEDED",
        format!("deadline exceeded {what}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::TraceContext;

    #[tokio::test(start_paused = true)]
    async fn the_nearest_of_own_requested_and_inherited_wins() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let mut headers = HeaderMap::new();
        assert_eq!(nearest(None, &headers, now), None);
        assert_eq!(
            nearest(Some(5 * second), &headers, now),
            Some(now + 5 * second)
        );
        assert_eq!(nearest(Some(Duration::MAX), &headers, now), None);
        headers.insert(HEADER, HeaderValue::from_static("3S"));
        assert_eq!(
            nearest(Some(5 * second), &headers, now),
            Some(now + 3 * second)
        );
        let context = CallContext::new(Some(now + second), TraceContext::root());
        let inherited = context
            .scope(async { nearest(Some(5 * second), &headers, now) })
            .await;
        assert_eq!(inherited, Some(now + second));
    }
}
