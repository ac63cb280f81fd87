//! What happens by time alone: reports that no longer count, instances that are dead for long
//! enough, heartbeats that stay away after a restart, holds that end. Bounded by the
//! [guard](crate::catalogue::guard).

use std::{collections::BTreeMap, time::Duration};

use crate::catalogue::{
    Catalogue, CheckRef, Effects, Holding, Key, Owner, Polling, UnixMillis, View,
    guard::Guard,
    limits::{STALL, TAKEN_OUT_MAX},
    state::Timer,
};

/// Something that time alone takes away.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Expiry {
    /// A report no longer counts.
    Report(CheckRef),
    /// An instance was critical for long enough.
    Instance(Key),
    /// An instance did not bring back its heartbeat after the registry restarted.
    Heartbeat(Key),
}

impl Catalogue {
    /// Does what is due. To be called every 100 ms or so; `random` picks who goes first when the
    /// guard does not let all go.
    pub(crate) fn sweep(&mut self, now: UnixMillis, random: u64) -> Effects {
        let mut effects = Effects::default();
        self.make_up_for_a_stall(now);
        let mut expiring: BTreeMap<String, Vec<Expiry>> = BTreeMap::new();
        while let Some((at, timer)) = self.timers.pop_first() {
            if at > now {
                self.timers.insert((at, timer));
                break;
            }
            match timer {
                Timer::Check(check) => {
                    if let Some((service, expiry)) = self.due(check, now) {
                        expiring.entry(service).or_default().push(expiry);
                    }
                }
                Timer::Stood(key) => drop(self.render(&key, now, &mut effects)),
                Timer::Grace(key) => {
                    if let Some(service) = self.stayed_away(&key) {
                        let service = service.to_owned();
                        let expiry = Expiry::Heartbeat(key);
                        expiring.entry(service).or_default().push(expiry);
                    }
                }
                Timer::Again(check) => effects.polling.push(Polling::Hurry(check)),
            }
        }
        let mut random = fastrand::Rng::with_seed(random);
        for (service, mut due) in expiring {
            random.shuffle(&mut due);
            let size = self
                .services
                .get(&service)
                .map_or(0, |snapshot| snapshot.len());
            let guard = self.guards.entry(service).or_default();
            let held = due.split_off(guard.admit(size, due.len(), now));
            let until = guard.holding(now).map(|holding| holding.until);
            for expiry in due {
                self.expire(expiry, now, &mut effects);
            }
            for expiry in held {
                self.put_off(expiry, until.unwrap_or(now));
            }
        }
        self.guards
            .retain(|_, guard: &mut Guard| !guard.is_over(now));
        effects
    }

    /// What the guard holds back in a service: everything that is due there. What was held when
    /// several went silent one after the other is not what was held last.
    pub(super) fn holding(&self, service: &str, now: UnixMillis) -> Option<Holding> {
        let mut holding = self.guards.get(service)?.holding(now)?;
        let past = |due: Option<UnixMillis>| due.is_some_and(|due| due <= now);
        let entries = self.services.get(service)?.entries(View::All);
        let records = entries.filter_map(|entry| self.records.get(&entry.key()));
        let due = records.map(|record| {
            let checks = record.checks.iter();
            let reports = checks.clone().filter(|check| past(check.ttl_due)).count();
            let removed = checks.filter(|check| past(check.reap_due())).count();
            if removed > 0 { 1 } else { reports }
        });
        // Those that were held in this window have their next turn together.
        let next = (holding.until, Timer::Grace(Key::new("", "")));
        let next = self.timers.range(next..);
        let heartbeats = next.take_while(|(at, _)| *at == holding.until);
        let heartbeats = heartbeats.filter(|(_, timer)| match timer {
            Timer::Grace(key) => self.stayed_away(key) == Some(service),
            _ => false,
        });
        holding.held = due.sum::<usize>() + heartbeats.count();
        (holding.held > 0).then_some(holding)
    }

    /// The service of an instance that held a heartbeat stream and holds none.
    fn stayed_away(&self, key: &Key) -> Option<&str> {
        let record = self.records.get(key)?;
        let away = record.bound && record.heartbeats.is_empty();
        away.then_some(&*record.instance.service)
    }

