//! Recovery: showing that this worker lives, and taking over from those that do not.

use std::time::{Duration, SystemTime};

use mizan::request::micros;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Coordinator;
use crate::store::{Error, Store};

/// How often a worker that has work shows that it lives, and looks for what others left.
const TICK: Duration = Duration::from_secs(1);

/// How long one showing counts: three missed ones are a death.
const ALIVE: Duration = Duration::from_secs(4);

/// The most payments taken over in one look: the next look takes the next ones.
const TAKEN_MAX: u32 = 256;

/// Runs until `stop`. The worker has joined before, so that nothing it accepts is free before
/// the first tick.
pub(crate) async fn recover(store: Store, coordinator: Coordinator, stop: CancellationToken) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = look(&store, &coordinator).await {
            tracing::warn!(%error, "recovery will look again");
        }
    }
}

async fn look(store: &Store, coordinator: &Coordinator) -> Result<(), Error> {
    show_alive(store).await?;
    let taken = store
        .take_over(TAKEN_MAX, micros(SystemTime::now()))
        .await?;
    if !taken.is_empty() {
        tracing::info!(payments = taken.len(), "taking over unfinished payments");
    }
    for payment in taken {
        coordinator.drive(payment);
    }
    Ok(())
}

/// Joins the workers of the store, before anything is accepted.
pub(crate) async fn join(store: &Store) -> Result<(), Error> {
    let now = SystemTime::now();
    store.join(micros(now), micros(now + ALIVE)).await
}

async fn show_alive(store: &Store) -> Result<(), Error> {
    store.show_alive(micros(SystemTime::now() + ALIVE)).await
}
