//! What a handler's outgoing calls inherit without being told: the caller's deadline and trace.
//!
//! A task-local: set by the server around a handler, read by the channel. Work moved to a task of
//! its own (`tokio::spawn`) leaves it behind on purpose: it outlives the caller.

use std::future::Future;

use tokio::time::Instant;

use crate::telemetry::TraceContext;

tokio::task_local! {
    static CURRENT: CallContext;
}

/// The call that is being handled.
#[derive(Debug, Clone, Copy)]
pub struct CallContext {
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
    /// The span of this handler.
    pub trace: TraceContext,
}

impl CallContext {
    /// The context of the call being handled, if one is.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.try_with(|context| *context).ok()
    }

    /// Runs `work` as part of this call.
    pub async fn scope<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }
}
