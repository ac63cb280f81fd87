//! Membership: from what discovery knows to what a pick may use.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    instance::{Change, Keeper},
    member::Member,
    settings::{CONNECTIONS_MAX, Settings},
    snapshot::Snapshot,
};
use crate::discover::{Endpoint, Known};

/// How many changes may wait to be looked at; a connection with another one waits.
const CHANGES_MAX: usize = 256;

/// Follows discovery and connections, publishing a new snapshot when something changed, until
/// nobody listens any more.
pub(super) async fn keep(
    mut known: watch::Receiver<Known>,
    mut settings: watch::Receiver<Arc<Settings>>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    notify: watch::Sender<()>,
) {
    let (changes, mut incoming) = mpsc::channel(CHANGES_MAX);
    let mut members = Members {
        members: BTreeMap::new(),
        connections_begun: 0,
        settings: settings.clone(),
        changes,
    };
    let mut without_source = false;
    let mut latest = known.borrow_and_update().clone();
    members.follow(&latest);
    let mut news = Vec::new();
    loop {
        let current = settings.borrow_and_update().clone();
        members.fill(current.connections.clamp(1, CONNECTIONS_MAX));
        snapshot.store(Arc::new(Snapshot::of(
            &members.members,
            &latest,
            &*current.policy,
            current.panic_percent,
        )));
        notify.send_replace(());
        tokio::select! {
            () = notify.closed() => return,
            changed = known.changed(), if !without_source => match changed {
                Ok(()) => {
                    latest = known.borrow_and_update().clone();
                    members.follow(&latest);
                }
                // A fixed list never changes: its source is gone and the list stays.
                Err(_) => without_source = true,
            },
            changed = settings.changed() => if changed.is_err() { return },
            // The sweeps of outlier detection go here: a timer whose decisions `members.eject`
            // applies.
            _ = incoming.recv_many(&mut news, CHANGES_MAX) => {
                // All that waits, at once: a thousand new connections are no thousand snapshots.
                for change in news.drain(..) {
                    members.apply(change);
                }
            }
        }
    }
}

struct Members {
    members: BTreeMap<Arc<str>, Member>,
    connections_begun: u64,
    settings: watch::Receiver<Arc<Settings>>,
    changes: mpsc::Sender<Change>,
}

impl Members {
    /// Takes in what is new, lets go of what is gone, keeps the rest. An authority that is named
    /// twice is one instance, as the last of them says.
    fn follow(&mut self, known: &Known) {
        let Known::Instances(endpoints) = known else {
            return;
        };
        let named: HashSet<&str> = endpoints.iter().map(|e| e.authority.as_str()).collect();
        self.members
            .retain(|authority, _| named.contains(&**authority));
        for endpoint in endpoints {
            self.learn(endpoint);
        }
    }

    fn learn(&mut self, endpoint: &Endpoint) {
        if let Some(member) = self.members.get_mut(endpoint.authority.as_str()) {
            return member.update(endpoint);
        }
        let member = Member::new(endpoint);
        self.members.insert(member.authority().clone(), member);
    }

    /// Begins the connections that are missing and ends those that are too many.
    fn fill(&mut self, wanted: usize) {
        for member in self.members.values_mut() {
            member.shrink(wanted);
            for _ in 0..member.missing(wanted) {
                self.connections_begun += 1;
                let keeper = Keeper {
                    authority: member.authority().clone(),
                    id: self.connections_begun,
                    settings: self.settings.clone(),
                    changes: self.changes.clone(),
                };
                let gone = CancellationToken::new();
                member.keep(keeper.id, gone.clone().drop_guard());
                tokio::spawn(keeper.keep(gone));
            }
        }
    }

    fn apply(&mut self, change: Change) {
        if let Some(member) = self.members.get_mut(&change.authority) {
            member.apply(change.id, change.view);
        }
    }

    /// Applies what outlier detection decided: who is ejected and who comes back.
    #[allow(dead_code, reason = "for the sweeps of outlier detection")]
    fn eject<'a>(&mut self, decisions: impl IntoIterator<Item = (&'a str, bool)>) {
        for (authority, ejected) in decisions {
            if let Some(member) = self.members.get_mut(authority) {
                member.eject(ejected);
            }
        }
    }
}
