//! What a handler's outgoing calls inherit without being told: the caller's deadline, trace and
//! request id.
//!
//! A task-local: set by the server around a handler and around the stream that it answers with,
//! read by the channel. Work moved to a task of its own (`tokio::spawn`) leaves it behind on
//! purpose: it outlives the caller. Take it along with [`CallContext::scope`] where it does not.
//!
//! The other way, a call tells its handler one thing: that it was retried until there was nothing
//! left to try. A handler that fails then, fails for a reason that its own callers' retries would
//! only multiply (three hops of three attempts are 27), so the server tells them not to.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use http::{HeaderMap, HeaderValue, uri::Authority};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::telemetry::{TraceContext, unindexed};

tokio::task_local! {
    static CURRENT: CallContext;
}

/// Names one request from hop to hop, for people who search logs.
pub(crate) const REQUEST_ID: &str = "x-request-id";

/// The longest request id that is taken from a caller. 128 bytes: every usual form fits, and a log
/// line stays a line.
const REQUEST_ID_MAX: usize = 128;

/// W3C Trace Context's second header: carried on as it came, at most 512 bytes.
const TRACE_STATE: &str = "tracestate";
const TRACE_STATE_MAX: usize = 512;

/// The call that is being handled. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CallContext(Arc<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    deadline: Option<Instant>,
    trace: TraceContext,
    state: Option<HeaderValue>,
    request_id: HeaderValue,
    authority: Option<Authority>,
    draining: Option<CancellationToken>,
    /// Shared by all contexts of one call.
    gave_up: Arc<AtomicBool>,
}

impl CallContext {
    /// The context of a call that nobody sent headers for: with a request id of its own.
    #[must_use]
    pub fn new(deadline: Option<Instant>, trace: TraceContext) -> Self {
        Self(Arc::new(Inner {
            deadline,
            trace,
            state: None,
            request_id: new_request_id(),
            authority: None,
            draining: None,
            gave_up: Arc::default(),
        }))
    }

    /// The context of a call that came in: a span of the caller's trace, and the caller's request
    /// id, or new ones.
    pub(crate) fn received(
        headers: &HeaderMap,
        deadline: Option<Instant>,
        authority: Option<&Authority>,
        draining: Option<&CancellationToken>,
    ) -> Self {
        let state = headers.get(TRACE_STATE);
        Self(Arc::new(Inner {
            deadline,
            trace: TraceContext::continued(headers),
            state: state.filter(|s| s.len() <= TRACE_STATE_MAX).cloned(),
            request_id: received_request_id(headers).unwrap_or_else(new_request_id),
            authority: authority.cloned(),
            draining: draining.cloned(),
            gave_up: Arc::default(),
        }))
    }

    /// The context of the call being handled, if one is.
    #[must_use]
    pub fn current() -> Option<Self> {
        Self::look(Self::clone)
    }

    /// Something of the context of the call being handled, without a clone.
    pub(crate) fn look<T>(take: impl FnOnce(&Self) -> T) -> Option<T> {
        CURRENT.try_with(take).ok()
    }

