//! The machine, shared between threads.
//!
//! Under a lock sits the pure machine, the truth about everything but one thing: while the breaker
//! counts (closed, or forced closed), a call admitted and a success only add one each to the
//! caller's own lane, and no lane is shared. Whatever else happens (a failure, a slow or an excluded
//! call, the end of an interval or a bucket, a question about the counts) closes the lanes, folds
//! what they hold into the machine, lets it decide, and opens them again. A success before the next
//! failure could not have changed any decision, so it may be told late: the machine sees the same as
//! if every call had taken the lock. That holds for all settings, rolling windows and slow calls
//! included.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{
    config::{Config, OnStateChange},
    counts::Counts,
    lanes::{self, Counter},
    phase::{Outcome, Phase, Refusal, Transition},
    state::{Gate, Refused, State, Ticket},
};

/// What never was.
const NEVER: u64 = 0;
/// What has no end.
const ALWAYS: u64 = u64::MAX;

pub(super) struct Shared {
    /// What every call reads; on lines of its own, so that it stays in every processor's cache.
    hot: Hot,
    name: Arc<str>,
    /// What instants are counted from.
    base: Instant,
    /// How long a call may take, in nanoseconds, without being slow.
    slow: u64,
    on_state_change: Option<OnStateChange>,
    counters: Box<[Arc<Counter>]>,
    inner: Mutex<Inner>,
    /// Held by the thread that delivers transitions.
    delivering: AtomicBool,
}

/// Copies of what the machine says, for those who do not hold the lock. Instants are in nanoseconds
/// since one before the base, so that 0 is never.
#[derive(Default)]
#[repr(align(128))]
struct Hot {
    ticket: AtomicU64,
    /// Until then the lanes count.
    counting_until: AtomicU64,
    /// Until then the breaker is open.
    open_until: AtomicU64,
    /// Until then it refuses, for whatever reason.
    refusing_until: AtomicU64,
}

/// A call that was admitted, with which ticket and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Admitted {
    ticket: Ticket,
    at: u64,
}

struct Inner {
    state: State,
    counting: bool,
    /// Transitions not yet delivered, oldest first.
    news: VecDeque<Transition>,
}

impl Shared {
    pub(super) fn new(name: &str, config: Config, now: Instant) -> Arc<Self> {
        let counters = (0..lanes::count()).map(|_| Arc::default()).collect();
        let shared = Self {
            hot: Hot::default(),
            name: name.into(),
            base: now,
            slow: config
                .slow
                .map_or(ALWAYS, |slow| whole_nanos(slow.threshold)),
            on_state_change: config.on_state_change.clone(),
            counters,
            inner: Mutex::new(Inner {
                state: State::new(config, now),
                counting: false,
                news: VecDeque::new(),
            }),
            delivering: AtomicBool::new(false),
        };
        shared.publish(&mut shared.inner.lock());
        Arc::new(shared)
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) fn counters(&self) -> &[Arc<Counter>] {
        &self.counters
    }

    #[inline]
    pub(super) fn admit(&self, counter: &Counter, now: Instant) -> Result<Admitted, Refused> {
        let at = self.nanos(now);
        let ticket = match self.count_request(counter, at) {
            Some(ticket) => ticket,
            None => self.ask(counter, at, now)?,
        };
        Ok(Admitted { ticket, at })
    }

    #[cold]
    fn ask(&self, counter: &Counter, at: u64, now: Instant) -> Result<Ticket, Refused> {
        let open_until = self.hot.open_until.load(Ordering::Acquire);
        if at <= open_until && open_until != ALWAYS {
            return Err(Refused {
                refusal: Refusal::Open,
                retry_after: Duration::from_nanos(open_until - at),
            });
        }
        let mut inner = self.inner.lock();
        // Lanes that were closed for somebody else are open again.
        if let Some(ticket) = self.count_request(counter, at) {
            return Ok(ticket);
        }
        let (admitted, news) = self.change(&mut inner, now, |state| state.admit(now));
        drop(inner);
        self.deliver(news);
        admitted
    }

    #[inline]
    pub(super) fn record(
        &self,
        counter: &Counter,
        admitted: Admitted,
        outcome: Outcome,
        now: Instant,
    ) {
        let Admitted { ticket, at } = admitted;
        let told_at = self.nanos(now);
        let took = told_at.saturating_sub(at);
        // Such a result changes no decision.
        let quick_success = outcome == Outcome::Success && took <= self.slow;
        if !(quick_success && self.count_success(counter, ticket, told_at)) {
            self.tell_machine(ticket, outcome, Duration::from_nanos(took), now, || {
                quick_success && self.count_success(counter, ticket, told_at)
            });
        }
    }

    /// The slow way. A call that only found its lane closed for somebody else is counted, by
    /// `counted`, without closing them in turn: else two threads could drive each other here for
    /// ever.
    #[cold]
    fn tell_machine(
        &self,
        ticket: Ticket,
        outcome: Outcome,
        took: Duration,
        now: Instant,
        counted: impl FnOnce() -> bool,
    ) {
        let mut inner = self.inner.lock();
        if counted() {
            return;
        }
        let ((), news) = self.change(&mut inner, now, |state| {
            state.record(ticket, outcome, took, now);
        });
        drop(inner);
        self.deliver(news);
    }

