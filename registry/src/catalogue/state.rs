//! The catalogue's state machine: one [`Entry`] per instance, one [`Snapshot`] per service.
//!
//! ```text
//!              register                      check passes
//!   unknown ─────────────► critical ◄──────────────────────────► passing
//!      │                      ▲        check fails, target changes,   ▲ │
//!      │                      │        last heartbeat stream breaks   │ │
//!      │ register, unpolled   └───────────────────────────────────────┼─┘
//!      └──────────────────────────────────────────────────────────────┘
//! ```
//!
//! Results of checks carry the epoch of the polling that made them. A new target and a lost
//! heartbeat begin a new epoch, so a check that was under way cannot speak for what came after.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
    sync::Arc,
};

use crate::catalogue::{
    Bounds, Effects, Entry, Full, Instance, Polling, Snapshot, Status, StreamId, Summary, Target,
    UnixMillis, View,
};

/// Where to find an instance, and what of it nobody is told.
#[derive(Debug)]
struct Record {
    service: String,
    epoch: u64,
    heartbeats: BTreeSet<StreamId>,
}

/// All services and their instances.
#[derive(Debug)]
pub(crate) struct Catalogue {
    bounds: Bounds,
    /// By name; a service stays when its last instance goes, so that its revision does too.
    services: BTreeMap<String, Arc<Snapshot>>,
    /// By instance id.
    records: HashMap<String, Record>,
    /// The last one given out: one counter for all services.
    revision: u64,
    /// The revision of every service that is not in `services`.
    floor: u64,
    /// How many of `services` have no instance.
    empty: usize,
    /// The last one given out.
    epoch: u64,
}

impl Catalogue {
    /// An empty catalogue. Revisions begin at the start time: a registry that lived before this one
    /// gave out lower ones, unless it saw more than a thousand changes a second all its life.
    pub(crate) fn new(started: UnixMillis, bounds: Bounds) -> Self {
        let first = started.0.max(1);
        Self {
            bounds,
            services: BTreeMap::new(),
            records: HashMap::new(),
            revision: first,
            floor: first,
            empty: 0,
            epoch: 0,
        }
    }

    /// The revision of services that are not known.
    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    /// One service's answer.
    #[cfg(test)]
    pub(crate) fn snapshot(&self, service: &str) -> Arc<Snapshot> {
        self.services
            .get(service)
            .cloned()
            .unwrap_or_else(|| Arc::new(Snapshot::empty(service, self.floor)))
    }

    /// The epoch that results must carry.
    #[cfg(test)]
    pub(crate) fn epoch_of(&self, instance_id: &str) -> Option<u64> {
        Some(self.records.get(instance_id)?.epoch)
    }

    /// At most `count` services that have instances, by name, beginning behind `after`; and whether
    /// there are more.
    pub(crate) fn services(&self, after: Option<&str>, count: usize) -> (Vec<Summary>, bool) {
        let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self
            .services
            .range::<str, _>((begin, Bound::Unbounded))
            .filter(|(_, snapshot)| !snapshot.is_empty());
        let page = rest
            .by_ref()
            .take(count)
            .map(|(service, snapshot)| Summary {
                service: service.clone(),
                instances: snapshot.len(),
                passing: snapshot.entries(View::Passing).count(),
                revision: snapshot.revision(View::All),
            })
            .collect();
        (page, rest.next().is_some())
    }

    /// Makes an instance known or replaces what was known of it.
    pub(crate) fn register(
        &mut self,
        instance: Instance,
        now: UnixMillis,
    ) -> Result<(Arc<Entry>, Effects), Full> {
        let id = instance.instance_id.clone();
        let known = self.entry(&id);
        if known.is_none() && self.records.len() >= self.bounds.instances_max {
            return Err(Full {
                instances_max: self.bounds.instances_max,
            });
        }
        let mut effects = Effects::default();
        let entry = Arc::new(match &known {
            Some(held) => held.reregistered(instance, now),
            None => Entry::registered(instance, now),
        });
        let service = entry.instance.service.clone();
        let record = self.records.entry(id.clone()).or_insert_with(|| Record {
            service: service.clone(),
            epoch: 0,
            heartbeats: BTreeSet::new(),
        });
        let left =
            (record.service != service).then(|| std::mem::replace(&mut record.service, service));
        if let Some(left) = left {
            self.remove(&left, &id, &mut effects);
        }
        effects.polling = match known {
            Some(held) if held.instance.same_target(&entry.instance) => hurry(&entry),
            _ => Some(self.begin_epoch(&entry)),
        };
        self.put(Arc::clone(&entry), &mut effects);
        Ok((entry, effects))
    }

    /// Removes an instance; nothing when it is not known.
    pub(crate) fn deregister(&mut self, instance_id: &str) -> Option<Effects> {
        let record = self.records.remove(instance_id)?;
        let mut effects = Effects {
            polling: Some(Polling::Stop(instance_id.to_owned())),
            ..Effects::default()
        };
        self.remove(&record.service, instance_id, &mut effects);
        Some(effects)
    }

