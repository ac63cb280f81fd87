//! Balancing: which of the healthy, connected instances carries the next attempt.
//!
//! *What it does.* Round robin in proportion to the weights, over instances whose connection is
//! open. An instance is used only once connected and left out the moment its connection or the
//! registry says so; what it carries then is finished. A pick takes no lock and wakes nobody: it
//! reads one atomically swapped snapshot.
//!
//! While nothing is ready but something is being connected for the first time, a pick waits; when
//! everything failed, it fails at once with NO_INSTANCES.

mod instance;
pub mod load;
mod members;
pub mod outlier;
pub mod policy;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use arc_swap::ArcSwap;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tonic::{Code, Status};

use crate::{Connection, deadline, discover::Known, status};
use policy::rotation::Rotation;

/// The instances of one service, as they are now.
#[derive(Debug)]
pub(crate) struct Balancer {
    service: Arc<str>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    changed: watch::Receiver<()>,
    turn: AtomicUsize,
}

/// What a pick looks at.
#[derive(Debug)]
struct Snapshot {
    ready: Vec<Ready>,
    rotation: Rotation,
    rest: Rest,
}

/// What there is when nothing is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Rest {
    /// Something may be ready soon.
    Connecting,
    /// Nothing will, as far as we know; says why.
    Failed(String),
}

/// A connected instance.
#[derive(Debug, Clone)]
pub(crate) struct Ready {
    pub(crate) authority: Arc<str>,
    pub(crate) connection: Connection,
    weight: u32,
}

impl Balancer {
    /// Connects to what is known of `service`, and keeps doing so until it is dropped.
    pub(crate) fn start(service: &str, known: watch::Receiver<Known>) -> Self {
        let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot {
            ready: Vec::new(),
            rotation: Rotation::default(),
            rest: Rest::Connecting,
        }));
        let (notify, changed) = watch::channel(());
        tokio::spawn(members::keep(known, snapshot.clone(), notify));
        Self {
            service: service.into(),
            snapshot,
            changed,
            // Channels of many processes begin at different instances.
            turn: AtomicUsize::new(fastrand::usize(..1 << 16)),
        }
    }

    /// The next instance, one not in `tried` if there is such a one. Waits while the first
    /// connections are being made, at most until `deadline`.
    pub(crate) async fn pick(
        &self,
        tried: &[Arc<str>],
        deadline: Option<Instant>,
    ) -> Result<Ready, Status> {
        if let Some(ready) = self.snapshot.load().pick(&self.turn, tried) {
            return Ok(ready);
        }
        let mut changed = self.changed.clone();
        loop {
            // Marked before looking, so that no change falls between.
            changed.borrow_and_update();
            let snapshot = self.snapshot.load_full();
            if let Some(ready) = snapshot.pick(&self.turn, tried) {
                return Ok(ready);
            }
            if let Rest::Failed(reason) = &snapshot.rest {
                return Err(self.nobody(reason));
            }
            let waited = match deadline {
                Some(deadline) => timeout_at(deadline, changed.changed()).await,
                None => Ok(changed.changed().await),
            };
            match waited {
                Err(_) => {
                    return Err(deadline::elapsed(&format!(
                        "waiting for an instance of {}",
                        self.service
                    )));
                }
                Ok(Err(_)) => return Err(self.nobody("discovery ended")),
                Ok(Ok(())) => {}
            }
        }
    }

    fn nobody(&self, reason: &str) -> Status {
        let message = format!("no instance of {} is ready: {reason}", self.service);
        status::refused(Code::Unavailable, "NO_INSTANCES", message)
    }
}

impl Snapshot {
    fn pick(&self, turn: &AtomicUsize, tried: &[Arc<str>]) -> Option<Ready> {
        let turn = turn.fetch_add(1, Ordering::Relaxed);
        let mut second_choice = None;
        for offset in 0..self.rotation.len() {
            let index = self.rotation.at(turn.wrapping_add(offset))?;
            let ready = self.ready.get(index)?;
            if ready.connection.is_closed() {
                continue;
            }
            if !tried.contains(&ready.authority) {
                return Some(ready.clone());
            }
            second_choice.get_or_insert(ready);
        }
        second_choice.cloned()
    }
}
