//! Between a source and those who listen: the latest list, and how far it can be trusted.
//!
//! ```text
//!              first sign of life             fails
//!   waiting ──────────────────────► connected ◄────────► lost
//!      │                              ▲    answers         ▲
//!      └──────────── fails ───────────┼────────────────────┘
//!                                     │
//!   any ── settle() ──► settled       └ a list, or alive()
//! ```

use std::{
    fmt, mem,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::{Endpoint, distinct};

/// The most instances of a list that are used: to each a connection is kept. Of a longer list the
/// first ones are, and the others are counted.
const INSTANCES_MAX: usize = 16_384;

/// What is known of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// Nothing yet: the first answer is still on its way.
    Unknown,
    /// Nothing, and nobody to ask; says why.
    Unreachable(String),
    /// The latest list; it stays while the source is silent.
    Instances(Vec<Endpoint>),
}

/// How a source stands; see the picture in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceState {
    /// Nothing was heard of it yet.
    Waiting,
    /// It answered when it was last asked, or its stream stands.
    Connected,
    /// It fails, or it ended: what was known last goes on.
    Lost,
    /// It said all it will ever say.
    Settled,
}

/// How far the latest list can be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceStatus {
    /// How the source stands.
    pub state: SourceState,
    /// How long ago the source last vouched for the latest list; none while there is no list. Also
    /// counts the time that a recalled list spent in its file.
    pub age: Option<Duration>,
    /// Whether the latest list was recalled from a file and the source has not spoken yet.
    pub recalled: bool,
    /// Why the source is lost.
    pub failure: Option<String>,
    /// How many instances of the latest list are left out, because it has more than 16,384.
    pub left_out: usize,
}

/// A channel from a source to its listeners; for the tests of a source of your own.
#[must_use]
pub fn channel() -> (Updates, Discovery) {
    let (known, receiver) = watch::channel(Known::Unknown);
    let shared = Arc::new(Shared {
        known,
        source: Mutex::new(Source {
            state: SourceState::Waiting,
            vouched: None,
            recalled: false,
            failure: None,
            left_out: 0,
        }),
        heard: watch::Sender::new(()),
        refresh: Notify::new(),
    });
    let discovery = Discovery {
        known: receiver,
        shared: shared.clone(),
    };
    (Updates { shared }, discovery)
}

struct Shared {
    known: watch::Sender<Known>,
    source: Mutex<Source>,
    /// Moves whenever the source vouches for the latest list.
    heard: watch::Sender<()>,
    /// Holds one ask, however many there were.
    refresh: Notify,
}

struct Source {
    state: SourceState,
    /// When the source last vouched for the latest list, and how old the list was then.
    vouched: Option<(Instant, Duration)>,
    recalled: bool,
    failure: Option<String>,
    left_out: usize,
}

/// What a source tells its listeners with.
#[derive(Debug)]
pub struct Updates {
    shared: Arc<Shared>,
}

impl Updates {
    /// This is the whole list now. An authority that is named twice is one instance, the first.
    /// Nobody is woken when nothing changed.
    pub fn instances(&self, endpoints: Vec<Endpoint>) {
        self.put(endpoints, SourceState::Connected);
    }

    /// The source is there and what it said last still holds.
    pub fn alive(&self) {
        let mut source = self.shared.source.lock();
        source.state = SourceState::Connected;
        source.failure = None;
        if !source.recalled && source.vouched.is_some() {
            source.vouched = Some((now(), Duration::ZERO));
            drop(source);
            self.shared.heard.send_replace(());
        }
    }

    /// The source cannot be reached, for this reason. What is known stays; when nothing is, calls
    /// fail for this reason instead of waiting.
    pub fn unreachable(&self, reason: impl Into<String>) {
        let reason = reason.into();
        self.shared.known.send_if_modified(|known| {
            let nothing = !matches!(known, Known::Instances(_));
            let news = Known::Unreachable(reason.clone());
            nothing && mem::replace(known, news.clone()) != news
        });
        let mut source = self.shared.source.lock();
        source.state = SourceState::Lost;
        source.failure = Some(reason);
    }

    /// This is the list and will be for ever; the source ends.
    pub fn settle(self, endpoints: Vec<Endpoint>) {
        self.put(endpoints, SourceState::Settled);
    }

    /// The list that was told or recalled last.
    #[must_use]
    pub fn latest(&self) -> Option<Vec<Endpoint>> {
        match &*self.shared.known.borrow() {
            Known::Instances(endpoints) => Some(endpoints.clone()),
            Known::Unknown | Known::Unreachable(_) => None,
        }
    }

    /// The latest list unless it was recalled: what the source itself once vouched for.
    pub(super) fn vouched(&self) -> Option<Vec<Endpoint>> {
        let recalled = self.shared.source.lock().recalled;
        self.latest().filter(|_| !recalled)
    }

