//! When to check: one task per polled instance.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use rustix::process::{Resource, getrlimit};
use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore},
    task::AbortHandle,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::task::TaskTracker;

use crate::{
    catalogue::{Status, Target, limits},
    check::{
        Networks, Outcome,
        probe::{Probe, Run},
    },
    metrics::Metrics,
};

/// Checks that begin together; the rest wait their turn, and waiting does not count against a check's
/// timeout. Each costs a socket and up to 30 KB: when everybody is checked at once, after a restart,
/// that is not to be paid for everybody at once.
const PROMPT_MAX: usize = 256;

/// How long a check holds one of those turns. One that takes longer waits for an answer and costs
/// next to nothing, so it makes room for the next.
const PROMPT: Duration = Duration::from_millis(100);

/// Checks under way at once, those that take long included. As many instances as there may be, all of
/// which take 2 s of every 10 to time out, are 4,000.
const CHECKS_MAX: usize = 4096;

/// The share of the process's open files that checks may hold: whoever watches or beats needs one
/// too.
const FILES_SHARE: u64 = 4;

/// The share of them that the connections hold which are kept between gRPC checks.
pub(crate) const KEPT_SHARE: u64 = 4;

/// How soon a check is run again that had no result, for the registry's own want of something.
const AGAIN: Duration = Duration::from_secs(5);

/// Files that checks under way may hold, of so many that the process may open.
pub(crate) fn files_of_checks(files: Option<u64>) -> usize {
    let share = files.map_or(u64::MAX, |files| files / FILES_SHARE);
    usize::try_from(share).map_or(CHECKS_MAX, |share| share.clamp(1, CHECKS_MAX))
}

/// Who may be under way.
#[derive(Debug)]
struct Turns {
    prompt: Semaphore,
    slow: Semaphore,
}

impl Turns {
    /// By how many files may be open.
    fn new(files: Option<u64>) -> Self {
        let all = files_of_checks(files);
        let prompt = all.min(PROMPT_MAX);
        Self::of(prompt, all - prompt)
    }

    fn of(prompt: usize, slow: usize) -> Self {
        Self {
            prompt: Semaphore::new(prompt),
            slow: Semaphore::new(slow),
        }
    }

    /// Checks when it has a turn; tells how long that took, the waiting left out.
    async fn check(&self, probe: &mut impl Run) -> (Outcome, Instant) {
        // The semaphores are never closed.
        let turn = self.prompt.acquire().await;
        let began = Instant::now();
        // Boxed: what a run needs, some 2 KB, is not held until the next one begins.
        let mut check = Box::pin(probe.check());
        if let Ok(outcome) = timeout(PROMPT, check.as_mut()).await {
            return (outcome, began);
        }
        // Without room among the slow it keeps the turn that it has.
        let slow = self.slow.try_acquire();
        let turn = turn.ok().filter(|_| slow.is_err());
        let outcome = check.await;
        drop((turn, slow));
        (outcome, began)
    }
}

/// Starts polls and waits for their end.
#[derive(Debug)]
pub(crate) struct Poller {
    turns: Arc<Turns>,
    /// How many connections of gRPC checks may be kept.
    keeping: Arc<Semaphore>,
    tasks: TaskTracker,
    /// Polls are also started while a connection's streams are dropped, which may be outside any
    /// runtime's context.
    runtime: Handle,
    networks: Networks,
    metrics: Metrics,
}

impl Poller {
    /// A poller on the current runtime that goes nowhere but into these networks.
    pub(crate) fn new(networks: Networks, metrics: Metrics) -> Self {
        let files = getrlimit(Resource::Nofile).current;
        let kept = files.map_or(u64::MAX, |files| files / KEPT_SHARE);
        let kept = usize::try_from(kept).unwrap_or(usize::MAX);
        Self {
            turns: Arc::new(Turns::new(files)),
            keeping: Arc::new(Semaphore::new(kept.min(limits::INSTANCES_MAX))),
            tasks: TaskTracker::new(),
            runtime: Handle::current(),
            networks,
            metrics,
        }
    }

    /// Where checks may go.
    pub(crate) fn networks(&self) -> &Networks {
        &self.networks
    }

    /// Checks the target at once and then at its interval, until `report` answers that it is over
    /// or the handle is dropped.
    pub(crate) fn start<R>(&self, target: Target, report: R) -> Polled
    where
        R: Fn(Outcome) -> bool + Send + Sync + 'static,
    {
        let hurry = Arc::new(Notify::new());
        let interval = target.definition.interval;
        let (metrics, kind) = (self.metrics.clone(), target.definition.kind.word());
        let report = move |outcome: Outcome, took| {
            metrics.checked(kind, took);
            report(outcome)
        };
        let keeping = Arc::clone(&self.keeping);
        let probe = Probe::new(target, self.networks.clone(), keeping);
        let task = poll(
            probe,
            interval,
            Arc::clone(&self.turns),
            Arc::clone(&hurry),
            report,
        );
        let task = self.tasks.spawn_on(task, &self.runtime).abort_handle();
        Polled { hurry, task }
    }

