//! The life of a call, in numbers: what it takes as it arrives and is answered, and that all of it
//! comes back.
//!
//! ```text
//!   arrives ──► has a place ──► its turn ──► answers ──────────► ends
//!   Life::begin  │ or is shed               the place comes      Life is dropped
//!                │                          back; its bytes are
//!                └──────── dropped at any of them: all comes back ────────┘
//! ```
//!
//! A call that waits for its client lends its place ([`Seat`]), and needs one again when more comes.
//!
//! Nothing here is given back by a call: [`Life`], [`Unread`] and [`Received`] give back what they hold when
//! they are dropped, whoever drops them (the handler, the connection that ends, a task that is cut, a
//! panic that unwinds). `tests/model.rs` proves it over random interleavings of threads.

use std::{fmt, task::Waker};

use super::sync::{Arc, AtomicUsize, Mutex, MutexGuard, Ordering, PoisonError};

/// What a call costs that is only open, beside the bytes of its answer: the state of its stream, its
/// headers, its handler's future. Measured at 5.5 to 6 KB of resident memory, with 300,000 open.
pub(super) const CALL_BYTES: usize = 6 * 1024;

/// One place in so many is kept from connections that hold more than their share, so that one client
/// alone cannot have every other refused.
const RESERVED: usize = 4;

/// A connection's share is one place in so many, where they are tight.
const SHARE: usize = 16;

/// What all calls of a server hold.
#[derive(Debug)]
pub(super) struct Load {
    places: usize,
    held_max: usize,
    taken: AtomicUsize,
    freed: AtomicUsize,
    connections: AtomicUsize,
    calls: AtomicUsize,
    unread: AtomicUsize,
    received: AtomicUsize,
    /// Counts what begins, connections and calls: an order in time without a clock.
    begun: AtomicUsize,
}

impl Load {
    /// So many calls at once until their answers begin; so many bytes for all that is open.
    pub(super) fn new(places: usize, held_max: usize) -> Self {
        Self {
            places,
            held_max,
            taken: AtomicUsize::new(0),
            freed: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
            unread: AtomicUsize::new(0),
            received: AtomicUsize::new(0),
            begun: AtomicUsize::new(0),
        }
    }

    /// The number of what begins now.
    fn begin(&self) -> usize {
        self.begun.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether every place is taken.
    pub(super) fn is_full(&self) -> bool {
        self.taken() >= self.places
    }

    /// The places that are taken.
    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// How often a place came back when there was none. Wraps.
    pub(super) fn freed(&self) -> usize {
        self.freed.load(Ordering::Relaxed)
    }

    /// Connections that are open.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Calls and pages from their headers to the end of their answer.
    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// Bytes of answers that their clients have not taken.
    pub(super) fn unread(&self) -> usize {
        self.unread.load(Ordering::Relaxed)
    }

    /// Bytes of pages' requests that have come.
    pub(super) fn received(&self) -> usize {
        self.received.load(Ordering::Relaxed)
    }

    /// Bytes of all that is open.
    pub(super) fn held(&self) -> usize {
        self.calls() * CALL_BYTES + self.unread() + self.received()
    }

    /// Whether more is held than may be.
    pub(super) fn is_beyond(&self) -> bool {
        self.held() > self.held_max
    }

    /// By how much it would still be beyond, once so much of it is gone that is on its way out.
    pub(super) fn is_beyond_without(&self, leaving: usize) -> bool {
        self.held().saturating_sub(leaving) > self.held_max
    }

    /// Whether what is left is for those who have little.
    fn is_tight(&self) -> bool {
        self.connections() > 1 && self.taken() >= self.places - self.places / RESERVED
    }

    fn admit(&self) -> bool {
        let free = |taken: usize| (taken < self.places).then_some(taken + 1);
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, free)
            .is_ok()
    }

    fn give_back(&self) {
        if self.taken.fetch_sub(1, Ordering::Relaxed) == self.places {
            self.freed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Makes room on a server that holds too much; whether it did.
type MakeRoom = Box<dyn Fn(&ConnectionLoad) -> bool + Send + Sync>;

/// What the calls of one connection hold.
pub(super) struct ConnectionLoad {
    server: Arc<Load>,
    unread_max: usize,
    taken: AtomicUsize,
    calls: AtomicUsize,
    unread: AtomicUsize,
    received: AtomicUsize,
    /// How often a call began or bytes left, so that a connection that stands still can be told from
    /// a slow one.
    moved: AtomicUsize,
    /// The number of its last beginning: its own, or that of its last call.
    last: AtomicUsize,
    /// Whether the transport takes no more now: 1 or 0.
    blocked: AtomicUsize,
    /// Answers that wait for room.
    waiting: Mutex<Vec<Waker>>,
    room: Option<MakeRoom>,
}

impl fmt::Debug for ConnectionLoad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionLoad")
            .field("calls", &self.calls())
            .field("unread", &self.unread())
            .finish_non_exhaustive()
    }
}

impl ConnectionLoad {
    /// A connection whose answers may wait for its client up to so many bytes.
    pub(super) fn new(server: Arc<Load>, unread_max: usize) -> Self {
        server.connections.fetch_add(1, Ordering::Relaxed);
        Self {
            last: AtomicUsize::new(server.begin()),
            server,
            unread_max,
            taken: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
            unread: AtomicUsize::new(0),
            received: AtomicUsize::new(0),
            moved: AtomicUsize::new(0),
            blocked: AtomicUsize::new(0),
            waiting: Mutex::default(),
            room: None,
        }
    }

