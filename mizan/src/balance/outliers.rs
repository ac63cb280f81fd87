//! The sweeps of outlier detection: when, and over whom.

use std::{collections::BTreeMap, sync::Arc};

use tokio::time::{Instant, sleep_until};

use super::{
    member::Member,
    outlier::{
        Config,
        state::{Decision, Detector, Method, Unenforced, Verdict, Volume},
    },
};
use crate::telemetry::metrics::{self, ClientMetrics, Detection};

/// Decides from time to time who is left out.
#[derive(Debug)]
pub(super) struct Outliers {
    detector: Detector,
    /// Until when the calls that end are counted.
    next: Instant,
    metrics: Arc<ClientMetrics>,
}

impl Outliers {
    pub(super) fn new(config: Config, metrics: Arc<ClientMetrics>) -> Self {
        Self {
            next: Instant::now() + config.pause(),
            detector: Detector::new(config),
            metrics,
        }
    }

    /// Goes on by other rules, if they are others.
    pub(super) fn configure(&mut self, config: &Config, members: &mut BTreeMap<Arc<str>, Member>) {
        if self.detector.config() == config {
            return;
        }
        // What ended before is not judged by rules that did not hold then.
        for member in members.values() {
            member.load().take_tally();
        }
        let decisions = self.detector.configure(config.clone());
        self.apply(decisions, members);
        self.next = Instant::now() + config.pause();
    }

    /// An instance is gone; if it comes back it is a new one.
    pub(super) fn forget(&mut self, authority: &str) {
        self.detector.forget(authority);
    }

    /// Waits for the next sweep; for ever if nobody is judged.
    pub(super) async fn due(&self) {
        if self.detector.config().is_on() {
            sleep_until(self.next).await;
        } else {
            std::future::pending::<()>().await;
        }
    }

    /// Judges all by what ended since the last sweep.
    pub(super) fn sweep(&mut self, members: &mut BTreeMap<Arc<str>, Member>) {
        let now = Instant::now();
        self.next = now + self.detector.config().pause();
        let volume = |member: &Member| {
            let tally = member.load().take_tally();
            Volume {
                id: member.authority().clone(),
                successes: tally.successes,
                failures: tally.failures,
            }
        };
        let volumes: Vec<_> = members.values().map(volume).collect();
        let decisions = self
            .detector
            .sweep(now.into_std(), &volumes, || fastrand::u32(..));
        self.apply(decisions, members);
    }

    fn apply(&self, decisions: Vec<Decision>, members: &mut BTreeMap<Arc<str>, Member>) {
        for Decision { id, verdict } in decisions {
            let Some(member) = members.get_mut(&id) else {
                continue;
            };
            match verdict {
                Verdict::Eject(method) => {
                    tracing::warn!(instance = %id, by = method.name(), "ejected as an outlier");
                    self.metrics.ejected(detection(method));
                    member.eject(true);
                }
                Verdict::Uneject => {
                    tracing::info!(instance = %id, "no longer ejected");
                    member.eject(false);
                }
                Verdict::Spare(method, reason) => {
                    let reason = match reason {
                        Unenforced::EnforcementPercentage => {
                            metrics::Unenforced::EnforcementPercentage
                        }
                        Unenforced::MaxEjectionOverflow => metrics::Unenforced::MaxEjectionOverflow,
                    };
                    self.metrics.unenforced(detection(method), reason);
                }
            }
        }
    }
}

fn detection(method: Method) -> Detection {
    match method {
        Method::SuccessRate => Detection::SuccessRate,
        Method::FailurePercentage => Detection::FailurePercentage,
    }
}
