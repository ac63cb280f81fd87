//! What the registry answers about one service at one moment.

use std::sync::Arc;

use crate::catalogue::{Entry, Status};

/// Which instances an answer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// Those that are handed out to clients.
    Passing,
    /// All of them.
    All,
}

/// The instances of one service at one revision. Never changed: a change makes a new one.
///
/// Each view has its own revision, so that a reader of passing instances can tell by the number
/// alone that a change among the others does not concern it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    service: String,
    /// By instance id.
    entries: Vec<Arc<Entry>>,
    revision_all: u64,
    revision_passing: u64,
}

impl Snapshot {
    /// Of a service nobody registered.
    pub(crate) fn empty(service: &str, revision: u64) -> Self {
        Self {
            service: service.to_owned(),
            entries: Vec::new(),
            revision_all: revision,
            revision_passing: revision,
        }
    }

    /// The service's name.
    pub(crate) fn service(&self) -> &str {
        &self.service
    }

    /// Moves exactly when the answer of this view changes.
    pub(crate) fn revision(&self, view: View) -> u64 {
        match view {
            View::Passing => self.revision_passing,
            View::All => self.revision_all,
        }
    }

    /// The instances of a view, by instance id.
    pub(crate) fn entries(&self, view: View) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries
            .iter()
            .filter(move |entry| view == View::All || entry.status == Status::Passing)
    }

    /// How many instances there are, passing or not.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the service has no instance at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// One instance.
    pub(crate) fn get(&self, instance_id: &str) -> Option<&Arc<Entry>> {
        self.entries.get(self.position(instance_id).ok()?)
    }

    /// With this entry added or replaced, which must be a change.
    pub(crate) fn with(&self, entry: Arc<Entry>, revision: u64) -> Self {
        let mut entries = self.entries.clone();
        let passes = entry.status == Status::Passing;
        let passed = match self.position(&entry.instance.instance_id) {
            Ok(held) => std::mem::replace(&mut entries[held], entry).status == Status::Passing,
            Err(place) => {
                entries.insert(place, entry);
                false
            }
        };
        self.moved(entries, revision, passes || passed)
    }

    /// Without this instance, which must be there.
    pub(crate) fn without(&self, instance_id: &str, revision: u64) -> Self {
        let mut entries = self.entries.clone();
        let passed = self
            .position(instance_id)
            .is_ok_and(|held| entries.remove(held).status == Status::Passing);
        self.moved(entries, revision, passed)
    }

    fn moved(&self, entries: Vec<Arc<Entry>>, revision: u64, passing_too: bool) -> Self {
        Self {
            service: self.service.clone(),
            entries,
            revision_all: revision,
            revision_passing: if passing_too {
                revision
            } else {
                self.revision_passing
            },
        }
    }

    fn position(&self, instance_id: &str) -> Result<usize, usize> {
        self.entries
            .binary_search_by(|entry| entry.instance.instance_id.as_str().cmp(instance_id))
    }
}