    /// Resolves when nobody listens any more. A source need not wait for it: it is dropped then.
    pub async fn closed(&self) {
        self.shared.known.closed().await;
    }

    /// Resolves when somebody wants the list looked up again before its time, because instances on
    /// it cannot be reached. For sources that ask; how often they do is theirs to bound.
    pub async fn refresh_asked(&self) {
        self.shared.refresh.notified().await;
    }

    /// A list from an earlier life, as old as `age`: used only while nothing better is known.
    pub(super) fn recall(&self, endpoints: Vec<Endpoint>, age: Duration) {
        let (endpoints, left_out) = bounded(endpoints);
        let used = self.shared.known.send_if_modified(|known| {
            let nothing = !matches!(known, Known::Instances(_));
            if nothing {
                *known = Known::Instances(endpoints);
            }
            nothing
        });
        if used {
            let mut source = self.shared.source.lock();
            source.vouched = Some((now(), age));
            source.recalled = true;
            source.left_out = left_out;
        }
    }

    /// Moves whenever the source vouches for the latest list.
    pub(super) fn heard(&self) -> Heard {
        Heard {
            heard: self.shared.heard.subscribe(),
            shared: self.shared.clone(),
        }
    }

    /// Knows when nobody listens any more.
    pub(super) fn listeners(&self) -> Listeners {
        Listeners(self.shared.known.clone())
    }

    fn put(&self, endpoints: Vec<Endpoint>, state: SourceState) {
        let (endpoints, left_out) = bounded(endpoints);
        let news = Known::Instances(endpoints);
        // Before the list: who sees the list must not take it for the recalled one.
        {
            let mut source = self.shared.source.lock();
            source.state = state;
            source.vouched = Some((now(), Duration::ZERO));
            source.recalled = false;
            source.failure = None;
            if left_out > 0 && source.left_out == 0 {
                tracing::warn!(
                    left_out,
                    "a list of more than {INSTANCES_MAX} instances is cut"
                );
            }
            source.left_out = left_out;
        }
        self.shared.known.send_if_modified(|known| {
            let changed = *known != news;
            *known = news;
            changed
        });
        self.shared.heard.send_replace(());
    }
}

impl Drop for Updates {
    /// A source that ends is lost; one that said why before keeps its reason.
    fn drop(&mut self) {
        let state = self.shared.source.lock().state;
        if matches!(state, SourceState::Waiting | SourceState::Connected) {
            self.unreachable("the source of instances ended");
        }
    }
}

/// What listeners hold; clones share it.
#[derive(Debug, Clone)]
pub struct Discovery {
    known: watch::Receiver<Known>,
    shared: Arc<Shared>,
}

impl Discovery {
    /// The slot with what is known.
    #[must_use]
    pub fn known(&self) -> watch::Receiver<Known> {
        self.known.clone()
    }

    /// How far the latest list can be trusted, now.
    #[must_use]
    pub fn status(&self) -> SourceStatus {
        self.status_at(now())
    }

    /// The same at a time that was read already.
    pub(crate) fn status_at(&self, now: Instant) -> SourceStatus {
        let source = self.shared.source.lock();
        let settled = source.state == SourceState::Settled;
        SourceStatus {
            state: source.state,
            age: source.vouched.map(|(at, age)| match settled {
                true => Duration::ZERO,
                false => age.saturating_add(now.saturating_duration_since(at)),
            }),
            recalled: source.recalled,
            failure: source.failure.clone(),
            left_out: source.left_out,
        }
    }

    /// Asks the source to look again soon. Cheap, and may be called at every failure: a source that
    /// is told of changes ignores it, one that asks bounds how often it does.
    pub fn refresh(&self) {
        self.shared.refresh.notify_one();
    }
}

/// What is used of a list, and how many are not.
fn bounded(endpoints: Vec<Endpoint>) -> (Vec<Endpoint>, usize) {
    let mut endpoints = distinct(endpoints);
    let left_out = endpoints.len().saturating_sub(INSTANCES_MAX);
    endpoints.truncate(INSTANCES_MAX);
    (endpoints, left_out)
}

/// For who keeps what a source said.
pub(super) struct Heard {
    heard: watch::Receiver<()>,
    shared: Arc<Shared>,
}

impl Heard {
    /// The list that the source vouched for since the last look; waits for it.
    pub(super) async fn next(&mut self) -> Option<Vec<Endpoint>> {
        self.heard.changed().await.ok()?;
        match &*self.shared.known.borrow() {
            Known::Instances(endpoints) => Some(endpoints.clone()),
            Known::Unknown | Known::Unreachable(_) => None,
        }
    }
}

/// See [`Updates::listeners`].
pub(super) struct Listeners(watch::Sender<Known>);

impl Listeners {
    pub(super) async fn gone(self) {
        self.0.closed().await;
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("known", &*self.known.borrow())
            .finish_non_exhaustive()
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests;
