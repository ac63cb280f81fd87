//! The registry as the rims see it: the catalogue, with its effects carried out.
//!
//! All changes pass one lock, which is never held across an await. Publishing, (re)starting a check
//! and queueing what is to be stored happen under it too, so that all of them follow the order in
//! which the catalogue decided. Reading one service takes no part in that: it goes to the board.
//!
//! What changes what was registered answers once it is durable; see [`Registry::register`].

mod lines;
mod lives;
mod read;
mod trouble;
mod wait;

use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicU64},
};

use dashmap::DashMap;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    time::interval,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    board::{Board, Subscription},
    catalogue::{
        Bounds, Catalogue, CheckDefinition, CheckRef, Effects, Entry, Full, Held, Indexes,
        Instance, Node, NotAdded, NotReported, Owner, Polling, SWEEP, Snapshot, Status, StreamId,
        Takeover,
    },
    check::{Forbidden, Networks, Outcome, Polled, Poller},
    clock,
    config::Config,
    keep::{Journal, Kept, Pending},
    metrics::Metrics,
};

use lines::Lines;
pub(crate) use lives::{Known, Left, Stream};
use trouble::Troubles;
pub(crate) use wait::Watched;

/// A clonable handle; clones share the registry.
#[derive(Debug, Clone)]
pub(crate) struct Registry(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    board: Board,
    /// The revisions of the answers about more than one service; latest wins.
    indexes: watch::Sender<Indexes>,
    /// The newest revision of any service's answer; latest wins.
    moved: watch::Sender<u64>,
    poller: Poller,
    metrics: Metrics,
    troubles: Troubles,
    lines: Lines,
    last_stream: AtomicU64,
    /// The heartbeat streams that are open: how each is told to look again whose its instance is.
    streams: DashMap<StreamId, Arc<Notify>>,
    /// Names this life: revisions of another one mean nothing in this.
    epoch: String,
    /// The node of instances that name none.
    local_node: String,
    stop: CancellationToken,
}

#[derive(Debug)]
struct State {
    catalogue: Catalogue,
    /// Dropping one ends its running.
    polled: HashMap<CheckRef, Polled>,
    /// Where changes are made durable, unless nothing is kept.
    journal: Option<Journal>,
}

impl State {
    /// Refuses what would change while nothing can be made durable: what is refused is not kept.
    fn writable(&self) -> Result<(), Refused> {
        match &self.journal {
            Some(journal) if journal.is_failing() => Err(Refused::Unavailable),
            _ => Ok(()),
        }
    }

    /// Everything that was changed so far, on its way to the disk.
    fn pending(&self) -> Pending {
        self.journal
            .as_ref()
            .map_or_else(Pending::nothing, Journal::pending)
    }
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// The registry holds as much as it may.
    #[error(transparent)]
    Full(#[from] Full),
    /// The id is that of another service's process, which lives.
    #[error(transparent)]
    Held(Held),
    /// There is no such instance or node.
    #[error("is not registered")]
    Unknown,
    /// It has as many checks as it may.
    #[error(transparent)]
    Checks(NotAdded),
    /// A check would go where checks may not go.
    #[error(transparent)]
    Forbidden(Forbidden),
    /// It is not durable: the store cannot be written now.
    #[error("the registry's store cannot be written")]
    Unavailable,
}

impl AsRef<Board> for Registry {
    fn as_ref(&self) -> &Board {
        &self.0.board
    }
}

impl Registry {
    /// A registry that checks from the current runtime until `stop`. It begins from what was kept;
    /// with nothing to keep it in, it begins empty and forgets everything when it ends.
    pub(crate) fn new(
        local_node: &str,
        networks: Networks,
        kept: Option<Kept>,
        metrics: Metrics,
        stop: CancellationToken,
    ) -> Self {
        let now = clock::now();
        let (journal, epoch, first, stored) = match kept {
            Some(kept) => (
                Some(kept.journal),
                kept.epoch,
                kept.first_revision,
                kept.stored,
            ),
            None => (None, Uuid::new_v4().simple().to_string(), now.0, Vec::new()),
        };
        let mut catalogue = Catalogue::new(first, Bounds::default());
        let effects = catalogue.restore(stored, now);
        let registry = Self(Arc::new(Shared {
            board: Board::new(catalogue.floor()),
            indexes: watch::Sender::new(catalogue.indexes()),
            moved: watch::Sender::new(first),
            state: Mutex::new(State {
                catalogue,
                polled: HashMap::new(),
                journal,
            }),
            poller: Poller::new(networks, metrics.clone()),
            metrics,
            troubles: Troubles::default(),
            lines: Lines::default(),
            last_stream: AtomicU64::new(0),
            streams: DashMap::new(),
            epoch,
            local_node: local_node.to_owned(),
            stop,
        }));
        registry.carry_out(&mut registry.0.state.lock(), effects);
        tokio::spawn(registry.clone().sweep());
        registry
    }

