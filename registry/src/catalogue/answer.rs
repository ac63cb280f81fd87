//! From what is known to what is answered: entries, snapshots, revisions, and reading them.

use std::{ops::Bound, sync::Arc};

use crate::catalogue::{
    Catalogue, CheckKind, CheckRef, Effects, Entry, Indexes, Instance, Key, NodeView, Owner,
    Snapshot, Status, Summary, UnixMillis, View,
    check::{Change, said},
    state::Timer,
};

/// Why an alias of nobody is critical.
const NOBODY: &str = "the instance or node that it mirrors is not registered";

impl Catalogue {
    /// The revision of services that are not known.
    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    /// The revisions of the answers that are about more than one service.
    pub(crate) fn indexes(&self) -> Indexes {
        self.indexes
    }

    /// One service's answer.
    #[cfg(test)]
    pub(crate) fn snapshot(&self, service: &str) -> Arc<Snapshot> {
        let known = self.services.get(service).cloned();
        known.unwrap_or_else(|| Arc::new(Snapshot::empty(service, self.floor)))
    }

    /// Every service's answer, those without instances too, whose revision is above `after`; the
    /// oldest change first. 0 for all.
    pub(crate) fn snapshots(&self, after: u64) -> Vec<Arc<Snapshot>> {
        let newer = (Bound::Excluded(after), Bound::Unbounded);
        self.by_revision
            .range(newer)
            .filter_map(|(_, service)| self.services.get(service).cloned())
            .collect()
    }

    /// One instance.
    pub(crate) fn entry(&self, key: &Key) -> Option<&Arc<Entry>> {
        let service = &self.records.get(key)?.instance.service;
        self.services.get(service)?.get(key)
    }

    /// The key of an instance by its id: on this node, else on the only one that has it.
    pub(crate) fn find(&self, node: &str, id: &str) -> Option<Key> {
        let key = Key::new(node, id);
        if self.records.contains_key(&key) {
            return Some(key);
        }
        let mut others = self
            .nodes
            .iter()
            .filter(|(_, node)| node.instances.contains(id));
        match (others.next(), others.next()) {
            (Some((name, _)), None) => Some(Key::new(&**name, id)),
            _ => None,
        }
    }

    /// A node and its instances, by id; nothing when it is not known.
    pub(crate) fn node(&self, name: &str) -> Option<(Arc<NodeView>, Vec<Arc<Entry>>)> {
        let node = self.nodes.get(name)?;
        let entries = node.instances.iter();
        let entries = entries.filter_map(|id| self.entry(&Key::new(name, &**id)).cloned());
        Some((Arc::clone(&node.view), entries.collect()))
    }

    /// All nodes, by name.
    pub(crate) fn nodes(&self) -> Vec<Arc<NodeView>> {
        let nodes = self.nodes.values();
        nodes.map(|node| Arc::clone(&node.view)).collect()
    }