    /// Takes the result of a check; nothing when it is about an instance or an epoch that is over,
    /// so that polling can end.
    pub(crate) fn report(
        &mut self,
        instance_id: &str,
        epoch: u64,
        outcome: Result<(), &str>,
        now: UnixMillis,
    ) -> Option<Effects> {
        let record = self.records.get(instance_id)?;
        if record.epoch != epoch {
            return None;
        }
        let entry = self.entry(instance_id)?;
        let mut effects = Effects::default();
        self.put(Arc::new(entry.checked(outcome, now)), &mut effects);
        Some(effects)
    }

    /// Takes a message of a heartbeat stream and binds the instance to that stream; nothing when
    /// the instance is not known. A new stream is a sign of life: a critical instance is checked at
    /// once, and one that is never polled passes.
    pub(crate) fn heartbeat(
        &mut self,
        instance_id: &str,
        stream: StreamId,
        now: UnixMillis,
    ) -> Option<Effects> {
        let entry = self.entry(instance_id)?;
        let mut effects = Effects::default();
        let record = self.records.get_mut(instance_id)?;
        if !record.heartbeats.insert(stream) {
            return Some(effects);
        }
        effects.polling = hurry(&entry);
        if !entry.instance.polled() {
            self.put(Arc::new(entry.checked(Ok(()), now)), &mut effects);
        }
        Some(effects)
    }

    /// Takes the end of a heartbeat stream. Only the last of an instance's streams counts: a
    /// client that reconnects may open the new one before the old one breaks. Nothing when the
    /// instance lives on or is not known.
    pub(crate) fn heartbeat_ended(
        &mut self,
        instance_id: &str,
        stream: StreamId,
        now: UnixMillis,
    ) -> Option<Effects> {
        let record = self.records.get_mut(instance_id)?;
        if !record.heartbeats.remove(&stream) || !record.heartbeats.is_empty() {
            return None;
        }
        let entry = self.entry(instance_id)?.heartbeat_lost(now);
        let mut effects = Effects {
            polling: Some(self.begin_epoch(&entry)),
            ..Effects::default()
        };
        self.put(Arc::new(entry), &mut effects);
        Some(effects)
    }

    fn entry(&self, instance_id: &str) -> Option<Arc<Entry>> {
        let record = self.records.get(instance_id)?;
        self.services
            .get(&record.service)?
            .get(instance_id)
            .cloned()
    }

    fn begin_epoch(&mut self, entry: &Entry) -> Polling {
        let instance = &entry.instance;
        self.epoch += 1;
        if let Some(record) = self.records.get_mut(&instance.instance_id) {
            record.epoch = self.epoch;
        }
        if !instance.polled() {
            return Polling::Stop(instance.instance_id.clone());
        }
        Polling::Start(Target {
            instance_id: instance.instance_id.clone(),
            epoch: self.epoch,
            address: instance.address.clone(),
            port: instance.port,
            check: instance.check.clone(),
        })
    }

    fn put(&mut self, entry: Arc<Entry>, effects: &mut Effects) {
        let service = &entry.instance.service;
        let (held, known) = match self.services.get(service) {
            Some(held) => (Arc::clone(held), true),
            None => (Arc::new(Snapshot::empty(service, self.floor)), false),
        };
        let before = held.get(&entry.instance.instance_id);
        if before == Some(&entry) {
            return;
        }
        if before.map(|before| before.status) != Some(entry.status) {
            effects.turned = Some(Arc::clone(&entry));
        }
        if known && held.is_empty() {
            self.empty -= 1;
        }
        let service = service.clone();
        self.revision += 1;
        self.publish(service, held.with(entry, self.revision), effects);
    }

    fn remove(&mut self, service: &str, instance_id: &str, effects: &mut Effects) {
        let Some(held) = self.services.get(service) else {
            return;
        };
        if held.get(instance_id).is_none() {
            return;
        }
        self.revision += 1;
        let next = held.without(instance_id, self.revision);
        self.empty += usize::from(next.is_empty());
        self.publish(service.to_owned(), next, effects);
        if self.empty > self.bounds.empty_services_max {
            self.forget(effects);
        }
    }

    fn publish(&mut self, service: String, snapshot: Snapshot, effects: &mut Effects) {
        let snapshot = Arc::new(snapshot);
        effects.snapshots.push(Arc::clone(&snapshot));
        self.services.insert(service, snapshot);
    }

    /// Drops the memory of all empty services. What is answered about them from now on is not older
    /// than what was: the revision of unknown services rises to theirs.
    fn forget(&mut self, effects: &mut Effects) {
        self.services.retain(|service, snapshot| {
            if snapshot.is_empty() {
                effects.forgotten.push(service.clone());
            }
            !snapshot.is_empty()
        });
        self.empty = 0;
        self.floor = self.revision;
    }
}

/// A sign of life of a critical instance is a reason not to wait for the interval.
fn hurry(entry: &Entry) -> Option<Polling> {
    (entry.status == Status::Critical && entry.instance.polled())
        .then(|| Polling::Hurry(entry.instance.instance_id.clone()))
}