    /// What is due for a check whose timer fired, and in which service; a node's in none. Sets the
    /// timer again when there is nothing yet.
    fn due(&mut self, check: CheckRef, now: UnixMillis) -> Option<(String, Expiry)> {
        let service = match &check.owner {
            Owner::Instance(key) => self.records.get(key)?.instance.service.clone(),
            Owner::Node(_) => String::new(),
        };
        let checks = self.checks_of(&check.owner)?.iter_mut();
        let mut same = checks.filter(|held| held.view.definition.check_id == check.check_id);
        let held = same.next()?;
        held.armed = None;
        if let Owner::Instance(key) = &check.owner
            && held.reap_due().is_some_and(|due| due <= now)
        {
            return Some((service, Expiry::Instance(key.clone())));
        }
        if held.ttl_due.is_some_and(|due| due <= now) {
            return Some((service, Expiry::Report(check)));
        }
        self.arm(&check.owner);
        None
    }

    fn expire(&mut self, expiry: Expiry, now: UnixMillis, effects: &mut Effects) {
        match expiry {
            Expiry::Instance(key) => {
                self.keep_out(&key, effects);
                let gone = self.remove(&key, now, effects);
                effects.reaped.extend(gone);
            }
            Expiry::Heartbeat(key) => self.lose_heartbeat(&key, now, effects),
            Expiry::Report(CheckRef { owner, check_id }) => {
                let checks = self.checks_of(&owner).into_iter().flatten();
                for check in checks.filter(|held| held.view.definition.check_id == check_id) {
                    check.expire(now);
                }
                self.changed(&owner, now, effects);
            }
        }
    }

    /// Remembers that an instance is in maintenance which is removed for being dead: whoever took it out
    /// did not put it back.
    fn keep_out(&mut self, key: &Key, effects: &mut Effects) {
        let record = self.records.get(key);
        let Some(reason) = record.and_then(|record| record.maintenance.clone()) else {
            return;
        };
        if let Some(node) = self.nodes.get_mut(&key.node)
            && node.taken_out.len() < TAKEN_OUT_MAX
        {
            node.taken_out.insert(key.id.clone(), reason);
            effects.stale.push(Owner::Node(key.node.clone()));
        }
    }

    /// Looks at it again when the guard's next window begins.
    fn put_off(&mut self, expiry: Expiry, until: UnixMillis) {
        match expiry {
            Expiry::Report(check) => {
                self.timers.insert((until, Timer::Check(check)));
            }
            Expiry::Heartbeat(key) => {
                self.timers.insert((until, Timer::Grace(key)));
            }
            Expiry::Instance(key) => {
                let owner = Owner::Instance(key);
                let checks = self.checks_of(&owner).into_iter().flatten();
                let due: Vec<_> = checks
                    .filter(|check| check.reap_due().is_some_and(|due| due <= until))
                    .map(|check| check.view.definition.check_id.clone())
                    .collect();
                for check_id in due {
                    let owner = owner.clone();
                    let check = CheckRef { owner, check_id };
                    self.timers.insert((until, Timer::Check(check)));
                }
            }
        }
    }

    /// Sets a timer for each of an owner's checks that has something due and none that is earlier.
    pub(super) fn arm(&mut self, owner: &Owner) {
        let mut timers = Vec::new();
        for check in self.checks_of(owner).into_iter().flatten() {
            let Some(due) = check.due() else {
                continue;
            };
            if check.armed.is_none_or(|armed| due < armed) {
                check.armed = Some(due);
                let check_id = check.view.definition.check_id.clone();
                let owner = owner.clone();
                timers.push((due, Timer::Check(CheckRef { owner, check_id })));
            }
        }
        self.timers.extend(timers);
    }

    /// When the last sweep was long ago, the registry itself stood still, and nobody could report
    /// to it: reports count for that much longer.
    fn make_up_for_a_stall(&mut self, now: UnixMillis) {
        let last = self.last_sweep.replace(now).unwrap_or(now);
        let stood = now.since(last);
        if stood <= STALL {
            return;
        }
        let instances = self
            .records
            .values_mut()
            .flat_map(|record| &mut record.checks);
        let nodes = self.nodes.values_mut().flat_map(|node| &mut node.checks);
        for check in instances.chain(nodes) {
            check.ttl_due = check.ttl_due.map(|due| due.after(stood));
        }
    }
}

/// How often [`Catalogue::sweep`] is to be called.
pub(crate) const SWEEP: Duration = Duration::from_millis(100);
