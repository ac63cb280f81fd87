//! The connections of a server, and which of them makes room when all together hold too much.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{life::ConnectionLoad, seldom::Seldom};

/// How many may be on their way out at once to make room for others. More would be room for nobody: one
/// whose client takes nothing needs a moment to go.
const LEAVING_MAX: usize = 64;

/// What is open now.
#[derive(Debug, Default)]
pub(super) struct Connections(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    next: u64,
    /// The oldest first.
    open: BTreeMap<u64, One>,
    leaving: usize,
    cut: Seldom,
}

/// What is known of one.
#[derive(Debug)]
struct One {
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
        let one = One {
            load,
            cut: cut.clone(),
            leave: leave.clone(),
        };
        held.open.insert(number, one);
        Connected {
            connections: Arc::clone(self),
            number,
            cut,
            leave,
        }
    }

    /// Asks the oldest of those that carry nothing to leave, so that a new one may come; whether
    /// there is one. Those that leave count while they do.
    pub(super) fn make_way(&self) -> bool {
        let mut held = self.0.lock();
        if held.leaving >= LEAVING_MAX {
            return false;
        }
        let idle = |one: &&One| {
            let carries = one.load.calls() > 0 || one.load.unread() > 0;
            !carries && !one.leave.is_cancelled()
        };
        let Some(oldest) = held.open.values().find(idle) else {
            return false;
        };
        oldest.leave.cancel();
        held.leaving += 1;
        true
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
        for One { load, cut, .. } in held.open.values() {
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
    /// Resolves when this connection is to leave, as soon as it can, since others want to come.
    pub(super) async fn leave(&self) {
        self.leave.cancelled().await;
    }

    /// Resolves when this connection has to make room.
    pub(super) async fn cut(&self) {
        self.cut.cancelled().await;
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let mut held = self.connections.0.lock();
        held.open.remove(&self.number);
        if self.leave.is_cancelled() {
            held.leaving = held.leaving.saturating_sub(1);
        }
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
    fn the_oldest_that_carries_nothing_makes_way() {
        let server = Arc::new(Load::new(8, 1 << 20));
        let connections = Arc::new(Connections::default());
        let open = || {
            let load = Arc::new(ConnectionLoad::new(Arc::clone(&server), 1 << 20));
            (Arc::clone(&load), connections.enter(load))
        };
        let all = [open(), open(), open()];
        let leaves = || all.each_ref().map(|(_, one)| one.leave.is_cancelled());
        let busy = Life::exempt(&all[0].0);
        assert!(connections.make_way());
        assert_eq!(leaves(), [false, true, false]);
        assert!(connections.make_way());
        assert_eq!(leaves(), [false, true, true]);
        assert!(!connections.make_way(), "who carries something stays");
        drop(busy);
        assert!(connections.make_way());
        assert_eq!(leaves(), [true; 3]);
        let more: Vec<_> = (0..LEAVING_MAX).map(|_| open()).collect();
        let made = more.iter().filter(|_| connections.make_way()).count();
        assert_eq!(made, LEAVING_MAX - 3, "those that leave count");
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
