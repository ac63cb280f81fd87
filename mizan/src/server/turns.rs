//! Who runs the calls of a connection: its own task begins them, and only one that has to wait
//! becomes a task of its own.
//!
//! A task for each call from the start costs two switches and, since the first answer wakes the
//! connection before the next call has had its turn, a write to the socket for each answer. Begun
//! here, calls that need nobody else are all answered in one write. The price: what a handler does
//! until it first waits keeps the other calls of its connection waiting, and on one core. So where
//! that is long, calls become tasks from the start.

use std::{
    fmt,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper::rt::Executor;
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{life::ConnectionLoad, progress::Progress, queue::Queue, seldom::Everywhere};

type Call = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The calls that a connection read and nobody has begun. Clones share them.
#[derive(Clone)]
pub(super) struct Turns(Arc<Shared>);

struct Shared {
    waiting: Queue<Carried>,
    /// Of the request that was read last: the library hands over the call that it becomes next.
    read: Mutex<Option<Arc<Progress>>>,
    load: Arc<ConnectionLoad>,
    unread_timeout: Duration,
}

impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turns").finish_non_exhaustive()
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Turns {
    fn execute(&self, call: F) {
        self.0.waiting.push(Carried {
            call: Box::pin(call),
            progress: self.0.read.lock().take(),
            load: self.0.load.clone(),
            unread_timeout: self.0.unread_timeout,
            alarm: None,
            parts: 0,
        });
    }
}

/// The end of a connection's turns: calls that were not begun are dropped with it, and with them
/// what they hold.
#[derive(Debug)]
pub(super) struct Ending(Turns);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.0.waiting.end();
    }
}

impl Turns {
    /// Of a connection whose client may leave an answer unread for so long.
    pub(super) fn new(load: Arc<ConnectionLoad>, unread_timeout: Duration) -> Self {
        Self(Arc::new(Shared {
            load,
            waiting: Queue::default(),
            read: Mutex::default(),
            unread_timeout,
        }))
    }

    /// Ends them when it is dropped. To be held for as long as the connection lives.
    pub(super) fn ending(&self) -> Ending {
        Ending(self.clone())
    }

    /// A request was read, and this tells how far its answer comes.
    pub(super) fn read(&self, progress: Arc<Progress>) {
        *self.0.read.lock() = Some(progress);
    }

    /// Carries a connection that puts its calls here, until it ends.
    pub(super) async fn carry<C: Future>(&self, mut connection: Pin<&mut C>) -> C::Output {
        let mut beginnings = Beginnings::default();
        poll_fn(|context| {
            loop {
                if let Poll::Ready(ended) = connection.as_mut().poll(context) {
                    return Poll::Ready(ended);
                }
                let calls = self.0.waiting.take();
                if calls.is_empty() {
                    return Poll::Pending;
                }
                for mut call in calls {
                    if !beginnings.are_short() {
                        tokio::spawn(call);
                        continue;
                    }
                    let began = Instant::now();
                    let waits = call.begin(context);
                    beginnings.note(began.elapsed());
                    if waits {
                        tokio::spawn(call);
                    }
                }
                // And once more the connection: it has answers to write.
            }
        })
        .await
    }
}

/// A call, and the end of it when its client reads no more: then nothing in it is polled that
/// could end it.
struct Carried {
    call: Call,
    progress: Option<Arc<Progress>>,
    load: Arc<ConnectionLoad>,
    unread_timeout: Duration,
    /// Made only when there is something to wait for.
    alarm: Option<Pin<Box<Sleep>>>,
    /// How far the answer had come when the alarm was set.
    parts: usize,
}

impl Carried {
    /// Begins it in the connection's task; whether it waits. A panic ends the call and not the
    /// connection, as in a task of its own.
    fn begin(&mut self, context: &mut Context<'_>) -> bool {
        let call = self.call.as_mut();
        match catch_unwind(AssertUnwindSafe(|| call.poll(context))) {
            Ok(polled) => polled.is_pending(),
            Err(_) => {
                static SAID: Everywhere = Everywhere::new();
                if let Some(times) = SAID.happened() {
                    tracing::error!(times, "a call panicked outside of its handler");
                }
                false
            }
        }
    }

    /// Whether its client has left it unread for too long, or waits no more.
    fn is_left(&mut self, context: &mut Context<'_>) -> bool {
        let Some(progress) = &self.progress else {
            return false;
        };
        let Some(parts) = progress.waits_for_client() else {
            self.alarm = None;
            return false;
        };
        if self.alarm.is_none() || parts != self.parts {
            let unread = Instant::now() + self.unread_timeout;
            let until = progress.deadline().map_or(unread, |own| own.min(unread));
            self.parts = parts;
            match &mut self.alarm {
                Some(alarm) => alarm.as_mut().reset(until),
                None => self.alarm = Some(Box::pin(sleep_until(until))),
            }
        }
        while let Some(alarm) = &mut self.alarm {
            if alarm.as_mut().poll(context).is_pending() {
                return false;
            }
            let now = Instant::now();
            if progress.deadline().is_some_and(|own| own <= now) || !self.load.is_blocked() {
                return true;
            }
            // The transport takes nothing from anybody: whether that is too long is not for this
            // call to say.
            let unread = now + self.unread_timeout;
            let until = progress.deadline().map_or(unread, |own| own.min(unread));
            alarm.as_mut().reset(until);
        }
        false
    }
}