    /// The node of instances that name none.
    pub(crate) fn local_node(&self) -> &str {
        &self.0.local_node
    }

    /// Makes the registry's own node known, at this host and with these pairs; what else is known of it
    /// stays.
    pub(crate) async fn begin_local_node(
        &self,
        host: String,
        config: &Config,
    ) -> Result<(), Refused> {
        let known = self
            .node(&self.0.local_node)
            .map(|(view, _)| Node::clone(&view.node));
        let mut node = known.unwrap_or_default();
        node.name.clone_from(&self.0.local_node);
        let named = || Uuid::new_v5(&Uuid::NAMESPACE_DNS, node.name.as_bytes());
        node.id = config.node_id.unwrap_or_else(named).to_string();
        node.address = host;
        node.metadata.extend(config.node_meta.iter().cloned());
        self.register_node(node).await
    }

    /// Makes a node known or replaces what was known of it, its checks included.
    pub(crate) async fn register_node(&self, node: Node) -> Result<(), Refused> {
        if let Some(ip) = self.0.poller.networks().forbidden_of(&node) {
            return Err(Refused::Forbidden(ip));
        }
        let pending = {
            let mut state = self.0.state.lock();
            state.writable()?;
            let effects = state.catalogue.register_node(node, clock::now())?;
            self.carry_out(&mut state, effects);
            state.pending()
        };
        durable(pending, ()).await
    }

    /// Removes a node with all its instances. Answers whether it was there.
    pub(crate) async fn deregister_node(&self, name: &str) -> Result<bool, Refused> {
        let (known, pending) =
            self.change(|catalogue| catalogue.deregister_node(name, clock::now()));
        durable(pending, known).await
    }

    /// Answers once everything that was changed so far is durable.
    pub(crate) async fn written(&self) -> Result<(), Refused> {
        let pending = self.0.state.lock().pending();
        durable(pending, ()).await
    }

    /// Adds a check to an instance or a node, or replaces the one of its id.
    pub(crate) async fn put_check(
        &self,
        owner: &Owner,
        check: CheckDefinition,
    ) -> Result<(), Refused> {
        let networks = self.0.poller.networks();
        if let Some(ip) = networks.forbidden_check(&check) {
            return Err(Refused::Forbidden(ip));
        }
        let pending = {
            let mut state = self.0.state.lock();
            state.writable()?;
            let added = state.catalogue.put_check(owner, check, clock::now());
            let effects = added.map_err(|why| match why {
                NotAdded::UnknownOwner => Refused::Unknown,
                NotAdded::TooMany => Refused::Checks(why),
            })?;
            self.carry_out(&mut state, effects);
            state.pending()
        };
        durable(pending, ()).await
    }

    /// Removes a check. Answers whether it was there.
    pub(crate) async fn remove_check(&self, check: &CheckRef) -> Result<bool, Refused> {
        let (known, pending) = self.change(|catalogue| catalogue.remove_check(check, clock::now()));
        durable(pending, known).await
    }

    /// Takes an instance or a node out, for the reason given, or puts it back.
    pub(crate) async fn set_maintenance(
        &self,
        owner: &Owner,
        reason: Option<String>,
    ) -> Result<(), Refused> {
        let (known, pending) =
            self.change(|catalogue| catalogue.set_maintenance(owner, reason, clock::now()));
        if !known {
            return Err(Refused::Unknown);
        }
        durable(pending, ()).await
    }

    /// Takes a report about a check that the registry does not run. Never waits for the store.
    pub(crate) fn report(
        &self,
        check: &CheckRef,
        status: Status,
        output: &str,
    ) -> Result<(), NotReported> {
        let mut state = self.0.state.lock();
        let (catalogue, now) = (&mut state.catalogue, clock::now());
        let effects = catalogue.report(check, (status, output), now)?;
        self.carry_out(&mut state, effects);
        Ok(())
    }