    /// Waits until every poll whose handle was dropped ended.
    pub(crate) async fn close(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// The polling of one instance; ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Polled {
    hurry: Arc<Notify>,
    task: AbortHandle,
}

impl Polled {
    /// Checks at once, or once more when a check is under way that fails.
    pub(crate) fn hurry(&self) {
        self.hurry.notify_one();
    }
}

impl Drop for Polled {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn poll<P, R>(
    mut probe: P,
    interval: Duration,
    turns: Arc<Turns>,
    hurry: Arc<Notify>,
    report: R,
) where
    P: Run,
    R: Fn(Outcome, Duration) -> bool,
{
    // Whether this check runs because of something that happened, which then often happened to
    // many instances together: their next checks are spread over the interval.
    let mut hurried = true;
    loop {
        let (outcome, began) = turns.check(&mut probe).await;
        let status = outcome.status;
        if status.is_ok_and(|status| status != Status::Critical) {
            // Whoever hurried a check that was under way asked for no more than this.
            let _ = hurry.notified().now_or_never();
        }
        if !report(outcome, began.elapsed()) {
            return;
        }
        let pause = if hurried {
            spread(interval, fastrand::u32(..))
        } else {
            interval
        };
        // Nobody is better off for waiting an hour until there are files again.
        let pause = match status {
            Ok(_) => pause,
            Err(_) => pause.min(spread(AGAIN, fastrand::u32(..))),
        };
        hurried = tokio::select! {
            () = sleep_until(began + pause) => false,
            () = hurry.notified() => true,
        };
    }
}

/// A part of the interval, in proportion to `random`.
fn spread(interval: Duration, random: u32) -> Duration {
    let part = interval.as_nanos() * u128::from(random) / u128::from(u32::MAX);
    // A part of an interval that fits into 64 bits of nanoseconds does too.
    Duration::from_nanos(u64::try_from(part).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::{
        sync::mpsc,
        time::{advance, sleep},
    };

    use super::*;
    use crate::catalogue::limits;

    const INTERVAL: Duration = Duration::from_secs(10);

    /// A check that passes at once.
    struct Passes;

    impl Run for Passes {
        async fn check(&mut self) -> Outcome {
            Outcome::passing("")
        }
    }

    /// Checks that pass at once, and the times at which they did.
    fn polled() -> (Polled, mpsc::UnboundedReceiver<Instant>) {
        let (tell, times) = mpsc::unbounded_channel();
        let report = move |_, _| tell.send(Instant::now()).is_ok();
        let (turns, hurry) = (Arc::new(Turns::of(1, 0)), Arc::new(Notify::new()));
        let task = tokio::spawn(poll(Passes, INTERVAL, turns, Arc::clone(&hurry), report));
        let task = task.abort_handle();
        (Polled { hurry, task }, times)
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_check_is_at_once_and_the_second_within_the_interval() {
        let (_polled, mut times) = polled();
        let start = Instant::now();
        assert_eq!(times.recv().await, Some(start));
        let second = times.recv().await.unwrap();
        assert!(second <= start + INTERVAL + Duration::from_millis(1));
        // The clock of a paused runtime ticks in milliseconds.
        let third = times.recv().await.unwrap() - second;
        assert!(third >= INTERVAL && third <= INTERVAL + Duration::from_millis(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hurried_check_does_not_wait_and_is_spread_anew() {
        let (polled, mut times) = polled();
        times.recv().await.unwrap();
        times.recv().await.unwrap();
        advance(Duration::from_secs(3)).await;
        let hurried = Instant::now();
        polled.hurry();
        assert_eq!(times.recv().await, Some(hurried));
        let next = times.recv().await.unwrap();
        assert!(next <= hurried + INTERVAL + Duration::from_millis(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hurry_during_a_check_that_passes_is_answered_by_it() {
        let (polled, mut times) = polled();
        polled.hurry();
        let first = times.recv().await.unwrap();
        times.recv().await.unwrap();
        let third = times.recv().await.unwrap();
        // Had the hurry been kept, it would be the third that is spread.
        assert!(third - first >= INTERVAL);
    }

    #[tokio::test(start_paused = true)]
    async fn dropping_the_handle_ends_the_polling() {
        let (polled, mut times) = polled();
        times.recv().await.unwrap();
        drop(polled);
        assert_eq!(times.recv().await, None);
    }

    /// A check that takes its time, counted while it is under way.
    struct Slow {
        takes: Duration,
        under_way: Arc<AtomicUsize>,
        most: Arc<AtomicUsize>,
    }

    impl Run for Slow {
        async fn check(&mut self) -> Outcome {
            let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(now, Ordering::SeqCst);
            sleep(self.takes).await;
            self.under_way.fetch_sub(1, Ordering::SeqCst);
            Outcome::passing("")
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_target_delays_nobody_and_is_not_asked_twice_at_once() {
        let turns = Arc::new(Turns::of(2, 0));
        let most = Arc::new(AtomicUsize::new(0));
        let slow = Slow {
            takes: 3 * INTERVAL,
            under_way: Arc::default(),
            most: Arc::clone(&most),
        };
        let (tell, mut slow_times) = mpsc::unbounded_channel();
        let report = move |_, _| tell.send(Instant::now()).is_ok();
        tokio::spawn(poll(
            slow,
            INTERVAL,
            Arc::clone(&turns),
            Arc::default(),
            report,
        ));
        let (tell, mut times) = mpsc::unbounded_channel();
        let report = move |_, _| tell.send(Instant::now()).is_ok();
        tokio::spawn(poll(Passes, INTERVAL, turns, Arc::default(), report));
        let mut last = times.recv().await.unwrap();
        for _ in 0..10 {
            let next = times.recv().await.unwrap();
            assert!(next - last <= INTERVAL + Duration::from_millis(1));
            last = next;
        }
        let first = slow_times.recv().await.unwrap();
        assert!(slow_times.recv().await.unwrap() - first >= 3 * INTERVAL);
        assert_eq!(most.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_run_at_once_than_there_are_turns_and_everybody_gets_one() {
        let turns = Arc::new(Turns::of(3, 0));
        let (under_way, most) = (Arc::default(), Arc::new(AtomicUsize::new(0)));
        let (tell, mut done) = mpsc::unbounded_channel();
        for number in 0..10 {
            let slow = Slow {
                takes: Duration::from_secs(1),
                under_way: Arc::clone(&under_way),
                most: Arc::clone(&most),
            };
            let tell = tell.clone();
            // Over after the first.
            let report = move |_, _| tell.send(number).is_err();
            let turns = Arc::clone(&turns);
            tokio::spawn(poll(slow, INTERVAL, turns, Arc::default(), report));
        }
        drop(tell);
        let mut checked = Vec::new();
        while let Some(number) = done.recv().await {
            checked.push(number);
        }
        checked.sort_unstable();
        assert_eq!(checked, Vec::from_iter(0..10));
        assert_eq!(most.load(Ordering::SeqCst), 3);
    }

    #[test]
    fn there_are_turns_for_all_that_never_answer_unless_files_are_few() {
        // For each of them, so often does an interval hold what it takes.
        let shares = limits::INTERVAL_DEFAULT.as_millis() / limits::TIMEOUT_DEFAULT.as_millis();
        let all = u128::try_from(limits::INSTANCES_MAX).unwrap();
        assert!(all / shares <= u128::try_from(CHECKS_MAX).unwrap());
        let turns = |files| {
            let turns = Turns::new(files);
            (
                turns.prompt.available_permits(),
                turns.slow.available_permits(),
            )
        };
        let most = (PROMPT_MAX, CHECKS_MAX - PROMPT_MAX);
        assert_eq!((turns(None), turns(Some(1_048_576))), (most, most));
        assert_eq!((turns(Some(2048)), turns(Some(0))), ((256, 256), (1, 0)));
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_do_not_answer_make_room_for_the_others() {
        let turns = Arc::new(Turns::of(1, 2));
        for _ in 0..2 {
            let slow = Slow {
                takes: INTERVAL * 10,
                under_way: Arc::default(),
                most: Arc::default(),
            };
            let turns = Arc::clone(&turns);
            tokio::spawn(poll(slow, INTERVAL, turns, Arc::default(), |_, _| true));
        }
        tokio::task::yield_now().await;
        let (tell, mut times) = mpsc::unbounded_channel();
        let report = move |_, _| tell.send(Instant::now()).is_ok();
        let asked = Instant::now();
        tokio::spawn(poll(Passes, INTERVAL, turns, Arc::default(), report));
        let waited = times.recv().await.unwrap() - asked;
        assert!(waited < PROMPT * 3, "{waited:?}");
    }

    #[test]
    fn polls_are_spread_over_the_whole_interval() {
        let interval = Duration::from_secs(10);
        assert_eq!(spread(interval, 0), Duration::ZERO);
        assert_eq!(spread(interval, u32::MAX), interval);
        let half = spread(interval, u32::MAX / 2);
        assert!(half > Duration::from_millis(4_999) && half < Duration::from_millis(5_001));
    }
}
