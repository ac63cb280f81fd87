//! The rate limiter: waits for tokens on the clock, and shares one bucket among its clones.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};
use tonic::{Code, Status};

use super::{
    Rate,
    state::{self, Bucket, NEVER, Refusal},
};
use crate::{deadline, status};

/// A rate limiter. Clones share it. It works without a channel, too.
///
/// Whoever asks first is served first: tokens are promised in the order of the calls, and a call for
/// many delays all after it.
///
/// ```
/// # use mizan::limit::{Limiter, Rate};
/// let limiter = Limiter::new("accounting", Rate::new(100, 2).ok_or("a rate is above zero")?);
/// let now = std::time::Instant::now();
/// assert!(limiter.try_acquire(now) && limiter.try_acquire(now) && !limiter.try_acquire(now));
/// # Ok::<(), &str>(())
/// ```
#[derive(Debug, Clone)]
pub struct Limiter {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    name: Box<str>,
    bucket: Mutex<Bucket>,
}

impl Limiter {
    /// A limiter whose bucket is full. `name` is what refusals call it: the service, usually.
    #[must_use]
    pub fn new(name: &str, rate: Rate) -> Self {
        Self {
            shared: Arc::new(Shared {
                name: name.into(),
                bucket: Mutex::new(Bucket::new(rate, now())),
            }),
        }
    }

    /// Takes a token if there is one.
    #[must_use]
    pub fn try_acquire(&self, now: std::time::Instant) -> bool {
        self.try_acquire_n(1, now)
    }

    /// Takes `n` tokens if they are there now; otherwise none. None at all is refused while calls
    /// wait.
    #[must_use]
    pub fn try_acquire_n(&self, n: u32, now: std::time::Instant) -> bool {
        self.shared.bucket.lock().allow(now, n)
    }

    /// Takes `n` tokens in advance, for a caller who waits by its own means. `None` when they are
    /// more than the burst, and so would never come.
    pub fn reserve_n(&self, n: u32, now: std::time::Instant) -> Option<Reservation> {
        let reserved = self.shared.bucket.lock().reserve(now, n, NEVER);
        reserved.ok().map(|inner| Reservation {
            shared: self.shared.clone(),
            inner,
        })
    }

    /// Waits for a token. How long it waited; zero for nearly all.
    ///
    /// # Errors
    /// See [`Limiter::acquire_n`].
    pub async fn acquire(&self, deadline: Option<Instant>) -> Result<Duration, Status> {
        self.acquire_n(1, deadline).await
    }

    /// Waits for `n` tokens. How long it waited. Dropped while it waits, it gives back what later
    /// calls do not rest on. Without a deadline, and with a rate of zero, it waits for ever.
    ///
    /// # Errors
    /// In this order: RESOURCE_EXHAUSTED with the reason RATE_LIMITED when `n` is more than the
    /// burst; DEADLINE_EXCEEDED when the deadline has passed; RATE_LIMITED, at once, when the tokens
    /// would come after it, with the wait as `RetryInfo`. No token is taken then.
    pub async fn acquire_n(&self, n: u32, deadline: Option<Instant>) -> Result<Duration, Status> {
        let now = now();
        let reserved = self
            .shared
            .bucket
            .lock()
            .wait(now, n, deadline.map(Instant::into_std));
        let reservation = match reserved {
            Ok(reservation) => reservation,
            Err(refusal) => return Err(self.refused(refusal, n)),
        };
        let wait = reservation.delay(now);
        if !wait.is_zero() {
            let ready_at = reservation.ready_at();
            let held = Held {
                shared: &self.shared,
                reservation: Some(reservation),
            };
            sleep_until(ready_at.into()).await;
            held.keep();
        }
        Ok(wait)
    }

    /// Another rate from now on: of speed, burst, or both. Tokens come in at the old speed until
    /// now; calls that wait keep their moment; a larger burst adds no tokens, a smaller one clips
    /// them.
    pub fn set_rate(&self, rate: Rate) {
        self.shared.bucket.lock().set_rate(now(), rate);
    }

