//! Whose an instance is: the process that registered it, by the life that it names.
//!
//! Two processes may be given one id by mistake, and an old one may still run when the new one comes.
//! The newest has it. What the other says from then on counts for nothing: its beats are no sign of
//! life, and it cannot remove what is not its own. It waits, and has it back when the newer one is gone.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use crate::catalogue::{
    Catalogue, Effects, Entry, Full, Instance, Key, Owner, StreamId, UnixMillis, state::Record,
};

/// Lives that are remembered as those that had an instance before.
const FORMER_MAX: usize = 8;

/// Who has an instance, and who waits for it.
#[derive(Debug, Default)]
pub(super) struct Holder {
    /// The life of the process that has it. Nothing: it is nobody's, and anybody's word counts.
    pub(super) life: Option<String>,
    /// When it was registered last, by a process that may still be about to beat.
    claimed: Option<UnixMillis>,
    /// How often it was taken over from a process that was still beating.
    pub(super) takeovers: u32,
    /// When that happened last.
    pub(super) takeover_time: Option<UnixMillis>,
    /// Lives that it was taken from: what they registered late is older than what is known.
    former: VecDeque<String>,
    /// Heartbeat streams of other lives.
    waiting: BTreeSet<StreamId>,
}

impl Holder {
    /// Of a process that registered now.
    pub(super) fn new(life: Option<&str>, now: UnixMillis) -> Self {
        Self {
            life: life.map(str::to_owned),
            claimed: Some(now),
            ..Self::default()
        }
    }

    /// As it was kept: nobody is about to beat.
    pub(super) fn kept(life: Option<&str>) -> Self {
        Self {
            life: life.map(str::to_owned),
            ..Self::default()
        }
    }

    /// Whether a stream of this life speaks for the instance.
    fn is(&self, life: Option<&str>) -> bool {
        self.life.as_deref() == life
    }
}

/// Somebody registers: as whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// It is whose it was.
    Same,
    /// It is another's from now on. `contested`: the one that had it still beats.
    Other { contested: bool },
}

/// An id is that of another process, which lives: of another service, or one that came later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the id is that of a process of {service} at {address}, which is alive; give each process an id of its own (--instance-id; ID in Consul's API)"
)]
pub(crate) struct Held {
    service: String,
    address: String,
}

/// What was registered, and by whom.
#[derive(Debug, Clone)]
pub(crate) struct Before {
    pub(crate) instance: Arc<Instance>,
    pub(crate) life: Option<String>,
}

impl Before {
    /// Whether registering this changes nothing.
    pub(crate) fn is(&self, instance: &Instance, life: Option<&str>) -> bool {
        *self.instance == *instance && self.life.as_deref() == life
    }
}

/// Why an instance is not registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotRegistered {
    #[error(transparent)]
    Full(#[from] Full),
    #[error(transparent)]
    Held(#[from] Held),
}

/// What a message of a heartbeat stream is worth.
#[derive(Debug)]
pub(crate) enum Beat {
    /// The instance is known, and it is its process that beats.
    Counts(Effects),
    /// It is known, and another process has it, which lives.
    Superseded,
    /// It is not known, or whoever took it over is gone: to be registered again.
    Unknown,
}

/// How removing an instance went.
#[derive(Debug)]
pub(crate) enum Removal {
    /// It is gone. `beating`: its process lives.
    Done { effects: Effects, beating: bool },
    /// It is another's, and stays.
    Held,
    /// It was not there.
    Unknown,
}

/// An instance went from a process that beats to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Takeover {
    pub(crate) key: Key,
    pub(crate) before: Arc<Instance>,
    pub(crate) after: Arc<Instance>,
}

impl Record {
    /// Whether the process that has it lives, or has just come.
    fn lives(&self, now: UnixMillis, grace: Duration) -> bool {
        let claimed = self.holder.claimed;
        !self.heartbeats.is_empty() || claimed.is_some_and(|at| now < at.after(grace))
    }
}

impl Catalogue {
    /// Makes an instance known or replaces what was known of it, for the process of this life.
    pub(crate) fn register_as(
        &mut self,
        mut instance: Instance,
        life: Option<&str>,
        now: UnixMillis,
    ) -> Result<(Arc<Entry>, Effects), NotRegistered> {
        let claim = self.judge(&instance, life, now)?;
        self.stay_in_place(&mut instance, life, claim);
        Ok(self.register_claimed(instance, life, claim, now)?)
    }

    /// Whether this life may register the instance now.
    pub(crate) fn admits(
        &self,
        instance: &Instance,
        life: Option<&str>,
        now: UnixMillis,
    ) -> Result<(), Held> {
        self.judge(instance, life, now).map(drop)
    }

    /// Makes what was known of an instance known again, as that of the life that had it, whoever has it
    /// now: its registration is taken back.
    pub(crate) fn put_back(&mut self, before: Before, now: UnixMillis) -> Result<Effects, Full> {
        let Before { instance, life } = before;
        let record = self.records.get(&instance.key());
        let claim = match record {
            Some(record) if !record.holder.is(life.as_deref()) => Claim::Other { contested: false },
            _ => Claim::Same,
        };
        let instance = Arc::unwrap_or_clone(instance);
        let (_, effects) = self.register_claimed(instance, life.as_deref(), claim, now)?;
        Ok(effects)
    }

    /// What is registered of an instance now.
    pub(crate) fn held(&self, key: &Key) -> Option<Before> {
        let record = self.records.get(key)?;
        Some(Before {
            instance: Arc::clone(&record.instance),
            life: record.holder.life.clone(),
        })
    }

