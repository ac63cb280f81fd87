//! The registry as the rims see it: the catalogue, with its effects carried out.
//!
//! All changes pass one lock, which is never held across an await. Publishing and (re)starting a
//! poll happen under it too, so that both follow the order in which the catalogue decided. Reading
//! one service takes no part in that: it goes to the board.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    board::{Board, Subscription},
    catalogue::{
        Bounds, Catalogue, Effects, Entry, Full, Instance, Polling, Snapshot, StreamId, Summary,
    },
    check::{Polled, Poller},
    clock,
};

/// A clonable handle; clones share the registry.
#[derive(Debug, Clone)]
pub(crate) struct Registry(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    board: Board,
    poller: Poller,
    last_stream: AtomicU64,
    /// Names this life: nothing is stored, so revisions of another one mean nothing in this.
    epoch: String,
    stop: CancellationToken,
}

#[derive(Debug)]
struct State {
    catalogue: Catalogue,
    /// By instance id; dropping one ends its polling.
    polled: HashMap<String, Polled>,
}

impl AsRef<Board> for Registry {
    fn as_ref(&self) -> &Board {
        &self.0.board
    }
}

impl Registry {
    /// An empty registry that polls from the current runtime until `stop`.
    pub(crate) fn new(stop: CancellationToken) -> Self {
        let catalogue = Catalogue::new(clock::now(), Bounds::default());
        let board = Board::new(catalogue.floor());
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                catalogue,
                polled: HashMap::new(),
            }),
            board,
            poller: Poller::new(),
            last_stream: AtomicU64::new(0),
            epoch: Uuid::new_v4().simple().to_string(),
            stop,
        }))
    }

    /// Makes an instance known or replaces what was known of it.
    pub(crate) fn register(&self, instance: Instance) -> Result<Arc<Entry>, Full> {
        let mut state = self.0.state.lock();
        let (entry, effects) = state.catalogue.register(instance, clock::now())?;
        self.carry_out(&mut state, effects);
        Ok(entry)
    }

    /// Removes an instance. Answers whether it was there.
    pub(crate) fn deregister(&self, instance_id: &str) -> bool {
        let mut state = self.0.state.lock();
        let effects = state.catalogue.deregister(instance_id);
        if effects.is_some() {
            tracing::info!(instance = %instance_id, "deregistered");
        }
        self.carry_out_some(&mut state, effects)
    }

    /// Names a new heartbeat stream.
    pub(crate) fn open_heartbeat(&self) -> StreamId {
        self.0.last_stream.fetch_add(1, Ordering::Relaxed)
    }

    /// Takes a heartbeat. Answers whether the instance is known.
    pub(crate) fn heartbeat(&self, instance_id: &str, stream: StreamId) -> bool {
        let mut state = self.0.state.lock();
        let effects = state.catalogue.heartbeat(instance_id, stream, clock::now());
        self.carry_out_some(&mut state, effects)
    }

    /// Takes the end of a heartbeat stream. When it is the registry that stops, it says nothing
    /// about the instance.
    pub(crate) fn heartbeat_ended(&self, instance_id: &str, stream: StreamId) {
        if self.0.stop.is_cancelled() {
            return;
        }
        let mut state = self.0.state.lock();
        let effects = state
            .catalogue
            .heartbeat_ended(instance_id, stream, clock::now());
        self.carry_out_some(&mut state, effects);
    }

    /// At most `count` services that have instances, by name, beginning behind `after`; and whether
    /// there are more.
    pub(crate) fn services(&self, after: Option<&str>, count: usize) -> (Vec<Summary>, bool) {
        self.0.state.lock().catalogue.services(after, count)
    }

    /// The latest snapshot of one service, known or not.
    pub(crate) fn snapshot(&self, service: &str) -> Arc<Snapshot> {
        self.0.board.current(service)
    }

    /// Names the life in which revisions can be compared.
    pub(crate) fn epoch(&self) -> &str {
        &self.0.epoch
    }

    /// The slots of these services; see [`Subscription`].
    pub(crate) fn subscribe(
        &self,
        services: Vec<String>,
    ) -> (
        Subscription<Self>,
        Vec<tokio::sync::watch::Receiver<Arc<Snapshot>>>,
    ) {
        Subscription::new(self.clone(), services)
    }

    /// Resolves when the registry stops.
    pub(crate) fn stopping(&self) -> CancellationToken {
        self.0.stop.clone()
    }

    /// Ends all polling and waits until it ended.
    pub(crate) async fn close(&self) {
        self.0.stop.cancel();
        self.0.state.lock().polled.clear();
        self.0.poller.close().await;
    }

    /// Takes the result of a check. Answers whether polling is to go on.
    fn report(&self, instance_id: &str, epoch: u64, outcome: Result<(), String>) -> bool {
        let mut state = self.0.state.lock();
        let outcome = match &outcome {
            Ok(()) => Ok(()),
            Err(reason) => Err(reason.as_str()),
        };
        let effects = state
            .catalogue
            .report(instance_id, epoch, outcome, clock::now());
        self.carry_out_some(&mut state, effects)
    }

    fn carry_out_some(&self, state: &mut State, effects: Option<Effects>) -> bool {
        let known = effects.is_some();
        if let Some(effects) = effects {
            self.carry_out(state, effects);
        }
        known
    }

    fn carry_out(&self, state: &mut State, effects: Effects) {
        for snapshot in effects.snapshots {
            self.0.board.publish(snapshot);
        }
        if !effects.forgotten.is_empty() {
            let floor = state.catalogue.floor();
            self.0.board.forget(&effects.forgotten, floor);
        }
        match effects.polling {
            Some(Polling::Start(target)) if !self.0.stop.is_cancelled() => {
                let registry = self.clone();
                let (id, epoch) = (target.instance_id.clone(), target.epoch);
                let report = move |outcome| registry.report(&id, epoch, outcome);
                let id = target.instance_id.clone();
                state.polled.insert(id, self.0.poller.start(target, report));
            }
            Some(Polling::Hurry(id)) => {
                if let Some(polled) = state.polled.get(&id) {
                    polled.hurry();
                }
            }
            Some(Polling::Stop(id)) => {
                state.polled.remove(&id);
            }
            Some(Polling::Start(_)) | None => {}
        }
        if let Some(entry) = effects.turned {
            tell(&entry);
        }
    }
}

fn tell(entry: &Entry) {
    let instance = &entry.instance;
    tracing::info!(
        service = %instance.service,
        instance = %instance.instance_id,
        status = ?entry.status,
        reason = %entry.reason,
        "status changed"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{Candidate, CandidateCheck, CheckKind};

    #[tokio::test]
    async fn nothing_is_kept_of_a_polling_that_is_over() {
        let registry = Registry::new(CancellationToken::new());
        let polled = || registry.0.state.lock().polled.len();
        let instance = |kind| {
            let candidate = Candidate {
                instance_id: "a".to_owned(),
                service: "s".to_owned(),
                address: "127.0.0.1".to_owned(),
                port: 1,
                check: CandidateCheck {
                    kind: Some(kind),
                    ..CandidateCheck::default()
                },
                ..Candidate::default()
            };
            candidate.validate().unwrap()
        };
        registry.register(instance(CheckKind::Tcp)).unwrap();
        assert_eq!(polled(), 1);
        registry.register(instance(CheckKind::None)).unwrap();
        assert_eq!(polled(), 0);
        registry.register(instance(CheckKind::Tcp)).unwrap();
        assert!(registry.deregister("a"));
        assert_eq!(polled(), 0);
        registry.close().await;
    }
}
