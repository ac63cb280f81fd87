//! The token bucket: no clock, no lock, no I/O; time is an argument.
//!
//! ```text
//!  tokens
//!  burst ┤████╮        ╭──── full: what comes in is lost
//!        │    ╰╮      ╱
//!      0 ┼─────╰╮────╱─────  below: promised to those who wait
//!        │      ╰╮ ╱         wait = debt / speed
//!        └───────╰┴────────► time
//! ```
//!
//! Rules of `golang.org/x/time/rate`, replayed against it step by step (`oracle.rs`): the bucket
//! starts full; waiting calls take tokens in advance, in the order they ask, so it may be in debt;
//! what is refused changes nothing; a cancelled wait gives back what later ones do not rest on.
//! Tokens are floats and waits are cut to whole nanoseconds, exactly as there, so one may be over
//! up to a nanosecond early.
//!
//! Differences, on purpose:
//!
//! - A reservation is used up by its cancellation; there, a second one restores the tokens again.
//! - A cancellation never gives back more than was taken. There it does when the limit was raised
//!   since, or time went back, and when the reservation was made without a limit (and took none).
//! - Negative counts of tokens and negative limits cannot be expressed.
//!
//! `Instant` never goes back, but the machine follows the rule for a clock that does: nothing comes
//! in, and time is counted anew from there.

#![expect(
    clippy::float_arithmetic,
    reason = "the rule is a float rule, and no money is near"
)]

use std::time::{Duration, Instant};

use super::Rate;

/// As long as a wait can be, 292 years: what never comes is awaited that long.
pub const NEVER: Duration = Duration::from_nanos(i64::MAX.unsigned_abs());

/// Tokens, taken now and usable from a moment on. Not `Copy`: it is cancelled at most once.
#[derive(Debug)]
pub(super) struct Reservation {
    tokens: u32,
    ready_at: Instant,
    /// The speed when it was made; it may differ now.
    speed: f64,
}

impl Reservation {
    pub(super) fn ready_at(&self) -> Instant {
        self.ready_at
    }

    pub(super) fn delay(&self, now: Instant) -> Duration {
        self.ready_at.saturating_duration_since(now).min(NEVER)
    }
}

/// Why tokens were not taken. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// More at once than the bucket ever holds.
    ExceedsBurst,
    /// The deadline had passed already.
    DeadlinePassed,
    /// They would come only after this wait, which is longer than allowed.
    TooLate(Duration),
}

#[derive(Debug)]
pub(super) struct Bucket {
    rate: Rate,
    /// At `last`; negative when calls wait.
    tokens: f64,
    last: Instant,
    /// When the latest reservation may act.
    last_event: Instant,
}

impl Bucket {
    pub(super) fn new(rate: Rate, now: Instant) -> Self {
        Self {
            rate,
            tokens: f64::from(rate.burst()),
            last: now,
            last_event: now,
        }
    }

    pub(super) fn rate(&self) -> Rate {
        self.rate
    }

    /// How many tokens there are: negative when calls wait.
    pub(super) fn tokens(&self, now: Instant) -> f64 {
        let elapsed = now.saturating_duration_since(self.last);
        let tokens = self.tokens + tokens_in(elapsed, self.rate.speed());
        tokens.min(f64::from(self.rate.burst()))
    }

    /// Takes `n` tokens if they are there now. What [`Bucket::reserve`] does without a wait, but
    /// quicker, since nobody gets a reservation.
    pub(super) fn allow(&mut self, now: Instant, n: u32) -> bool {
        if self.rate.is_infinite() {
            return true;
        }
        let (tokens, wait) = self.without(now, n);
        let granted = n <= self.rate.burst() && wait.is_zero();
        if granted {
            self.take(now, tokens, now);
        }
        granted
    }

    /// Takes `n` tokens for a caller who waits for them until `deadline`, if they come in time; the
    /// last moment is in time.
    pub(super) fn wait(
        &mut self,
        now: Instant,
        n: u32,
        deadline: Option<Instant>,
    ) -> Result<Reservation, Refusal> {
        if n > self.rate.burst() && !self.rate.is_infinite() {
            return Err(Refusal::ExceedsBurst);
        }
        let Some(deadline) = deadline else {
            return self.reserve(now, n, NEVER);
        };
        if deadline <= now {
            return Err(Refusal::DeadlinePassed);
        }
        self.reserve(now, n, deadline - now)
    }

