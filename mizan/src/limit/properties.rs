//! What the token bucket promises, whatever is asked of it.

#![expect(clippy::float_arithmetic, reason = "tokens are floats by the rule")]

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{
    NEVER, Rate,
    state::{Bucket, Refusal, Reservation},
};

const SECOND: Duration = Duration::from_secs(1);

fn bucket(per_second: u32, burst: u32) -> (Bucket, Instant) {
    let now = Instant::now();
    (Bucket::new(Rate::new(per_second, burst).unwrap(), now), now)
}

fn take(bucket: &mut Bucket, now: Instant, n: u32) -> Reservation {
    bucket.reserve(now, n, NEVER).unwrap()
}

fn delay(bucket: &mut Bucket, now: Instant) -> Duration {
    take(bucket, now, 1).delay(now)
}

#[test]
fn it_starts_full_and_then_waits() {
    let (mut bucket, now) = bucket(10, 2);
    let waits: Vec<_> = (0..4)
        .map(|_| delay(&mut bucket, now).as_millis())
        .collect();
    assert_eq!(waits, [0, 0, 100, 200]);
}

#[test]
fn a_refusal_takes_nothing() {
    let (mut bucket, now) = bucket(1, 1);
    assert_eq!(
        bucket.reserve(now, 2, NEVER).unwrap_err(),
        Refusal::ExceedsBurst
    );
    take(&mut bucket, now, 1);
    let refusal = bucket.wait(now, 1, Some(now + SECOND / 2)).unwrap_err();
    assert_eq!(refusal, Refusal::TooLate(SECOND));
    assert!(!bucket.allow(now, 1));
    let just_in_time = bucket.wait(now, 1, Some(now + SECOND)).unwrap();
    assert_eq!(just_in_time.ready_at(), now + SECOND);
}

#[test]
fn a_cancelled_wait_is_given_back_less_what_rests_on_it() {
    let (mut bucket, now) = bucket(1, 1);
    take(&mut bucket, now, 1);
    let second = take(&mut bucket, now, 1);
    let third = take(&mut bucket, now, 1);
    bucket.cancel(now, second);
    let fourth = delay(&mut bucket, now);
    assert_eq!(fourth, 3 * SECOND, "the third rests on the second's wait");
    bucket.cancel(now, third);
    assert_eq!(delay(&mut bucket, now), 4 * SECOND);
}

#[test]
fn cancelling_the_last_wait_gives_all_of_it_back() {
    let (mut bucket, now) = bucket(1, 1);
    take(&mut bucket, now, 1);
    let second = take(&mut bucket, now, 1);
    bucket.cancel(now, second);
    assert_eq!(delay(&mut bucket, now), SECOND);
}

#[test]
fn a_moment_that_has_passed_cannot_be_cancelled() {
    let (mut bucket, now) = bucket(1, 1);
    let first = take(&mut bucket, now, 1);
    bucket.cancel(now + Duration::from_nanos(1), first);
    assert!(!bucket.allow(now + SECOND / 2, 1));
}

#[test]
fn a_clock_that_goes_back_gives_nothing() {
    let (mut bucket, now) = bucket(1, 1);
    assert_eq!(delay(&mut bucket, now + SECOND), Duration::ZERO);
    assert_eq!(delay(&mut bucket, now), SECOND);
}

/// In Go the cancellation gives nearly ten tokens back: the reservation's moment is far behind the
/// latest one's, which the faster rate brought near.
#[test]
fn a_cancellation_gives_back_no_more_than_was_taken() {
    let (mut bucket, now) = bucket(1, 20);
    take(&mut bucket, now, 20);
    let early = take(&mut bucket, now, 10);
    bucket.set_rate(now, Rate::new(100, 20).unwrap());
    take(&mut bucket, now, 1);
    assert_eq!(bucket.tokens(now), -11.0);
    bucket.cancel(now, early);
    assert_eq!(bucket.tokens(now), -1.0);
}

/// In Go it gives back a token, though none was taken.
#[test]
fn what_was_reserved_without_a_limit_gives_nothing_back() {
    let now = Instant::now();
    let mut bucket = Bucket::new(Rate::infinite().with_burst(1), now);
    let free = take(&mut bucket, now, 1);
    bucket.set_rate(now, Rate::new(1, 1).unwrap());
    take(&mut bucket, now, 1);
    bucket.cancel(now, free);
    assert_eq!(bucket.tokens(now), 0.0);
}

