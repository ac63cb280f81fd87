//! How much there is of everything, for whoever watches over the registry.

use std::collections::BTreeMap;

use crate::catalogue::{Catalogue, Status, UnixMillis};

/// How much there is of everything.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Census {
    /// Services with instances.
    pub(crate) services: usize,
    pub(crate) nodes: usize,
    /// Of every status, also of those that nobody has.
    pub(crate) instances: BTreeMap<Status, usize>,
    /// By kind and status, those of nodes included.
    pub(crate) checks: BTreeMap<(&'static str, Status), usize>,
    /// Instances held as warning because they fell too often.
    pub(crate) flapping: usize,
    /// Heartbeat streams that count.
    pub(crate) heartbeats: usize,
    /// Expiries that the mass-expiry guard holds back.
    pub(crate) held: usize,
    /// The newest revision.
    pub(crate) revision: u64,
}

impl Catalogue {
    /// Counts everything.
    pub(crate) fn census(&self, now: UnixMillis) -> Census {
        let every = [
            Status::Passing,
            Status::Warning,
            Status::Critical,
            Status::Maintenance,
        ];
        let mut census = Census {
            nodes: self.nodes.len(),
            instances: every.into_iter().map(|status| (status, 0)).collect(),
            heartbeats: self.records.values().map(|r| r.heartbeats.len()).sum(),
            revision: self.indexes.newest,
            ..Census::default()
        };
        for snapshot in self.services.values() {
            census.services += usize::from(!snapshot.is_empty());
            for entry in snapshot.entries(crate::catalogue::View::All) {
                *census.instances.entry(entry.status).or_default() += 1;
                census.flapping += usize::from(entry.flapping);
            }
        }
        let own = self.records.values().flat_map(|record| &record.checks);
        let of_nodes = self.nodes.values().flat_map(|node| &node.checks);
        for check in own.chain(of_nodes) {
            let kind = check.view.definition.kind.word();
            *census.checks.entry((kind, check.view.status)).or_default() += 1;
        }
        let guarded = self.guards.keys();
        let holding = guarded.filter_map(|service| self.holding(service, now));
        census.held = holding.map(|holding| holding.held).sum();
        census
    }
}
