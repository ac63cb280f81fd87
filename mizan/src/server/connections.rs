//! The connections of a server, and which of them makes room when all together hold too much.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{life::ConnectionLoad, seldom::Seldom};

/// What is open now.
#[derive(Debug, Default)]
pub(super) struct Connections(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    next: u64,
    open: HashMap<u64, Entry>,
    cut: Seldom,
}

#[derive(Debug)]
struct Entry {
    load: Arc<ConnectionLoad>,
    cut: CancellationToken,
    leave: CancellationToken,
}

/// One of them; it is gone when this is dropped.
#[derive(Debug)]
pub(super) struct Connected {
    connections: Arc<Connections>,
    number: u64,
    cut: CancellationToken,
    leave: CancellationToken,
}

impl Connections {
    /// A connection opens.
    pub(super) fn enter(self: &Arc<Self>, load: Arc<ConnectionLoad>) -> Connected {
        let (cut, leave) = (CancellationToken::new(), CancellationToken::new());
        let mut held = self.0.lock();
        let number = held.next;
        held.next += 1;
        let entry = Entry {
            load,
            cut: cut.clone(),
            leave: leave.clone(),
        };
        held.open.insert(number, entry);
        Connected {
            connections: Arc::clone(self),
            number,
            cut,
            leave,
        }
    }

    /// Tells those to go that were idle for longest, up to so many; how many are on their way out. Those
    /// that still carry a call are not: nobody knows when they go. None where each carries one.
    pub(super) fn send_away(&self, up_to: usize) -> usize {
        let held = self.0.lock();
        let gone = |entry: &&Entry| entry.leave.is_cancelled();
        let leaving = held.open.values().filter(gone);
        let leaving = leaving.filter(|entry| entry.load.idle_since().is_some());
        let leaving = leaving.count();
        let more = up_to.saturating_sub(leaving);
        if more == 0 {
            return leaving;
        }
        let mut idle: Vec<_> = held
            .open
            .values()
            .filter(|entry| !gone(entry))
            .filter_map(|entry| Some((entry.load.idle_since()?, &entry.leave)))
            .collect();
        idle.sort_unstable_by_key(|(since, _)| *since);
        let told = idle.into_iter().take(more);
        leaving + told.map(|(_, leave)| leave.cancel()).count()
    }

    /// Cuts the connection that holds most, unless that is the one which asks: then it has to do
    /// without. So whoever leaves answers unread pays for it, and nobody else.
    pub(super) fn make_room(&self, asking: &ConnectionLoad) -> bool {
        self.cut_largest(asking, asking.held())
    }

    /// The same where the one that asks may be cut itself: for a call that begins, which costs room
    /// whatever it is answered.
    pub(super) fn make_room_or_go(&self, asking: &ConnectionLoad) {
        self.cut_largest(asking, 0);
    }

    /// Cuts the connection that holds most, if it holds more than this; whether there is room then,
    /// or will be.
    fn cut_largest(&self, asking: &ConnectionLoad, more_than: usize) -> bool {
        let mut held = self.0.lock();
        let (mut leaving, mut largest) = (0, None::<(usize, _, _)>);
        for Entry { load, cut, .. } in held.open.values() {
            let holds = load.held();
            if cut.is_cancelled() {
                leaving += holds;
            } else if largest.as_ref().is_none_or(|(most, ..)| holds > *most) {
                largest = Some((holds, load, cut));
            }
        }
        if !asking.server().is_beyond_without(leaving) {
            return true;
        }
        let Some((_, load, cut)) = largest.filter(|(holds, ..)| *holds > more_than) else {
            return false;
        };
        let (calls, unread) = (load.calls(), load.unread());
        cut.cancel();
        if let Some(times) = held.cut.happened(Instant::now()) {
            tracing::warn!(
                calls,
                unread,
                times,
                "a connection is cut: the server holds all that it may, and most of it for this one"
            );
        }
        true
    }
}

