//! One connection to one instance, from the first try to the last call: a pure state machine.
//!
//! ```text
//!                         ┌──────────── ended (GOAWAY, reset, silence) ───────────┐
//!                         ▼                                                       │
//!  ┌──────┐ begin ┌────────────┐ SETTINGS ┌──────────┐  serving, or no   ┌────────┴──┐
//!  │ idle ├──────►│ connecting ├─────────►│ checking ├──────────────────►│   ready   │
//!  └──────┘       └─┬────────▲─┘          └────┬─────┘  watch is asked   └─▲───────┬─┘
//!            failed │        │ pause over      │ not serving        serving│       │ not
//!                   ▼        │                 ▼                           │       ▼ serving
//!                 ┌──────────┴─┐  ended   ┌────────────────────────────────┴──────────┐
//!                 │  backoff   │◄─────────┤                 unhealthy                 │
//!                 └────────────┘ at once  └───────────────────────────────────────────┘
//!                                twice
//!  removed, in any state: gone; calls under way are finished
//! ```
//!
//! Whether the instance is *ejected* as an outlier is no state of a connection: it lies over the
//! instance as a whole, which stays connected (gRFC A50).
//!
//! Pauses are those of gRPC's connection backoff document: 1 s, growing by 1.6 to 120 s, ±20 %,
//! counted from the start of a try, forgotten when the peer's SETTINGS arrive. One thing is added:
//! a peer that sends SETTINGS and hangs up, again and again, is not tried at once each time.

use std::time::{Duration, Instant};

use crate::retry::spread;

/// Where a connection stands; see the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Not begun.
    Idle,
    /// Being made.
    Connecting,
    /// Made; the first answer of the health watch is awaited.
    Checking,
    /// Made, and fit to be picked.
    Ready,
    /// Made, and the instance says that it does not serve.
    Unhealthy,
    /// Could not be made, or did not last; tried again after a pause.
    Backoff,
    /// No longer wanted.
    Gone,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// The connection is wanted.
    Begin,
    /// The peer's SETTINGS arrived; whether a health watch will say more.
    Settled { checked: bool },
    /// It could not be made.
    Failed,
    /// It ended; whether because the server finds our keepalive too eager.
    Ended { pinged_too_often: bool },
    /// The health watch says that the instance serves, or that it has no say.
    Serving,
    /// It says that the instance does not, or it broke.
    NotServing,
    /// The pause asked for is over.
    PauseOver,
    /// The instance was removed.
    Removed,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Try to connect, for so long.
    Connect { within: Duration },
    /// Wait until then, and say that the pause is over.
    Pause { until: Instant },
    /// Go on with what is being done.
    Carry,
    /// Stop; let calls under way finish.
    Stop,
}

/// gRPC's connection backoff document.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(120);

/// A connection that ended sooner was turned away rather than used.
const LASTING: Duration = Duration::from_secs(1);

/// The keepalive interval doubles at most so often: from 20 s beyond the 5 minutes that gRPC's
/// servers ask for.
const DOUBLINGS_MAX: u32 = 6;

/// Growing pauses: the next one, before jitter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Backoff(Duration);

impl Backoff {
    pub(crate) const fn new() -> Self {
        Self(PAUSE_MIN)
    }

    /// The next pause, ±20 % by `random`; the one after it is 1.6 times as long.
    pub(crate) fn next(&mut self, random: u32) -> Duration {
        let pause = spread(self.0, random);
        self.0 = (self.0 * 8 / 5).min(PAUSE_MAX);
        pause
    }

    pub(crate) fn reset(&mut self) {
        self.0 = PAUSE_MIN;
    }
}