impl Future for Carried {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.call.as_mut().poll(context).is_ready() || self.is_left(context) {
            // Dropped, a call that is not done resets its stream.
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

/// How long the calls of a connection take until they first wait.
#[derive(Debug, Default)]
struct Beginnings {
    /// Each new one counts an eighth.
    average: Duration,
    /// How many calls in a row were not begun here.
    passed: u32,
}

impl Beginnings {
    /// Well above what a task costs: another core is worth more than the switches.
    const LONG: Duration = Duration::from_micros(50);
    /// One call in so many is begun here although they are long, to see whether they still are.
    const LOOK: u32 = 16;

    /// Whether the next call is to be begun here.
    fn are_short(&mut self) -> bool {
        let short = self.average <= Self::LONG || self.passed + 1 >= Self::LOOK;
        self.passed = if short { 0 } else { self.passed + 1 };
        short
    }

    fn note(&mut self, took: Duration) {
        self.average = (self.average * 7 + took) / 8;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use tokio::sync::oneshot;

    use super::*;
    use crate::server::life::Load;

    const UNREAD: Duration = Duration::from_secs(30);

    fn load() -> Arc<ConnectionLoad> {
        Arc::new(ConnectionLoad::new(
            Arc::new(Load::new(8, 1 << 20)),
            1 << 20,
        ))
    }

    #[tokio::test]
    async fn calls_are_begun_before_the_connection_goes_on_and_those_that_wait_finish_elsewhere() {
        let turns = Turns::new(load(), UNREAD);
        let begun = Arc::new(AtomicUsize::new(0));
        let (release, wait) = oneshot::channel::<()>();
        let (finish, finished) = oneshot::channel();
        let mut wait = Some((wait, finish));
        let mut polls = 0;
        // A connection that reads two calls, sees both begun when it is polled again, and ends.
        let connection = poll_fn(|_| {
            polls += 1;
            if polls == 2 {
                return Poll::Ready(begun.load(Ordering::SeqCst));
            }
            let counted = begun.clone();
            turns.execute(async move {
                counted.fetch_add(1, Ordering::SeqCst);
            });
            let counted = begun.clone();
            if let Some((wait, finish)) = wait.take() {
                turns.execute(async move {
                    counted.fetch_add(1, Ordering::SeqCst);
                    let released = wait.await;
                    assert!(finish.send(released).is_ok());
                });
            }
            Poll::Pending
        });
        assert_eq!(turns.carry(pin!(connection)).await, 2);
        // The connection is gone, and nobody polls for it: the call that waits has a task.
        release.send(()).unwrap();
        assert_eq!(finished.await.unwrap(), Ok(()));
    }

    /// A call that never ends by itself, carried as one that waits is; and how far it has come.
    fn carried() -> (tokio::task::JoinHandle<()>, Arc<Progress>) {
        carried_on(load())
    }

    fn carried_on(load: Arc<ConnectionLoad>) -> (tokio::task::JoinHandle<()>, Arc<Progress>) {
        let (turns, progress) = (Turns::new(load, UNREAD), Arc::new(Progress::default()));
        turns.read(progress.clone());
        turns.execute(async {
            let mut polls = tokio::time::interval(Duration::from_secs(1));
            loop {
                polls.tick().await;
            }
        });
        let call = turns.0.waiting.take().pop().unwrap();
        (tokio::spawn(call), progress)
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_ends_when_its_client_takes_no_part_of_the_answer_for_too_long() {
        let (carried, progress) = carried();
        // Slow, but it moves.
        for _ in 0..10 {
            progress.gave();
            tokio::time::sleep(UNREAD * 2 / 3).await;
        }
        // It waits for its handler, for as long as that takes.
        progress.asked();
        tokio::time::sleep(UNREAD * 100).await;
        assert!(!carried.is_finished());
        let stops = Instant::now();
        progress.gave();
        carried.await.unwrap();
        let waited = stops.elapsed();
        assert!(
            (UNREAD..UNREAD + Duration::from_secs(2)).contains(&waited),
            "{waited:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn while_the_transport_is_blocked_no_call_is_to_blame() {
        let load = load();
        let (carried, progress) = carried_on(load.clone());
        progress.gave();
        load.blocks();
        tokio::time::sleep(UNREAD * 10).await;
        assert!(!carried.is_finished());
        load.wrote();
        carried.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_not_read_ends_at_its_deadline_if_that_comes_first() {
        let (carried, progress) = carried();
        let until = Instant::now() + Duration::from_secs(5);
        progress.until(until);
        progress.gave();
        carried.await.unwrap();
        assert_eq!(Instant::now(), until);
    }

    #[test]
    fn long_beginnings_are_left_to_tasks_until_they_are_short_again() {
        let (short, long) = (Duration::from_micros(5), Duration::from_micros(400));
        let mut beginnings = Beginnings::default();
        for _ in 0..1_000 {
            assert!(beginnings.are_short());
            beginnings.note(short);
        }
        // A single one of some length changes nothing; a run of them soon does.
        beginnings.note(Duration::from_micros(300));
        assert!(beginnings.are_short());
        let mut begun_here = 0;
        for _ in 0..1_000 {
            if beginnings.are_short() {
                begun_here += 1;
                beginnings.note(long);
            }
        }
        assert!((1_000 / 16..80).contains(&begun_here), "{begun_here}");
        // They get short, and that is noticed.
        for _ in 0..1_000 {
            if beginnings.are_short() {
                beginnings.note(short);
            }
        }
        assert!((0..100).all(|_| beginnings.are_short()));
    }
}