    /// At most `count` services that have instances, by name, beginning behind `after`; and whether
    /// there are more.
    pub(crate) fn services(
        &self,
        after: Option<&str>,
        count: usize,
        now: UnixMillis,
    ) -> (Vec<Summary>, bool) {
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
                counts: snapshot.counts(),
                revision: snapshot.revision(View::All),
                guard: self.holding(service, now),
            })
            .collect();
        (page, rest.next().is_some())
    }

    /// The names of all services that have instances, each with the tags that any of them carries.
    pub(crate) fn tags(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = &str>)> {
        self.tags.iter().map(|(service, tags)| {
            let tags = tags.keys().filter(|tag| !tag.is_empty());
            (&**service, tags.map(|tag| &**tag))
        })
    }

    /// Renders anew whatever shows this owner, and whoever mirrors it. Answers the instance's entry
    /// when its answer changed.
    pub(super) fn changed(
        &mut self,
        owner: &Owner,
        now: UnixMillis,
        effects: &mut Effects,
    ) -> Option<Arc<Entry>> {
        self.arm(owner);
        let entry = match owner {
            Owner::Instance(key) => self.render(key, now, effects),
            Owner::Node(name) => {
                self.render_node(name, now, effects);
                None
            }
        };
        self.mirror(owner, now, effects);
        entry
    }

    /// What an owner's own checks say, aliases left out; and why.
    pub(super) fn own_status(&self, owner: &Owner) -> (Status, String) {
        let checks = match owner {
            Owner::Instance(key) => self.records.get(key).map(|record| &record.checks),
            Owner::Node(name) => self.nodes.get(name).map(|node| &node.checks),
        };
        let Some(checks) = checks else {
            return (Status::Critical, NOBODY.to_owned());
        };
        let views = checks.iter().map(|check| &check.view);
        let own = views.filter(|view| !matches!(view.definition.kind, CheckKind::Alias { .. }));
        let worst = own.max_by_key(|view| view.status);
        worst.map_or((Status::Passing, String::new()), |view| {
            (view.status, view.reason.clone())
        })
    }

    /// Tells whoever mirrors this owner. Goes no further: what mirrors is not mirrored.
    pub(super) fn mirror(&mut self, owner: &Owner, now: UnixMillis, effects: &mut Effects) {
        let Some(mirrors) = self.aliases.get(owner) else {
            return;
        };
        let (status, reason) = self.own_status(owner);
        for CheckRef { owner, check_id } in mirrors.clone() {
            let checks = self.checks_of(&owner).into_iter().flatten();
            let mut same = checks.filter(|check| check.view.definition.check_id == check_id);
            let change = same
                .next()
                .map(|check| check.reported(status, &reason, now));
            if change > Some(Change::None) {
                self.arm(&owner);
                match &owner {
                    Owner::Instance(key) => drop(self.render(key, now, effects)),
                    Owner::Node(name) => self.render_node(name, now, effects),
                }
            }
        }
    }

    /// Renders one instance. Answers its entry when its answer changed.
    pub(super) fn render(
        &mut self,
        key: &Key,
        now: UnixMillis,
        effects: &mut Effects,
    ) -> Option<Arc<Entry>> {
        let node = Arc::clone(&self.nodes.get(&key.node)?.view);
        let record = self.records.get_mut(key)?;
        let service = Arc::clone(&record.instance);
        let snapshot = match self.services.get(&service.service) {
            Some(snapshot) => Arc::clone(snapshot),
            None => Arc::new(Snapshot::empty(&service.service, self.floor)),
        };
        let held = snapshot.get(key);
        let next = self.indexes.newest + 1;
        let mut entry = Entry {
            instance: service,
            node,
            checks: record.checks.iter().map(|c| Arc::clone(&c.view)).collect(),
            maintenance: record.maintenance.clone(),
            status: Status::Passing,
            reason: String::new(),
            flapping: false,
            takeovers: record.holder.takeovers,
            takeover_time: record.holder.takeover_time,
            register_time: record.register_time,
            status_time: now,
            create_revision: held.map_or(next, |held| held.create_revision),
            modify_revision: next,
        };
        let raw = entry.raw();
        let before = std::mem::replace(&mut record.raw, raw);
        if before == Status::Passing && raw != before && held.is_some() {
            record.flap.fell(now);
        } else if raw == Status::Passing
            && before != raw
            && snapshot.entries(View::Passing).any(|e| e.key() != *key)
            && let Some(until) = record.flap.stood(now)
        {
            self.timers.insert((until, Timer::Stood(key.clone())));
        }
        entry.settle(record.flap.holds(now));
        if let Some(held) = held {
            if held.status == entry.status {
                entry.status_time = held.status_time;
            }
            if held.same_answer(&entry) {
                if !held.same(&entry) {
                    entry.modify_revision = held.modify_revision;
                    self.put(&snapshot, entry, false, effects);
                }
                return None;
            }
        }
        self.note(held.map(|held| &**held), &entry, effects);
        self.indexes.newest = next;
        let entry = self.put(&snapshot, entry, true, effects);
        self.release(snapshot.service(), now, effects);
        Some(entry)
    }

    /// Lets those go that are held for flapping when none of their service passes.
    pub(super) fn release(&mut self, service: &str, now: UnixMillis, effects: &mut Effects) {
        let Some(snapshot) = self.services.get(service).map(Arc::clone) else {
            return;
        };
        if snapshot.entries(View::Passing).next().is_some() {
            return;
        }
        let held = snapshot.entries(View::All).filter(|entry| entry.flapping);
        for key in held.map(|entry| entry.key()) {
            if let Some(record) = self.records.get_mut(&key) {
                record.flap.release();
            }
            // One by one: what is rendered passes now, and nothing more is to be let go for it.
            self.render(&key, now, effects);
        }
    }

    /// Notes which answers about more than one service change with this entry.
    fn note(&mut self, held: Option<&Entry>, entry: &Entry, effects: &mut Effects) {
        let next = self.indexes.newest + 1;
        if held.is_none_or(|held| !held.same_registration(entry)) {
            self.indexes.registrations = next;
        }
        if held.is_none_or(|held| held.instance != entry.instance) {
            // Consul's clients that watch the names learn by it that an instance came, went or is
            // another one now.
            self.indexes.services = next;
        }
        let same = held.is_some_and(|held| {
            said(&held.checks) == said(&entry.checks)
                && held.maintenance == entry.maintenance
                && held.flapping == entry.flapping
        });
        if !same {
            effects.stale.push(Owner::Instance(entry.key()));
        }
        // Every check tells of its instance's tags.
        let shows = !entry.checks.is_empty() || entry.maintenance.is_some() || entry.flapping;
        let tags = held.map(|held| &held.instance.tags);
        if !same || (shows && tags != Some(&entry.instance.tags)) {
            self.indexes.checks = next;
        }
    }

    fn put(
        &mut self,
        snapshot: &Arc<Snapshot>,
        entry: Entry,
        wake: bool,
        effects: &mut Effects,
    ) -> Arc<Entry> {
        let entry = Arc::new(entry);
        let held = snapshot.get(&entry.key());
        if held.map(|held| held.status) != Some(entry.status) {
            effects.turned.push(Arc::clone(&entry));
        }
        if snapshot.is_empty() && self.services.contains_key(snapshot.service()) {
            self.empty -= 1;
        }
        let next = snapshot.with(Arc::clone(&entry), self.indexes.newest);
        self.publish(Arc::new(next), wake, effects);
        entry
    }

    /// Takes an instance out of a service's answer.
    pub(super) fn withdraw(&mut self, key: &Key, service: &str, effects: &mut Effects) {
        let Some(held) = self.services.get(service) else {
            return;
        };
        let Some(entry) = held.get(key) else {
            return;
        };
        self.indexes.newest += 1;
        self.indexes.registrations = self.indexes.newest;
        self.indexes.services = self.indexes.newest;
        if !entry.checks.is_empty() || entry.maintenance.is_some() {
            self.indexes.checks = self.indexes.newest;
        }
        let next = Arc::new(held.without(key, self.indexes.newest));
        self.empty += usize::from(next.is_empty());
        self.publish(next, true, effects);
        if self.empty > self.bounds.empty_services_max {
            self.forget(effects);
        }
    }

    fn publish(&mut self, snapshot: Arc<Snapshot>, wake: bool, effects: &mut Effects) {
        let service = snapshot.service().to_owned();
        effects.publish(Arc::clone(&snapshot), wake);
        let revision = snapshot.revision(View::All);
        let held = self.services.insert(service.clone(), snapshot);
        let before = held.map(|held| held.revision(View::All));
        if before != Some(revision) {
            if let Some(before) = before {
                self.by_revision.remove(&before);
            }
            self.by_revision.insert(revision, service);
        }
    }

    /// Drops the memory of all empty services. What is answered about them from now on is not older
    /// than what was: the revision of unknown services rises to theirs.
    fn forget(&mut self, effects: &mut Effects) {
        self.services.retain(|service, snapshot| {
            if snapshot.is_empty() {
                effects.forgotten.push(service.clone());
                self.by_revision.remove(&snapshot.revision(View::All));
            }
            !snapshot.is_empty()
        });
        self.empty = 0;
        self.floor = self.indexes.newest;
    }

    /// Counts an instance's tags in or out of its service's. A service without a tag has the empty
    /// one, so that its name stays. To be called before the change is published.
    pub(super) fn count_tags(&mut self, instance: &Instance, by: isize) {
        let tags = self.tags.entry(instance.service.clone()).or_default();
        let before = tags.len();
        let own = instance.tags.iter().map(String::as_str).chain([""]);
        for tag in own {
            let count = tags
                .get(tag)
                .copied()
                .unwrap_or(0)
                .saturating_add_signed(by);
            if count == 0 {
                tags.remove(tag);
            } else {
                tags.insert(tag.to_owned(), count);
            }
        }
        if tags.len() != before {
            self.indexes.newest += 1;
            self.indexes.services = self.indexes.newest;
        }
        if tags.is_empty() {
            self.tags.remove(&instance.service);
        }
    }
}