    /// The slots of these services; see [`Subscription`].
    pub(crate) fn subscribe(
        &self,
        services: Vec<String>,
    ) -> (Subscription<Self>, Vec<watch::Receiver<Arc<Snapshot>>>) {
        Subscription::new(self.clone(), services)
    }

    /// Whether the log may tell one more thing of those that clients can have happen without end.
    pub(crate) fn may_tell(&self) -> bool {
        self.0.lines.may()
    }

    /// Why what is registered cannot be made durable, while it cannot.
    pub(crate) fn trouble(&self) -> watch::Receiver<Option<String>> {
        let state = self.0.state.lock();
        let none = || watch::channel(None).1;
        state.journal.as_ref().map_or_else(none, Journal::trouble)
    }

    /// Resolves when the registry stops.
    pub(crate) fn stopping(&self) -> CancellationToken {
        self.0.stop.clone()
    }

    /// Ends all checks, and writes what is not written yet.
    pub(crate) async fn close(&self) {
        self.0.stop.cancel();
        self.0.state.lock().polled.clear();
        self.0.poller.close().await;
        let last = self.0.state.lock().pending();
        if !last.durable().await {
            tracing::warn!("the last changes of status are not written");
        }
        // Gives the file back, to whoever comes next in this process too.
        let journal = self.0.state.lock().journal.take();
        if let Some(journal) = journal {
            journal.close().await;
        }
    }

    /// Does what time alone brings, until the registry stops.
    async fn sweep(self) {
        let stop = self.stopping();
        let mut ticks = interval(SWEEP);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let mut state = self.0.state.lock();
            let effects = state.catalogue.sweep(clock::now(), fastrand::u64(..));
            self.carry_out(&mut state, effects);
        }
    }

    /// Takes the result of a check. Answers whether running it is to go on.
    fn ran(&self, check: &CheckRef, epoch: u64, outcome: &Outcome) -> bool {
        let status = match outcome.status {
            Ok(status) => status,
            // Nobody is any worse for what the registry lacks: it is as if it had not looked.
            Err(trouble) => {
                self.0
                    .troubles
                    .tell(&self.0.metrics, trouble, &outcome.output);
                return true;
            }
        };
        let mut state = self.0.state.lock();
        let said = (status, outcome.output.as_str());
        let effects = state.catalogue.ran(check, epoch, said, clock::now());
        self.carry_out_some(&mut state, effects)
    }

    /// Changes something that may not be there: whether it was, and the change on its way to the
    /// disk.
    fn change(&self, change: impl FnOnce(&mut Catalogue) -> Option<Effects>) -> (bool, Pending) {
        let mut state = self.0.state.lock();
        let effects = change(&mut state.catalogue);
        let known = self.carry_out_some(&mut state, effects);
        (known, state.pending())
    }

    fn carry_out_some(&self, state: &mut State, effects: Option<Effects>) -> bool {
        let known = effects.is_some();
        if let Some(effects) = effects {
            self.carry_out(state, effects);
        }
        known
    }

    fn carry_out(&self, state: &mut State, effects: Effects) {
        let moves = effects.snapshots.iter().any(|(_, wake)| *wake);
        for (snapshot, wake) in effects.snapshots {
            self.0.board.publish(snapshot, wake);
        }
        if !effects.forgotten.is_empty() {
            let floor = state.catalogue.floor();
            self.0.board.forget(&effects.forgotten, floor);
        }
        let indexes = state.catalogue.indexes();
        if let Some(journal) = &mut state.journal {
            let catalogue = &state.catalogue;
            let stale = effects.stale.into_iter();
            let stale = stale.map(|owner| {
                let stored = catalogue.stored(&owner);
                (owner, stored)
            });
            journal.note(stale.collect(), indexes.newest);
        }
        self.0.indexes.send_if_modified(|held| {
            let moved = *held != indexes;
            *held = indexes;
            moved
        });
        if moves {
            self.0.moved.send_replace(indexes.newest);
        }
        for polling in effects.polling {
            self.poll(state, polling);
        }
        self.tell(&effects.told);
        for Takeover { key, before, after } in effects.takeovers {
            self.0.metrics.taken_over();
            if !self.0.lines.may() {
                continue;
            }
            tracing::warn!(node = %key.node, instance = %key.id,
                service = %after.service, before = %place(&before), after = %place(&after),
                "taken over from a process that is alive: two processes have one instance id; \
                 give each its own (--instance-id)");
        }
        for entry in effects.reaped {
            if !self.0.lines.may() {
                continue;
            }
            let instance = &entry.instance;
            tracing::warn!(service = %instance.service, instance = %instance.instance_id,
                reason = %entry.reason, "removed: critical for too long");
        }
        for entry in effects.turned {
            if self.0.lines.may() {
                tell(&entry);
            }
        }
    }