    pub(super) fn exclude(&self, admitted: Admitted) {
        let mut inner = self.inner.lock();
        // No time passes, so no phase changes, and the instant does not matter.
        self.change(&mut inner, self.base, |state| {
            state.exclude(admitted.ticket);
        });
    }

    pub(super) fn phase(&self, now: Instant) -> Phase {
        let mut inner = self.inner.lock();
        let (phase, news) = self.change(&mut inner, now, |state| {
            state.look(now);
            state.phase()
        });
        drop(inner);
        self.deliver(news);
        phase
    }

    pub(super) fn counts(&self) -> Counts {
        let mut inner = self.inner.lock();
        let (counts, _) = self.change(&mut inner, self.base, |state| state.counts());
        counts
    }

    /// Forces a phase, or without one ends it.
    pub(super) fn force(&self, phase: Option<Phase>, now: Instant) {
        let mut inner = self.inner.lock();
        let ((), news) = self.change(&mut inner, now, |state| match phase {
            Some(phase) => state.force(phase, now),
            None => state.automatic(now),
        });
        drop(inner);
        self.deliver(news);
    }

    pub(super) fn might_admit(&self, now: Instant) -> bool {
        self.nanos(now) > self.hot.refusing_until.load(Ordering::Acquire)
    }

    #[inline]
    fn nanos(&self, now: Instant) -> u64 {
        // One more, since 0 is never; at most one less than always, which no instant reaches.
        whole_nanos(now.saturating_duration_since(self.base)).min(ALWAYS - 2) + 1
    }

    /// Admits by the caller's lane alone, if that is all there is to it.
    #[inline]
    fn count_request(&self, counter: &Counter, at: u64) -> Option<Ticket> {
        // In this order, and published in the other: a bound is never newer than the ticket.
        let in_time = at <= self.hot.counting_until.load(Ordering::Acquire);
        let ticket = self.hot.ticket.load(Ordering::Acquire);
        (in_time && counter.request(ticket)).then_some(ticket)
    }

    /// Counts a success by the caller's lane alone.
    #[inline]
    fn count_success(&self, counter: &Counter, ticket: Ticket, at: u64) -> bool {
        at <= self.hot.counting_until.load(Ordering::Acquire)
            && ticket == self.hot.ticket.load(Ordering::Acquire)
            && counter.success(ticket)
    }

    /// Changes the machine, with all that the lanes counted told, and none counting meanwhile.
    /// Says whether there is a transition to deliver once the lock is released.
    fn change<R>(
        &self,
        inner: &mut Inner,
        now: Instant,
        change: impl FnOnce(&mut State) -> R,
    ) -> (R, bool) {
        if inner.counting {
            let closed = self.counters.iter().map(|counter| counter.close());
            let (requests, successes) = closed.fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
            inner.state.fold(requests, successes);
        }
        let from = inner.state.phase();
        let result = change(&mut inner.state);
        let to = inner.state.phase();
        if from != to {
            inner.news.push_back(Transition {
                breaker: self.name.clone(),
                from,
                to,
                at: now,
            });
        }
        self.publish(inner);
        (result, from != to)
    }

    /// Tells those who do not hold the lock, and opens the lanes if they may count.
    fn publish(&self, inner: &mut Inner) {
        let (gate, end) = inner.state.gate();
        let until = end.map_or(ALWAYS, |end| self.nanos(end));
        let only = |holds: bool| if holds { until } else { NEVER };
        let refusing = matches!(gate, Gate::Refusing(_));
        let ticket = inner.state.ticket();
        inner.counting = gate == Gate::Counting;
        let hot = &self.hot;
        hot.ticket.store(ticket, Ordering::Release);
        hot.counting_until
            .store(only(inner.counting), Ordering::Release);
        hot.open_until.store(
            only(gate == Gate::Refusing(Refusal::Open)),
            Ordering::Release,
        );
        hot.refusing_until.store(only(refusing), Ordering::Release);
        if inner.counting {
            for counter in &self.counters {
                counter.open(ticket);
            }
        }
    }

    /// Delivers transitions in their order: by one thread at a time, for all.
    fn deliver(&self, news: bool) {
        let mut more = news;
        while more && !self.delivering.swap(true, Ordering::AcqRel) {
            let turn = Turn(&self.delivering);
            while let Some(transition) = self.next_transition() {
                self.tell(&transition);
            }
            drop(turn);
            // Somebody may have left one since, and gone because it was our turn.
            more = !self.inner.lock().news.is_empty();
        }
    }

    fn next_transition(&self) -> Option<Transition> {
        self.inner.lock().news.pop_front()
    }

    fn tell(&self, transition: &Transition) {
        let Transition { from, to, .. } = transition;
        tracing::warn!(breaker = %self.name, %from, %to, "breaker changed");
        if let Some(callback) = &self.on_state_change {
            callback.call(transition);
        }
    }
}

/// What is longer than some 584 years counts as that.
#[inline]
fn whole_nanos(duration: Duration) -> u64 {
    let whole = duration.as_secs().saturating_mul(1_000_000_000);
    whole.saturating_add(u64::from(duration.subsec_nanos()))
}

/// The turn to deliver; over even if a callback panics.
struct Turn<'a>(&'a AtomicBool);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.inner.lock();
        f.debug_struct("Breaker")
            .field("name", &self.name)
            .field("phase", &inner.state.phase())
            .finish_non_exhaustive()
    }
}
