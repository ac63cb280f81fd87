//! The progress bar, and what is said beside it.

use std::{cell::Cell, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use crate::terminal::say;

/// How often at most a wait is told: many rows wait for the same thing.
const NOTICE_INTERVAL: Duration = Duration::from_secs(5);

/// The progress of a run on standard error; nothing but notices when that is no terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    told: Cell<Option<Instant>>,
}

impl Progress {
    pub(crate) fn new(rows: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(rows), ProgressDrawTarget::stderr());
        let template = "{bar:40} {pos} of {len} rows, {per_sec}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self {
            bar,
            told: Cell::new(None),
        }
    }

    /// One row more is done.
    pub(crate) fn advance(&self) {
        self.bar.inc(1);
    }

    /// Says that something has to be waited for, and why, unless that was said just now.
    pub(crate) fn waiting(&self, why: &str) {
        let now = Instant::now();
        let lately = |at| now.saturating_duration_since(at) < NOTICE_INTERVAL;
        if !self.told.get().is_some_and(lately) {
            self.told.set(Some(now));
            self.notice(&format!("waiting, and trying again: {why}"));
        }
    }

    /// Says something above the bar.
    pub(crate) fn notice(&self, line: &str) {
        self.bar.suspend(|| say(line));
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
