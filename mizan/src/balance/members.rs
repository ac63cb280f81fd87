//! Membership: from what discovery knows to what a pick may use.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    instance::{Change, Keeper},
    member::Member,
    outliers::Outliers,
    settings::{CONNECTIONS_MAX, Settings},
    snapshot::Snapshot,
};
use crate::{
    breaker::Breaker,
    connection::Freed,
    discover::{Discovery, Endpoint, Known},
    telemetry::metrics::ClientMetrics,
};

/// How many changes may wait to be looked at; a connection with another one waits.
const CHANGES_MAX: usize = 256;

/// How often it is looked whether connections that were opened because others were full are still
/// needed: they end when they rested for as long.
const REST: Duration = Duration::from_secs(30);

/// How long an empty list is doubted while instances that are connected serve: a source that lost its
/// own store, or was asked in the wrong place, says the same. Those who mean it hang up, and then it
/// is believed at once.
const DOUBT: Duration = Duration::from_secs(10);

/// The instances of a service, and what keeps them up to date.
pub(super) struct Members {
    service: String,
    members: BTreeMap<Arc<str>, Member>,
    connections_begun: u64,
    settings: watch::Receiver<Arc<Settings>>,
    discovery: Discovery,
    /// The settings in force.
    current: Arc<Settings>,
    /// The list is empty, and doubted until then.
    doubted: Option<Instant>,
    outliers: Outliers,
    changes: mpsc::Sender<Change>,
    incoming: mpsc::Receiver<Change>,
    metrics: Arc<ClientMetrics>,
    /// Whom connections tell of free streams, and who tells when another connection would help.
    freed: Arc<Freed>,
}

impl Members {
    pub(super) fn new(
        service: &str,
        mut settings: watch::Receiver<Arc<Settings>>,
        discovery: Discovery,
        metrics: Arc<ClientMetrics>,
        freed: Arc<Freed>,
    ) -> Self {
        let (changes, incoming) = mpsc::channel(CHANGES_MAX);
        let current = settings.borrow_and_update().clone();
        Self {
            service: service.to_owned(),
            members: BTreeMap::new(),
            connections_begun: 0,
            doubted: None,
            outliers: Outliers::new(current.outlier.clone(), metrics.clone()),
            settings,
            discovery,
            current,
            changes,
            incoming,
            metrics,
            freed,
        }
    }

    /// Follows discovery and connections, publishing a new snapshot when something changed, until
    /// nobody listens any more.
    pub(super) async fn keep(
        mut self,
        snapshot: Arc<ArcSwap<Snapshot>>,
        notify: watch::Sender<()>,
    ) {
        let mut known = self.discovery.known();
        let mut without_source = false;
        let mut latest = known.borrow_and_update().clone();
        self.hear(&latest);
        let mut news = Vec::new();
        let mut rest = interval(REST);
        rest.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let freed = self.freed.clone();
        let mut changed = true;
        loop {
            if changed {
                self.fill();
                snapshot.store(Arc::new(Snapshot::of(
                    &self.members,
                    &latest,
                    &self.current,
                )));
                notify.send_replace(());
            }
            changed = true;
            let has_extra = self.members.values().any(Member::has_extra);
            tokio::select! {
                () = notify.closed() => return,
                changed = known.changed(), if !without_source => match changed {
                    Ok(()) => {
                        latest = known.borrow_and_update().clone();
                        self.hear(&latest);
                    }
                    // A fixed list never changes: its source is gone and the list stays.
                    Err(_) => without_source = true,
                },
                changed = self.settings.changed() => match changed {
                    Ok(()) => self.set(),
                    Err(_) => return,
                },
                // Told only if something came of it, or those who wait would ask again at once.
                () = freed.wanted() => changed = self.grow(),
                _ = rest.tick(), if has_extra => changed = self.rest(),
                () = self.outliers.due() => self.outliers.sweep(&mut self.members),
                _ = self.incoming.recv_many(&mut news, CHANGES_MAX) => {
                    // All that waits, at once: a thousand new connections are no thousand snapshots.
                    for change in news.drain(..) {
                        self.apply(change);
                    }
                    if self.doubted.is_some() && !self.serves() {
                        self.believe(&latest);
                    }
                }
                () = until(self.doubted) => self.believe(&latest),
            }
        }
    }

