//! What the registry itself lacks, told now and then.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{check::Trouble, metrics::Metrics};

/// The shortest time between two lines about it: thousands of checks may meet the same trouble.
const PAUSE: Duration = Duration::from_secs(10);

/// What was said of it.
#[derive(Debug, Default)]
pub(super) struct Troubles(Mutex<Said>);

#[derive(Debug, Default)]
struct Said {
    last: Option<Instant>,
    /// Runs without a result that no line was about.
    since: u64,
}

impl Troubles {
    /// Counts a run that had no result, and says so if nothing was said lately.
    pub(super) fn tell(&self, metrics: &Metrics, trouble: Trouble, reason: &str) {
        metrics.unknown(trouble);
        if let Some(runs) = self.0.lock().note(Instant::now()) {
            tracing::error!(lacks = trouble.word(), %reason, runs,
                "checks had no result, and what they said before counts: the registry itself lacks something");
        }
    }
}

impl Said {
    /// How many runs a line is about that is due now.
    fn note(&mut self, now: Instant) -> Option<u64> {
        self.since += 1;
        if self.last.is_some_and(|last| now < last + PAUSE) {
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_every_ten_seconds_is_about_all_runs_since_the_last() {
        let mut said = Said::default();
        let start = Instant::now();
        assert_eq!(said.note(start), Some(1));
        for _ in 0..99 {
            assert_eq!(said.note(start + PAUSE / 2), None);
        }
        assert_eq!(said.note(start + PAUSE), Some(100));
    }
}
