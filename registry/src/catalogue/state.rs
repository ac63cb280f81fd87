//! The catalogue's state machine: registering and what is known.
//!
//! ```text
//!              register                     a check passes
//!   unknown ─────────────► critical ◄──────────────────────────► passing / warning
//!      │                      ▲      a check fails, target changes,    ▲  │
//!      │                      │      last heartbeat stream breaks      │  │
//!      │ register, unchecked  └────────────────────────────────────────┼──┘
//!      └───────────────────────────────────────────────────────────────┘
//!   and over all of them, until it is ended: maintenance
//! ```

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use crate::catalogue::{
    Bounds, CheckDefinition, CheckKind, CheckRef, Effects, Entry, Full, Indexes, Instance, Key,
    NodeView, Owner, Polling, Snapshot, Status, StreamId, Target, UnixMillis,
    check::Check,
    flap::Flap,
    guard::Guard,
    holder::{Claim, Holder},
};

/// Where to find an instance, and what of it nobody is told.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) instance: Arc<Instance>,
    pub(super) checks: Vec<Check>,
    pub(super) maintenance: Option<String>,
    pub(super) heartbeats: BTreeSet<StreamId>,
    /// Whether it held a heartbeat stream, in this life of the registry or the one before.
    pub(super) bound: bool,
    /// Whose it is.
    pub(super) holder: Holder,
    pub(super) flap: Flap,
    /// What its checks and its node's said when it was last looked at.
    pub(super) raw: Status,
    pub(super) register_time: UnixMillis,
}

/// A node, and what of it nobody is told.
#[derive(Debug)]
pub(super) struct NodeRecord {
    pub(super) view: Arc<NodeView>,
    pub(super) checks: Vec<Check>,
    /// The ids of its instances.
    pub(super) instances: BTreeSet<String>,
    /// Whether somebody registered it, rather than an instance on it.
    pub(super) explicit: bool,
    /// Instances that were in maintenance when they were removed for being dead, and why: they are
    /// out still when they come back.
    pub(super) taken_out: BTreeMap<String, String>,
}

/// What happens by time alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A report stops counting, or an instance was critical long enough to be removed.
    Check(CheckRef),
    /// An instance that flapped stood long enough.
    Stood(Key),
    /// The registry restarted, and this instance had its time to bring back its heartbeat.
    Grace(Key),
    /// The registry restarted, and from now on this check counts like any other.
    Again(CheckRef),
}

/// All services, their instances and their nodes.
#[derive(Debug)]
pub(crate) struct Catalogue {
    pub(super) bounds: Bounds,
    /// By name; a service stays when its last instance goes, so that its revision does too.
    pub(super) services: BTreeMap<String, Arc<Snapshot>>,
    /// Each service of `services` once, under the revision of its whole answer.
    pub(super) by_revision: BTreeMap<u64, String>,
    pub(super) records: HashMap<Key, Record>,
    pub(super) nodes: BTreeMap<String, NodeRecord>,
    /// The tags of each service that has instances, with how many of them carry each.
    pub(super) tags: BTreeMap<String, BTreeMap<String, usize>>,
    /// Who mirrors whom.
    pub(super) aliases: HashMap<Owner, BTreeSet<CheckRef>>,
    pub(super) timers: BTreeSet<(UnixMillis, Timer)>,
    /// Of the services that something expired in lately.
    pub(super) guards: BTreeMap<String, Guard>,
    pub(super) last_sweep: Option<UnixMillis>,
    /// When it began from what was kept.
    pub(super) restored: Option<UnixMillis>,
    pub(super) indexes: Indexes,
    /// The revision of every service that is not in `services`.
    pub(super) floor: u64,
    /// How many of `services` have no instance.
    pub(super) empty: usize,
    /// The last one given out.
    pub(super) epoch: u64,
}

