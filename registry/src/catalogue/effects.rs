//! What goes into the catalogue beside instances, and what comes out of a change.

use std::sync::Arc;

use crate::catalogue::{Check, Entry, Snapshot, limits};

/// Names one heartbeat stream.
pub(crate) type StreamId = u64;

/// How much a catalogue holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Instances of all services together.
    pub(crate) instances_max: usize,
    /// Services without instances whose revision is remembered.
    pub(crate) empty_services_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            instances_max: limits::INSTANCES_MAX,
            empty_services_max: limits::EMPTY_SERVICES_MAX,
        }
    }
}

/// The catalogue holds as many instances as it may.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the registry holds {instances_max} instances and takes no more")]
pub(crate) struct Full {
    /// The bound.
    pub(crate) instances_max: usize,
}

/// What a change asks of the world, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Effects {
    /// New answers to publish.
    pub(crate) snapshots: Vec<Arc<Snapshot>>,
    /// Services whose revision is no longer remembered.
    pub(crate) forgotten: Vec<String>,
    /// What to poll or to stop polling.
    pub(crate) polling: Option<Polling>,
    /// An instance that is new or whose status changed: what an operator wants to read.
    pub(crate) turned: Option<Arc<Entry>>,
}

/// What to do about the polling of one instance.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Polling {
    /// Check it at once, on a fresh connection, and then at its interval; instead of what was
    /// polled under this id before.
    Start(Target),
    /// Check it at once, or once more when a check is under way that fails.
    Hurry(String),
    /// No longer poll it.
    Stop(String),
}

/// What is polled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// The instance the result is about.
    pub(crate) instance_id: String,
    /// Goes with every result.
    pub(crate) epoch: u64,
    /// An IP address or a DNS name.
    pub(crate) address: String,
    /// The TCP port.
    pub(crate) port: u16,
    /// How.
    pub(crate) check: Check,
}

/// A service in a list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Its name.
    pub(crate) service: String,
    /// All its instances.
    pub(crate) instances: usize,
    /// Those that are passing.
    pub(crate) passing: usize,
    /// The revision of the answer that holds all.
    pub(crate) revision: u64,
}