    /// Puts new settings in force.
    fn set(&mut self) {
        let before =
            std::mem::replace(&mut self.current, self.settings.borrow_and_update().clone());
        self.outliers
            .configure(&self.current.outlier, &mut self.members);
        if !same_breaker(&before, &self.current) {
            let breakers: Vec<_> = self.members.keys().map(|a| self.breaker(a)).collect();
            for (member, breaker) in self.members.values_mut().zip(breakers) {
                member.guard(breaker);
            }
        }
    }

    /// Takes a list, unless it is empty and instances that we are connected to serve.
    fn hear(&mut self, known: &Known) {
        let nobody = matches!(known, Known::Instances(endpoints) if endpoints.is_empty());
        if nobody && self.serves() {
            self.doubted.get_or_insert_with(|| Instant::now() + DOUBT);
            tracing::warn!(
                service = %self.service,
                instances = self.members.len(),
                "discovery says that there is no instance, and some serve: it is doubted for {DOUBT:?}"
            );
            return;
        }
        self.believe(known);
    }

    fn believe(&mut self, known: &Known) {
        self.doubted = None;
        self.follow(known);
    }

    /// Whether some instance can carry calls.
    fn serves(&self) -> bool {
        let mut ready = self.members.values().filter_map(Member::ready);
        ready.any(|ready| ready.is_open())
    }

    /// Takes in what is new, lets go of what is gone, keeps the rest. An authority that is named
    /// twice is one instance, as the last of them says.
    fn follow(&mut self, known: &Known) {
        let Known::Instances(endpoints) = known else {
            return;
        };
        let named: HashSet<&str> = endpoints.iter().map(Endpoint::authority).collect();
        self.members.retain(|authority, _| {
            let stays = named.contains(&**authority);
            if !stays {
                self.outliers.forget(authority);
            }
            stays
        });
        for endpoint in endpoints {
            self.learn(endpoint);
        }
    }

    fn learn(&mut self, endpoint: &Endpoint) {
        if let Some(member) = self.members.get_mut(endpoint.authority()) {
            return member.update(endpoint);
        }
        let member = Member::new(endpoint, self.breaker(endpoint.authority()));
        self.members.insert(member.authority().clone(), member);
    }

    /// A breaker of an instance's own, if each has one.
    fn breaker(&self, authority: &str) -> Option<Breaker> {
        let config = self.current.breaker.clone()?;
        Some(Breaker::new(
            &format!("{}/{authority}", self.service),
            config,
        ))
    }

    /// Begins the connections that are missing and ends those that are too many.
    fn fill(&mut self) {
        let wanted = self.current.connections.clamp(1, CONNECTIONS_MAX);
        let wanted = usize::try_from(wanted).unwrap_or(1);
        for member in self.members.values_mut() {
            member.shrink(wanted);
            for _ in 0..member.missing(wanted) {
                self.connections_begun += 1;
                let keeper = Keeper {
                    authority: member.authority().clone(),
                    id: self.connections_begun,
                    settings: self.settings.clone(),
                    changes: self.changes.clone(),
                    metrics: self.metrics.clone(),
                    freed: self.freed.clone(),
                };
                let gone = CancellationToken::new();
                member.keep(keeper.id, gone.clone().drop_guard());
                tokio::spawn(keeper.supervise(gone));
            }
        }
    }

    /// Another connection for those that have no free stream, or whose calls are given up one after
    /// another. Whether there is such a one.
    fn grow(&mut self) -> bool {
        let max = self.current.connection.connections_max;
        let max = usize::try_from(max).unwrap_or(1);
        // Each is asked.
        let members = self.members.values_mut();
        members
            .map(|member| member.grow(max))
            .filter(|g| *g)
            .count()
            > 0
    }

    /// Ends the connections that are no longer needed for want of streams. Whether there were any.
    fn rest(&mut self) -> bool {
        let members = self.members.values_mut();
        members.map(Member::rest).filter(|ended| *ended).count() > 0
    }

    fn apply(&mut self, change: Change) {
        if change.view.failed {
            // It may have moved.
            self.discovery.refresh();
        }
        if let Some(member) = self.members.get_mut(&change.authority) {
            member.apply(change.id, change.view);
        }
    }
}

/// Whether the instances' breakers can stay as they are.
fn same_breaker(before: &Settings, after: &Settings) -> bool {
    match (&before.breaker, &after.breaker) {
        (None, None) => true,
        (Some(before), Some(after)) => before.same_rules(after),
        _ => false,
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