impl Catalogue {
    /// An empty catalogue whose revisions begin at `first`: higher than any that was given out
    /// before, in an earlier life too.
    pub(crate) fn new(first: u64, bounds: Bounds) -> Self {
        let first = first.max(1);
        Self {
            bounds,
            services: BTreeMap::new(),
            by_revision: BTreeMap::new(),
            records: HashMap::new(),
            nodes: BTreeMap::new(),
            tags: BTreeMap::new(),
            aliases: HashMap::new(),
            timers: BTreeSet::new(),
            guards: BTreeMap::new(),
            last_sweep: None,
            restored: None,
            indexes: Indexes {
                services: first,
                registrations: first,
                nodes: first,
                checks: first,
                newest: first,
            },
            floor: first,
            empty: 0,
            epoch: 0,
        }
    }

    /// Makes an instance known or replaces what was known of it. It stays whose it is.
    pub(crate) fn register(
        &mut self,
        instance: Instance,
        now: UnixMillis,
    ) -> Result<(Arc<Entry>, Effects), Full> {
        self.register_claimed(instance, None, Claim::Same, now)
    }

    pub(super) fn register_claimed(
        &mut self,
        instance: Instance,
        life: Option<&str>,
        claim: Claim,
        now: UnixMillis,
    ) -> Result<(Arc<Entry>, Effects), Full> {
        let key = instance.key();
        let known = self
            .records
            .get(&key)
            .map(|held| Arc::clone(&held.instance));
        if known.is_none() && self.records.len() >= self.bounds.instances_max {
            return Err(Full {
                instances_max: self.bounds.instances_max,
            });
        }
        let mut effects = Effects::default();
        self.ensure_node(&key, &mut effects);
        match known {
            None => self.register_new(instance, life, now, &mut effects),
            Some(held) => {
                self.register_again(&key, &held, instance, now, &mut effects);
                let after = self.records.get(&key).map(|one| Arc::clone(&one.instance));
                let after = after.unwrap_or_else(|| Arc::clone(&held));
                self.claim(&key, life, claim, (&held, &after), now, &mut effects);
                self.start(&Owner::Instance(key.clone()), &mut effects);
            }
        }
        let entry = self.changed(&Owner::Instance(key.clone()), now, &mut effects);
        let entry = entry.or_else(|| self.entry(&key).cloned());
        // It was put there a moment ago.
        let entry = entry.ok_or(Full {
            instances_max: self.bounds.instances_max,
        })?;
        Ok((entry, effects))
    }

    /// Removes an instance; nothing when it is not known.
    pub(crate) fn deregister(&mut self, key: &Key, now: UnixMillis) -> Option<Effects> {
        let mut effects = Effects::default();
        self.remove(key, now, &mut effects)?;
        Some(effects)
    }

    /// Takes an instance or a node out, for the reason given, or puts it back. Nothing when it is
    /// not known.
    pub(crate) fn set_maintenance(
        &mut self,
        owner: &Owner,
        reason: Option<String>,
        now: UnixMillis,
    ) -> Option<Effects> {
        let mut effects = Effects::default();
        let held = match owner {
            Owner::Instance(key) if reason.is_none() && !self.records.contains_key(key) => {
                self.nodes.get_mut(&key.node)?.taken_out.remove(&key.id)?;
                effects.stale.push(Owner::Node(key.node.clone()));
                self.leave_node(key, &mut effects);
                return Some(effects);
            }
            Owner::Instance(key) => &mut self.records.get_mut(key)?.maintenance,
            Owner::Node(name) => {
                &mut Arc::make_mut(&mut self.nodes.get_mut(name)?.view).maintenance
            }
        };
        if *held != reason {
            *held = reason;
            effects.stale.push(owner.clone());
            if matches!(owner, Owner::Node(_)) {
                self.indexes.newest += 1;
                self.indexes.checks = self.indexes.newest;
            }
            self.changed(owner, now, &mut effects);
        }
        Some(effects)
    }