    /// Another burst from now on, at the same speed.
    pub fn set_burst(&self, burst: u32) {
        let mut bucket = self.shared.bucket.lock();
        let rate = bucket.rate().with_burst(burst);
        bucket.set_rate(now(), rate);
    }

    /// The rate in force.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.shared.bucket.lock().rate()
    }

    /// How many tokens there are now; negative when calls wait.
    #[must_use]
    pub fn tokens(&self) -> f64 {
        self.shared.bucket.lock().tokens(now())
    }

    #[cold]
    fn refused(&self, refusal: Refusal, n: u32) -> Status {
        let name = &self.shared.name;
        let limited = |message| status::refused(Code::ResourceExhausted, "RATE_LIMITED", message);
        match refusal {
            Refusal::DeadlinePassed => deadline::elapsed("before a token was asked for"),
            Refusal::ExceedsBurst => {
                let burst = self.rate().burst();
                limited(format!("{n} tokens of {name} exceed its burst of {burst}"))
            }
            Refusal::TooLate(NEVER) => {
                limited(format!("the rate limit of {name} lets none through"))
            }
            Refusal::TooLate(wait) => status::retry_later(
                Code::ResourceExhausted,
                "RATE_LIMITED",
                format!("the rate limit of {name} outlasts the deadline"),
                wait,
            ),
        }
    }
}

/// Tokens that are taken, to be used from a moment on. Dropped, it keeps them: only
/// [`Reservation::cancel`] gives them back.
#[derive(Debug)]
#[must_use = "the tokens are taken: wait, then act, or cancel"]
pub struct Reservation {
    shared: Arc<Shared>,
    inner: state::Reservation,
}

impl Reservation {
    /// From when on the caller may act.
    #[must_use]
    pub fn ready_at(&self) -> std::time::Instant {
        self.inner.ready_at()
    }

    /// How long that is from `now`; [`NEVER`] if the rate is zero and the burst used up.
    #[must_use]
    pub fn delay(&self, now: std::time::Instant) -> Duration {
        self.inner.delay(now)
    }

    /// Gives the tokens back, unless their moment has passed or later reservations rest on them.
    pub fn cancel(self, now: std::time::Instant) {
        self.shared.bucket.lock().cancel(now, self.inner);
    }
}

/// Tokens that are being waited for: given back when the wait is given up.
struct Held<'a> {
    shared: &'a Shared,
    reservation: Option<state::Reservation>,
}

