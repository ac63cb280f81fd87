//! The checks of one owner: what each says now, and how its results turn into that.
//!
//! Results carry the epoch of the run that made them. A new definition, a new target and a lost
//! heartbeat begin a new epoch, so a check that was under way cannot speak for what came after.

use std::{sync::Arc, time::Duration};

use crate::catalogue::{CheckDefinition, CheckKind, Status, UnixMillis, limits::OUTPUT_CHARS_MAX};

/// Why a check without a result is critical.
pub(crate) const NOT_CHECKED: &str = "not checked yet";

/// Why the checks of an instance whose last heartbeat stream broke are critical.
const HEARTBEAT_LOST: &str = "heartbeat lost";

/// What one check says. Never changed: a change makes a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CheckView {
    /// How it is checked.
    pub(crate) definition: Arc<CheckDefinition>,
    /// What it says.
    pub(crate) status: Status,
    /// Why it came to say so: the output of the result that did; empty when passing.
    pub(crate) reason: String,
    /// The output of the last result. Not part of the answer: it moves no revision.
    pub(crate) output: String,
    /// Whether it speaks from a result, not from having none.
    pub(crate) checked: bool,
    /// When `status` last changed.
    pub(crate) status_time: UnixMillis,
}

impl CheckView {
    /// Whether an answer that holds this one reads the same with `other`.
    pub(crate) fn same_answer(&self, other: &Self) -> bool {
        self.definition == other.definition
            && self.status == other.status
            && self.reason == other.reason
            && self.checked == other.checked
            && self.status_time == other.status_time
    }
}

/// What a change of a check means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Change {
    /// Nothing that anybody could read.
    None,
    /// Its output alone.
    Output,
    /// What it says.
    Status,
}

/// One check, and what of it nobody is told.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) view: Arc<CheckView>,
    pub(crate) epoch: u64,
    /// In a row. Begin at the thresholds, so that the first result counts at once (Consul's rule),
    /// unless it had some before the registry restarted.
    successes: u32,
    failures: u32,
    /// When a report stops counting.
    pub(crate) ttl_due: Option<UnixMillis>,
    pub(crate) critical_since: Option<UnixMillis>,
    /// Whether it says what it said before the registry restarted.
    pub(crate) as_kept: bool,
    /// When a timer was set for it; the one that fires looks at what is due.
    pub(crate) armed: Option<UnixMillis>,
}

impl Check {
    /// A check that has no result.
    pub(crate) fn new(definition: Arc<CheckDefinition>, epoch: u64, now: UnixMillis) -> Self {
        let standing = definition.kind == CheckKind::Standing;
        let status = match definition.initial {
            Some(status) => status,
            None if standing => Status::Passing,
            None => Status::Critical,
        };
        let checked = standing || definition.initial.is_some();
        let reason = if checked { "" } else { NOT_CHECKED };
        let view = CheckView {
            status,
            reason: reason.to_owned(),
            output: reason.to_owned(),
            checked,
            status_time: now,
            definition,
        };
        let mut check = Self {
            successes: 0,
            failures: 0,
            ttl_due: None,
            critical_since: (status == Status::Critical).then_some(now),
            as_kept: false,
            armed: None,
            epoch,
            view: Arc::new(view),
        };
        check.forget_counts();
        check.touch(now);
        check
    }

    /// What it said before the registry restarted. A report counts once more for its time, and for
    /// `grace` at least. Results in a row are counted anew: the first one alone does not overturn
    /// what many said.
    pub(crate) fn restore(&mut self, said: &Said, now: UnixMillis, grace: Duration) {
        if let CheckKind::Ttl { ttl } = self.view.definition.kind {
            self.ttl_due = Some(now.after(ttl.max(grace)));
        }
        self.as_kept = true;
        if said.checked {
            (self.successes, self.failures) = (0, 0);
        }
        self.critical_since = (said.status == Status::Critical).then_some(now);
        let view = Arc::make_mut(&mut self.view);
        view.status = said.status;
        view.output.clone_from(&said.reason);
        view.reason.clone_from(&said.reason);
        view.checked = said.checked;
        view.status_time = said.status_time;
    }

    /// Is to be checked in another way, and says what it said until a result comes.
    pub(crate) fn redefine(&mut self, definition: &Arc<CheckDefinition>, now: UnixMillis) {
        // What was under way is of the old way.
        self.epoch = 0;
        Arc::make_mut(&mut self.view).definition = Arc::clone(definition);
        if !self.view.checked {
            self.forget_counts();
        }
        if self.ttl_due.is_some() {
            self.touch(now);
        }
    }