impl Connected {
    /// Resolves when this connection has to make room.
    pub(super) async fn cut(&self) {
        self.cut.cancelled().await;
    }

    /// Resolves when it is to finish what it carries and go.
    pub(super) async fn sent_away(&self) {
        self.leave.cancelled().await;
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.connections.0.lock().open.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::life::{Life, Load};

    #[test]
    fn who_holds_most_makes_room_and_only_for_others() {
        let server = Arc::new(Load::new(8, 1000));
        let connections = Arc::new(Connections::default());
        let open = || {
            let load = Arc::new(ConnectionLoad::new(Arc::clone(&server), 1 << 20));
            (Arc::clone(&load), connections.enter(load))
        };
        let ((large, cut_first), (small, stays)) = (open(), open());
        let calls = [&large, &small].map(Life::exempt);
        let _unread = [(&calls[0], 900), (&calls[1], 100)].map(|(call, n)| call.unread_beyond(n));
        assert!(!connections.make_room(&large), "nobody holds more");
        assert!(connections.make_room(&small));
        assert!(cut_first.cut.is_cancelled() && !stays.cut.is_cancelled());
        // Without what is on its way out it is still too much, and nobody else holds more.
        assert!(!connections.make_room(&small));
        connections.make_room_or_go(&small);
        assert!(stays.cut.is_cancelled());
        // Once all of it is on its way out, there is nobody to cut.
        connections.make_room_or_go(&small);
        drop((cut_first, stays));
        assert!(connections.0.lock().open.is_empty());
    }

    #[test]
    fn who_was_idle_for_longest_is_sent_away_first_and_who_carries_a_call_never() {
        let server = Arc::new(Load::new(8, usize::MAX));
        let connections = Arc::new(Connections::default());
        let open = || {
            let load = Arc::new(ConnectionLoad::new(Arc::clone(&server), 1 << 20));
            (Arc::clone(&load), connections.enter(load))
        };
        let [
            (busy, stays),
            (used, later),
            (_unused, first),
            (_newest, last),
        ] = std::array::from_fn(|_| open());
        let _call = Life::exempt(&busy);
        drop(Life::exempt(&used));
        let away = |connected: &Connected| connected.leave.is_cancelled();
        assert_eq!(connections.send_away(1), 1);
        assert!(away(&first) && !away(&last) && !away(&later));
        // One is on its way out: that is enough.
        assert_eq!(connections.send_away(1), 1);
        assert!(!away(&last));
        assert_eq!(connections.send_away(2), 2);
        assert!(away(&last) && !away(&later));
        assert_eq!(connections.send_away(9), 3);
        assert!(away(&later) && !away(&stays));
        // A call came before the client knew: when that one goes, nobody knows.
        let call = Life::exempt(&used);
        assert_eq!(connections.send_away(9), 2);
        drop(call);
        drop((first, last, later));
        assert_eq!(connections.send_away(9), 0);
    }

    fn counted(connection: &Arc<ConnectionLoad>, calls: usize) -> (Vec<Life>, usize) {
        let lives: Vec<_> = (0..calls).map(|_| Life::counted(connection)).collect();
        let admitted = lives.iter().filter(|life| !life.is_shed()).count();
        (lives, admitted)
    }

    #[test]
    fn one_connection_has_all_places_until_there_is_another() {
        let server = Arc::new(Load::new(64, usize::MAX));
        let open = || Arc::new(ConnectionLoad::new(Arc::clone(&server), 1 << 20));
        let greedy = open();
        assert_eq!(counted(&greedy, 100).1, 64);
        let modest = open();
        let (held, admitted) = counted(&greedy, 100);
        assert_eq!(admitted, 48, "a quarter is for others");
        let (more, admitted) = counted(&modest, 10);
        assert_eq!(admitted, 4, "and of that, each its share");
        // Who gave places back is as modest as he was.
        drop(more);
        assert_eq!(counted(&modest, 10).1, 4);
        drop(held);
        assert_eq!((server.taken(), server.calls()), (0, 0));
    }
}
