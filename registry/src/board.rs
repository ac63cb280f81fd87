//! Where answers are published: one slot per service, holding its latest snapshot.
//!
//! Readers take the snapshot and leave; watchers are woken and take the latest, however many they
//! missed. There is no queue, so a slow watcher costs nothing but its connection.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use dashmap::DashMap;
use tokio::sync::watch;

use crate::catalogue::Snapshot;

/// The latest snapshot of every service that is known or watched.
#[derive(Debug)]
pub(crate) struct Board {
    slots: DashMap<String, watch::Sender<Arc<Snapshot>>>,
    /// The revision of services without a slot.
    floor: AtomicU64,
}

impl Board {
    /// An empty board.
    pub(crate) fn new(floor: u64) -> Self {
        Self {
            slots: DashMap::new(),
            floor: AtomicU64::new(floor),
        }
    }

    /// Replaces a service's snapshot. Wakes its watchers, unless the answer reads the same.
    pub(crate) fn publish(&self, snapshot: Arc<Snapshot>, wake: bool) {
        let replace = |held: &mut Arc<Snapshot>| {
            *held = Arc::clone(&snapshot);
            wake
        };
        if let Some(slot) = self.slots.get(snapshot.service()) {
            slot.send_if_modified(replace);
            return;
        }
        // Between the look above and this, a watcher may have made the slot.
        self.slots
            .entry(snapshot.service().to_owned())
            .or_insert_with(|| watch::Sender::new(Arc::clone(&snapshot)))
            .send_if_modified(replace);
    }

    /// The snapshot of one service, known or not.
    pub(crate) fn current(&self, service: &str) -> Arc<Snapshot> {
        match self.slots.get(service) {
            Some(slot) => Arc::clone(&slot.borrow()),
            None => self.unknown(service),
        }
    }

    /// Raises the revision of services without a slot, and drops slots that nobody watches of
    /// services that were forgotten.
    pub(crate) fn forget(&self, services: &[String], floor: u64) {
        self.floor.store(floor, Ordering::Release);
        for service in services {
            self.release(service);
        }
    }

    fn subscribe(&self, service: &str) -> watch::Receiver<Arc<Snapshot>> {
        self.slots
            .entry(service.to_owned())
            .or_insert_with(|| watch::Sender::new(self.unknown(service)))
            .subscribe()
    }

    /// Drops a slot that holds nothing an unknown service would not answer too. An empty slot above
    /// the floor stays: its revision must not go back.
    fn release(&self, service: &str) {
        let floor = self.floor.load(Ordering::Acquire);
        self.slots.remove_if(service, |_, slot| {
            let snapshot = slot.borrow();
            slot.receiver_count() == 0
                && snapshot.is_empty()
                && snapshot.revision(crate::catalogue::View::All) <= floor
        });
    }

    fn unknown(&self, service: &str) -> Arc<Snapshot> {
        Arc::new(Snapshot::empty(service, self.floor.load(Ordering::Acquire)))
    }
}

/// A watcher's hold on the slots it watches; gives them back when dropped, so that names nobody
/// registered do not stay.
#[derive(Debug)]
pub(crate) struct Subscription<B: AsRef<Board>> {
    board: B,
    services: Vec<String>,
}

impl<B: AsRef<Board>> Subscription<B> {
    /// Subscribes to each service. Drop the receivers before the subscription.
    pub(crate) fn new(
        board: B,
        services: Vec<String>,
    ) -> (Self, Vec<watch::Receiver<Arc<Snapshot>>>) {
        let receivers = services
            .iter()
            .map(|service| board.as_ref().subscribe(service))
            .collect();
        (Self { board, services }, receivers)
    }
}

impl<B: AsRef<Board>> Drop for Subscription<B> {
    fn drop(&mut self) {
        for service in &self.services {
            self.board.as_ref().release(service);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::catalogue::View;

    #[test]
    fn names_that_were_only_watched_leave_no_trace() {
        let board = Arc::new(Board::new(7));
        let names = vec!["a".to_owned(), "b".to_owned()];
        let (subscription, receivers) = Subscription::new(Arc::clone(&board), names);
        assert_eq!(board.slots.len(), 2);
        drop(receivers);
        drop(subscription);
        assert_eq!(board.slots.len(), 0);
    }

    #[test]
    fn a_watcher_that_leaves_takes_nothing_from_the_others() {
        let board = Arc::new(Board::new(7));
        let watch = || Subscription::new(Arc::clone(&board), vec!["a".to_owned()]);
        let (_staying, stays) = watch();
        drop(watch());
        board.publish(Arc::new(Snapshot::empty("a", 9)), true);
        assert_eq!(stays[0].borrow().revision(View::All), 9);
    }

    #[test]
    fn an_emptied_service_keeps_its_revision_until_it_is_forgotten() {
        let board = Board::new(7);
        board.publish(Arc::new(Snapshot::empty("a", 9)), true);
        board.release("a");
        assert_eq!(board.current("a").revision(View::All), 9);
        board.forget(&["a".to_owned()], 12);
        assert_eq!(board.slots.len(), 0);
        assert_eq!(board.current("a").revision(View::All), 12);
    }
}