impl Held<'_> {
    fn keep(mut self) {
        self.reservation = None;
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(reservation) = self.reservation.take() {
            self.shared.bucket.lock().cancel(now(), reservation);
        }
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limiter() -> Limiter {
        Limiter::new("accounting", Rate::new(1, 1).unwrap())
    }

    fn reason(status: &Status) -> String {
        status::reason(status).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_waits_for_its_token() {
        let limiter = limiter();
        let begun = Instant::now();
        assert_eq!(limiter.acquire(None).await.unwrap(), Duration::ZERO);
        assert_eq!(limiter.acquire(None).await.unwrap(), SECOND);
        assert_eq!(begun.elapsed().as_secs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_would_be_late_is_refused_at_once() {
        let limiter = limiter();
        limiter.acquire(None).await.unwrap();
        let begun = Instant::now();
        let refusal = limiter.acquire(Some(begun + SECOND / 2)).await.unwrap_err();
        assert_eq!(refusal.code(), Code::ResourceExhausted);
        assert_eq!(reason(&refusal), "RATE_LIMITED");
        assert_eq!(status::retry_after(&refusal), Some(SECOND));
        assert!(begun.elapsed().is_zero());
        limiter
            .acquire(Some(begun + SECOND))
            .await
            .expect("just in time is in time, and no token was lost");
    }

    #[tokio::test(start_paused = true)]
    async fn giving_up_gives_the_token_back() {
        let limiter = limiter();
        limiter.acquire(None).await.unwrap();
        let begun = Instant::now();
        let patience = tokio::time::timeout(SECOND / 10, limiter.acquire(None));
        patience.await.unwrap_err();
        limiter
            .acquire(Some(begun + SECOND))
            .await
            .expect("the abandoned token is free again");
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_can_be_is_told_before_the_deadline_is_looked_at() {
        let limiter = limiter();
        let passed = Some(Instant::now());
        let refusal = limiter.acquire_n(2, passed).await.unwrap_err();
        assert_eq!(reason(&refusal), "RATE_LIMITED");
        assert_eq!(status::retry_after(&refusal), None, "it never helps");
        let refusal = limiter.acquire(passed).await.unwrap_err();
        assert_eq!(refusal.code(), Code::DeadlineExceeded);
        assert_eq!(limiter.tokens(), 1.0, "neither took a token");
    }

    #[tokio::test(start_paused = true)]
    async fn calls_are_served_in_the_order_they_came() {
        let limiter = Limiter::new("accounting", Rate::new(10, 5).unwrap());
        limiter.acquire_n(5, None).await.unwrap();
        let served = Mutex::new(Vec::new());
        let call = |n| {
            let (limiter, served) = (&limiter, &served);
            async move {
                limiter.acquire_n(n, None).await.unwrap();
                served.lock().push(n);
            }
        };
        let begun = Instant::now();
        tokio::join!(call(5), call(1), call(3), call(2));
        assert_eq!(*served.lock(), [5, 1, 3, 2], "a large one is not overtaken");
        assert_eq!(begun.elapsed().as_millis(), 1_100);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_rate_holds_for_the_next_call() {
        let limiter = limiter();
        limiter.acquire(None).await.unwrap();
        let waiting = limiter.reserve_n(1, now()).unwrap();
        limiter.set_rate(Rate::new(10, 3).unwrap());
        assert_eq!(waiting.delay(now()), SECOND, "promised is promised");
        assert_eq!(limiter.rate().burst(), 3);
        assert_eq!(limiter.acquire(None).await.unwrap(), SECOND / 5);
        limiter.set_burst(0);
        assert_eq!(limiter.rate().speed(), 10.0);
        assert!(limiter.reserve_n(1, now()).is_none());
        limiter.set_rate(Rate::infinite());
        assert_eq!(limiter.acquire_n(9, None).await.unwrap(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_of_zero_grants_its_burst_and_then_nothing() {
        let limiter = Limiter::new("accounting", Rate::per_second(0.0, 1).unwrap());
        limiter.acquire(None).await.unwrap();
        let deadline = Some(Instant::now() + 1_000 * SECOND);
        let refusal = limiter.acquire(deadline).await.unwrap_err();
        assert_eq!(reason(&refusal), "RATE_LIMITED");
        assert_eq!(limiter.reserve_n(1, now()).unwrap().delay(now()), NEVER);
        let patience = tokio::time::timeout(1_000 * SECOND, limiter.acquire(None));
        patience.await.expect_err("it waits until it is given up");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reservation_is_kept_unless_cancelled() {
        let limiter = limiter();
        let now = now();
        drop(limiter.reserve_n(1, now).unwrap());
        let second = limiter.reserve_n(1, now).unwrap();
        assert_eq!(second.ready_at(), now + SECOND);
        assert_eq!(limiter.tokens(), -1.0);
        second.cancel(now);
        assert_eq!(limiter.tokens(), 0.0);
        assert!(!limiter.try_acquire(now));
    }

    #[test]
    fn racing_threads_get_as_many_as_there_are() {
        let limiter = Limiter::new("accounting", Rate::per_second(0.0, 5).unwrap());
        let now = now();
        let granted = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..15)
                .map(|_| scope.spawn(|| u32::from(limiter.clone().try_acquire(now))))
                .collect();
            racers
                .into_iter()
                .map(|racer| racer.join().unwrap())
                .sum::<u32>()
        });
        assert_eq!(granted, 5);
    }
}
