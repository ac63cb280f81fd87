//! The token bucket: no clock, no lock, no I/O; time is an argument.
//!
//! Rules of `golang.org/x/time/rate`: the bucket starts full; waiting calls take tokens in
//! advance, so it may be in debt; a cancelled wait gives back what later ones do not rest on.

use std::time::{Duration, Instant};

/// How many calls a second, and how many at once. Both are whole, above zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    per_second: u32,
    burst: u32,
}

impl Rate {
    /// `per_second` calls a second, `burst` at once; `None` when either is zero.
    #[must_use]
    pub const fn new(per_second: u32, burst: u32) -> Option<Self> {
        if per_second == 0 || burst == 0 {
            return None;
        }
        Some(Self { per_second, burst })
    }
}

/// A token, taken now and usable from a moment on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reservation {
    ready_at: Instant,
}

impl Reservation {
    pub(super) fn ready_at(&self) -> Instant {
        self.ready_at
    }
}

/// Tokens are counted in billionths: a second at one a second is exactly one token, and nothing
/// drifts as it would with floats.
const TOKEN: i128 = 1_000_000_000;

#[derive(Debug)]
pub(super) struct Bucket {
    rate: Rate,
    /// Billionths of a token at `last`; negative when calls wait.
    level: i128,
    last: Instant,
    /// When the latest reservation may act.
    last_event: Instant,
}

impl Bucket {
    pub(super) fn new(rate: Rate, now: Instant) -> Self {
        Self {
            rate,
            level: i128::from(rate.burst) * TOKEN,
            last: now,
            last_event: now,
        }
    }

    /// Takes a token if the wait for it is at most `wait_max`; otherwise changes nothing and
    /// answers how long it would have been.
    pub(super) fn reserve(
        &mut self,
        now: Instant,
        wait_max: Option<Duration>,
    ) -> Result<Reservation, Duration> {
        let level = self.level_at(now) - TOKEN;
        let wait = if level >= 0 {
            Duration::ZERO
        } else {
            self.time_for(-level)
        };
        if wait_max.is_some_and(|max| wait > max) {
            return Err(wait);
        }
        self.level = level;
        self.last = now;
        self.last_event = now + wait;
        Ok(Reservation {
            ready_at: now + wait,
        })
    }

    /// Gives back a token that was not used. What was promised to later calls on the strength of
    /// this one's wait stays taken.
    pub(super) fn cancel(&mut self, now: Instant, reservation: Reservation) {
        if reservation.ready_at < now {
            return;
        }
        let later = self
            .last_event
            .saturating_duration_since(reservation.ready_at);
        let restored = TOKEN - self.tokens_in(later);
        if restored <= 0 {
            return;
        }
        self.level = (self.level_at(now) + restored).min(self.full());
        self.last = now;
        if reservation.ready_at == self.last_event {
            let before = self.last_event.checked_sub(self.time_for(TOKEN));
            self.last_event = before
                .filter(|event| *event >= now)
                .unwrap_or(self.last_event);
        }
    }

    fn level_at(&self, now: Instant) -> i128 {
        let elapsed = now.saturating_duration_since(self.last);
        (self.level + self.tokens_in(elapsed)).min(self.full())
    }

    fn full(&self) -> i128 {
        i128::from(self.rate.burst) * TOKEN
    }

    fn tokens_in(&self, elapsed: Duration) -> i128 {
        // Nanoseconds × tokens a second = billionths of a token.
        i128::try_from(elapsed.as_nanos()).unwrap_or(i128::MAX / TOKEN)
            * i128::from(self.rate.per_second)
    }

    /// How long `level` billionths take to come in, rounded up: never early.
    fn time_for(&self, level: i128) -> Duration {
        let per_second = i128::from(self.rate.per_second);
        let nanos = (level + per_second - 1) / per_second;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn bucket(per_second: u32, burst: u32) -> (Bucket, Instant) {
        let now = Instant::now();
        (Bucket::new(Rate::new(per_second, burst).unwrap(), now), now)
    }

    fn wait(bucket: &mut Bucket, now: Instant) -> Duration {
        bucket.reserve(now, None).unwrap().ready_at() - now
    }

    #[test]
    fn it_starts_full_and_then_waits() {
        let (mut bucket, now) = bucket(10, 2);
        let waits: Vec<_> = (0..4).map(|_| wait(&mut bucket, now).as_millis()).collect();
        assert_eq!(waits, [0, 0, 100, 200]);
    }

    #[test]
    fn a_refusal_takes_nothing() {
        let (mut bucket, now) = bucket(1, 1);
        wait(&mut bucket, now);
        assert_eq!(bucket.reserve(now, Some(SECOND / 2)).unwrap_err(), SECOND);
        assert_eq!(
            bucket.reserve(now, Some(SECOND)).unwrap().ready_at(),
            now + SECOND,
            "an equal wait is allowed"
        );
    }

    #[test]
    fn a_cancelled_wait_is_given_back_less_what_rests_on_it() {
        let (mut bucket, now) = bucket(1, 1);
        wait(&mut bucket, now);
        let second = bucket.reserve(now, None).unwrap();
        let third = bucket.reserve(now, None).unwrap();
        bucket.cancel(now, second);
        assert_eq!(
            wait(&mut bucket, now),
            3 * SECOND,
            "the third call rests on the second's wait"
        );
        bucket.cancel(now, third);
        assert_eq!(
            bucket.reserve(now, None).unwrap().ready_at(),
            now + 4 * SECOND
        );
    }

    #[test]
    fn cancelling_the_last_wait_gives_all_of_it_back() {
        let (mut bucket, now) = bucket(1, 1);
        wait(&mut bucket, now);
        let second = bucket.reserve(now, None).unwrap();
        bucket.cancel(now, second);
        assert_eq!(wait(&mut bucket, now), SECOND);
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing() {
        let (mut bucket, now) = bucket(1, 1);
        wait(&mut bucket, now + SECOND);
        assert_eq!(wait(&mut bucket, now), SECOND);
    }

    proptest! {
        /// In any stretch of time no more calls act than the burst and what came in since.
        #[test]
        fn the_rate_is_never_exceeded(per_second in 1_u32..100, burst in 1_u32..20, gaps in prop::collection::vec(0_u64..500, 1..100)) {
            let (mut bucket, start) = bucket(per_second, burst);
            let mut now = start;
            let mut acts = Vec::new();
            for gap in gaps {
                now += Duration::from_millis(gap);
                acts.push(bucket.reserve(now, None).unwrap().ready_at());
            }
            for (i, first) in acts.iter().enumerate() {
                for (j, last) in acts.iter().enumerate().skip(i) {
                    let calls = u128::try_from(j - i + 1).unwrap();
                    let span = last.saturating_duration_since(*first).as_nanos();
                    let allowed = u128::from(burst) * 1_000_000_000 + span * u128::from(per_second);
                    prop_assert!(calls * 1_000_000_000 <= allowed + 1_000_000_000);
                }
            }
        }
    }
}
