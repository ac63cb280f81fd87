//! Instances come, show that they live, and go: each by the process that it belongs to.

use std::sync::{Arc, atomic::Ordering};

use tokio::sync::Notify;

use super::{Refused, Registry, durable};
use crate::{
    catalogue::{Beat, Before, Entry, Instance, Key, NotRegistered, Owner, Removal, StreamId},
    clock,
    keep::Pending,
};

/// A heartbeat stream. Forgotten when dropped.
#[derive(Debug)]
pub(crate) struct Stream {
    registry: Registry,
    id: StreamId,
    told: Arc<Notify>,
}

/// What a beat is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    /// Whether the instance is known.
    pub(crate) registered: bool,
    /// Whether another process has it.
    pub(crate) superseded: bool,
}

/// How an instance left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Left {
    /// It was there.
    pub(crate) removed: bool,
    /// It is another process's, and stays.
    pub(crate) superseded: bool,
    /// Its process lives.
    pub(crate) beating: bool,
}

impl Stream {
    /// Its name.
    pub(crate) fn id(&self) -> StreamId {
        self.id
    }

    /// Resolves when what its last beat was answered with may be so no longer.
    pub(crate) async fn told(&self) {
        self.told.notified().await;
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.registry.0.streams.remove(&self.id);
    }
}

impl Registry {
    /// Makes an instance known or replaces what was known of it, for the process of this life.
    /// Watchers may see it a moment before it is durable; the caller is answered after.
    pub(crate) async fn register(
        &self,
        instance: Instance,
        life: Option<&str>,
    ) -> Result<Arc<Entry>, Refused> {
        if let Some(ip) = self.0.poller.networks().forbidden(&instance) {
            return Err(Refused::Forbidden(ip));
        }
        let key = instance.key();
        let (entry, before, pending) = {
            let mut state = self.0.state.lock();
            let before = state.catalogue.held(&key);
            // The same once more is nothing to write.
            let same = before
                .as_ref()
                .is_some_and(|before| before.is(&instance, life));
            if !same {
                state.writable()?;
            }
            let registered = state.catalogue.register_as(instance, life, clock::now());
            let (entry, effects) = registered.map_err(|why| match why {
                NotRegistered::Full(full) => Refused::Full(full),
                NotRegistered::Held(held) => Refused::Held(held),
            })?;
            self.carry_out(&mut state, effects);
            let owner = Owner::Instance(key.clone());
            let pending = match &state.journal {
                None => Pending::nothing(),
                Some(journal) if same && journal.is_durable(&owner) => Pending::nothing(),
                Some(journal) => {
                    if !same {
                        journal.registered(owner);
                    }
                    journal.pending()
                }
            };
            (entry, before, pending)
        };
        let answer = durable(pending, Arc::clone(&entry)).await;
        if answer.is_err() {
            self.undo(&key, &entry, before);
        }
        answer
    }

    /// Whether an instance may be registered in nobody's name now: nothing is changed.
    pub(crate) fn admits(&self, instance: &Instance) -> Result<(), Refused> {
        if let Some(ip) = self.0.poller.networks().forbidden(instance) {
            return Err(Refused::Forbidden(ip));
        }
        let state = self.0.state.lock();
        let admitted = state.catalogue.admits(instance, None, clock::now());
        admitted.map_err(Refused::Held)
    }

    /// Takes back a registration that is not durable, unless it was changed again meanwhile: what was
    /// refused is not to appear when the disk has room again.
    fn undo(&self, key: &Key, entry: &Entry, before: Option<Before>) {
        let mut state = self.0.state.lock();
        let now = clock::now();
        let current = state.catalogue.entry(key);
        if !current.is_some_and(|current| Arc::ptr_eq(&current.instance, &entry.instance)) {
            return;
        }
        let effects = match before {
            Some(before) if Arc::ptr_eq(&before.instance, &entry.instance) => return,
            Some(before) => state.catalogue.put_back(before, now).ok(),
            None => state.catalogue.deregister(key, now),
        };
        self.carry_out_some(&mut state, effects);
    }

    /// Removes an instance, if it is that of this life; without one, whoever's it is.
    pub(crate) async fn deregister(&self, key: &Key, life: Option<&str>) -> Result<Left, Refused> {
        let (left, pending) = {
            let mut state = self.0.state.lock();
            let left = match state.catalogue.deregister_as(key, life, clock::now()) {
                Removal::Done { effects, beating } => {
                    self.carry_out(&mut state, effects);
                    Left {
                        removed: true,
                        beating,
                        ..Left::default()
                    }
                }
                Removal::Held => Left {
                    superseded: true,
                    ..Left::default()
                },
                Removal::Unknown => Left::default(),
            };
            (left, state.pending())
        };
        let (node, instance) = (&key.node, &key.id);
        if left.superseded && self.0.lines.may() {
            tracing::warn!(%node, %instance,
                "not deregistered: another process has this id, and stays");
        } else if left.removed && self.0.lines.may() {
            tracing::info!(%node, %instance, beating = left.beating, "deregistered");
        }
        durable(pending, left).await
    }

    /// A new heartbeat stream.
    pub(crate) fn open_heartbeat(&self) -> Stream {
        let id = self.0.last_stream.fetch_add(1, Ordering::Relaxed);
        let told = Arc::new(Notify::new());
        self.0.streams.insert(id, Arc::clone(&told));
        Stream {
            registry: self.clone(),
            id,
            told,
        }
    }

    /// Takes a heartbeat.
    pub(crate) fn heartbeat(&self, key: &Key, stream: StreamId, life: Option<&str>) -> Known {
        let mut state = self.0.state.lock();
        match state.catalogue.beat(key, (stream, life), clock::now()) {
            Beat::Counts(effects) => {
                self.carry_out(&mut state, effects);
                Known {
                    registered: true,
                    superseded: false,
                }
            }
            Beat::Superseded => Known {
                registered: true,
                superseded: true,
            },
            Beat::Unknown => Known {
                registered: false,
                superseded: false,
            },
        }
    }

    /// Takes the end of a heartbeat stream. When it is the registry that stops, it says nothing
    /// about the instance.
    pub(crate) fn heartbeat_ended(&self, key: &Key, stream: StreamId) {
        if self.0.stop.is_cancelled() {
            return;
        }
        let mut state = self.0.state.lock();
        let effects = state.catalogue.heartbeat_ended(key, stream, clock::now());
        self.carry_out_some(&mut state, effects);
    }

    /// Has these streams look again whose their instance is.
    pub(super) fn tell(&self, streams: &std::collections::BTreeSet<StreamId>) {
        for stream in streams {
            if let Some(told) = self.0.streams.get(stream) {
                told.notify_one();
            }
        }
    }
}
