//! What a run did, line by line, as one number: two runs are the same if their numbers are.

use std::{
    fmt,
    hash::{DefaultHasher, Hasher as _},
    io,
    sync::{Arc, Mutex, PoisonError},
};

use tracing::{Dispatch, dispatcher::DefaultGuard};
use tracing_subscriber::{
    EnvFilter,
    fmt::{MakeWriter, format::Writer, time::FormatTime},
};

/// What is traced: what our own code tells, all of it.
const TRACED: &str = "warn,mizan=debug,mizan_sim=debug,registry=debug,payment_svc=debug,\
                      invoice_svc=debug,accounting_svc=debug,store=debug";

/// A trace that is being kept.
pub(crate) struct Trace {
    lines: Lines,
    _guard: DefaultGuard,
}

#[derive(Clone)]
struct Lines {
    kept: Arc<Mutex<Kept>>,
    shown: bool,
}

struct Kept {
    hash: DefaultHasher,
    lines: u64,
}

impl Trace {
    /// Keeps what this thread tells from now on.
    pub(crate) fn begin(shown: bool) -> Self {
        let kept = Kept {
            // Its keys are fixed.
            hash: DefaultHasher::new(),
            lines: 0,
        };
        let lines = Lines {
            kept: Arc::new(Mutex::new(kept)),
            shown,
        };
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(TRACED))
            .with_ansi(false)
            .with_timer(Simulated)
            .with_writer(lines.clone())
            .finish();
        Self {
            lines,
            _guard: tracing::dispatcher::set_default(&Dispatch::new(subscriber)),
        }
    }

    /// The number, and how many lines it is of.
    pub(crate) fn end(self) -> (u64, u64) {
        let kept = self
            .lines
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        (kept.hash.finish(), kept.lines)
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl io::Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.hash.write(line);
        kept.lines += 1;
        if self.shown {
            io::stderr().write_all(line)?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The time since the simulation began.
struct Simulated;

impl FormatTime for Simulated {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let since = turmoil::sim_elapsed().unwrap_or_default();
        write!(writer, "{:>9.3}", since.as_secs_f64())
    }
}