    /// The same, where there is a way to make room when the server holds too much.
    pub(super) fn making_room(
        mut self,
        room: impl Fn(&Self) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.room = Some(Box::new(room));
        self
    }

    /// Makes room for more of this one's answers, at another's cost; whether there is some now.
    pub(super) fn make_room(&self) -> bool {
        self.room.as_ref().is_some_and(|room| room(self))
    }

    /// What the whole server holds.
    pub(super) fn server(&self) -> &Arc<Load> {
        &self.server
    }

    /// Calls from their headers to the end of their answer.
    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// Bytes of answers that the client has not taken.
    pub(super) fn unread(&self) -> usize {
        self.unread.load(Ordering::Relaxed)
    }

    /// All that it holds of the server's bytes.
    pub(super) fn held(&self) -> usize {
        self.calls() * CALL_BYTES + self.unread() + self.received.load(Ordering::Relaxed)
    }

    /// Changes whenever a call began or bytes left.
    pub(super) fn motion(&self) -> usize {
        self.moved.load(Ordering::Relaxed)
    }

    /// Of one that carries nothing: the number of its last beginning. The lowest of them all is idle
    /// for longest.
    pub(super) fn idle_since(&self) -> Option<usize> {
        let idle = self.calls() == 0 && self.unread() == 0;
        idle.then(|| self.last.load(Ordering::Relaxed))
    }

    /// The transport took bytes.
    pub(super) fn wrote(&self) {
        self.moved.fetch_add(1, Ordering::Relaxed);
        if self.is_blocked() {
            self.blocked.store(0, Ordering::Relaxed);
        }
    }

    /// The transport takes no more until the client has read some.
    pub(super) fn blocks(&self) {
        self.blocked.store(1, Ordering::Relaxed);
    }

    /// Whether it takes no more: then it is the connection that does not move, and none of its calls
    /// is to blame by itself.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed) != 0
    }

    /// Whether a later part of an answer must wait until others have left. If so, `waker` is woken
    /// when they have.
    pub(super) fn is_crowded(&self, waker: &Waker) -> bool {
        if self.unread() < self.unread_max {
            return false;
        }
        self.lock().push(waker.clone());
        // What left meanwhile woke nobody.
        self.unread() >= self.unread_max
    }

    /// Takes a place, if there is one, and if this connection may have it.
    fn admit(&self) -> bool {
        let server = &self.server;
        let share = (server.places / SHARE).max(1);
        let greedy = self.taken.load(Ordering::Relaxed) >= share;
        let admitted = !(greedy && server.is_tight()) && server.admit();
        if admitted {
            self.taken.fetch_add(1, Ordering::Relaxed);
        }
        admitted
    }

