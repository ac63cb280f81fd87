//! A watch: the slots of its services, merged.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::ready,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::{
    Stream, StreamExt as _,
    stream::{BoxStream, SelectAll, select_all},
};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_stream::wrappers::WatchStream;

use crate::{
    board::Subscription,
    catalogue::{Snapshot, View},
    registry::Registry,
};

/// First a snapshot of each service but those that the watcher holds at this very revision, then
/// the latest of each whose answer changed, until the registry stops.
pub(crate) fn snapshots(
    registry: &Registry,
    services: BTreeSet<String>,
    view: View,
    held: &BTreeMap<String, u64>,
    admission: OwnedSemaphorePermit,
) -> impl Stream<Item = Arc<Snapshot>> + Send + use<> {
    // No answer has revision 0, so what is not held is sent.
    let held: Vec<_> = services
        .iter()
        .map(|service| held.get(service).copied().unwrap_or(0))
        .collect();
    let (subscription, receivers) = registry.subscribe(services.into_iter().collect());
    let changes = receivers
        .into_iter()
        .zip(held)
        .map(|(slot, held)| changes(slot, view, held));
    let merged = Merged {
        changes: select_all(changes),
        _subscription: subscription,
        _admission: admission,
    };
    merged.take_until(registry.stopping().cancelled_owned())
}

/// The snapshots of one slot whose answer in this view differs from the one before, the first from
/// the one `held`. Differs, not exceeds: a watcher that is ahead is answered at once.
fn changes(
    slot: watch::Receiver<Arc<Snapshot>>,
    view: View,
    held: u64,
) -> BoxStream<'static, Arc<Snapshot>> {
    let mut sent = held;
    WatchStream::new(slot)
        .filter(move |snapshot| {
            let revision = snapshot.revision(view);
            ready(std::mem::replace(&mut sent, revision) != revision)
        })
        .boxed()
}

struct Merged {
    /// Declared, and so dropped, before the subscription that gives the slots back.
    changes: SelectAll<BoxStream<'static, Arc<Snapshot>>>,
    _subscription: Subscription<Registry>,
    _admission: OwnedSemaphorePermit,
}

impl Stream for Merged {
    type Item = Arc<Snapshot>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.changes.poll_next_unpin(context)
    }
}
