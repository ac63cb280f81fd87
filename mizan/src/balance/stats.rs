//! The instances of a channel, as people and tools see them.

use std::{fmt, sync::Arc, time::Instant};

/// Where an instance stands, all its connections together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InstanceState {
    /// Known, and about to be connected.
    Idle,
    /// Being connected, or waiting for the first answer of its health watch.
    Connecting,
    /// Connected and picked.
    Ready,
    /// Connected, and left out for a while because its calls fail or lag (gRFC A50).
    Ejected,
    /// Connected, and not picked because its health watch says so (gRFC A17).
    Unhealthy,
    /// Could not be connected; tried again after a pause.
    Backoff,
}

impl InstanceState {
    /// Its name, as metrics and people use it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Connecting => "connecting",
            Self::Ready => "ready",
            Self::Ejected => "ejected",
            Self::Unhealthy => "unhealthy",
            Self::Backoff => "backoff",
        }
    }
}

impl fmt::Display for InstanceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One instance, at the moment of asking.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct InstanceStats {
    /// HOST:PORT.
    pub authority: Arc<str>,
    /// Its failure zone; empty when unknown.
    pub zone: Arc<str>,
    /// Its share of the load, relative to the others.
    pub weight: u32,
    /// Where it stands.
    pub state: InstanceState,
    /// How many of its connections can carry calls.
    pub connections: usize,
    /// On how many of them the last twenty calls or more were given up, and none was answered: the peer
    /// is silent, or streams that nobody reads have taken the connection's window.
    pub connections_stalled: usize,
    /// How many attempts it carries.
    pub in_flight: u32,
    /// Its latest failure, also after it was overcome.
    pub last_error: Option<Arc<str>>,
    /// Since when it stands there.
    pub since: Instant,
}