    fn register_new(
        &mut self,
        instance: Instance,
        life: Option<&str>,
        now: UnixMillis,
        effects: &mut Effects,
    ) {
        let (key, instance) = (instance.key(), Arc::new(instance));
        let owner = Owner::Instance(key.clone());
        let node = self.nodes.get_mut(&key.node);
        let maintenance = node.and_then(|node| node.taken_out.remove(&key.id));
        if maintenance.is_some() {
            effects.stale.push(Owner::Node(key.node.clone()));
        }
        let checks = self.begin_checks(&owner, &instance.checks, now);
        let record = Record {
            raw: Status::worst(checks.iter().map(|check| check.view.status)),
            checks,
            maintenance,
            heartbeats: BTreeSet::new(),
            bound: false,
            holder: Holder::new(life, now),
            flap: Flap::default(),
            register_time: now,
            instance: Arc::clone(&instance),
        };
        self.records.insert(key, record);
        self.start(&owner, effects);
        self.count_tags(&instance, 1);
        effects.stale.push(owner);
    }

    fn register_again(
        &mut self,
        key: &Key,
        held: &Arc<Instance>,
        instance: Instance,
        now: UnixMillis,
        effects: &mut Effects,
    ) {
        let owner = Owner::Instance(key.clone());
        if **held != instance {
            effects.stale.push(owner.clone());
        }
        let same_host = held.address == instance.address && held.port == instance.port;
        let instance = Arc::new(instance);
        self.replace_checks(&owner, &instance.checks, same_host, now, effects);
        if held.service != instance.service {
            self.withdraw(key, &held.service, effects);
            self.release(&held.service, now, effects);
        }
        if held.service != instance.service || held.tags != instance.tags {
            // In this order, so that a tag that stays is never gone in between.
            self.count_tags(&instance, 1);
            self.count_tags(held, -1);
        }
        if let Some(record) = self.records.get_mut(key) {
            record.instance = Arc::clone(&instance);
        }
    }

    /// Replaces an owner's checks. Those that still ask the same of the same target, wherever their owner
    /// is now, keep what they said, also when they are to do it in another way (Consul's rule); then they run anew. A
    /// standing one passes again: registering is all the evidence that it ever gets.
    pub(super) fn replace_checks(
        &mut self,
        owner: &Owner,
        definitions: &[Arc<CheckDefinition>],
        same_host: bool,
        now: UnixMillis,
        effects: &mut Effects,
    ) {
        let mut held = self
            .checks_of(owner)
            .map(std::mem::take)
            .unwrap_or_default();
        let mut fresh = Vec::new();
        for definition in definitions {
            let kept = held.iter().position(|check| {
                let before = &check.view.definition;
                before.check_id == definition.check_id
                    && before.kind.says_for(&definition.kind)
                    && (same_host || !definition.asks_its_owner())
            });
            let Some(place) = kept else {
                fresh.extend(self.begin_checks(owner, std::slice::from_ref(definition), now));
                continue;
            };
            let mut check = held.swap_remove(place);
            if !same_host && definition.is_run() {
                // What is run knows where its owner is; where it asks, it asks as before.
                check.epoch = 0;
            }
            if check.view.definition != *definition {
                check.redefine(definition, now);
            } else if check.view.status == Status::Critical && definition.is_run() {
                let check = reference(owner, definition);
                effects.polling.push(Polling::Hurry(check));
            }
            if definition.kind == CheckKind::Standing {
                check.reported(Status::Passing, "", now);
            }
            fresh.push(check);
        }
        for gone in &held {
            self.unlink(owner, &gone.view.definition, effects);
        }
        for check in &fresh {
            self.link(owner, &check.view.definition);
        }
        if let Some(checks) = self.checks_of(owner) {
            *checks = fresh;
        }
    }

    /// Checks without a result. What is to run is told by [`Self::start`], once they are in place.
    pub(super) fn begin_checks(
        &mut self,
        owner: &Owner,
        definitions: &[Arc<CheckDefinition>],
        now: UnixMillis,
    ) -> Vec<Check> {
        definitions
            .iter()
            .map(|definition| {
                self.link(owner, definition);
                let mut check = Check::new(Arc::clone(definition), 0, now);
                if let Some((status, reason)) = self.mirrored(definition) {
                    check.reported(status, &reason, now);
                }
                check
            })
            .collect()
    }

