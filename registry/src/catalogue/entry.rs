//! What is answered about an instance and its node.

use std::sync::Arc;

use crate::catalogue::{CheckView, Instance, Key, Node, Status, UnixMillis};

/// Why an instance that passes is not believed.
const FLAPPING: &str = "flapping: fell again and again, must stand for a while";

/// A node with what the registry knows about it. Never changed: a change makes a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeView {
    /// The registration.
    pub(crate) node: Arc<Node>,
    /// In the order of the registration.
    pub(crate) checks: Vec<Arc<CheckView>>,
    /// Why all its instances are taken out, if they are.
    pub(crate) maintenance: Option<String>,
    /// The revision that made it known.
    pub(crate) create_revision: u64,
    /// The revision that changed it last.
    pub(crate) modify_revision: u64,
}

impl NodeView {
    /// Whether an answer about an instance that holds this one reads the same with `other`.
    pub(crate) fn same_answer(&self, other: &Self) -> bool {
        let bound = |view: &Self| view.bound().cloned().collect::<Vec<_>>();
        self.node.same_for_instances(&other.node)
            && self.maintenance == other.maintenance
            && same_checks(&bound(self), &bound(other))
    }

    /// Its checks that count for the instances on it.
    pub(crate) fn bound(&self) -> impl Iterator<Item = &Arc<CheckView>> {
        let checks = self.checks.iter();
        checks.filter(|check| !check.definition.detached)
    }
}

/// An instance with what the registry knows about it. Never changed: a change makes a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The registration.
    pub(crate) instance: Arc<Instance>,
    /// Its node, whose checks and maintenance count for it too.
    pub(crate) node: Arc<NodeView>,
    /// Its own checks, in the order of the registration.
    pub(crate) checks: Vec<Arc<CheckView>>,
    /// Why it is taken out, if it is.
    pub(crate) maintenance: Option<String>,
    /// What all of that says together.
    pub(crate) status: Status,
    /// Why; empty when passing.
    pub(crate) reason: String,
    /// Whether it is held as warning because it fell too often.
    pub(crate) flapping: bool,
    /// How often a process took its id over from another that was still beating, and when last. Not
    /// part of the answer: it moves no revision.
    pub(crate) takeovers: u32,
    /// See `takeovers`.
    pub(crate) takeover_time: Option<UnixMillis>,
    /// When the instance was first registered.
    pub(crate) register_time: UnixMillis,
    /// When `status` last changed.
    pub(crate) status_time: UnixMillis,
    /// The revision that made it known.
    pub(crate) create_revision: u64,
    /// The revision that changed its answer last.
    pub(crate) modify_revision: u64,
}

impl Entry {
    /// Its key.
    pub(crate) fn key(&self) -> Key {
        self.instance.key()
    }

    /// The host that it is reached at: its own, or its node's when it named none.
    pub(crate) fn host(&self) -> &str {
        if self.instance.address.is_empty() {
            &self.node.node.address
        } else {
            &self.instance.address
        }
    }

    /// Its own checks, then those of its node that count for it.
    pub(crate) fn all_checks(&self) -> impl Iterator<Item = &Arc<CheckView>> {
        self.checks.iter().chain(self.node.bound())
    }

    /// Whether an answer that holds this one reads the same with `other`. The output of checks is
    /// not part of that: it changes with every run.
    pub(crate) fn same_answer(&self, other: &Self) -> bool {
        self.same_registration(other)
            && self.status == other.status
            && self.reason == other.reason
            && self.flapping == other.flapping
            && self.maintenance == other.maintenance
            && self.status_time == other.status_time
            && self.node.same_answer(&other.node)
            && same_checks(&self.checks, &other.checks)
    }

    /// Whether what its owner and its node's owner said is the same.
    pub(crate) fn same_registration(&self, other: &Self) -> bool {
        self.instance == other.instance && self.node.node.same_for_instances(&other.node.node)
    }

    /// Whether it reads the same in everything, its checks' output and takeovers included.
    pub(crate) fn same(&self, other: &Self) -> bool {
        let outputs = |entry: &Self| {
            let checks = entry.all_checks();
            checks.map(|check| check.output.clone()).collect::<Vec<_>>()
        };
        self.same_answer(other)
            && self.takeovers == other.takeovers
            && self.takeover_time == other.takeover_time
            && outputs(self) == outputs(other)
    }

    /// What its checks and its node's say, maintenance and flapping left out.
    pub(crate) fn raw(&self) -> Status {
        Status::worst(self.all_checks().map(|check| check.status))
    }

    /// Derives status and reason. `held` is whether it is held for flapping, should it pass.
    pub(crate) fn settle(&mut self, held: bool) {
        let raw = self.raw();
        self.flapping = held && raw == Status::Passing;
        let maintenance = self.maintenance.as_ref().or(self.node.maintenance.as_ref());
        (self.status, self.reason) = match maintenance {
            Some(reason) => (Status::Maintenance, reason.clone()),
            None if self.flapping => (Status::Warning, FLAPPING.to_owned()),
            None => (raw, self.why(raw)),
        };
    }

    /// The reason of the first check that says so, named when there are several.
    fn why(&self, status: Status) -> String {
        if status == Status::Passing {
            return String::new();
        }
        let culprit = self.all_checks().find(|check| check.status == status);
        match culprit {
            Some(check) if self.all_checks().nth(1).is_some() => {
                format!("{}: {}", check.definition.check_id, check.reason)
            }
            Some(check) => check.reason.clone(),
            None => String::new(),
        }
    }
}

fn same_checks(these: &[Arc<CheckView>], those: &[Arc<CheckView>]) -> bool {
    these.len() == those.len() && these.iter().zip(those).all(|(a, b)| a.same_answer(b))
}