    /// Takes the result of a run; thresholds apply.
    pub(crate) fn ran(&mut self, status: Status, output: &str, now: UnixMillis) -> Change {
        let definition = Arc::clone(&self.view.definition);
        let turned = if status == Status::Critical {
            self.successes = 0;
            self.failures = self.failures.saturating_add(1);
            if self.failures >= definition.failures_before_critical {
                Some(Status::Critical)
            } else if self.failures >= definition.failures_before_warning {
                Some(Status::Warning)
            } else {
                None
            }
        } else {
            self.failures = 0;
            self.successes = self.successes.saturating_add(1);
            (self.successes >= definition.success_before_passing).then_some(status)
        };
        match turned {
            Some(status) => self.turn(status, output, true, now),
            None => self.note(output),
        }
    }

    /// Takes a report; no threshold applies.
    pub(crate) fn reported(&mut self, status: Status, output: &str, now: UnixMillis) -> Change {
        self.touch(now);
        self.turn(status, output, true, now)
    }

    /// The last heartbeat stream broke: whatever it said, it says no longer.
    pub(crate) fn heartbeat_lost(&mut self, epoch: u64, now: UnixMillis) -> Change {
        self.epoch = epoch;
        self.forget_counts();
        self.turn(Status::Critical, HEARTBEAT_LOST, false, now)
    }

    /// The report no longer counts. What it said last is told with it (Consul's words).
    pub(crate) fn expire(&mut self, now: UnixMillis) -> Change {
        self.ttl_due = None;
        let output = if self.view.output.is_empty() || !self.view.checked {
            "TTL expired".to_owned()
        } else {
            let last = &self.view.output;
            format!("TTL expired (last output before timeout follows): {last}")
        };
        self.turn(Status::Critical, &output, true, now)
    }

    /// When something is to happen to it by time alone.
    pub(crate) fn due(&self) -> Option<UnixMillis> {
        self.ttl_due.into_iter().chain(self.reap_due()).min()
    }

    /// When its instance is to be removed.
    pub(crate) fn reap_due(&self) -> Option<UnixMillis> {
        let after = self.view.definition.deregister_critical_after?;
        Some(self.critical_since?.after(after))
    }

    /// Begins the time that a report counts.
    fn touch(&mut self, now: UnixMillis) {
        if let CheckKind::Ttl { ttl } = self.view.definition.kind {
            self.ttl_due = Some(now.after(ttl));
        }
    }

    fn forget_counts(&mut self) {
        self.successes = self.view.definition.success_before_passing;
        self.failures = self.view.definition.failures_before_critical;
    }

    fn turn(&mut self, status: Status, output: &str, checked: bool, now: UnixMillis) -> Change {
        let held = &self.view;
        if held.status == status && held.checked == checked {
            return self.note(output);
        }
        let output = bounded(output);
        let reason = if status == Status::Passing {
            String::new()
        } else {
            output.clone()
        };
        if status != Status::Critical {
            self.critical_since = None;
        } else if self.critical_since.is_none() {
            self.critical_since = Some(now);
        }
        self.as_kept = false;
        let view = Arc::make_mut(&mut self.view);
        if view.status != status {
            view.status_time = now;
        }
        (view.status, view.checked) = (status, checked);
        (view.reason, view.output) = (reason, output);
        Change::Status
    }

    /// Takes the output of a result that does not count.
    pub(crate) fn note(&mut self, output: &str) -> Change {
        let output = bounded(output);
        if self.view.output == output {
            return Change::None;
        }
        Arc::make_mut(&mut self.view).output = output;
        Change::Output
    }
}

/// What is told of checks where those of many owners are read: their outputs left out.
pub(crate) fn said(checks: &[Arc<CheckView>]) -> Vec<(&Arc<CheckDefinition>, Status)> {
    let checks = checks.iter();
    checks
        .map(|check| (&check.definition, check.status))
        .collect()
}

/// What a check said, as it is kept over a restart.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Said {
    pub(crate) check_id: String,
    pub(crate) status: Status,
    pub(crate) reason: String,
    pub(crate) checked: bool,
    pub(crate) status_time: UnixMillis,
}

impl From<&CheckView> for Said {
    fn from(view: &CheckView) -> Self {
        Self {
            check_id: view.definition.check_id.clone(),
            status: view.status,
            reason: view.reason.clone(),
            checked: view.checked,
            status_time: view.status_time,
        }
    }
}

fn bounded(output: &str) -> String {
    output.chars().take(OUTPUT_CHARS_MAX).collect()
}
