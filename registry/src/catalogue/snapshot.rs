//! What the registry answers about one service at one moment.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::catalogue::{Entry, Key, Status};

/// Which part of a service an answer holds. Each has its own revision, so that a reader can tell by
/// the number alone that a change elsewhere does not concern it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum View {
    /// The instances that are handed out to clients.
    Passing,
    /// All instances, with their health.
    All,
    /// All instances as they registered, whatever their health.
    Registered,
}

/// The instances of one service at one revision. Never changed: a change makes a new one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    service: String,
    /// By node and instance id.
    entries: Vec<Arc<Entry>>,
    revisions: Revisions,
    written: Written,
}

/// How a snapshot is written for whoever asks; each view differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// For one who asks once.
    Listed,
    /// For one who watches.
    Watched,
}

/// A snapshot as it was written: once for all who ask. No part of what it says.
#[derive(Debug, Default)]
struct Written([OnceLock<Bytes>; 4]);

impl PartialEq for Written {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Written {}

/// The revision of each view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Revisions {
    passing: u64,
    all: u64,
    registered: u64,
}

/// How many instances there are in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passing: usize,
    pub(crate) warning: usize,
    pub(crate) critical: usize,
    pub(crate) maintenance: usize,
}

impl Counts {
    /// All of them.
    pub(crate) fn total(self) -> usize {
        self.passing + self.warning + self.critical + self.maintenance
    }
}

impl Snapshot {
    /// Of a service nobody registered.
    pub(crate) fn empty(service: &str, revision: u64) -> Self {
        Self {
            service: service.to_owned(),
            entries: Vec::new(),
            revisions: Revisions {
                passing: revision,
                all: revision,
                registered: revision,
            },
            written: Written::default(),
        }
    }

    /// The service's name.
    pub(crate) fn service(&self) -> &str {
        &self.service
    }

    /// Moves exactly when the answer of this view changes.
    pub(crate) fn revision(&self, view: View) -> u64 {
        match view {
            View::Passing => self.revisions.passing,
            View::All => self.revisions.all,
            View::Registered => self.revisions.registered,
        }
    }

    /// The instances of a view, by node and instance id.
    pub(crate) fn entries(&self, view: View) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries
            .iter()
            .filter(move |entry| view != View::Passing || entry.status == Status::Passing)
    }

    /// How many instances there are, passing or not.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the service has no instance at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many instances there are in each state.
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for entry in &self.entries {
            match entry.status {
                Status::Passing => counts.passing += 1,
                Status::Warning => counts.warning += 1,
                Status::Critical => counts.critical += 1,
                Status::Maintenance => counts.maintenance += 1,
            }
        }
        counts
    }

    /// One instance.
    pub(crate) fn get(&self, key: &Key) -> Option<&Arc<Entry>> {
        self.entries.get(self.position(key).ok()?)
    }

    /// With this entry added or replaced. The revisions of the views in which that is a change move
    /// to `revision`.
    pub(crate) fn with(&self, entry: Arc<Entry>, revision: u64) -> Self {
        let mut entries = self.entries.clone();
        let passes = entry.status == Status::Passing;
        let mut moved = self.revisions;
        let place = self.position(&entry.key());
        match place.map(|place| entries.get_mut(place)) {
            Ok(Some(held)) => {
                if !held.same_answer(&entry) {
                    moved.all = revision;
                    if passes || held.status == Status::Passing {
                        moved.passing = revision;
                    }
                }
                if !held.same_registration(&entry) {
                    moved.registered = revision;
                }
                *held = entry;
            }
            Ok(None) => {}
            Err(place) => {
                (moved.all, moved.registered) = (revision, revision);
                if passes {
                    moved.passing = revision;
                }
                entries.insert(place, entry);
            }
        }
        self.moved(entries, moved)
    }

    /// Without this instance, which must be there.
    pub(crate) fn without(&self, key: &Key, revision: u64) -> Self {
        let mut entries = self.entries.clone();
        let mut moved = Revisions {
            passing: self.revisions.passing,
            all: revision,
            registered: revision,
        };
        if let Ok(place) = self.position(key)
            && entries.remove(place).status == Status::Passing
        {
            moved.passing = revision;
        }
        self.moved(entries, moved)
    }

    fn moved(&self, entries: Vec<Arc<Entry>>, revisions: Revisions) -> Self {
        Self {
            service: self.service.clone(),
            entries,
            revisions,
            written: Written::default(),
        }
    }

    /// The snapshot in this form and view, written by `write` if nobody asked for it before.
    pub(crate) fn written(
        &self,
        form: Form,
        view: View,
        write: impl FnOnce(&Self) -> Bytes,
    ) -> Bytes {
        let [listed_passing, listed, watched_passing, watched] = &self.written.0;
        let cell = match (form, view) {
            (Form::Listed, View::Passing) => listed_passing,
            (Form::Listed, View::All | View::Registered) => listed,
            (Form::Watched, View::Passing) => watched_passing,
            (Form::Watched, View::All | View::Registered) => watched,
        };
        cell.get_or_init(|| write(self)).clone()
    }

    fn position(&self, key: &Key) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| {
            let instance = &entry.instance;
            (&instance.node, &instance.instance_id).cmp(&(&key.node, &key.id))
        })
    }
}
