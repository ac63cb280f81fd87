//! The loop around a decision.

use std::{
    fmt,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

/// Work of one thread: so many decisions, one after another.
pub(super) type Work = Box<dyn FnMut(u64) + Send>;

/// A tenth of the measured decisions is made before, unmeasured.
const WARM_UP_SHARE: u64 = 10;

/// Something that decides; its work on several threads shares it.
pub(super) struct Subject {
    name: &'static str,
    work: Box<dyn Fn() -> Work>,
}

impl Subject {
    /// `make` gives one thread its handle; what it returns decides once. The loop is compiled with
    /// the decision in it.
    pub(super) fn new<M, D>(name: &'static str, make: M) -> Self
    where
        M: Fn() -> D + 'static,
        D: FnMut() + Send + 'static,
    {
        let work = move || {
            let mut decide = make();
            let work: Work = Box::new(move |count| {
                for _ in 0..count {
                    decide();
                }
            });
            work
        };
        Self {
            name,
            work: Box::new(work),
        }
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// The work of one thread.
    pub(super) fn work(&self) -> Work {
        (self.work)()
    }

    /// How long the slowest of so many threads takes for `count` decisions each.
    pub(super) fn time(&self, threads: usize, count: u64) -> Duration {
        let barrier = Barrier::new(threads);
        let works: Vec<Work> = (0..threads).map(|_| self.work()).collect();
        thread::scope(|scope| {
            let running: Vec<_> = works
                .into_iter()
                .map(|mut work| {
                    let barrier = &barrier;
                    scope.spawn(move || {
                        work(count / WARM_UP_SHARE);
                        barrier.wait();
                        let begun = Instant::now();
                        work(count);
                        begun.elapsed()
                    })
                })
                .collect();
            // A thread that died took no time; the table shows it as 0.
            let times = running.into_iter().map(|t| t.join().unwrap_or_default());
            times.max().unwrap_or_default()
        })
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Subject").field(&self.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    use super::*;

    #[test]
    fn every_thread_makes_its_decisions() {
        let decided = Arc::new(AtomicU64::new(0));
        let shared = decided.clone();
        let subject = Subject::new("counts", move || {
            let decided = shared.clone();
            move || {
                decided.fetch_add(1, Ordering::Relaxed);
            }
        });
        subject.time(2, 1_000);
        assert_eq!(decided.load(Ordering::Relaxed), 2 * (1_000 + 100));
    }
}
