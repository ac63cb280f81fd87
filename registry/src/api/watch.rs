//! A watch: the slots of its services, merged; or all there are.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{
    Stream, StreamExt as _,
    stream::{self, BoxStream, SelectAll, select_all},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{
    api::{request::Filter, streams::Admission},
    board::Subscription,
    catalogue::{Entry, Snapshot, View},
    registry::Registry,
};

/// The least time between two answers about one thing to one watcher: the first change of a burst
/// is told at once, the rest of it together.
const BURST: Duration = Duration::from_millis(5);

/// What is sent of one service.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) snapshot: Arc<Snapshot>,
    /// What a filter keeps of it; nothing when there is no filter.
    pub(crate) kept: Option<Vec<Arc<Entry>>>,
}

/// What a watcher asks of each service.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) view: View,
    pub(crate) filter: Filter,
}

impl Wanted {
    /// What the filter keeps of a snapshot; nothing when there is no filter.
    pub(crate) fn kept(&self, snapshot: &Snapshot) -> Option<Vec<Arc<Entry>>> {
        if self.filter.is_empty() {
            return None;
        }
        let entries = snapshot.entries(self.view);
        let kept = entries.filter(|entry| self.filter.keeps(entry));
        Some(kept.cloned().collect())
    }
}

/// What a watcher was sent of one service last.
#[derive(Debug, Default)]
struct Sent {
    revision: u64,
    /// With a filter alone: without one the revision says it all.
    entries: Option<Vec<Arc<Entry>>>,
}

impl Sent {
    /// The next answer, if it differs from the one before. By revision it differs, not exceeds: a
    /// watcher that is ahead is answered at once.
    fn next(&mut self, snapshot: &Arc<Snapshot>, wanted: &Wanted) -> Option<Answer> {
        let revision = snapshot.revision(wanted.view);
        if std::mem::replace(&mut self.revision, revision) == revision {
            return None;
        }
        let kept = wanted.kept(snapshot);
        if let Some(kept) = &kept {
            let same = |a: &[Arc<Entry>], b: &[Arc<Entry>]| {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same_answer(b))
            };
            let before = self.entries.replace(kept.clone());
            if before.is_some_and(|before| same(&before, kept)) {
                return None;
            }
        }
        Some(Answer {
            snapshot: Arc::clone(snapshot),
            kept,
        })
    }
}

/// First a snapshot of each service but those that the watcher holds at this very revision, then
/// the latest of each whose answer changed, until the registry stops.
pub(crate) fn some(
    registry: &Registry,
    services: BTreeSet<String>,
    wanted: &Wanted,
    held: &BTreeMap<String, u64>,
    admission: Admission,
) -> BoxStream<'static, Answer> {
    // No answer has revision 0, so what is not held is sent.
    let held: Vec<_> = services
        .iter()
        .map(|service| held.get(service).copied().unwrap_or(0))
        .collect();
    let (subscription, receivers) = registry.subscribe(services.into_iter().collect());
    let changes = receivers
        .into_iter()
        .zip(held)
        .map(|(slot, held)| changes(slot, wanted.clone(), held));
    let merged = Merged {
        changes: select_all(changes),
        _subscription: subscription,
        _admission: admission,
    };
    merged
        .take_until(registry.stopping().cancelled_owned())
        .boxed()
}

/// The answers of one slot that differ from the one before, the first from the one `held`.
fn changes(
    mut slot: watch::Receiver<Arc<Snapshot>>,
    wanted: Wanted,
    held: u64,
) -> BoxStream<'static, Answer> {
    slot.mark_changed();
    let sent = Sent {
        revision: held,
        entries: None,
    };
    let start = (slot, sent, wanted, None);
    stream::unfold(start, |(mut slot, mut sent, wanted, last)| async move {
        loop {
            slot.changed().await.ok()?;
            pause(last).await;
            let snapshot = Arc::clone(&slot.borrow_and_update());
            if let Some(answer) = sent.next(&snapshot, &wanted) {
                return Some((answer, (slot, sent, wanted, Some(Instant::now()))));
            }
        }
    })
    .boxed()
}

