//! The attempts of one call: which may follow which, and when. gRFC A6, retries and hedges alike.
//!
//! ```text
//!            next() = Start                     next() = WaitUntil
//!           ┌───────────────┐                  ┌───────────────────┐
//!           ▼               │                  ▼                   │
//!     ┌───────────┐  ended: retryable   ┌────────────┐  time came  │
//!  ─► │ under way │ ──────────────────► │ paused     │ ────────────┘
//!     │ 1 or more │ ◄────────────────── │            │
//!     └───────────┘        Start        └────────────┘
//!           │ answered, fatal                  │ no attempt, token, request or time left
//!           ▼                                  ▼
//!     ┌──────────────────────────────────────────────┐
//!     │ done: one attempt's answer is the call's     │
//!     └──────────────────────────────────────────────┘
//! ```
//!
//! Hedging differs in one thing: the next attempt has a time from the start, so attempts overlap.

use std::time::{Duration, Instant};

use tonic::Code;

use super::{
    backoff::Backoff,
    policy::{Policy, RetryPolicy},
    pushback::Pushback,
};

/// How often in one call a request that never left is sent elsewhere at once; then with pauses.
/// Bounds a loop over instances that all refuse.
const RESENDS_AT_ONCE: u32 = 8;

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// A response began, or was OK without a body: the call is the attempt's.
    Answered,
    /// With a status other than OK before any response began, or with a lost connection.
    Failed { code: Code, pushback: Pushback },
    /// It ran out of its own time, not the call's.
    TimedOut,
    /// The request never left this process.
    NeverSent,
    /// The server's HTTP/2 library turned it away before the service saw it.
    RefusedUnseen,
    /// There is no instance to send it to.
    NoInstance,
    /// This client would not let it go: limiter, breaker, or a call that is too late.
    Declined,
}

impl End {
    /// Whether the throttle counts it as a failure. It spares the callee, so only what reached it
    /// counts.
    fn is_charged(self, policy: &Policy) -> bool {
        match self {
            Self::Failed { code, pushback } => {
                policy.codes().contains(code) || pushback == Pushback::Stop
            }
            Self::TimedOut => *policy != Policy::Never,
            Self::Answered
            | Self::NeverSent
            | Self::RefusedUnseen
            | Self::NoInstance
            | Self::Declined => false,
        }
    }
}

/// What the machine cannot know by itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given {
    pub(super) now: Instant,
    /// A random number.
    pub(super) jitter: u32,
    /// Whether the throttle allows a retry or a hedge, what just ended included.
    pub(super) affordable: bool,
    /// Whether the request can be sent once more.
    pub(super) sendable: bool,
}

/// An attempt to be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// Unlike any other of its call; the first has 0.
    pub(crate) id: u32,
    /// How many came before it, for `grpc-previous-rpc-attempts`; transparent retries not counted.
    pub(crate) previous: u32,
    pub(crate) kind: Kind,
    timeout: Option<Duration>,
    deadline: Option<Instant>,
}

impl Attempt {
    /// With this time of its own, if there is one, rather than the policy's.
    pub(crate) fn within(self, timeout: Option<Duration>) -> Self {
        Self {
            timeout: timeout.or(self.timeout),
            ..self
        }
    }

    /// When the attempt must be over if it is sent `now`, and whether that is its own limit rather
    /// than the call's deadline. Waiting before that, as for a limiter, is not its own time.
    pub(crate) fn until(&self, now: Instant) -> (Option<Instant>, bool) {
        let own = self.timeout.and_then(|timeout| now.checked_add(timeout));
        match (own, self.deadline) {
            (Some(own), Some(deadline)) if own < deadline => (Some(own), true),
            (Some(own), None) => (Some(own), true),
            (_, deadline) => (deadline, false),
        }
    }
}

/// Why an attempt is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    First,
    Retry,
    Hedge,
    /// Of a request that no service saw.
    Transparent,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Start this attempt, and ask again.
    Start(Attempt),
    /// Ask again then, or when an attempt ended.
    WaitUntil(Instant),
    /// Ask again when an attempt ended.
    Wait,
    /// The answer of this attempt is the call's; drop the others.
    Done(Verdict),
}

/// How the call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) attempt: u32,
    /// Given up after all that may be done about a failure: the callers above must not do it again.
    pub(super) exhausted: bool,
}

/// What a call took, for metrics (gRFC A96).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    pub(crate) retries: u32,
    pub(crate) hedges: u32,
    pub(crate) transparent: u32,
    /// How long no attempt was under way.
    pub(crate) paused: Duration,
}

/// The answer to give if nothing better comes.
#[derive(Debug, Clone, Copy)]
struct Best {
    id: u32,
    /// A callee's word, not this client's own.
    from_callee: bool,
}

