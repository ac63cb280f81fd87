//! What is kept over a restart, and beginning from it.

use std::sync::Arc;

use crate::catalogue::{
    Catalogue, Effects, Instance, Key, Node, Owner, Status, Stored, UnixMillis, View,
    check::{Check, Said},
    effects::{StoredInstance, StoredNode},
    holder::Holder,
    state::Timer,
};

impl Catalogue {
    /// What is to be kept of an owner; nothing when it is no longer known.
    pub(crate) fn stored(&self, owner: &Owner) -> Option<Stored> {
        let said = |checks: &[Check]| checks.iter().map(|c| Said::from(&*c.view)).collect();
        match owner {
            Owner::Instance(key) => {
                let record = self.records.get(key)?;
                Some(Stored::Instance(StoredInstance {
                    instance: Instance::clone(&record.instance),
                    register_time: record.register_time,
                    maintenance: record.maintenance.clone(),
                    bound: record.bound,
                    life: record.holder.life.clone(),
                    said: said(&record.checks),
                }))
            }
            Owner::Node(name) => {
                let record = self.nodes.get(name)?;
                Some(Stored::Node(StoredNode {
                    node: Node::clone(&record.view.node),
                    explicit: record.explicit,
                    maintenance: record.view.maintenance.clone(),
                    taken_out: record.taken_out.clone(),
                    said: said(&record.checks),
                }))
            }
        }
    }

    /// Begins from what was kept. Everybody has the status that they had last; checks run again at
    /// once, reports count for the grace period at least, and heartbeat streams must come back
    /// within it.
    pub(crate) fn restore(&mut self, stored: Vec<Stored>, now: UnixMillis) -> Effects {
        let mut effects = Effects::default();
        self.restored = Some(now);
        let (instances, nodes): (Vec<_>, Vec<_>) = stored
            .into_iter()
            .partition(|stored| matches!(stored, Stored::Instance(_)));
        for stored in nodes.into_iter().chain(instances) {
            match stored {
                Stored::Node(stored) => self.restore_node(stored, now, &mut effects),
                Stored::Instance(stored) => self.restore_instance(stored, now, &mut effects),
            }
        }
        // Every answer, also of those whose status is the one that they began with.
        let snapshots = self.services.values();
        effects.snapshots = snapshots.map(|held| (Arc::clone(held), true)).collect();
        // Nothing of it is news to the store, or to an operator.
        effects.stale.clear();
        effects.turned.clear();
        effects
    }

    /// Until when a failing check of this owner does not count that says what it said before (`as_kept`,
    /// by no clock: that of the machine may have been set back): for the grace period, while it is only
    /// the registry that is new, and the failure would leave a service with nobody. A registry
    /// whose own network comes up after it would else empty every service.
    pub(super) fn spared(
        &self,
        owner: &Owner,
        as_kept: bool,
        now: UnixMillis,
    ) -> Option<UnixMillis> {
        let until = self.restored?.after(self.bounds.grace);
        (now < until && as_kept && self.holds_one_up(owner)).then_some(until)
    }

    /// Whether there is a service of which none but this owner's pass.
    fn holds_one_up(&self, owner: &Owner) -> bool {
        match owner {
            Owner::Instance(key) => {
                self.alone(key, |one| one.instance_id == key.id && one.node == key.node)
            }
            Owner::Node(name) => {
                let ids = self.nodes.get(name).map(|node| &node.instances);
                let mut keys = ids.into_iter().flatten().map(|id| Key::new(&**name, &**id));
                keys.any(|key| self.alone(&key, |one| one.node == *name))
            }
        }
    }

    /// Whether in an instance's service some pass, and all of them are such.
    fn alone(&self, key: &Key, such: impl Fn(&Instance) -> bool) -> bool {
        let record = self.records.get(key);
        let snapshot = record.and_then(|record| self.services.get(&record.instance.service));
        snapshot.is_some_and(|snapshot| {
            let mut passing = snapshot.entries(View::Passing).peekable();
            passing.peek().is_some() && passing.all(|entry| such(&entry.instance))
        })
    }

    fn restore_node(&mut self, stored: StoredNode, now: UnixMillis, effects: &mut Effects) {
        let owner = Owner::Node(stored.node.name.clone());
        if let Ok(more) = self.register_node(stored.node, now) {
            effects.polling.extend(more.polling);
        }
        if let Owner::Node(name) = &owner
            && let Some(record) = self.nodes.get_mut(name)
        {
            record.explicit = stored.explicit;
            record.taken_out = stored.taken_out;
            Arc::make_mut(&mut record.view).maintenance = stored.maintenance;
        }
        self.recall(&owner, &stored.said, now);
        self.changed(&owner, now, effects);
    }

    fn restore_instance(&mut self, stored: StoredInstance, now: UnixMillis, effects: &mut Effects) {
        let key = stored.instance.key();
        let owner = Owner::Instance(key.clone());
        let Ok((_, more)) = self.register(stored.instance, now) else {
            return;
        };
        effects.polling.extend(more.polling);
        self.recall(&owner, &stored.said, now);
        if let Some(record) = self.records.get_mut(&key) {
            record.register_time = stored.register_time;
            record.maintenance = stored.maintenance;
            record.bound = stored.bound;
            record.holder = Holder::kept(stored.life.as_deref());
            record.raw = Status::worst(record.checks.iter().map(|c| c.view.status));
        }
        if stored.bound {
            let until = now.after(self.bounds.grace);
            self.timers.insert((until, Timer::Grace(key)));
        }
        if let Some(entry) = self.changed(&owner, now, effects) {
            effects.turned.push(entry);
        }
    }

    fn recall(&mut self, owner: &Owner, said: &[Said], now: UnixMillis) {
        let grace = self.bounds.grace;
        for check in self.checks_of(owner).into_iter().flatten() {
            let id = &check.view.definition.check_id;
            if let Some(said) = said.iter().find(|said| said.check_id == *id) {
                check.restore(said, now, grace);
            }
        }
    }
}
