//! One instance: keeping a connection to it open.
//!
//! ```text
//!               ┌──────────── connection closed ───────────┐
//!               ▼                                          │
//!         ┌────────────┐   handshake done             ┌────────┐
//!  new ─► │ connecting │ ───────────────────────────► │ ready  │
//!         └────────────┘                              └────────┘
//!               │ failed                                   ▲
//!               ▼                                          │
//!         ┌──────────┐ ── after a growing pause, tried ────┘
//!         │ backoff  │ ◄─┐   again; stays here while it
//!         └──────────┘ ──┘   fails, whatever the reason
//!
//!  removed from the list, in any state: gone; calls under way are finished
//! ```

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{Connection, retry};

/// By gRPC's connection backoff document: 1 s, growing by 1.6, at most 120 s, ±20 %.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(120);

/// The same document gives an attempt at least 20 s.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

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
        match Connection::open(authority, CONNECT_TIMEOUT).await {
            Ok(connection) => {
                pause = PAUSE_MIN;
                if report(Standing::Ready(connection.clone())).await.is_err() {
                    return;
                }
                connection.closed().await;
                if report(Standing::Connecting).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::debug!(instance = %authority, reason = error.reason(), "not connected");
                if report(Standing::Backoff(error.to_string())).await.is_err() {
                    return;
                }
                tokio::time::sleep(retry::spread(pause, fastrand::u32(..))).await;
                pause = (pause * 8 / 5).min(PAUSE_MAX);
            }
        }
    }
}