    /// Takes `n` tokens if the wait for them is at most `wait_max`.
    pub(super) fn reserve(
        &mut self,
        now: Instant,
        n: u32,
        wait_max: Duration,
    ) -> Result<Reservation, Refusal> {
        if self.rate.is_infinite() {
            return Ok(Reservation {
                tokens: 0,
                ready_at: now,
                speed: 0.0,
            });
        }
        if n > self.rate.burst() {
            return Err(Refusal::ExceedsBurst);
        }
        let (tokens, wait) = self.without(now, n);
        if wait > wait_max {
            return Err(Refusal::TooLate(wait));
        }
        let ready_at = later(now, wait);
        self.take(now, tokens, ready_at);
        Ok(Reservation {
            tokens: n,
            ready_at,
            speed: self.rate.speed(),
        })
    }

    /// How many tokens would be left without `n` of them, and how long these must be waited for.
    fn without(&self, now: Instant, n: u32) -> (f64, Duration) {
        let tokens = self.tokens(now) - f64::from(n);
        if tokens < 0.0 {
            (tokens, time_for(-tokens, self.rate.speed()))
        } else {
            (tokens, Duration::ZERO)
        }
    }

    fn take(&mut self, now: Instant, tokens: f64, ready_at: Instant) {
        self.last = now;
        self.tokens = tokens;
        self.last_event = ready_at;
    }

    /// Gives back tokens that were not used, unless their moment has passed. What was promised to
    /// later calls on the strength of this one's wait stays taken.
    pub(super) fn cancel(&mut self, now: Instant, reservation: Reservation) {
        let Reservation {
            tokens: taken,
            ready_at,
            speed,
        } = reservation;
        if self.rate.is_infinite() || taken == 0 || ready_at < now {
            return;
        }
        let resting = self.last_event.saturating_duration_since(ready_at);
        let restored = f64::from(taken) - tokens_in(resting, speed);
        if restored <= 0.0 {
            return;
        }
        let tokens = self.tokens(now) + restored;
        self.tokens = tokens.min(f64::from(self.rate.burst()));
        self.last = now;
        if ready_at == self.last_event {
            self.last_event = event_before(ready_at, taken, speed)
                .filter(|event| *event >= now)
                .unwrap_or(self.last_event);
        }
    }

    /// Another speed and burst from now on. Tokens come in at the old speed until now; reservations
    /// keep their moment. A larger burst adds no tokens, a smaller one clips them.
    pub(super) fn set_rate(&mut self, now: Instant, rate: Rate) {
        self.tokens = self.tokens(now);
        self.last = now;
        self.rate = rate;
    }
}

/// How many tokens come in.
fn tokens_in(elapsed: Duration, speed: f64) -> f64 {
    elapsed.min(NEVER).as_secs_f64() * speed
}

/// How long `tokens` take to come in, cut to whole nanoseconds.
fn time_for(tokens: f64, speed: f64) -> Duration {
    if speed <= 0.0 {
        return NEVER;
    }
    nanos((tokens / speed) * NANOS).min(NEVER)
}

/// The moment the reservation before one was taken to act: the tokens' time earlier.
fn event_before(ready_at: Instant, tokens: u32, speed: f64) -> Option<Instant> {
    if speed <= 0.0 {
        return ready_at.checked_add(NEVER);
    }
    // The earliest is 2⁶³ ns before: as far as a signed count of nanoseconds reaches.
    let before = nanos((f64::from(tokens) / speed) * NANOS).min(NEVER + Duration::from_nanos(1));
    ready_at.checked_sub(before)
}

const NANOS: f64 = 1e9;

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "cutting the fraction is the rule; never negative, and what is too large saturates"
)]
fn nanos(nanos: f64) -> Duration {
    Duration::from_nanos(nanos as u64)
}

/// A system whose clock does not reach so far gets its tokens early: in some centuries.
fn later(now: Instant, wait: Duration) -> Instant {
    now.checked_add(wait).unwrap_or(now)
}
