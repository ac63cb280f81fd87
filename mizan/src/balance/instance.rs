//! One instance: keeping a connection to it open.
//!
//! ```text
//!               ┌────── connection closed after a while ───┐
//!               ▼                                          │
//!         ┌────────────┐   handshake done             ┌────────┐
//!  new ─► │ connecting │ ───────────────────────────► │ ready  │
//!         └────────────┘                              └────────┘
//!               │ failed, or closed at once                ▲
//!               ▼                                          │
//!         ┌──────────┐ ── after a growing pause, tried ────┘
//!         │ backoff  │ ◄─┐   again; stays here while it
//!         └──────────┘ ──┘   fails, whatever the reason
//!
//!  removed from the list, in any state: gone; calls under way are finished
//! ```

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{Connection, retry};

/// By gRPC's connection backoff document: 1 s, growing by 1.6, at most 120 s, ±20 %.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(120);

/// The same document gives an attempt at least 20 s.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// A connection that lasts shorter was turned away rather than used: whoever listens there is no
/// instance, and would otherwise be connected to again and again without a pause.
const LASTING: Duration = Duration::from_secs(1);

/// Where an instance stands; see the picture above.
#[derive(Debug, Clone)]
pub(super) enum Standing {
    Connecting,
    Ready(Connection),
    Backoff(String),
}

/// A change of one instance, for [`members`](super::members).
#[derive(Debug)]
pub(super) struct Change {
    pub(super) authority: Arc<str>,
    pub(super) standing: Standing,
}

/// Keeps an instance connected until `gone`.
pub(super) async fn keep(
    authority: Arc<str>,
    changes: mpsc::Sender<Change>,
    gone: CancellationToken,
) {
    let connected = connect_for_ever(&authority, &changes);
    tokio::select! {
        () = gone.cancelled() => {}
        () = connected => {}
    }
}

async fn connect_for_ever(authority: &Arc<str>, changes: &mpsc::Sender<Change>) {
    let report = |standing| {
        let authority = authority.clone();
        changes.send(Change {
            authority,
            standing,
        })
    };
    let mut pause = PAUSE_MIN;
    loop {
        let reason = match Connection::open(authority, CONNECT_TIMEOUT).await {
            Ok(connection) => {
                let opened = Instant::now();
                if report(Standing::Ready(connection.clone())).await.is_err() {
                    return;
                }
                connection.closed().await;
                if opened.elapsed() >= LASTING {
                    pause = PAUSE_MIN;
                    if report(Standing::Connecting).await.is_err() {
                        return;
                    }
                    continue;
                }
                format!("{authority} closes connections as soon as they are open")
            }
            Err(error) => error.to_string(),
        };
        tracing::debug!(instance = %authority, reason, "not connected");
        if report(Standing::Backoff(reason)).await.is_err() {
            return;
        }
        sleep(retry::spread(pause, fastrand::u32(..))).await;
        pause = (pause * 8 / 5).min(PAUSE_MAX);
    }
}
