//! How long it takes until everybody who watches has seen a change.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use super::{
    client::{Client, Instance},
    histogram,
    server::Server,
};
use crate::Error;

/// Connections that are opened at once.
const OPENING: usize = 64;

/// Longer than any change takes; one that takes longer is an error.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two changes: each is one by itself, and no part of a burst that may be told together.
pub(super) const GAP: Duration = Duration::from_millis(20);

/// Where watchers say what they saw.
#[derive(Debug)]
pub(super) struct Board {
    current: AtomicU64,
    /// When the current change was asked for, and what was seen of all.
    times: Mutex<(Instant, Histogram<u64>)>,
    watchers: AtomicUsize,
    seen: AtomicUsize,
    all: Notify,
    held: Mutex<Vec<Client>>,
}

/// One watcher, which counts each change once.
#[derive(Debug)]
pub(super) struct Seen {
    board: Arc<Board>,
    last: u64,
}

impl Board {
    pub(super) fn new() -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self {
            current: AtomicU64::new(0),
            times: Mutex::new((Instant::now(), histogram()?)),
            watchers: AtomicUsize::new(0),
            seen: AtomicUsize::new(0),
            all: Notify::new(),
            held: Mutex::new(Vec::new()),
        }))
    }

    /// A further watcher.
    pub(super) fn watcher(self: &Arc<Self>) -> Seen {
        self.watchers.fetch_add(1, Ordering::SeqCst);
        Seen {
            board: Arc::clone(self),
            last: 0,
        }
    }

    /// Keeps a client for as long as this.
    pub(super) fn hold(&self, client: Client) {
        self.held.lock().push(client);
    }
}

impl Seen {
    /// Takes the newest change that a message tells of.
    pub(super) fn saw(&mut self, change: Option<u64>) {
        let Some(change) = change.filter(|change| *change > self.last) else {
            return;
        };
        self.last = change;
        let board = &self.board;
        if board.current.load(Ordering::SeqCst) != change {
            return;
        }
        let mut times = board.times.lock();
        let micros = u64::try_from(times.0.elapsed().as_micros()).unwrap_or(u64::MAX);
        times.1.saturating_record(micros);
        drop(times);
        if board.seen.fetch_add(1, Ordering::SeqCst) + 1 == board.watchers.load(Ordering::SeqCst) {
            board.all.notify_one();
        }
    }
}

/// What was measured, in microseconds from asking for the change to seeing it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Latency {
    pub(super) p50: u64,
    pub(super) p99: u64,
    pub(super) last: u64,
}

/// Watchers of one service of one registry.
pub(super) struct Watchers<'a> {
    server: &'a Server,
    board: Arc<Board>,
    change: u64,
}

impl<'a> Watchers<'a> {
    pub(super) fn new(server: &'a Server) -> Result<Self, Error> {
        Ok(Self {
            server,
            board: Board::new()?,
            change: 1_000_000,
        })
    }

    /// Opens further ones, until there are so many.
    pub(super) async fn open(&self, count: usize) -> Result<(), Error> {
        let (kind, port) = (self.server.kind(), self.server.port());
        let have = self.board.watchers.load(Ordering::SeqCst);
        let opening = (have..count).map(|_| Client::watch(kind, port, 0, Arc::clone(&self.board)));
        let opening = stream::iter(opening).buffer_unordered(OPENING);
        opening.try_collect::<Vec<()>>().await?;
        Ok(())
    }

    /// Changes one instance so often, each time waiting until everybody has seen it.
    pub(super) async fn measure(&mut self, client: &Client, count: u64) -> Result<Latency, Error> {
        self.board.times.lock().1.reset();
        for _ in 0..count {
            sleep(GAP).await;
            self.change += 1;
            self.board.seen.store(0, Ordering::SeqCst);
            self.board.times.lock().0 = Instant::now();
            self.board.current.store(self.change, Ordering::SeqCst);
            client
                .register(Instance {
                    service: 0,
                    number: 0,
                    change: self.change,
                })
                .await?;
            let all = timeout(PATIENCE, self.board.all.notified()).await;
            all.map_err(|_| {
                let (seen, all) = (&self.board.seen, &self.board.watchers);
                let (seen, all) = (seen.load(Ordering::SeqCst), all.load(Ordering::SeqCst));
                format!("a change was seen by {seen} of {all} watchers")
            })?;
        }
        let times = self.board.times.lock();
        Ok(Latency {
            p50: times.1.value_at_quantile(0.5),
            p99: times.1.value_at_quantile(0.99),
            last: times.1.max(),
        })
    }
}
