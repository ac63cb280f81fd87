//! Recovery: showing that this worker lives, and taking over from those that do not.
//!
//! A worker counts beats in a row of its own. The others watch the count, each by its own monotonic
//! clock: one that stands still for [`ALIVE`] is dead, and its row is removed, unless it beat again
//! in that very moment. So no two clocks are compared and none may jump. Payments whose worker has no
//! row are free. That a worker was only paused does no harm: taking a payment over moves its version,
//! so what the paused one would write is refused, and what it would call has been called with the
//! same id.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use mizan::request::micros;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{Coordinator, Outside, metrics};
use crate::{
    answer,
    domain::Command,
    store::{Error, Store},
};

/// How often a worker shows that it lives, and looks for what others left.
const TICK: Duration = Duration::from_secs(1);

/// How long a count may stand still: three missed ticks are a death.
const ALIVE: Duration = Duration::from_secs(4);

/// The most payments taken over in one look: the next look takes the next ones.
const TAKEN_MAX: u32 = 256;

/// Every how many ticks the figures are taken, and payments looked for that are this worker's by the
/// store and that it does not drive.
const ROUND: u32 = 5;

/// Runs until `stop`. The worker has joined before, so that nothing it accepts is free before the
/// first tick.
pub(crate) async fn recover(store: Store, coordinator: Coordinator, stop: CancellationToken) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watch = Watch::default();
    let mut count = 0_u32;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let look = watch.look(&store, &coordinator, count.is_multiple_of(ROUND));
        if let Err(status) = look.await {
            tracing::warn!(message = status.message(), "recovery will look again");
        }
        count = count.wrapping_add(1);
    }
}

/// Joins the workers of the store, before anything is accepted.
pub(crate) async fn join(outside: &Arc<dyn Outside>, worker: &str) -> Result<(), Error> {
    let worker = worker.to_owned();
    outside.write(Command::Beat { worker }).await.map(drop)
}

/// What was seen of the others.
#[derive(Debug, Default)]
struct Watch {
    /// Of each worker: its beats, and since when they stand there.
    seen: HashMap<String, (i64, Instant)>,
    /// Payments that were this worker's and not driven in the last look, by version.
    orphans: HashMap<String, i64>,
}

impl Watch {
    async fn look(
        &mut self,
        store: &Store,
        coordinator: &Coordinator,
        round: bool,
    ) -> Result<(), Status> {
        let own = coordinator.worker();
        store
            .write(Command::Beat {
                worker: own.to_owned(),
            })
            .await
            .map_err(answer::store_error)?;
        let workers = store.workers().await.map_err(answer::store_error)?;
        for (worker, beats) in self.dead(own, workers, Instant::now()) {
            tracing::info!(%worker, "a worker is gone");
            let bury = Command::Bury { worker, beats };
            store.write(bury).await.map_err(answer::store_error)?;
        }
        // Looked at every second, so it must not write: only a finding does.
        if store.anything_free().await.map_err(answer::store_error)? {
            let taken = coordinator.take_over(TAKEN_MAX).await?;
            tracing::info!(payments = taken, "took over unfinished payments");
        }
        if round {
            self.adopt_orphans(store, coordinator).await?;
            let figures = store.figures(micros(SystemTime::now())).await;
            metrics::take(&figures.map_err(answer::store_error)?);
        }
        Ok(())
    }

    /// Those whose count stood still for too long. A worker that is seen for the first time has
    /// just beaten, for all that is known.
    fn dead(&mut self, own: &str, workers: Vec<(String, i64)>, now: Instant) -> Vec<(String, i64)> {
        let before = std::mem::take(&mut self.seen);
        let mut dead = Vec::new();
        for (worker, beats) in workers.into_iter().filter(|(worker, _)| worker != own) {
            let since = match before.get(&worker) {
                Some((then, since)) if *then == beats => *since,
                _ => now,
            };
            if now.duration_since(since) >= ALIVE {
                dead.push((worker.clone(), beats));
            }
            self.seen.insert(worker, (beats, since));
        }
        dead
    }

    /// Payments of this worker that it does not drive: their acceptance or taking over was written
    /// although the answer was lost. Two looks, since one that was only just written is driven in a
    /// moment.
    async fn adopt_orphans(
        &mut self,
        store: &Store,
        coordinator: &Coordinator,
    ) -> Result<(), Status> {
        let own = coordinator.worker().to_owned();
        let mine = store.of_worker(own).await.map_err(answer::store_error)?;
        let not_driven = mine
            .into_iter()
            .filter(|(id, _)| coordinator.progress(id).is_none());
        let orphans: HashMap<_, _> = not_driven.collect();
        for (id, version) in &orphans {
            if self.orphans.get(id) == Some(version) {
                tracing::info!(payment = %id, "adopting a payment that is driven by nobody");
                coordinator.adopt(id.clone(), *version).await?;
            }
        }
        self.orphans = orphans;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_stands_still_is_dead_and_who_beats_is_not() {
        let mut watch = Watch::default();
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let row = |beats| vec![("own".to_owned(), 1), ("other".to_owned(), beats)];
        assert!(watch.dead("own", row(7), at(0)).is_empty());
        assert!(watch.dead("own", row(7), at(3)).is_empty());
        assert!(watch.dead("own", row(8), at(5)).is_empty(), "it beat");
        assert!(watch.dead("own", row(8), at(8)).is_empty());
        assert_eq!(watch.dead("own", row(8), at(9)), [("other".to_owned(), 8)]);
    }
}