    fn give_back(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
        self.server.give_back();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ConnectionLoad {
    fn drop(&mut self) {
        self.server.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One call, from its headers to the end of its answer.
#[derive(Debug)]
pub(super) struct Life {
    connection: Arc<ConnectionLoad>,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// It needs none, or has given it back.
    None,
    Taken(Arc<Seat>),
    /// There was none.
    Missing,
}

/// The place of a call, which others may have while it waits for its client.
#[derive(Debug)]
pub(super) struct Seat {
    connection: Arc<ConnectionLoad>,
    state: AtomicUsize,
}

/// The call is in its place.
const TAKEN: usize = 0;
/// Others may have it.
const LENT: usize = 1;
/// It is given back, and needed no more.
const LEFT: usize = 2;

impl Seat {
    fn take(connection: &Arc<ConnectionLoad>) -> Option<Arc<Self>> {
        connection.admit().then(|| {
            Arc::new(Self {
                connection: Arc::clone(connection),
                state: AtomicUsize::new(TAKEN),
            })
        })
    }

    /// Its call waits for its client: others may have the place.
    pub(super) fn lend(&self) {
        if self.goes(TAKEN, LENT) {
            self.connection.give_back();
        }
    }

    /// Its client goes on: the call is in a place again, unless there is none.
    pub(super) fn resume(&self) -> bool {
        if self.state.load(Ordering::Relaxed) != LENT {
            return true;
        }
        if !self.connection.admit() {
            return false;
        }
        if !self.goes(LENT, TAKEN) {
            // Its answer began meanwhile, or somebody else resumed it.
            self.connection.give_back();
        }
        true
    }

    fn leave(&self) {
        if self.state.swap(LEFT, Ordering::Relaxed) == TAKEN {
            self.connection.give_back();
        }
    }

    fn goes(&self, from: usize, to: usize) -> bool {
        let gone = self
            .state
            .compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
        gone.is_ok()
    }
}

impl Life {
    /// A call arrives that needs no place: health, reflection, a page.
    pub(super) fn exempt(connection: &Arc<ConnectionLoad>) -> Self {
        Self::begin(connection, Place::None)
    }

    /// A call arrives and takes a place, if there is one, and if its connection may have it.
    pub(super) fn counted(connection: &Arc<ConnectionLoad>) -> Self {
        let place = Seat::take(connection).map_or(Place::Missing, Place::Taken);
        Self::begin(connection, place)
    }

    fn begin(connection: &Arc<ConnectionLoad>, place: Place) -> Self {
        connection.calls.fetch_add(1, Ordering::Relaxed);
        connection.moved.fetch_add(1, Ordering::Relaxed);
        let number = connection.server.begin();
        connection.last.store(number, Ordering::Relaxed);
        connection.server.calls.fetch_add(1, Ordering::Relaxed);
        Self {
            connection: Arc::clone(connection),
            place,
        }
    }

    /// The connection that carries it.
    pub(super) fn connection(&self) -> &Arc<ConnectionLoad> {
        &self.connection
    }

    /// Whether there was no place for it.
    pub(super) fn is_shed(&self) -> bool {
        matches!(self.place, Place::Missing)
    }

    /// Its place, if it has one.
    pub(super) fn seat(&self) -> Option<Arc<Seat>> {
        match &self.place {
            Place::Taken(seat) => Some(Arc::clone(seat)),
            Place::None | Place::Missing => None,
        }
    }

    /// Its answer begins: another call may have its place.
    pub(super) fn answers(&mut self) {
        if let Place::Taken(seat) = std::mem::replace(&mut self.place, Place::None) {
            seat.leave();
        }
    }

    /// So many bytes of its answer wait for the client.
    ///
    /// # Errors
    /// Where they do not fit; nothing is held then. Alone on its connection any answer fits there.
    pub(super) fn unread(&self, bytes: usize) -> Result<Unread, Full> {
        let unread = self.unread_beyond(bytes);
        let others = self.connection.unread() - bytes.min(self.connection.unread());
        if others > 0 && others.saturating_add(bytes) > self.connection.unread_max {
            return Err(Full::Connection);
        }
        if self.is_beyond() {
            return Err(Full::Server);
        }
        Ok(unread)
    }

    /// The same whatever the bounds: for the parts of an answer that has begun, after those before
    /// have left.
    pub(super) fn unread_beyond(&self, bytes: usize) -> Unread {
        self.connection.unread.fetch_add(bytes, Ordering::Relaxed);
        let server = &self.connection.server;
        server.unread.fetch_add(bytes, Ordering::Relaxed);
        Unread {
            connection: Arc::clone(&self.connection),
            bytes,
        }
    }

    /// Whether the server holds more than it may.
    pub(super) fn is_beyond(&self) -> bool {
        self.connection.server().is_beyond()
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.answers();
        self.connection.calls.fetch_sub(1, Ordering::Relaxed);
        let server = &self.connection.server;
        server.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Bytes of an answer, from when they were made until they have left.
#[derive(Debug)]
pub(super) struct Unread {
    connection: Arc<ConnectionLoad>,
    bytes: usize,
}

impl Drop for Unread {
    fn drop(&mut self) {
        let connection = &self.connection;
        let server = &connection.server;
        server.unread.fetch_sub(self.bytes, Ordering::Relaxed);
        connection.moved.fetch_add(1, Ordering::Relaxed);
        let before = connection.unread.fetch_sub(self.bytes, Ordering::SeqCst);
        if before >= connection.unread_max && before - self.bytes < connection.unread_max {
            let waiting = std::mem::take(&mut *connection.lock());
            waiting.into_iter().for_each(Waker::wake);
        }
    }
}

/// Bytes of a page's request, from when they came until it was answered: whoever handles it may keep
/// them all.
#[derive(Debug)]
pub(super) struct Received {
    connection: Arc<ConnectionLoad>,
    bytes: AtomicUsize,
}

impl Received {
    /// None yet.
    pub(super) fn begin(connection: &Arc<ConnectionLoad>) -> Self {
        Self {
            connection: Arc::clone(connection),
            bytes: AtomicUsize::new(0),
        }
    }

    /// More came. Whether the server holds no more than it may with it.
    pub(super) fn add(&self, bytes: usize) -> bool {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.connection.received.fetch_add(bytes, Ordering::Relaxed);
        let server = &self.connection.server;
        server.received.fetch_add(bytes, Ordering::Relaxed);
        !server.is_beyond()
    }

    /// The connection that they came on.
    pub(super) fn connection(&self) -> &Arc<ConnectionLoad> {
        &self.connection
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        let bytes = self.bytes.load(Ordering::Relaxed);
        self.connection.received.fetch_sub(bytes, Ordering::Relaxed);
        let server = &self.connection.server;
        server.received.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// What is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// The client has not read what waits for it.
    Connection,
    /// All clients together have not.
    Server,
}