    /// Gives every check without an epoch one, and says what to run.
    pub(super) fn start(&mut self, owner: &Owner, effects: &mut Effects) {
        let mut epoch = self.epoch;
        let (address, port) = self.host_of(owner);
        for check in self.checks_of(owner).into_iter().flatten() {
            if check.epoch != 0 {
                continue;
            }
            epoch += 1;
            check.epoch = epoch;
            if check.view.definition.is_run() {
                effects.polling.push(Polling::Start(Target {
                    check: reference(owner, &check.view.definition),
                    epoch,
                    address: address.clone(),
                    port,
                    definition: Arc::clone(&check.view.definition),
                }));
            }
        }
        self.epoch = epoch;
    }

    /// Removes an instance and whatever mirrors, runs or waits for it.
    pub(super) fn remove(
        &mut self,
        key: &Key,
        now: UnixMillis,
        effects: &mut Effects,
    ) -> Option<Arc<Entry>> {
        let entry = self.entry(key).cloned();
        let mut record = self.records.remove(key)?;
        Self::tell_all(&mut record, effects);
        let owner = Owner::Instance(key.clone());
        for check in &record.checks {
            self.unlink(&owner, &check.view.definition, effects);
        }
        self.withdraw(key, &record.instance.service, effects);
        self.release(&record.instance.service, now, effects);
        self.count_tags(&record.instance, -1);
        self.leave_node(key, effects);
        self.mirror(&owner, now, effects);
        effects.stale.push(owner);
        entry
    }

    fn link(&mut self, owner: &Owner, definition: &Arc<CheckDefinition>) {
        if let Some(other) = mirrors(definition) {
            let check = reference(owner, definition);
            self.aliases.entry(other).or_default().insert(check);
        }
    }

    /// Ends what a check does.
    pub(super) fn unlink(
        &mut self,
        owner: &Owner,
        definition: &Arc<CheckDefinition>,
        effects: &mut Effects,
    ) {
        let check = reference(owner, definition);
        if let Some(other) = mirrors(definition)
            && let Some(mirrors) = self.aliases.get_mut(&other)
        {
            mirrors.remove(&check);
            if mirrors.is_empty() {
                self.aliases.remove(&other);
            }
        }
        if definition.is_run() {
            effects.polling.push(Polling::Stop(check));
        }
    }

    /// An owner's checks; nothing when it is not known.
    pub(super) fn checks_of(&mut self, owner: &Owner) -> Option<&mut Vec<Check>> {
        match owner {
            Owner::Instance(key) => Some(&mut self.records.get_mut(key)?.checks),
            Owner::Node(name) => Some(&mut self.nodes.get_mut(name)?.checks),
        }
    }

    /// The host and port that checks without a target of their own go to.
    fn host_of(&self, owner: &Owner) -> (String, u16) {
        let node_address = |name: &str| {
            let node = self.nodes.get(name);
            node.map_or_else(String::new, |node| node.view.node.address.clone())
        };
        match owner {
            Owner::Instance(key) => match self.records.get(key) {
                Some(record) if record.instance.address.is_empty() => {
                    (node_address(&key.node), record.instance.port)
                }
                Some(record) => (record.instance.address.clone(), record.instance.port),
                None => (String::new(), 0),
            },
            Owner::Node(name) => (node_address(name), 0),
        }
    }

    /// What a mirroring check says; nothing for other kinds.
    fn mirrored(&self, definition: &CheckDefinition) -> Option<(Status, String)> {
        Some(self.own_status(&mirrors(definition)?))
    }
}

/// Names a check.
pub(super) fn reference(owner: &Owner, definition: &CheckDefinition) -> CheckRef {
    CheckRef {
        owner: owner.clone(),
        check_id: definition.check_id.clone(),
    }
}

/// Whom a check mirrors.
fn mirrors(definition: &CheckDefinition) -> Option<Owner> {
    match &definition.kind {
        CheckKind::Alias { node, instance_id } if instance_id.is_empty() => {
            Some(Owner::Node(node.clone()))
        }
        CheckKind::Alias { node, instance_id } => {
            Some(Owner::Instance(Key::new(&**node, &**instance_id)))
        }
        _ => None,
    }
}
