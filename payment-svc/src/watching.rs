//! Watching a payment: sent as it is, and again whenever it changed, until it is final. An instance
//! that stops says so, and the watcher asks another one.

use std::time::Duration;

use mizan_contracts::payment::v1 as wire;
use tokio::{sync::mpsc, time::sleep};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{answer, domain::Payment, saga::Coordinator, store::Store};

/// How often a payment that another process drives is looked at, and how often one at most is that
/// this process drives.
const LOOK: Duration = Duration::from_millis(200);

/// How often a payment is looked at that waits for a person.
const LOOK_PARKED: Duration = Duration::from_secs(2);

/// The stream of a payment, beginning with what is known now. It has room for one: a slow watcher
/// misses states in between, and holds up nothing.
pub(crate) fn watch(
    store: Store,
    coordinator: Coordinator,
    payment: Payment,
    closing: CancellationToken,
) -> ReceiverStream<Result<wire::Payment, Status>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        // Nobody watches any more: then there is nothing left to do.
        let _ = follow(store, coordinator, payment, closing, sender).await;
    });
    ReceiverStream::new(receiver)
}

async fn follow(
    store: Store,
    coordinator: Coordinator,
    mut payment: Payment,
    closing: CancellationToken,
    sender: mpsc::Sender<Result<wire::Payment, Status>>,
) -> Option<()> {
    loop {
        let seen = answer::payment_with_steps(payment.clone());
        sender.send(seen).await.ok()?;
        let (id, version) = (payment.intent.id.clone(), payment.version);
        while payment.version == version {
            if payment.state.is_final() {
                return None;
            }
            let pause = if payment.state.is_at_rest() {
                LOOK_PARKED
            } else {
                LOOK
            };
            tokio::select! {
                () = sender.closed() => return None,
                () = closing.cancelled() => {
                    return sender.send(Err(answer::watch_again())).await.ok();
                }
                () = sleep(pause) => {}
                () = came_to_rest(&coordinator, &id) => {}
            }
            match store.get(id.clone()).await {
                Ok(Some(now)) => payment = now,
                Ok(None) => sender.send(Err(answer::not_found())).await.ok()?,
                Err(error) => {
                    let status = answer::store_error(error);
                    return sender.send(Err(status)).await.ok();
                }
            }
        }
    }
}

/// Ends when this process no longer drives the payment: then it is worth looking at once. Never, if
/// it does not drive it now.
async fn came_to_rest(coordinator: &Coordinator, id: &str) {
    match coordinator.progress(id) {
        Some(mut progress) => while progress.changed().await.is_ok() {},
        None => std::future::pending().await,
    }
}