    fn poll(&self, state: &mut State, polling: Polling) {
        match polling {
            Polling::Start(target) if !self.0.stop.is_cancelled() => {
                let registry = self.clone();
                let (check, epoch) = (target.check.clone(), target.epoch);
                let report = move |outcome: Outcome| registry.ran(&check, epoch, &outcome);
                let check = target.check.clone();
                state
                    .polled
                    .insert(check, self.0.poller.start(target, report));
            }
            Polling::Start(_) => {}
            Polling::Hurry(check) => {
                if let Some(polled) = state.polled.get(&check) {
                    polled.hurry();
                }
            }
            Polling::Stop(check) => {
                state.polled.remove(&check);
            }
        }
    }
}

fn place(instance: &Instance) -> String {
    format!("{}:{}", instance.address, instance.port)
}

async fn durable<T>(pending: Pending, answer: T) -> Result<T, Refused> {
    if pending.durable().await {
        Ok(answer)
    } else {
        Err(Refused::Unavailable)
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
    use crate::{
        catalogue::{Candidate, CandidateCheck, CheckKind, Key},
        keep,
    };

    #[tokio::test]
    async fn nothing_is_kept_of_a_check_that_is_over() {
        let registry = Registry::new(
            "here",
            Networks::default(),
            None,
            Metrics::default(),
            CancellationToken::new(),
        );
        let polled = || registry.0.state.lock().polled.len();
        let instance = |kind| {
            let check = CandidateCheck {
                kind: Some(kind),
                ..CandidateCheck::default()
            };
            let candidate = Candidate {
                node: "here".to_owned(),
                instance_id: "a".to_owned(),
                service: "s".to_owned(),
                address: "127.0.0.1".to_owned(),
                port: 1,
                checks: vec![("check".to_owned(), check)],
                ..Candidate::default()
            };
            candidate.validate().unwrap()
        };
        let tcp = || CheckKind::Tcp { target: None };
        registry.register(instance(tcp()), None).await.unwrap();
        assert_eq!(polled(), 1);
        registry
            .register(instance(CheckKind::Standing), None)
            .await
            .unwrap();
        assert_eq!(polled(), 0);
        registry.register(instance(tcp()), None).await.unwrap();
        let left = registry.deregister(&Key::new("here", "a"), None).await;
        assert!(left.unwrap().removed);
        assert_eq!(polled(), 0);
        registry.close().await;
    }

    #[tokio::test]
    async fn what_was_reported_last_is_kept_over_an_orderly_stop() {
        let folder = tempfile::tempdir().unwrap();
        let open = async || {
            let (now, metrics) = (clock::now(), Metrics::default());
            let kept = keep::open(folder.path(), now, metrics.clone());
            let (networks, kept) = (Networks::default(), kept.await.unwrap());
            Registry::new(
                "here",
                networks,
                Some(kept),
                metrics,
                CancellationToken::new(),
            )
        };
        let registry = open().await;
        let check = CandidateCheck {
            kind: Some(CheckKind::Ttl {
                ttl: std::time::Duration::from_secs(3_600),
            }),
            ..CandidateCheck::default()
        };
        let candidate = Candidate {
            node: "here".to_owned(),
            instance_id: "a".to_owned(),
            service: "s".to_owned(),
            address: "127.0.0.1".to_owned(),
            port: 1,
            checks: vec![("check".to_owned(), check)],
            ..Candidate::default()
        };
        let instance = candidate.validate().unwrap();
        let check = CheckRef {
            owner: Owner::Instance(instance.key()),
            check_id: instance.checks[0].check_id.clone(),
        };
        registry.register(instance, None).await.unwrap();
        let status = |registry: &Registry| registry.entry(&Key::new("here", "a")).unwrap().status;
        let before = status(&registry);
        // Nobody has written it yet: reports do not wait for the store, and the stop comes at once.
        let reported = [Status::Passing, Status::Warning];
        let reported = reported.into_iter().find(|one| *one != before).unwrap();
        registry.report(&check, reported, "").unwrap();
        registry.close().await;
        let registry = open().await;
        assert_eq!(status(&registry), reported);
        registry.close().await;
    }
}