/// The machine. Begins with one attempt under way.
#[derive(Debug, Clone)]
pub(super) struct Attempts {
    policy: Policy,
    deadline: Option<Instant>,
    started: u32,
    /// Those that count to the most there may be.
    counted: u32,
    under_way: u32,
    /// When the next counted one is due.
    due: Option<Instant>,
    /// How many transparent retries are due, and when.
    resend: Option<(u32, Instant)>,
    resent_at_once: u32,
    refused_once: bool,
    /// No counted one follows, whatever happens.
    stopped: bool,
    /// Told so by the callee or the throttle.
    held_back: bool,
    backoff: Backoff,
    resend_backoff: Backoff,
    idle_since: Option<Instant>,
    best: Option<Best>,
    over: Option<Verdict>,
    tally: Tally,
}

impl Attempts {
    /// Starts the first attempt, which is always made: if the call is too late, it says so.
    pub(super) fn begin(
        policy: &Policy,
        deadline: Option<Instant>,
        now: Instant,
    ) -> (Self, Attempt) {
        let default = RetryPolicy::default();
        let backoff_of = |retry: &RetryPolicy| {
            let (initial, max) = (retry.backoff_initial, retry.backoff_max);
            Backoff::new(initial, max, retry.backoff_multiplier)
        };
        let mut attempts = Self {
            policy: *policy,
            deadline,
            started: 0,
            counted: 0,
            under_way: 0,
            due: None,
            resend: None,
            resent_at_once: 0,
            refused_once: false,
            stopped: false,
            held_back: false,
            backoff: match policy {
                Policy::Retry(retry) => backoff_of(retry),
                Policy::Hedge(_) | Policy::Never => backoff_of(&default),
            },
            resend_backoff: backoff_of(&default),
            idle_since: None,
            best: None,
            over: None,
            tally: Tally::default(),
        };
        let first = attempts.start_counted(now);
        (attempts, first)
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    /// Whether the throttle is to be charged for this end: ask before [`ended`](Self::ended).
    pub(super) fn is_charged(&self, end: End) -> bool {
        // The second time it is a failure like any other.
        let second_refusal = end == End::RefusedUnseen && self.refused_once;
        match second_refusal {
            true => failure(Code::Unavailable).is_charged(&self.policy),
            false => end.is_charged(&self.policy),
        }
    }

    /// Whether the answer of attempt `id`, which just ended, is the one to keep.
    pub(super) fn keeps(&self, id: u32) -> bool {
        match (self.over, self.best) {
            (Some(verdict), _) => verdict.attempt == id,
            (None, best) => best.is_some_and(|best| best.id == id),
        }
    }

    /// Whether another attempt may go on while one is under way.
    fn is_hedging(&self) -> bool {
        matches!(self.policy, Policy::Hedge(_))
    }

    fn start(&mut self, kind: Kind, now: Instant) -> Attempt {
        let attempt = Attempt {
            id: self.started,
            previous: self.counted.saturating_sub(1),
            kind,
            timeout: self.policy.attempt_timeout(),
            deadline: self.deadline,
        };
        self.started = self.started.saturating_add(1);
        self.under_way += 1;
        if let Some(since) = self.idle_since.take() {
            self.tally.paused += now.saturating_duration_since(since);
        }
        attempt
    }

    fn start_counted(&mut self, now: Instant) -> Attempt {
        let kind = match (self.counted, self.is_hedging()) {
            (0, _) => Kind::First,
            (_, true) => Kind::Hedge,
            (_, false) => Kind::Retry,
        };
        match kind {
            Kind::Hedge => self.tally.hedges += 1,
            Kind::Retry => self.tally.retries += 1,
            Kind::First | Kind::Transparent => {}
        }
        self.counted += 1;
        self.due = None;
        if let Policy::Hedge(hedge) = self.policy {
            self.schedule(now.checked_add(hedge.delay));
        }
        self.start(kind, now)
    }

    /// Sets when the next counted attempt is due, if there may be one.
    fn schedule(&mut self, at: Option<Instant>) {
        let may = !self.stopped && self.counted < self.policy.attempts_max();
        self.due = at.filter(|_| may);
    }

    fn stop(&mut self) {
        self.stopped = true;
        self.due = None;
    }

    /// Takes note of an attempt's end.
    pub(super) fn ended(&mut self, id: u32, end: End, given: Given) {
        self.under_way = self.under_way.saturating_sub(1);
        if self.under_way == 0 {
            self.idle_since = Some(given.now);
        }
        if self.over.is_some() {
            return;
        }
        match end {
            End::Answered => self.finish(id, false),
            End::Failed { code, pushback } => self.failed(id, code, pushback, given),
            End::TimedOut => self.mendable(id, Pushback::None, given),
            End::NeverSent => {
                self.note(id, false);
                self.resend_elsewhere(given);
            }
            End::RefusedUnseen if self.refused_once => {
                self.failed(id, Code::Unavailable, Pushback::None, given);
            }
            End::RefusedUnseen => {
                self.refused_once = true;
                self.note(id, false);
                self.resend_at(given.now);
            }
            End::NoInstance => {
                self.note(id, false);
                self.wait_for_an_instance(given);
            }
            End::Declined => {
                self.note(id, false);
                self.stop();
            }
        }
    }

    /// The call was committed to one attempt before any answer: its request is no longer kept, and
    /// the others were dropped.
    pub(super) fn committed(&mut self) {
        self.stop();
        self.resend = None;
        self.under_way = self.under_way.min(1);
    }

    fn finish(&mut self, id: u32, exhausted: bool) {
        let attempt = id;
        self.over = Some(Verdict { attempt, exhausted });
    }

    /// The newest answer is the best, except that hedges do not hide a callee's word behind our own.
    fn note(&mut self, id: u32, from_callee: bool) {
        let hidden = self.is_hedging() && !from_callee && self.best.is_some_and(|b| b.from_callee);
        if !hidden {
            self.best = Some(Best { id, from_callee });
        }
    }

    fn failed(&mut self, id: u32, code: Code, pushback: Pushback, given: Given) {
        if self.policy.codes().contains(code) {
            self.mendable(id, pushback, given);
        } else {
            // Fatal: whatever else is under way will not do better.
            self.finish(id, pushback == Pushback::Stop);
        }
    }

    fn mendable(&mut self, id: u32, pushback: Pushback, given: Given) {
        self.note(id, true);
        if pushback == Pushback::Stop || !given.affordable {
            self.held_back = true;
            self.stop();
            return;
        }
        let pause = match pushback {
            Pushback::After(asked) => {
                self.backoff.reset();
                asked
            }
            _ if self.is_hedging() => Duration::ZERO,
            _ => self.backoff.pause(given.jitter),
        };
        self.schedule(given.now.checked_add(pause));
    }

    /// Fewer instances than attempts is no reason to ask none of them: the pause is that of a
    /// retry. It counts as an attempt, so that a call to nobody fails fast.
    fn wait_for_an_instance(&mut self, given: Given) {
        let pause = self.backoff.pause(given.jitter);
        let at = given.now.checked_add(pause);
        // A hedge that is due later anyway stays so.
        self.schedule(at.max(self.due));
    }

    fn resend_elsewhere(&mut self, given: Given) {
        if self.resent_at_once < RESENDS_AT_ONCE {
            self.resent_at_once += 1;
            self.resend_at(given.now);
        } else {
            let pause = self.resend_backoff.pause(given.jitter);
            if let Some(at) = given.now.checked_add(pause) {
                self.resend_at(at);
            }
        }
    }

    fn resend_at(&mut self, at: Instant) {
        let (waiting, other) = self.resend.unwrap_or((0, at));
        self.resend = Some((waiting + 1, at.max(other)));
    }

    /// What to do now. Ask again after every start, end and wait.
    pub(super) fn next(&mut self, given: Given) -> Next {
        if let Some(verdict) = self.over {
            return Next::Done(verdict);
        }
        let now = given.now;
        let in_time = |at: &Instant| self.deadline.is_none_or(|d| (*at).max(now) < d);
        // Nothing is sent after the deadline, and nobody waits for what could not be.
        self.due = self.due.filter(|at| given.sendable && in_time(at));
        self.resend = self.resend.filter(|(_, at)| given.sendable && in_time(at));
        if let Some((waiting, at)) = self.resend
            && at <= now
        {
            self.resend = (waiting > 1).then_some((waiting - 1, at));
            self.tally.transparent += 1;
            return Next::Start(self.start(Kind::Transparent, now));
        }
        if self.due.is_some_and(|at| at <= now) {
            // A retry was paid for when its attempt failed; a hedge is when it is due.
            if !self.is_hedging() || given.affordable {
                return Next::Start(self.start_counted(now));
            }
            self.held_back = true;
            self.stop();
        }
        let resend = self.resend.map(|(_, at)| at);
        match (self.due.into_iter().chain(resend).min(), self.best) {
            (Some(at), _) => Next::WaitUntil(at),
            (None, Some(best)) if self.under_way == 0 => Next::Done(Verdict {
                attempt: best.id,
                exhausted: self.counted > 1 || self.held_back,
            }),
            (None, _) => Next::Wait,
        }
    }
}

/// A failure without a pushback.
fn failure(code: Code) -> End {
    let pushback = Pushback::None;
    End::Failed { code, pushback }
}

#[cfg(test)]
mod tests;
