//! What goes into the catalogue beside registrations, and what comes out of a change.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crate::catalogue::{
    CheckDefinition, Counts, Entry, Holding, Instance, Node, Owner, Snapshot, UnixMillis,
    check::Said, holder::Takeover, limits,
};

/// Names one heartbeat stream.
pub(crate) type StreamId = u64;

/// How much a catalogue holds, and how patient it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Instances of all services together.
    pub(crate) instances_max: usize,
    /// Services without instances whose revision is remembered.
    pub(crate) empty_services_max: usize,
    /// How long what was known before a restart counts without a new sign of life.
    pub(crate) grace: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            instances_max: limits::INSTANCES_MAX,
            empty_services_max: limits::EMPTY_SERVICES_MAX,
            grace: limits::GRACE,
        }
    }
}

/// The catalogue holds as many instances as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the registry holds {instances_max} instances and takes no more")]
pub(crate) struct Full {
    /// The bound.
    pub(crate) instances_max: usize,
}

/// Why a check is not added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAdded {
    /// There is no such instance or node.
    #[error("is not registered")]
    UnknownOwner,
    /// It has as many checks as it may.
    #[error("its owner has {} checks and takes no more", limits::CHECKS_MAX)]
    TooMany,
}

/// Why a report about a check is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotReported {
    /// There is no such instance or node.
    #[error("is not registered")]
    UnknownOwner,
    /// It has no such check.
    #[error("has no such check")]
    UnknownCheck,
    /// The registry finds out by itself.
    #[error("is not a check that anybody reports: the registry runs it")]
    NotReportable,
}

/// What a change asks of the world, in this order.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// New answers to publish, one a service; and whether to wake who watches.
    pub(crate) snapshots: Vec<(Arc<Snapshot>, bool)>,
    /// Services whose revision is no longer remembered.
    pub(crate) forgotten: Vec<String>,
    /// What to check or to stop checking.
    pub(crate) polling: Vec<Polling>,
    /// Instances that are new or whose status changed: what an operator wants to read.
    pub(crate) turned: Vec<Arc<Entry>>,
    /// Instances that were removed by time.
    pub(crate) reaped: Vec<Arc<Entry>>,
    /// Instances that went from one living process to another.
    pub(crate) takeovers: Vec<Takeover>,
    /// Heartbeat streams whose instance is no longer theirs, or may be theirs again.
    pub(crate) told: BTreeSet<StreamId>,
    /// What is kept over a restart and changed; see [`Catalogue::stored`](super::Catalogue::stored).
    pub(crate) stale: Vec<Owner>,
}

impl Effects {
    /// Notes a service's new answer in the place of an older one.
    pub(crate) fn publish(&mut self, snapshot: Arc<Snapshot>, wake: bool) {
        let before = self.snapshots.iter_mut().rev();
        let mut same = before.filter(|(held, _)| held.service() == snapshot.service());
        match same.next() {
            Some((held, woken)) => {
                *held = snapshot;
                *woken |= wake;
            }
            None => self.snapshots.push((snapshot, wake)),
        }
    }
}

/// What to do about the running of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Polling {
    /// Run it at once, on a fresh connection, and then at its interval; instead of what ran under
    /// this name before.
    Start(Target),
    /// Run it at once, or once more when a run is under way that fails.
    Hurry(CheckRef),
    /// No longer run it.
    Stop(CheckRef),
}

/// Names one check.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CheckRef {
    /// Whose it is.
    pub(crate) owner: Owner,
    /// Unique among its owner's.
    pub(crate) check_id: String,
}

/// What is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// The check that the result is of.
    pub(crate) check: CheckRef,
    /// Goes with every result.
    pub(crate) epoch: u64,
    /// The owner's own host: an IP address or a DNS name.
    pub(crate) address: String,
    /// The owner's own TCP port.
    pub(crate) port: u16,
    /// How.
    pub(crate) definition: Arc<CheckDefinition>,
}

/// A service in a list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Its name.
    pub(crate) service: String,
    /// Its instances by state.
    pub(crate) counts: Counts,
    /// The revision of the answer that holds all.
    pub(crate) revision: u64,
    /// What the mass-expiry guard holds back.
    pub(crate) guard: Option<Holding>,
}

/// The revisions of the answers that are about more than one service. Each moves when its answer
/// changes, and is never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Indexes {
    /// Of the map of services' names to their tags. It also moves for each instance that comes, goes or
    /// is registered differently, as Consul's does.
    pub(crate) services: u64,
    /// Of what instances and nodes registered, of all services.
    pub(crate) registrations: u64,
    /// Of the nodes and their attributes.
    pub(crate) nodes: u64,
    /// Of the status of all checks, and of which there are.
    pub(crate) checks: u64,
    /// The newest revision given out.
    pub(crate) newest: u64,
}

/// What is kept of an instance over a restart.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct StoredInstance {
    pub(crate) instance: Instance,
    pub(crate) register_time: UnixMillis,
    pub(crate) maintenance: Option<String>,
    /// Whether it held a heartbeat stream.
    pub(crate) bound: bool,
    /// Of the process that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) life: Option<String>,
    pub(crate) said: Vec<Said>,
}

/// What is kept of a node over a restart.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct StoredNode {
    pub(crate) node: Node,
    pub(crate) explicit: bool,
    pub(crate) maintenance: Option<String>,
    /// Instances that are out when they come back.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) taken_out: BTreeMap<String, String>,
    pub(crate) said: Vec<Said>,
}

/// What is kept over a restart.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Stored {
    Instance(StoredInstance),
    Node(StoredNode),
}