    /// Removes an instance, if it is that of this life; without one, whoever's it is.
    pub(crate) fn deregister_as(
        &mut self,
        key: &Key,
        life: Option<&str>,
        now: UnixMillis,
    ) -> Removal {
        let Some(record) = self.records.get(key) else {
            return Removal::Unknown;
        };
        if life.is_some() && !record.holder.is(life) {
            return Removal::Held;
        }
        let beating = !record.heartbeats.is_empty();
        match self.deregister(key, now) {
            Some(effects) => Removal::Done { effects, beating },
            None => Removal::Unknown,
        }
    }

    /// Whose an instance is, once it is registered so. Registering it where it is in nobody's name, as
    /// Consul's clients do, is no other process; and nobody's name takes nothing from a process that
    /// lives, which would have it back with its next beat: until then its service would lack it.
    fn judge(
        &self,
        instance: &Instance,
        life: Option<&str>,
        now: UnixMillis,
    ) -> Result<Claim, Held> {
        let Some(record) = self.records.get(&instance.key()) else {
            return Ok(Claim::Same);
        };
        let held = &record.instance;
        if record.holder.is(life) || (life.is_none() && in_place(held, instance)) {
            return Ok(Claim::Same);
        }
        let contested = !record.heartbeats.is_empty();
        let refused = match life {
            Some(life) => {
                let late = record.holder.former.iter().any(|one| one == life);
                let other = held.service != instance.service && record.holder.life.is_some();
                contested && (late || other)
            }
            None => record.lives(now, self.bounds.grace) || self.may_return(record, now),
        };
        if refused {
            let (address, port) = (&held.address, held.port);
            return Err(Held {
                service: held.service.clone(),
                address: format!("{address}:{port}"),
            });
        }
        Ok(Claim::Other { contested })
    }

    /// Whether the process that has an instance may be about to beat again, the registry having restarted.
    fn may_return(&self, record: &Record, now: UnixMillis) -> bool {
        let grace = self.bounds.grace;
        record.bound && self.restored.is_some_and(|at| now < at.after(grace))
    }

    /// Who registers in nobody's name where an instance is, and leaves out where that is, moves nothing.
    fn stay_in_place(&self, instance: &mut Instance, life: Option<&str>, claim: Claim) {
        let Some(record) = self.records.get(&instance.key()) else {
            return;
        };
        if claim != Claim::Same || record.holder.is(life) {
            return;
        }
        let held = &record.instance;
        if instance.address.is_empty() {
            instance.address.clone_from(&held.address);
        }
        if instance.port == 0 {
            instance.port = held.port;
        }
    }

    /// Notes that a known instance was registered, and whose it is. What ran for the one before says
    /// nothing about this one, and runs anew.
    pub(super) fn claim(
        &mut self,
        key: &Key,
        life: Option<&str>,
        claim: Claim,
        (before, after): (&Arc<Instance>, &Arc<Instance>),
        now: UnixMillis,
        effects: &mut Effects,
    ) {
        let Some(record) = self.records.get_mut(key) else {
            return;
        };
        // Nobody's word is no sign that the process lives.
        if life.is_some() || record.holder.is(None) || claim != Claim::Same {
            record.holder.claimed = Some(now);
        }
        let Claim::Other { contested } = claim else {
            return;
        };
        let before_life = std::mem::replace(&mut record.holder.life, life.map(str::to_owned));
        let holder = &mut record.holder;
        holder.former.retain(|one| Some(&**one) != life);
        holder.former.extend(before_life);
        while holder.former.len() > FORMER_MAX {
            holder.former.pop_front();
        }
        record.bound = false;
        effects.told.append(&mut record.heartbeats);
        effects.stale.push(Owner::Instance(key.clone()));
        for check in &mut record.checks {
            check.epoch = 0;
        }
        if contested {
            record.holder.takeovers = record.holder.takeovers.saturating_add(1);
            record.holder.takeover_time = Some(now);
            effects.takeovers.push(Takeover {
                key: key.clone(),
                before: Arc::clone(before),
                after: Arc::clone(after),
            });
        }
    }

    /// Takes a message of a heartbeat stream of this life and binds the instance to that stream.
    pub(crate) fn beat(
        &mut self,
        key: &Key,
        (stream, life): (StreamId, Option<&str>),
        now: UnixMillis,
    ) -> Beat {
        let grace = self.bounds.grace;
        let Some(record) = self.records.get_mut(key) else {
            return Beat::Unknown;
        };
        if !record.holder.is(life) {
            if !record.lives(now, grace) {
                return Beat::Unknown;
            }
            record.holder.waiting.insert(stream);
            return Beat::Superseded;
        }
        record.holder.waiting.remove(&stream);
        self.heartbeat(key, stream, now)
            .map_or(Beat::Unknown, Beat::Counts)
    }

    /// A stream that waited ended, or has it back.
    pub(super) fn waits_no_more(&mut self, key: &Key, stream: StreamId) {
        if let Some(record) = self.records.get_mut(key) {
            record.holder.waiting.remove(&stream);
        }
    }

    /// Tells those that wait that the process that has an instance is gone.
    pub(super) fn tell_waiting(&mut self, key: &Key, effects: &mut Effects) {
        if let Some(record) = self.records.get_mut(key) {
            record.holder.claimed = None;
            effects.told.append(&mut record.holder.waiting);
        }
    }

    /// Tells all that beat for an instance, or wait for it, that it is gone.
    pub(super) fn tell_all(record: &mut Record, effects: &mut Effects) {
        effects.told.append(&mut record.heartbeats);
        effects.told.append(&mut record.holder.waiting);
    }
}

/// Whether an instance is registered at the same place of the same service; what is left out of it is no
/// other place.
fn in_place(held: &Instance, instance: &Instance) -> bool {
    held.service == instance.service
        && (instance.address.is_empty() || held.address == instance.address)
        && (instance.port == 0 || held.port == instance.port)
}
