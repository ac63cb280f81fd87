//! Rate limiter: at most so many calls a second, in bursts of at most so many.
//!
//! *Problem.* A callee with a known capacity should be asked no faster than it can answer.
//!
//! *What it does.* A token bucket by the rules of `golang.org/x/time/rate`: a call waits for its
//! token; one whose wait would outlast its deadline is refused at once and takes no token; one that
//! is dropped while it waits gives its token back.
//!
//! *Where it sits.* Inside retry, since a retry is a call too; outside the breaker, so that a
//! refused call says nothing about the callee.

mod state;

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};
use tonic::{Code, Status};

pub use state::Rate;
use state::{Bucket, Reservation};

use crate::status;

/// A limiter; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Limiter {
    name: Arc<str>,
    bucket: Arc<Mutex<Bucket>>,
}

impl Limiter {
    pub(crate) fn new(name: &str, rate: Rate) -> Self {
        Self {
            name: name.into(),
            bucket: Arc::new(Mutex::new(Bucket::new(rate, now()))),
        }
    }

    /// Waits for a token. RESOURCE_EXHAUSTED with the reason RATE_LIMITED, at once, when it would
    /// come after the deadline.
    pub(crate) async fn acquire(&self, deadline: Option<Instant>) -> Result<(), Status> {
        let now = now();
        let wait_max = deadline.map(|deadline| deadline.into_std().saturating_duration_since(now));
        let reserved = self.bucket.lock().reserve(now, wait_max);
        let reservation = match reserved {
            Ok(reservation) => reservation,
            Err(wait) => {
                let message = format!("the rate limit of {} outlasts the deadline", self.name);
                return Err(status::retry_later(
                    Code::ResourceExhausted,
                    "RATE_LIMITED",
                    message,
                    wait,
                ));
            }
        };
        if reservation.ready_at() > now {
            let held = Held {
                limiter: self,
                reservation: Some(reservation),
            };
            sleep_until(reservation.ready_at().into()).await;
            held.keep();
        }
        Ok(())
    }
}

/// A token that is being waited for: given back when the wait is given up.
struct Held<'a> {
    limiter: &'a Limiter,
    reservation: Option<Reservation>,
}

impl Held<'_> {
    fn keep(mut self) {
        self.reservation = None;
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(reservation) = self.reservation.take() {
            self.limiter.bucket.lock().cancel(now(), reservation);
        }
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limiter() -> Limiter {
        Limiter::new("accounting", Rate::new(1, 1).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_waits_for_its_token() {
        let limiter = limiter();
        let begun = Instant::now();
        limiter.acquire(None).await.unwrap();
        limiter.acquire(None).await.unwrap();
        assert_eq!(begun.elapsed().as_secs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_would_be_late_is_refused_at_once() {
        let limiter = limiter();
        limiter.acquire(None).await.unwrap();
        let begun = Instant::now();
        let refusal = limiter.acquire(Some(begun + SECOND / 2)).await.unwrap_err();
        assert_eq!(refusal.code(), Code::ResourceExhausted);
        assert_eq!(status::reason(&refusal).as_deref(), Some("RATE_LIMITED"));
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
}
