//! Signs of life: results of checks, reports and heartbeats.

use crate::catalogue::{
    Catalogue, CheckKind, CheckRef, Effects, Key, NotReported, Owner, Polling, Status, StreamId,
    UnixMillis,
    check::{Change, Check},
    state::{Timer, reference},
};

impl Catalogue {
    /// Takes the result of a run; nothing when it is of a check or an epoch that is over, so that
    /// running it can end.
    pub(crate) fn ran(
        &mut self,
        check: &CheckRef,
        epoch: u64,
        (status, output): (Status, &str),
        now: UnixMillis,
    ) -> Option<Effects> {
        let held = self.running(check, epoch)?;
        let spared = if status == Status::Critical {
            let as_kept = held.as_kept && held.view.status != Status::Critical;
            self.spared(&check.owner, as_kept, now)
        } else {
            None
        };
        let held = self.running(check, epoch)?;
        let change = if spared.is_some() {
            held.note(output)
        } else {
            held.ran(status, output, now)
        };
        if let Some(until) = spared {
            self.timers.insert((until, Timer::Again(check.clone())));
        }
        let mut effects = Effects::default();
        if change > Change::None {
            self.changed(&check.owner, now, &mut effects);
        }
        Some(effects)
    }

    fn running(&mut self, check: &CheckRef, epoch: u64) -> Option<&mut Check> {
        let checks = self.checks_of(&check.owner)?.iter_mut();
        let mut same = checks.filter(|held| held.view.definition.check_id == check.check_id);
        same.next().filter(|held| held.epoch == epoch)
    }

    /// Takes a report about a check that the registry does not run.
    pub(crate) fn report(
        &mut self,
        check: &CheckRef,
        (status, output): (Status, &str),
        now: UnixMillis,
    ) -> Result<Effects, NotReported> {
        let checks = self.checks_of(&check.owner);
        let checks = checks.ok_or(NotReported::UnknownOwner)?.iter_mut();
        let mut same = checks.filter(|held| held.view.definition.check_id == check.check_id);
        let held = same.next().ok_or(NotReported::UnknownCheck)?;
        match held.view.definition.kind {
            CheckKind::Ttl { .. } | CheckKind::Reported => {}
            _ => return Err(NotReported::NotReportable),
        }
        let mut effects = Effects::default();
        let change = held.reported(status, output, now);
        if change > Change::None {
            self.changed(&check.owner, now, &mut effects);
        } else {
            self.arm(&check.owner);
        }
        Ok(effects)
    }

    /// Takes a message of a heartbeat stream and binds the instance to that stream; nothing when
    /// the instance is not known. A new stream is a sign of life: critical checks run at once, and
    /// standing ones pass.
    pub(super) fn heartbeat(
        &mut self,
        key: &Key,
        stream: StreamId,
        now: UnixMillis,
    ) -> Option<Effects> {
        let record = self.records.get_mut(key)?;
        let mut effects = Effects::default();
        if !record.heartbeats.insert(stream) {
            return Some(effects);
        }
        let owner = Owner::Instance(key.clone());
        if !std::mem::replace(&mut record.bound, true) {
            effects.stale.push(owner.clone());
        }
        for check in &mut record.checks {
            let definition = &check.view.definition;
            if definition.kind == CheckKind::Standing {
                check.reported(Status::Passing, "", now);
            } else if definition.is_run() && check.view.status == Status::Critical {
                let hurried = reference(&owner, definition);
                effects.polling.push(Polling::Hurry(hurried));
            }
        }
        self.changed(&owner, now, &mut effects);
        Some(effects)
    }

    /// Takes the end of a heartbeat stream. Only the last of an instance's streams counts: a
    /// client that reconnects may open the new one before the old one breaks. Nothing when the
    /// instance lives on or is not known.
    pub(crate) fn heartbeat_ended(
        &mut self,
        key: &Key,
        stream: StreamId,
        now: UnixMillis,
    ) -> Option<Effects> {
        self.waits_no_more(key, stream);
        let record = self.records.get_mut(key)?;
        if !record.heartbeats.remove(&stream) || !record.heartbeats.is_empty() {
            return None;
        }
        let mut effects = Effects::default();
        self.lose_heartbeat(key, now, &mut effects);
        Some(effects)
    }

    /// Whatever its checks said, they say no longer; those that are run begin anew.
    pub(super) fn lose_heartbeat(&mut self, key: &Key, now: UnixMillis, effects: &mut Effects) {
        let Some(record) = self.records.get_mut(key) else {
            return;
        };
        for check in &mut record.checks {
            if !matches!(check.view.definition.kind, CheckKind::Alias { .. }) {
                check.heartbeat_lost(0, now);
            }
        }
        let owner = Owner::Instance(key.clone());
        self.start(&owner, effects);
        self.changed(&owner, now, effects);
        self.tell_waiting(key, effects);
    }
}
