//! Who makes lists, and when: cheap ones at once, all others off the workers that serve.
//!
//! ```text
//!   cheap ─────────────────────────────────────► made at once
//!   large, without a filter ─► in turn ────────► made on a thread of its own
//!   filtered ─► waits ─► first turn ─┬─ done ──► answered
//!                 │                  └─ more ─► turn by turn ─► answered, or refused:
//!                 └─ too many: 429        └─ too many: 429      too expensive, too late
//! ```
//!
//! A first turn is short, and first turns wait for each other only: a filter that is quick is
//! answered after it, however many expensive ones there are. Those take further turns beside, one
//! after the other. Whoever leaves gives up what is left of its turns; a turn that has begun ends by
//! itself.

#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    thread::available_parallelism,
    time::{Duration, Instant},
};

use http::StatusCode;
use serde::Serialize;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
};

use super::{
    filter::Wrong,
    list::{List, Source},
    refusal::Refusal,
};
use crate::metrics::{FilterEnd, Filtering};

/// What is done on the workers that serve, in units of work, about nanoseconds: a few hundred
/// instances compared with one value.
pub(super) const INLINE_MAX: u64 = 1_000_000;

/// The first turn of a filter, in units of work: a thousand instances and a pattern.
const FIRST: u64 = 2_000_000;

/// Each further turn, which may be one large step longer.
const TURN: u64 = 5_000_000;

/// Filters that wait for their first turn. Each is a request that holds nothing else yet.
const WAITING_MAX: usize = 1_024;

/// Filters that were not done after their first turn. They take further turns one after the other, so
/// one that needs few is not behind those that need many; and each holds what it has kept so far, of
/// the largest service some megabytes. With 8, ten callers had every other caller's pattern refused.
const LONG_MAX: usize = 32;

/// How long one filter runs, all its turns together. Work is bounded by itself: this is for machines
/// that are slower than we think.
const RUNS_MAX: Duration = Duration::from_secs(1);

/// How many run at once, and how many wait.
#[derive(Debug)]
pub(super) struct Turns {
    first: Arc<Semaphore>,
    further: Arc<Semaphore>,
    waiting: Semaphore,
    long: Semaphore,
    plain: Arc<Semaphore>,
}

impl Default for Turns {
    /// Half of the processors, so that the other half serves.
    fn default() -> Self {
        let half = available_parallelism().map_or(1, |all| (all.get() / 2).max(1));
        Self {
            first: Arc::new(Semaphore::new(half)),
            further: Arc::new(Semaphore::new(half)),
            waiting: Semaphore::new(WAITING_MAX),
            long: Semaphore::new(LONG_MAX),
            plain: Arc::new(Semaphore::new(half)),
        }
    }
}

impl Turns {
    /// Makes a filtered list. It is begun when its first turn has come, so that whoever waits holds
    /// no sources.
    pub(super) async fn filter<S, A>(
        &self,
        filtering: &mut Filtering,
        begin: impl FnOnce() -> Result<List<S, A>, Refusal>,
    ) -> Result<(Vec<A>, u64), Refusal>
    where
        S: Source + Send + 'static,
        A: Serialize + Send + 'static,
    {
        let Ok(_waiting) = self.waiting.try_acquire() else {
            return Err(busy(filtering));
        };
        let mut turn = own(&self.first).await?;
        let mut list = begin()?;
        let mut long = None;
        loop {
            let is_first = long.is_none();
            let (back, took) = off_worker(turn, move || {
                let began = Instant::now();
                let done = if is_first {
                    list.begin(FIRST)
                } else {
                    list.turn(TURN)
                };
                (done.map(|done| (list, done)), began.elapsed())
            })
            .await?;
            filtering.ran(took);
            let (held, done) = back.map_err(|why| refuse(filtering, why))?;
            if done {
                filtering.end(FilterEnd::Answered);
                return Ok(held.kept());
            }
            if filtering.total() >= RUNS_MAX {
                filtering.end(FilterEnd::Late);
                return Err(late());
            }
            if long.is_none() {
                let Ok(admitted) = self.long.try_acquire() else {
                    return Err(busy(filtering));
                };
                long = Some(admitted);
            }
            list = held;
            turn = own(&self.further).await?;
        }
    }

    /// Does something large that no caller can make expensive: in turn, and no turns are refused.
    /// It is begun when its turn has come.
    pub(super) async fn plain<B, T>(
        &self,
        begin: impl FnOnce() -> B,
        what: impl FnOnce(B) -> T + Send + 'static,
    ) -> Result<T, Refusal>
    where
        B: Send + 'static,
        T: Send + 'static,
    {
        let turn = own(&self.plain).await?;
        let begun = begin();
        off_worker(turn, move || what(begun)).await
    }
}

/// The turn belongs to what runs: it counts for as long as that does, even when nobody waits for it
/// any more.
async fn off_worker<T: Send + 'static>(
    turn: OwnedSemaphorePermit,
    what: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    let run = move || {
        let done = what();
        drop(turn);
        done
    };
    spawn_blocking(run).await.map_err(|_| stopped())
}

async fn own(turns: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Refusal> {
    let turn = Arc::clone(turns).acquire_owned().await;
    turn.map_err(|_| stopped())
}

/// Says, and counts, why a filter is not applied.
pub(super) fn refuse(filtering: &mut Filtering, why: Wrong) -> Refusal {
    filtering.end(match why {
        Wrong::Expression(_) => FilterEnd::Wrong,
        Wrong::Expensive(_) => FilterEnd::Expensive,
    });
    Refusal::from(why)
}

fn busy(filtering: &mut Filtering) -> Refusal {
    filtering.end(FilterEnd::Busy);
    Refusal::new(
        StatusCode::TOO_MANY_REQUESTS,
        "the registry applies as many expensive filters as it takes; try again, or use a filter \
         without patterns",
    )
}

fn late() -> Refusal {
    let seconds = RUNS_MAX.as_secs();
    Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        format!(
            "the filter ran for {seconds} s and was not done; ask for one service, and use == \
             instead of patterns"
        ),
    )
}

fn stopped() -> Refusal {
    Refusal::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the answer was not made: the registry stops, or has a fault, which its log tells; try again",
    )
}