/// The machine. Time and randomness are given to it.
#[derive(Debug)]
pub(crate) struct Link {
    state: State,
    /// It failed, and has not been ready since: nothing to wait for.
    failed: bool,
    backoff: Backoff,
    /// Before this, no other try after the one under way.
    next_try: Option<Instant>,
    /// When SETTINGS arrived.
    settled: Option<Instant>,
    /// How many connections in a row did not last.
    brief: u32,
    doublings: u32,
    /// The least time that a try is given.
    connect_timeout: Duration,
}

impl Link {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Idle,
            failed: false,
            backoff: Backoff::new(),
            next_try: None,
            settled: None,
            brief: 0,
            doublings: 0,
            connect_timeout: Duration::ZERO,
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// Whether it failed and has not been ready since. Sticky, so that a call does not wait anew
    /// for every try (gRPC: TRANSIENT_FAILURE lasts until READY).
    pub(crate) fn has_failed(&self) -> bool {
        self.failed
    }

    /// The least time that a try is given, by the settings.
    pub(crate) fn set_connect_timeout(&mut self, timeout: Duration) {
        self.connect_timeout = timeout;
    }

    /// The keepalive interval to use towards this peer: doubled for each time it complained.
    pub(crate) fn keep_alive(&self, interval: Duration) -> Duration {
        interval.saturating_mul(1 << self.doublings)
    }

    /// Takes note of what happened and says what to do. An event that does not fit the state is
    /// late news and changes nothing.
    pub(crate) fn on(&mut self, event: Event, now: Instant, random: u32) -> Action {
        match (self.state, event) {
            (State::Gone, _) => Action::Stop,
            (_, Event::Removed) => {
                self.state = State::Gone;
                Action::Stop
            }
            (State::Idle, Event::Begin) | (State::Backoff, Event::PauseOver) => {
                self.connect(now, random)
            }
            (State::Connecting, Event::Settled { checked }) => {
                self.settled = Some(now);
                if self.brief == 0 {
                    self.backoff.reset();
                }
                if checked {
                    self.state = State::Checking;
                } else {
                    self.ready();
                }
                Action::Carry
            }
            (State::Connecting, Event::Failed) => {
                self.failed = true;
                self.state = State::Backoff;
                let until = self.next_try.map_or(now, |next| next.max(now));
                Action::Pause { until }
            }
            (State::Checking | State::Unhealthy | State::Ready, Event::Serving) => {
                self.ready();
                Action::Carry
            }
            (State::Checking | State::Unhealthy | State::Ready, Event::NotServing) => {
                self.failed = true;
                self.state = State::Unhealthy;
                Action::Carry
            }
            (
                State::Checking | State::Unhealthy | State::Ready,
                Event::Ended { pinged_too_often },
            ) => {
                self.doublings += u32::from(pinged_too_often);
                self.doublings = self.doublings.min(DOUBLINGS_MAX);
                self.ended(now, random)
            }
            _ => Action::Carry,
        }
    }

    fn ready(&mut self) {
        self.state = State::Ready;
        self.failed = false;
    }

    /// The next try may begin a pause after this one began, however long this one takes; and it is
    /// given that pause, if it is longer than the connect timeout.
    fn connect(&mut self, now: Instant, random: u32) -> Action {
        self.state = State::Connecting;
        let pause = self.backoff.next(random);
        self.next_try = Some(now + pause);
        Action::Connect {
            within: self.connect_timeout.max(pause),
        }
    }

    fn ended(&mut self, now: Instant, random: u32) -> Action {
        let lasted = self
            .settled
            .take()
            .map(|at| now.saturating_duration_since(at));
        if lasted.is_some_and(|lasted| lasted >= LASTING) {
            self.brief = 0;
            self.backoff.reset();
        } else {
            self.brief = self.brief.saturating_add(1);
        }
        // A server that restarts may end a fresh connection, once.
        if self.brief <= 1 {
            return self.connect(now, random);
        }
        self.failed = true;
        self.state = State::Backoff;
        let until = self.next_try.map_or(now, |next| next.max(now));
        Action::Pause { until }
    }
}

#[cfg(test)]
mod tests;
