//! Reading: what the catalogue knows, without changing any of it.

use std::sync::Arc;

use tokio::sync::watch;

use super::Registry;
use crate::{
    catalogue::{Census, Entry, Indexes, Key, NodeView, Snapshot, Summary},
    clock,
    metrics::Metrics,
};

impl Registry {
    /// At most `count` services that have instances, by name, beginning behind `after`; and whether
    /// there are more.
    pub(crate) fn services(&self, after: Option<&str>, count: usize) -> (Vec<Summary>, bool) {
        let state = self.0.state.lock();
        state.catalogue.services(after, count, clock::now())
    }

    /// The latest snapshot of one service, known or not.
    pub(crate) fn snapshot(&self, service: &str) -> Arc<Snapshot> {
        self.0.board.current(service)
    }

    /// The latest snapshot of every service whose revision is above `after`, the oldest change
    /// first; 0 for all.
    pub(crate) fn snapshots(&self, after: u64) -> Vec<Arc<Snapshot>> {
        self.0.state.lock().catalogue.snapshots(after)
    }

    /// The names of all services that have instances, each with the tags that any of them carries.
    pub(crate) fn tags(&self) -> Vec<(String, Vec<String>)> {
        let state = self.0.state.lock();
        let services = state.catalogue.tags();
        services
            .map(|(service, tags)| (service.to_owned(), tags.map(str::to_owned).collect()))
            .collect()
    }

    /// How much there is of everything.
    pub(crate) fn census(&self) -> Census {
        self.0.state.lock().catalogue.census(clock::now())
    }

    /// What is counted.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// One instance.
    pub(crate) fn entry(&self, key: &Key) -> Option<Arc<Entry>> {
        self.0.state.lock().catalogue.entry(key).cloned()
    }

    /// A node and its instances, by id.
    pub(crate) fn node(&self, name: &str) -> Option<(Arc<NodeView>, Vec<Arc<Entry>>)> {
        self.0.state.lock().catalogue.node(name)
    }

    /// All nodes, by name.
    pub(crate) fn nodes(&self) -> Vec<Arc<NodeView>> {
        self.0.state.lock().catalogue.nodes()
    }

    /// The revisions of the answers about more than one service.
    pub(crate) fn indexes(&self) -> Indexes {
        *self.0.indexes.borrow()
    }

    /// Names the life in which revisions can be compared.
    pub(crate) fn epoch(&self) -> &str {
        &self.0.epoch
    }

    /// Moves with every change of any service.
    pub(crate) fn moved(&self) -> watch::Receiver<u64> {
        self.0.moved.subscribe()
    }

    /// The revision of services that are not known: those below it may have been forgotten.
    pub(crate) fn floor(&self) -> u64 {
        self.0.state.lock().catalogue.floor()
    }

    /// The instance that a call means which names it by its id alone, or with its node: the one on
    /// the registry's own node, else the only one. For calls that steer, not for those that remove.
    pub(crate) fn find(&self, node: &str, id: &str) -> Option<Key> {
        let state = self.0.state.lock();
        if !node.is_empty() {
            let key = Key::new(node, id);
            return state.catalogue.entry(&key).map(|_| key);
        }
        state.catalogue.find(&self.0.local_node, id)
    }

    /// What an instance of this id is called on this node; without a node, on the registry's own.
    pub(crate) fn key(&self, node: &str, id: &str) -> Key {
        let node = if node.is_empty() {
            &self.0.local_node
        } else {
            node
        };
        Key::new(node, id)
    }

    /// The instance of this id on this node and no other; without a node, on the registry's own.
    pub(crate) fn find_on(&self, node: &str, id: &str) -> Option<Key> {
        let key = self.key(node, id);
        let state = self.0.state.lock();
        state.catalogue.entry(&key).map(|_| key)
    }
}
