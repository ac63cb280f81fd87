//! Deadlines: how long a call may take, and how that crosses the wire.
//!
//! *Problem.* A timeout per hop lets work go on that nobody waits for any more.
//!
//! *What it does.* The caller's word is the deadline: the `grpc-timeout` that it set on the request
//! (`Request::set_timeout`). What the channel was built with holds for who says nothing, a service
//! config's `timeout` bounds both, and what is left of the deadline of the call that is being handled
//! bounds everything. The rest is sent on as `grpc-timeout`. Elapsed means DEADLINE_EXCEEDED, never
//! CANCELLED.
//!
//! *Streams.* A stream lives as long as its caller, so the channel's default is not for it, and
//! nothing on the wire tells a stream. Where a contract says that a method is unary, the default is a
//! deadline like any other. Where nothing says it, a call whose request is whole has until its
//! response begins, and the default is not sent to the callee, which would end the stream by it.
//!
//! *Where it sits.* Outside retry, so that all attempts share it.

mod wire;

use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::{context::CallContext, status, telemetry::unindexed};

pub(crate) const HEADER: &str = "grpc-timeout";

/// How long a call may take by the channel's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Nobody said anything: for calls that are no streams.
    Default(Duration),
    /// The channel was built so: for all calls whose caller says nothing.
    Built(Duration),
    /// A service config says so: no call may take longer.
    Most(Duration),
    /// As long as it takes.
    Endless,
}

/// What kind of call it is, as far as the deadline goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One message each way, by its contract.
    Unary,
    /// A stream, by its contract or by its request.
    Stream,
    /// Its request is whole; nobody knows about its response.
    Unknown,
}

/// When a call must be over, and by whose word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Deadline {
    /// By what somebody said.
    said: Option<Instant>,
    /// By the channel's default: until the response begins.
    begins: Option<Instant>,
    /// What the channel itself allows, if the nearest is the channel's own.
    pub(crate) own: Option<Duration>,
}

impl Deadline {
    /// When a call made at `now` with these headers must be over.
    pub(crate) fn of(patience: Patience, shape: Shape, headers: &HeaderMap, now: Instant) -> Self {
        let requested = requested(headers, now);
        let inherited = CallContext::look(CallContext::deadline).flatten();
        let asked = requested.into_iter().chain(inherited).min();
        let own = match patience {
            Patience::Most(own) => Some(own),
            Patience::Built(own) => Some(own).filter(|_| requested.is_none()),
            Patience::Default(own) => {
                Some(own).filter(|_| requested.is_none() && shape != Shape::Stream)
            }
            Patience::Endless => None,
        };
        // One too far away to be said bounds nothing.
        let at = own.and_then(|own| now.checked_add(own));
        let own = own.filter(|_| at.is_some_and(|at| asked.is_none_or(|asked| at <= asked)));
        if matches!(patience, Patience::Default(_)) && shape == Shape::Unknown {
            return Self {
                said: asked,
                begins: at,
                own,
            };
        }
        Self {
            said: asked.into_iter().chain(at).min(),
            begins: None,
            own,
        }
    }

    /// The same for a call whose request turned out to be a stream.
    pub(crate) fn of_a_stream(self) -> Self {
        match self.begins {
            Some(_) => Self {
                begins: None,
                own: None,
                ..self
            },
            None => self,
        }
    }

    /// Until the response begins.
    pub(crate) fn nearest(&self) -> Option<Instant> {
        self.said.into_iter().chain(self.begins).min()
    }

    /// What the callee is told, and what bounds the call to its end.
    pub(crate) fn said(&self) -> Option<Instant> {
        self.said
    }
}

/// When a handler must be over that began `now`: by the server's own limit, and by its caller's word.
#[cfg(feature = "server")]
pub(crate) fn nearest(own: Option<Duration>, headers: &HeaderMap, now: Instant) -> Option<Instant> {
    let own = own.and_then(|timeout| now.checked_add(timeout));
    own.into_iter().chain(requested(headers, now)).min()
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

/// How much sooner than a deadline a callee may find it passed: `grpc-timeout` is rounded down, and a
/// timer here fires up to a millisecond late.
const SOONER: Duration = Duration::from_millis(1);

/// Whether a deadline has passed, as far as a callee that keeps it too can tell.
pub(crate) fn has_passed(deadline: Instant, now: Instant) -> bool {
    deadline.saturating_duration_since(now) <= SOONER
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

    const SECOND: Duration = Duration::from_secs(1);

    fn timeout(value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_static(value));
        headers
    }

    #[tokio::test(start_paused = true)]
    async fn the_callers_word_is_the_deadline() {
        let now = Instant::now();
        let said = |patience, shape, headers: &HeaderMap| {
            let deadline = Deadline::of(patience, shape, headers, now);
            assert_eq!(
                deadline.nearest(),
                deadline.said(),
                "{patience:?} {shape:?}"
            );
            deadline.said().map(|at| (at - now).as_secs())
        };
        let nothing = HeaderMap::new();
        for shape in [Shape::Unary, Shape::Stream, Shape::Unknown] {
            assert_eq!(said(Patience::Endless, shape, &nothing), None);
            assert_eq!(said(Patience::Built(5 * SECOND), shape, &nothing), Some(5));
            assert_eq!(said(Patience::Built(Duration::MAX), shape, &nothing), None);
            for asked in ["3S", "30S"] {
                let headers = timeout(asked);
                let seconds = asked.trim_end_matches('S').parse().ok();
                for patience in [
                    Patience::Endless,
                    Patience::Default(5 * SECOND),
                    Patience::Built(5 * SECOND),
                ] {
                    assert_eq!(said(patience, shape, &headers), seconds, "{patience:?}");
                }
                // gRPC: the smaller of the service config's and the application's.
                let most = said(Patience::Most(5 * SECOND), shape, &headers);
                assert_eq!(most, seconds.min(Some(5)));
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_default_is_for_calls_that_are_no_streams() {
        let now = Instant::now();
        let nothing = HeaderMap::new();
        let of = |shape| Deadline::of(Patience::Default(5 * SECOND), shape, &nothing, now);
        assert_eq!(of(Shape::Stream), Deadline::default());
        assert_eq!(of(Shape::Unary).said(), Some(now + 5 * SECOND));
        let unknown = of(Shape::Unknown);
        assert_eq!(unknown.nearest(), Some(now + 5 * SECOND));
        assert_eq!(
            unknown.said(),
            None,
            "neither to the end, nor told to the callee"
        );
        assert_eq!(unknown.own, Some(5 * SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_of_the_handled_call_bounds_everything() {
        let now = Instant::now();
        let context = CallContext::new(Some(now + SECOND), TraceContext::root());
        context
            .scope(async {
                for shape in [Shape::Unary, Shape::Stream, Shape::Unknown] {
                    for patience in [Patience::Endless, Patience::Built(5 * SECOND)] {
                        for headers in [HeaderMap::new(), timeout("30S")] {
                            let deadline = Deadline::of(patience, shape, &headers, now);
                            assert_eq!(deadline.said(), Some(now + SECOND));
                            assert_eq!(deadline.own, None, "the caller's, not ours");
                        }
                    }
                }
            })
            .await;
    }
}
