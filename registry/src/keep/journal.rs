//! Writing: what changed is noted at once and written by one task, everything that waits in one
//! transaction.
//!
//! Of each owner only the latest state waits, so a disk that stands still costs no more memory than
//! there are owners.

use std::{collections::HashMap, fs::File, sync::Arc, time::Duration};

use parking_lot::Mutex;
use store::Database;
use tokio::{
    sync::{Notify, oneshot, watch},
    time::{Instant, sleep},
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    catalogue::{Owner, Stored},
    keep::{AHEAD, record},
    metrics::Metrics,
};

/// Before what could not be written is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// Where changes are noted.
#[derive(Debug)]
pub(crate) struct Journal {
    shared: Arc<Shared>,
    /// Revisions are reserved up to this one.
    reserved: u64,
    database: Database,
    writing: AbortOnDropHandle<()>,
    /// Held for as long as this writes.
    lock: File,
}

/// The shortest time between two lines about a store that cannot be written.
const SAID: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    wake: Notify,
    /// Why the store cannot be written now.
    trouble: watch::Sender<Option<String>>,
}

/// What is not written yet.
#[derive(Debug, Default)]
struct Waiting {
    owners: HashMap<Owner, Option<Stored>>,
    reserve: Option<u64>,
    callers: Vec<oneshot::Sender<bool>>,
    /// The group that gathers now.
    group: u64,
    /// Of what was registered and is not known to be durable: the last group that it may be in.
    unsure: HashMap<Owner, u64>,
}

/// A change on its way to the disk: resolves to whether it is durable.
#[derive(Debug)]
pub(crate) struct Pending(Option<oneshot::Receiver<bool>>);

impl Pending {
    /// Nothing has to be written.
    pub(crate) fn nothing() -> Self {
        Self(None)
    }

    /// Whether everything that was noted before is durable.
    pub(crate) async fn durable(self) -> bool {
        match self.0 {
            None => true,
            Some(written) => written.await.unwrap_or(false),
        }
    }
}

impl Journal {
    /// Writes from the current runtime until it is dropped.
    pub(super) fn start(database: Database, reserved: u64, lock: File, metrics: Metrics) -> Self {
        let shared = Arc::new(Shared::default());
        let writing = write_all(Arc::clone(&shared), database.clone(), metrics);
        Self {
            shared,
            reserved,
            database,
            writing: AbortOnDropHandle::new(tokio::spawn(writing)),
            lock,
        }
    }

    /// Writes no more, and leaves one whole file for whoever comes next.
    pub(crate) async fn close(self) {
        drop(self.writing);
        self.database.close().await;
        drop(self.lock);
    }

    /// Why the store cannot be written, while it cannot.
    pub(crate) fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.shared.trouble.subscribe()
    }

    /// Whether the last group could not be written.
    pub(crate) fn is_failing(&self) -> bool {
        self.shared.trouble.borrow().is_some()
    }

    /// Notes the state of owners that changed, and the newest revision.
    pub(crate) fn note(&mut self, owners: Vec<(Owner, Option<Stored>)>, newest: u64) {
        let reserve = newest.saturating_add(AHEAD / 2) > self.reserved;
        if owners.is_empty() && !reserve {
            return;
        }
        let mut waiting = self.shared.waiting.lock();
        waiting.owners.extend(owners);
        if reserve {
            self.reserved = newest.saturating_add(AHEAD);
            waiting.reserve = Some(self.reserved);
        }
        drop(waiting);
        self.shared.wake.notify_one();
    }

    /// What this owner registered was changed, and noted: it is not known to be durable until the
    /// group that gathers now is.
    pub(crate) fn registered(&self, owner: Owner) {
        let mut waiting = self.shared.waiting.lock();
        let group = waiting.group;
        waiting.unsure.insert(owner, group);
    }

    /// Whether what this owner registered is durable, whatever else waits to be written.
    pub(crate) fn is_durable(&self, owner: &Owner) -> bool {
        !self.shared.waiting.lock().unsure.contains_key(owner)
    }

    /// Resolves when everything that was noted so far is durable.
    pub(crate) fn pending(&self) -> Pending {
        let (caller, written) = oneshot::channel();
        self.shared.waiting.lock().callers.push(caller);
        self.shared.wake.notify_one();
        Pending(Some(written))
    }
}

async fn write_all(shared: Arc<Shared>, database: Database, metrics: Metrics) {
    let mut said: Option<Instant> = None;
    loop {
        shared.wake.notified().await;
        let (owners, reserve, callers, group) = {
            let mut waiting = shared.waiting.lock();
            let group = waiting.group;
            waiting.group += 1;
            (
                std::mem::take(&mut waiting.owners),
                waiting.reserve.take(),
                std::mem::take(&mut waiting.callers),
                group,
            )
        };
        let (began, idle) = (Instant::now(), owners.is_empty() && reserve.is_none());
        let written = write_group(&database, owners, reserve).await;
        let done = written.is_ok();
        if done {
            let mut waiting = shared.waiting.lock();
            waiting.unsure.retain(|_, last| *last > group);
        }
        if done && !idle {
            metrics.stored(began.elapsed());
            if shared.trouble.send_replace(None).is_some() {
                said = None;
                tracing::info!("the store is written again");
            }
        }
        if let Err((error, owners)) = written {
            metrics.store_failed();
            if said.is_none_or(|at| at.elapsed() >= SAID) {
                said = Some(Instant::now());
                tracing::error!(%error, writes = owners.len(), "the store cannot be written; trying again");
            }
            let reason = format!("the registry's store cannot be written: {error}");
            shared.trouble.send_replace(Some(reason));
            let mut waiting = shared.waiting.lock();
            for (owner, stored) in owners {
                // Whatever was noted meanwhile is newer.
                waiting.owners.entry(owner).or_insert(stored);
            }
            waiting.reserve = waiting.reserve.max(reserve);
            shared.wake.notify_one();
        }
        for caller in callers {
            // A caller who left does not want the answer.
            let _ = caller.send(done);
        }
        if !done {
            sleep(PAUSE).await;
        }
    }
}