/// Waits until a burst is over.
async fn pause(last: Option<Instant>) {
    if let Some(last) = last
        && last.elapsed() < BURST
    {
        sleep_until(last + BURST).await;
    }
}

/// First a snapshot of every service but those that the watcher holds at this very revision, then
/// the latest of each whose answer changed, until the registry stops. A service that the watcher
/// holds and the registry does not know is empty.
pub(crate) fn all(
    registry: &Registry,
    wanted: Wanted,
    held: BTreeMap<String, u64>,
    admission: Admission,
) -> BoxStream<'static, Answer> {
    let sent = held.into_iter().map(|(service, revision)| {
        let entries = None;
        (service, Sent { revision, entries })
    });
    let everything = Everything {
        seen: 0,
        floor: 0,
        sent: sent.collect(),
        moved: registry.moved(),
        registry: registry.clone(),
        wanted,
        _admission: admission,
    };
    let stop = registry.stopping().cancelled_owned();
    stream::unfold((everything, None), |(mut everything, last)| async move {
        pause(last).await;
        let answers = everything.next().await?;
        Some((stream::iter(answers), (everything, Some(Instant::now()))))
    })
    .flatten()
    .take_until(stop)
    .boxed()
}

/// A watch of all services: what was sent of each, and up to which revision everything was looked
/// at.
struct Everything {
    registry: Registry,
    wanted: Wanted,
    sent: BTreeMap<String, Sent>,
    seen: u64,
    floor: u64,
    moved: watch::Receiver<u64>,
    _admission: Admission,
}

impl Everything {
    /// Waits for changes, and answers with them.
    async fn next(&mut self) -> Option<Vec<Answer>> {
        loop {
            self.moved.borrow_and_update();
            let answers = self.look();
            if !answers.is_empty() {
                return Some(answers);
            }
            self.moved.changed().await.ok()?;
        }
    }

    fn look(&mut self) -> Vec<Answer> {
        let mut changed = self.registry.snapshots(self.seen);
        for snapshot in &changed {
            self.seen = self.seen.max(snapshot.revision(View::All));
        }
        // Empty services may have been forgotten, and be no longer listed.
        let floor = self.registry.floor();
        if std::mem::replace(&mut self.floor, floor) != floor {
            let held = self
                .sent
                .keys()
                .map(|service| self.registry.snapshot(service));
            changed.extend(held.filter(|snapshot| snapshot.is_empty()));
        }
        let mut answers = Vec::new();
        for snapshot in changed {
            let sent = self.sent.entry(snapshot.service().to_owned()).or_default();
            answers.extend(sent.next(&snapshot, &self.wanted));
        }
        answers
    }
}

struct Merged {
    /// Declared, and so dropped, before the subscription that gives the slots back.
    changes: SelectAll<BoxStream<'static, Answer>>,
    _subscription: Subscription<Registry>,
    _admission: Admission,
}

impl Stream for Merged {
    type Item = Answer;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.changes.poll_next_unpin(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn of_a_burst_the_first_change_is_told_at_once_and_the_rest_together() {
        let at = |revision| Arc::new(Snapshot::empty("a", revision));
        let (slot, slots) = watch::channel(at(1));
        let wanted = Wanted {
            view: View::All,
            filter: Filter::default(),
        };
        let mut told = changes(slots, wanted, 0);
        let began = Instant::now();
        let mut next = async || {
            let answer = told.next().await.unwrap();
            (answer.snapshot.revision(View::All), began.elapsed())
        };
        assert_eq!(next().await, (1, Duration::ZERO));
        slot.send_replace(at(2));
        let more = async {
            tokio::time::sleep(BURST / 2).await;
            slot.send_replace(at(3));
        };
        let ((), answer) = tokio::join!(more, next());
        assert_eq!(answer, (3, BURST));
        // Quiet since then.
        tokio::time::sleep(BURST).await;
        slot.send_replace(at(4));
        assert_eq!(next().await, (4, 2 * BURST));
    }
}