    /// When the caller stops waiting.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.0.deadline
    }

    /// The span of this handler.
    #[must_use]
    pub fn trace(&self) -> TraceContext {
        self.0.trace
    }

    /// The request's id, as the caller sent it or as it was made here.
    #[must_use]
    pub fn request_id(&self) -> &str {
        self.0.request_id.to_str().unwrap_or_default()
    }

    /// The name by which the caller called this server: HTTP/2's `:authority`. Only of a call that
    /// came in by the network.
    #[must_use]
    pub fn authority(&self) -> Option<&str> {
        self.0.authority.as_ref().map(Authority::as_str)
    }

    /// Cancelled when the server that handles the call tells its clients to go elsewhere: the
    /// instance is deregistered then, health says NOT_SERVING, and what is in flight has the rest of
    /// the drain to finish. A stream that would go on for ever ends itself then, with UNAVAILABLE,
    /// so that its caller turns to another instance. Never cancelled where no server handles it.
    #[must_use]
    pub fn draining(&self) -> CancellationToken {
        // Theirs: whoever cancels it drains no server.
        let server = self.0.draining.as_ref();
        server.map_or_else(CancellationToken::new, CancellationToken::child_token)
    }

    /// The same call with another deadline, or with none: for work that goes on when the caller
    /// leaves.
    #[must_use]
    pub fn with_deadline(&self, deadline: Option<Instant>) -> Self {
        Self(Arc::new(Inner {
            deadline,
            ..Inner::clone(&self.0)
        }))
    }

    /// Runs `work` as part of this call.
    pub async fn scope<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }

    /// Runs `work`, which does not wait, as part of this call.
    pub(crate) fn sync_scope<T>(&self, work: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self.clone(), work)
    }

    /// Gives an outgoing call what it inherits: the request id, unless the author set one, and
    /// `tracestate`. Answers the span for the call: a child of the handler's, or the root of a new
    /// trace when no call is being handled. The id is then left to the first server, which makes
    /// one; it would cost an allocation here.
    pub(crate) fn send_on(headers: &mut HeaderMap) -> TraceContext {
        let inherited = Self::look(|context| {
            let inner = &*context.0;
            if !headers.contains_key(REQUEST_ID) {
                headers.insert(REQUEST_ID, unindexed(inner.request_id.clone()));
            }
            if let Some(state) = &inner.state {
                headers.insert(TRACE_STATE, unindexed(state.clone()));
            }
            inner.trace.child()
        });
        inherited.unwrap_or_else(TraceContext::root)
    }

    /// Notes, for the handler that makes it, that a call was given up after its retries were
    /// exhausted. Outside a handler there is nobody to tell.
    pub(crate) fn note_gave_up() {
        Self::look(|context| context.0.gave_up.store(true, Relaxed));
    }

    /// Whether a call of this handler's was given up so.
    pub(crate) fn gave_up(&self) -> bool {
        self.0.gave_up.load(Relaxed)
    }
}

/// The caller's request id, if it is one: visible ASCII, not too long.
fn received_request_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let value = headers.get(REQUEST_ID)?;
    let bytes = value.as_bytes();
    let good =
        (1..=REQUEST_ID_MAX).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
    good.then(|| value.clone())
}

/// 32 random hex digits.
fn new_request_id() -> HeaderValue {
    let text = TraceContext::root().trace_id();
    // Hex digits always make a header value.
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(id: &'static [u8]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_bytes(id).unwrap());
        headers
    }

    #[test]
    fn a_request_id_is_inherited_or_made() {
        let given = CallContext::received(&headers(b"order-17"), None, None, None);
        assert_eq!(given.request_id(), "order-17");
        for bad in [&b""[..], b"two words", b"caf\xe9"] {
            let made = CallContext::received(&headers(bad), None, None, None);
            assert_eq!(made.request_id().len(), 32, "{bad:?}");
        }
        let long = CallContext::received(&headers(&[b'x'; REQUEST_ID_MAX + 1]), None, None, None);
        assert_eq!(long.request_id().len(), 32);
    }

    #[tokio::test]
    async fn outgoing_calls_inherit_and_the_authors_own_id_stands() {
        let mut caller = headers(b"order-17");
        caller.insert(TRACE_STATE, "vendor=1".parse().unwrap());
        let context = CallContext::received(&caller, None, None, None);
        let trace = context.trace();
        context
            .scope(async {
                let mut outgoing = HeaderMap::new();
                let span = CallContext::send_on(&mut outgoing);
                assert_eq!(span.trace_id(), trace.trace_id());
                assert_ne!(span.span_id(), trace.span_id());
                assert_eq!(outgoing, caller);
                // Another on the next call: neither is put into HPACK's table.
                assert!(outgoing.values().all(HeaderValue::is_sensitive));
                let mut own = headers(b"mine");
                CallContext::send_on(&mut own);
                assert_eq!(own[REQUEST_ID], "mine");
            })
            .await;
        let mut outside = HeaderMap::new();
        CallContext::send_on(&mut outside);
        assert!(outside.is_empty());
    }

    #[tokio::test]
    async fn a_call_given_up_is_known_to_every_context_of_its_handler() {
        let context = CallContext::new(None, TraceContext::root());
        let later = context.with_deadline(Some(Instant::now()));
        CallContext::note_gave_up();
        assert!(!context.gave_up());
        later.scope(async { CallContext::note_gave_up() }).await;
        assert!(context.gave_up());
    }
}