type Owners = HashMap<Owner, Option<Stored>>;

async fn write_group(
    database: &Database,
    owners: Owners,
    reserve: Option<u64>,
) -> Result<(), (record::Error, Owners)> {
    if owners.is_empty() && reserve.is_none() {
        return Ok(());
    }
    let owners = Arc::new(owners);
    let group = Arc::clone(&owners);
    let written = database.write(move |connection| {
        for (owner, stored) in &*group {
            record::write(connection, owner, stored.as_ref())?;
        }
        if let Some(upto) = reserve {
            record::reserve(connection, upto)?;
        }
        Ok::<_, record::Error>(())
    });
    written
        .await
        .map_err(|error| (error, Arc::unwrap_or_clone(owners)))
}

#[cfg(test)]
mod tests {
    use store::rusqlite::Connection;

    use super::*;
    use crate::{
        catalogue::{Bounds, Catalogue, Instance, Key, UnixMillis},
        keep::open,
    };

    const NOW: UnixMillis = UnixMillis(5_000);

    /// What is to be kept of an instance at this port.
    fn at(port: u16) -> Vec<(Owner, Option<Stored>)> {
        let mut catalogue = Catalogue::new(1, Bounds::default());
        let instance = Instance {
            node: "n".to_owned(),
            instance_id: "a".to_owned(),
            service: "s".to_owned(),
            port,
            ..Instance::default()
        };
        catalogue.register(instance, NOW).unwrap();
        let owner = Owner::Instance(Key::new("n", "a"));
        let stored = catalogue.stored(&owner);
        vec![(owner, stored)]
    }

    #[tokio::test]
    async fn what_is_noted_while_a_write_fails_is_newer_and_nothing_of_either_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let mut kept = open(folder.path(), NOW, Metrics::default()).await.unwrap();
        let other = Connection::open(folder.path().join("registry.db")).unwrap();
        let rename = |from: &str, to: &str| {
            let sql = format!("ALTER TABLE {from} RENAME TO {to}");
            other.execute_batch(&sql).unwrap();
        };
        rename("kept", "hidden");
        let far = kept.first_revision + AHEAD;
        kept.journal.note(at(1), far);
        // Until it is on its way; that it failed is heard at the next `await`.
        while !kept.journal.shared.waiting.lock().owners.is_empty() {
            tokio::task::yield_now().await;
        }
        kept.journal.note(at(2), 1);
        assert!(!kept.journal.pending().durable().await);
        rename("hidden", "kept");
        // Nobody asks, and nothing more is noted: it tries again by itself.
        let mut trouble = kept.journal.trouble();
        let written = trouble.wait_for(Option::is_none);
        let written = tokio::time::timeout(Duration::from_secs(120), written).await;
        written
            .expect("what could not be written is not tried again")
            .unwrap();
        kept.journal.close().await;
        let again = open(folder.path(), NOW, Metrics::default()).await.unwrap();
        let stored = at(2).remove(0).1.unwrap();
        assert_eq!(again.stored, [stored]);
        assert!(
            again.first_revision > far + AHEAD,
            "what was reserved stays so"
        );
    }

    #[tokio::test]
    async fn what_is_durable_is_so_whatever_else_cannot_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut kept = open(folder.path(), NOW, Metrics::default()).await.unwrap();
        let journal = &mut kept.journal;
        let (owner, first) = at(1).remove(0);
        let other = Owner::Instance(Key::new("n", "b"));
        journal.note(vec![(owner.clone(), first)], 1);
        journal.registered(owner.clone());
        assert!(!journal.is_durable(&owner), "it is on its way");
        assert!(journal.pending().durable().await);
        assert!(journal.is_durable(&owner));

        let away = Connection::open(folder.path().join("registry.db")).unwrap();
        away.execute_batch("ALTER TABLE kept RENAME TO hidden")
            .unwrap();
        let (_, second) = at(2).remove(0);
        journal.note(vec![(other.clone(), second)], 1);
        journal.registered(other.clone());
        assert!(!journal.pending().durable().await);
        assert!(journal.is_durable(&owner) && !journal.is_durable(&other));
        away.execute_batch("ALTER TABLE hidden RENAME TO kept")
            .unwrap();
        while !journal.pending().durable().await {}
        assert!(journal.is_durable(&other));
        kept.journal.close().await;
    }
}