/// Moments in milliseconds at which calls take so many tokens, and which of them give up at once,
/// or after the next call.
fn calls() -> impl Strategy<Value = Vec<(u64, u32, u8)>> {
    prop::collection::vec((0_u64..500, 0_u32..20, 0_u8..4), 1..100)
}

proptest! {
    /// In any stretch of time no more tokens are used than the burst and what came in since, but
    /// for those of the nanosecond that waits are cut by.
    #[test]
    fn the_rate_is_never_exceeded(per_second in 1_u32..100, burst in 1_u32..20, calls in calls()) {
        let (mut bucket, mut now) = bucket(per_second, burst);
        let mut used = Vec::new();
        for (gap, n, fate) in calls {
            now += Duration::from_millis(gap);
            let Ok(reservation) = bucket.reserve(now, n, NEVER) else {
                prop_assert!(n > burst);
                continue;
            };
            if fate == 0 {
                bucket.cancel(now, reservation);
            } else {
                used.push((reservation.ready_at(), n));
            }
        }
        for (i, (first, _)) in used.iter().enumerate() {
            let mut tokens = 0.0;
            for (last, n) in used.iter().skip(i) {
                tokens += f64::from(*n);
                let span = last.saturating_duration_since(*first) + Duration::from_nanos(2);
                let allowed = f64::from(burst) + span.as_secs_f64() * f64::from(per_second);
                prop_assert!(tokens <= allowed + 1e-6, "{} of {}", tokens, allowed);
            }
        }
    }

    /// Whoever asks first acts first, whatever others ask for.
    #[test]
    fn it_is_first_come_first_served(per_second in 1_u32..100, burst in 1_u32..20, calls in calls()) {
        let (mut bucket, mut now) = bucket(per_second, burst);
        let mut latest = now;
        for (gap, n, _) in calls {
            now += Duration::from_millis(gap);
            if let Ok(reservation) = bucket.reserve(now, n, NEVER) {
                // Two waits are cut to nanoseconds each for itself.
                prop_assert!(reservation.ready_at() + Duration::from_nanos(1) >= latest);
                latest = latest.max(reservation.ready_at());
            }
        }
    }

    /// A bucket never holds more for a cancelled reservation than if it had not been made, whatever
    /// came between: other calls, cancellations, another rate.
    #[test]
    fn cancelling_creates_no_tokens(
        per_second in 1_u32..100,
        burst in 1_u32..20,
        taken in 1_u32..20,
        between in calls(),
        after in 0_u64..2_000,
    ) {
        let (mut with, mut now) = bucket(per_second, burst);
        let mut without = Bucket::new(with.rate(), now);
        let reservation = with.reserve(now, taken.min(burst), NEVER).unwrap();
        for (gap, n, fate) in between {
            now += Duration::from_millis(gap);
            if fate == 3 {
                let rate = Rate::new(per_second * (n + 1), burst).unwrap();
                with.set_rate(now, rate);
                without.set_rate(now, rate);
            } else if let (Ok(a), Ok(b)) = (with.reserve(now, n, NEVER), without.reserve(now, n, NEVER))
                && fate == 0
            {
                with.cancel(now, a);
                without.cancel(now, b);
            }
        }
        now += Duration::from_millis(after);
        with.cancel(now, reservation);
        prop_assert!(with.tokens(now) <= without.tokens(now) + 1e-6);
    }

    /// Nothing that is refused leaves a trace.
    #[test]
    fn refusals_change_nothing(per_second in 1_u32..100, burst in 1_u32..20, calls in calls()) {
        let (mut asked, mut now) = bucket(per_second, burst);
        let mut left = Bucket::new(asked.rate(), now);
        for (gap, n, fate) in calls {
            now += Duration::from_millis(gap);
            let in_time = now + Duration::from_millis(u64::from(fate) * 100);
            if asked.wait(now, n, Some(in_time)).is_ok() {
                left.reserve(now, n, NEVER).unwrap();
            }
            prop_assert_eq!(asked.tokens(now).to_bits(), left.tokens(now).to_bits());
        }
    }
}
