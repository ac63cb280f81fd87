//! An instance as its owner describes it, and what the registry adds to that.

use std::{collections::BTreeMap, time::Duration};

use crate::catalogue::limits::REASON_CHARS_MAX;

/// Why an instance that was just registered is critical.
const NOT_CHECKED: &str = "not checked yet";

/// Why an instance whose last heartbeat stream broke is critical.
const HEARTBEAT_LOST: &str = "heartbeat lost";

/// A point in time, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct UnixMillis(pub(crate) u64);

/// A valid registration. Two equal ones are the same registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Instance {
    /// Unique in the registry.
    pub(crate) instance_id: String,
    /// The service it belongs to.
    pub(crate) service: String,
    /// An IP address or a DNS name.
    pub(crate) address: String,
    /// The TCP port.
    pub(crate) port: u16,
    /// Free labels.
    pub(crate) tags: Vec<String>,
    /// Free pairs.
    pub(crate) metadata: BTreeMap<String, String>,
    /// The share of the load, at least 1.
    pub(crate) weight: u32,
    /// The failure zone, or empty.
    pub(crate) zone: String,
    /// How it is polled.
    pub(crate) check: Check,
}

impl Instance {
    /// Whether a check of `other` says something about this one too.
    pub(crate) fn same_target(&self, other: &Self) -> bool {
        self.address == other.address && self.port == other.port && self.check == other.check
    }

    /// Whether the registry polls it.
    pub(crate) fn polled(&self) -> bool {
        self.check.kind != CheckKind::None
    }
}

/// How an instance is polled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    /// What is asked.
    pub(crate) kind: CheckKind,
    /// How often.
    pub(crate) interval: Duration,
    /// How long the answer may take; at most the interval.
    pub(crate) timeout: Duration,
}

/// What a poll asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CheckKind {
    /// `grpc.health.v1.Health/Check`.
    Grpc {
        /// The service asked about; empty for the whole server.
        service: String,
    },
    /// Whether a TCP connection opens.
    Tcp,
    /// Nothing: it is never polled.
    None,
}

/// Whether an instance is handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// It is.
    Passing,
    /// It is not.
    Critical,
}

/// An instance with what the registry knows about it. Never changed: a change makes a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The registration.
    pub(crate) instance: Instance,
    /// What the checks say.
    pub(crate) status: Status,
    /// Why; empty when passing.
    pub(crate) reason: String,
    /// When the instance was first registered.
    pub(crate) register_time: UnixMillis,
    /// When `status` last changed.
    pub(crate) status_time: UnixMillis,
}

impl Entry {
    /// A first registration.
    pub(crate) fn registered(instance: Instance, now: UnixMillis) -> Self {
        let (status, reason) = initial(&instance);
        Self {
            instance,
            status,
            reason: reason.to_owned(),
            register_time: now,
            status_time: now,
        }
    }

    /// A later registration under the same id. What was learned stays, unless it was learned of
    /// another target. Registering is all the evidence an unpolled instance ever gives, so it
    /// passes again.
    pub(crate) fn reregistered(&self, instance: Instance, now: UnixMillis) -> Self {
        let keeps = self.instance.same_target(&instance) && instance.polled();
        let (status, reason) = initial(&instance);
        let mut next = Self {
            instance,
            ..self.clone()
        };
        if !keeps {
            next.turn(status, reason, now);
        }
        next
    }

    /// After a check.
    pub(crate) fn checked(&self, outcome: Result<(), &str>, now: UnixMillis) -> Self {
        let mut next = self.clone();
        match outcome {
            Ok(()) => next.turn(Status::Passing, "", now),
            Err(reason) => next.turn(Status::Critical, reason, now),
        }
        next
    }

    /// After its last heartbeat stream broke.
    pub(crate) fn heartbeat_lost(&self, now: UnixMillis) -> Self {
        let mut next = self.clone();
        next.turn(Status::Critical, HEARTBEAT_LOST, now);
        next
    }

    fn turn(&mut self, status: Status, reason: &str, now: UnixMillis) {
        if self.status != status {
            self.status = status;
            self.status_time = now;
        }
        self.reason = reason.chars().take(REASON_CHARS_MAX).collect();
    }
}

fn initial(instance: &Instance) -> (Status, &'static str) {
    if instance.polled() {
        (Status::Critical, NOT_CHECKED)
    } else {
        (Status::Passing, "")
    }
}
