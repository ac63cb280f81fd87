//! What is known of the processes: who runs with which pid, who is passing and where.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;
use tokio::sync::watch;

/// Shared between the supervisors, the watch of the registry, and the table.
#[derive(Debug, Default)]
pub(super) struct Board {
    pids: Mutex<BTreeMap<String, u32>>,
    /// Names of processes that were passing at any time.
    ever_passed: Mutex<BTreeSet<String>>,
    /// The address of each process that is passing now.
    passing: watch::Sender<BTreeMap<String, String>>,
}

impl Board {
    pub(super) fn started(&self, name: &str, pid: u32) {
        self.pids.lock().insert(name.to_owned(), pid);
    }

    pub(super) fn pid(&self, name: &str) -> Option<u32> {
        self.pids.lock().get(name).copied()
    }

    /// A service's passing processes, by name, are now these and no others.
    pub(super) fn passing(&self, service: &str, instances: BTreeMap<String, String>) {
        self.ever_passed.lock().extend(instances.keys().cloned());
        self.passing.send_modify(|all| {
            all.retain(|name, _| service_of(name) != service);
            all.extend(instances);
        });
    }

    pub(super) fn ever_passed(&self, name: &str) -> bool {
        self.ever_passed.lock().contains(name)
    }

    /// Waits until all of these are passing; gives their addresses.
    pub(super) async fn all_passing(&self, names: &[String]) -> BTreeMap<String, String> {
        let mut passing = self.passing.subscribe();
        let all = |map: &BTreeMap<String, String>| names.iter().all(|name| map.contains_key(name));
        // The sender lives as long as this board.
        passing
            .wait_for(all)
            .await
            .map(|map| map.clone())
            .unwrap_or_default()
    }
}

/// The service of a process' name: `zakat` of `zakat-1`.
fn service_of(name: &str) -> &str {
    name.rsplit_once('-').map_or(name, |(service, _)| service)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(name: &str) -> (String, String) {
        (name.to_owned(), format!("{name}:1"))
    }

    #[tokio::test]
    async fn all_are_passing_when_the_last_one_is() {
        let board = Board::default();
        let names = ["a-1", "a-2", "b-1"].map(str::to_owned);
        board.passing("a", [at("a-1"), at("a-2")].into());
        board.passing("a", [at("a-2")].into());
        board.passing("b", [at("b-1")].into());
        let waiting = board.all_passing(&names);
        let mut waiting = std::pin::pin!(waiting);
        let early = futures_util::poll!(waiting.as_mut());
        assert!(early.is_pending(), "a-1 is not passing any more");
        assert!(board.ever_passed("a-1"));
        board.passing("a", [at("a-1"), at("a-2")].into());
        assert_eq!(waiting.await["b-1"], "b-1:1");
    }
}
