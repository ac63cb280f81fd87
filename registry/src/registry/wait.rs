//! Waiting for one answer to change: what blocking queries are made of.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::Registry;
use crate::{
    catalogue::{Indexes, View},
    metrics::Api,
};

/// How long a burst of changes is gathered before whoever waits is woken.
const BURST: Duration = Duration::from_millis(5);

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Watched {
    /// One service's answer in a view; the service need not exist yet.
    Service(String, View),
    /// The map of services' names to their tags.
    Services,
    /// What instances and nodes registered, of all services.
    Registrations,
    /// The nodes and their attributes.
    Nodes,
    /// The status of all checks.
    Checks,
}

impl Watched {
    fn of(&self, indexes: &Indexes) -> u64 {
        match self {
            Self::Service(..) => indexes.newest,
            Self::Services => indexes.services,
            Self::Registrations => indexes.registrations,
            Self::Nodes => indexes.nodes,
            Self::Checks => indexes.checks,
        }
    }
}

impl Registry {
    /// The revision of an answer now.
    pub(crate) fn revision(&self, watched: &Watched) -> u64 {
        match watched {
            Watched::Service(service, view) => self.snapshot(service).revision(*view),
            other => other.of(&self.indexes()),
        }
    }

    /// Waits until the revision of an answer is another than `held`, `until` has come, or the
    /// registry stops; then answers with the revision. Another, not a higher: who is ahead, after a
    /// registry was restored from an old copy, is answered at once.
    pub(crate) async fn changed(&self, watched: &Watched, held: u64, until: Instant) -> u64 {
        let stop = self.stopping();
        let moved = async {
            match watched {
                Watched::Service(service, view) => {
                    let (_subscription, mut slots) = self.subscribe(vec![service.clone()]);
                    for slot in &mut slots {
                        let moved = slot.wait_for(|snapshot| snapshot.revision(*view) != held);
                        let at_once = moved.await.is_err();
                        if !at_once {
                            break;
                        }
                    }
                    drop(slots);
                }
                other => {
                    let mut indexes = self.0.indexes.subscribe();
                    // Never ends without a change: the sender lives as long as this.
                    let _ = indexes.wait_for(|indexes| other.of(indexes) != held).await;
                }
            }
        };
        if self.revision(watched) == held {
            let _watching = self.metrics().watching(Api::Consul);
            let woken = stop.run_until_cancelled(timeout_at(until, moved)).await;
            if matches!(woken, Some(Ok(()))) {
                self.metrics().woke(Api::Consul);
                sleep(BURST).await;
            }
        }
        self.revision(watched)
    }
}
