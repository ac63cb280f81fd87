//! All that a coordinator touches, with a fault at any touch.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use mizan::status::{refused, retry_later};
use parking_lot::Mutex;
use tokio::sync::watch;
use tonic::{Code, Status};

use super::world::{World, name};
use crate::{
    domain::{Command, Outcome, Set, decide},
    saga::{Outside, outside::Call},
    store::{Error, Store, differs},
};

/// What goes wrong at one touch of the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// A call is turned away unread; a write fails and writes nothing.
    NotExecuted,
    /// The request is lost.
    LostBefore,
    /// The answer is lost.
    LostAfter,
    /// The request arrives twice.
    Twice,
    /// The caller hears nothing; the request arrives so many touches later.
    Late(usize),
    /// The worker dies before it.
    CrashBefore,
    /// The worker dies after it, before it hears.
    CrashAfter,
}

/// Where payments are kept.
#[derive(Debug)]
pub(super) enum Backing {
    /// The rules of the store on a map: for runs by the thousand.
    Memory(Box<Mutex<Memory>>),
    Real(Store),
}

#[derive(Debug, Default)]
pub(super) struct Memory {
    set: Set,
    workers: BTreeMap<String, i64>,
}

impl Memory {
    fn write(&mut self, command: Command) -> Outcome {
        match &command {
            Command::Beat { worker } => *self.workers.entry(worker.clone()).or_default() += 1,
            Command::Bury { worker, .. } | Command::Leave { worker } => {
                self.workers.remove(worker);
            }
            Command::TakeOver { .. } => {
                let rows = self.set.rows.iter();
                let free = rows.filter(|(_, row)| {
                    !row.payment.state.is_at_rest() && !self.workers.contains_key(&row.worker)
                });
                self.set.free = free.map(|(id, _)| id.clone()).collect();
            }
            _ => {}
        }
        decide(&mut self.set, &[command], differs).remove(0)
    }
}

/// What all workers of a test share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) world: Mutex<World>,
    pub(super) backing: Backing,
    /// What goes wrong, by the number of the touch.
    pub(super) faults: Mutex<BTreeMap<usize, Fault>>,
    /// What goes wrong at every other call of a name, and with which status, until it is taken away.
    pub(super) always: Mutex<BTreeMap<&'static str, Status>>,
    /// From which write on the store is away, counted from the next; then how many it has refused.
    pub(super) outage: Mutex<Outage>,
    /// The name of the calls that nobody answers, until it is another.
    pub(super) held: watch::Sender<&'static str>,
    touches: AtomicUsize,
    pub(super) hits: AtomicUsize,
    /// The calls that were tried, by name, those that never left too.
    pub(super) tried: Mutex<BTreeMap<&'static str, usize>>,
    late: Mutex<Vec<(usize, Call)>>,
    pub(super) crashed: watch::Sender<Option<String>>,
}

/// A store that goes away and comes back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Outage {
    #[default]
    None,
    /// After so many more writes.
    In(usize),
    /// Now; so many writes were refused.
    Since(usize),
}

/// The outside of one worker.
#[derive(Debug)]
pub(super) struct Faulty {
    pub(super) shared: Arc<Shared>,
    pub(super) worker: String,
}

impl Faulty {
    /// The fault of this touch.
    fn touch(&self) -> (usize, Option<Fault>) {
        let number = self.shared.touches.fetch_add(1, Relaxed);
        self.shared.deliver_late(number);
        let fault = self.shared.faults.lock().remove(&number);
        if fault.is_some() {
            self.shared.hits.fetch_add(1, Relaxed);
        }
        if fault == Some(Fault::CrashBefore) {
            self.die();
        }
        (number, fault)
    }

    fn is_dead(&self) -> bool {
        self.shared.crashed.borrow().as_deref() == Some(&*self.worker)
    }

    fn die(&self) {
        self.shared.crashed.send_replace(Some(self.worker.clone()));
    }
}

#[tonic::async_trait]
impl Outside for Faulty {
    async fn call(&self, call: Call) -> Result<(), Status> {
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
        let (number, fault) = self.touch();
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
        *self.shared.tried.lock().entry(name(&call)).or_default() += 1;
        let mut held = self.shared.held.subscribe();
        let _ = held.wait_for(|held| *held != name(&call)).await;
        if fault.is_none()
            && let Some(status) = self.shared.always.lock().get(name(&call))
        {
            return Err(status.clone());
        }
        let unknown = || refused(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", "no answer");
        let answer = match fault {
            Some(Fault::NotExecuted) => return Err(away()),
            Some(Fault::LostBefore) => return Err(unknown()),
            Some(Fault::Late(touches)) => {
                self.shared.late.lock().push((number + touches, call));
                return Err(unknown());
            }
            Some(Fault::Twice) => {
                let mut world = self.shared.world.lock();
                // The answer of the second is what the caller hears.
                let _ = world.deliver(&call);
                world.deliver(&call)
            }
            _ => self.shared.world.lock().deliver(&call),
        };
        match fault {
            Some(Fault::LostAfter) => Err(unknown()),
            Some(Fault::CrashAfter) => {
                self.die();
                std::future::pending().await
            }
            _ => answer,
        }
    }

    async fn write(&self, command: Command) -> Result<Outcome, Error> {
        if self.is_dead() {
            return Err(full());
        }
        let (_, fault) = self.touch();
        let fails = self.shared.is_away()
            || matches!(
                fault,
                Some(Fault::NotExecuted | Fault::LostBefore | Fault::Late(_))
            );
        // The dead write nothing; that they hear of it ends what waits for them.
        if fails || self.is_dead() {
            return Err(full());
        }
        let outcome = self.shared.backing.write(command).await;
        match fault {
            Some(Fault::LostAfter) => Err(full()),
            Some(Fault::CrashAfter) => {
                self.die();
                Err(full())
            }
            _ => outcome,
        }
    }
}

impl Backing {
    pub(super) async fn write(&self, command: Command) -> Result<Outcome, Error> {
        match self {
            Self::Memory(memory) => Ok(memory.lock().write(command)),
            Self::Real(store) => store.write(command).await,
        }
    }
}

impl Shared {
    pub(super) fn new(backing: Backing, faults: &[(usize, Fault)]) -> Self {
        Self {
            world: Mutex::default(),
            backing,
            faults: Mutex::new(faults.iter().copied().collect()),
            always: Mutex::default(),
            outage: Mutex::default(),
            held: watch::channel("").0,
            touches: AtomicUsize::new(0),
            hits: AtomicUsize::new(0),
            tried: Mutex::default(),
            late: Mutex::default(),
            crashed: watch::channel(None).0,
        }
    }

    /// How many touches there were.
    pub(super) fn touched(&self) -> usize {
        self.touches.load(Relaxed)
    }

    /// How often calls of a name were tried.
    pub(super) fn tried(&self, name: &str) -> usize {
        self.tried.lock().get(name).copied().unwrap_or_default()
    }

    /// Whether the store is away at this write.
    fn is_away(&self) -> bool {
        let mut outage = self.outage.lock();
        let (next, is_away) = match *outage {
            Outage::None => (Outage::None, false),
            Outage::In(0) => (Outage::Since(1), true),
            Outage::In(writes) => (Outage::In(writes - 1), false),
            Outage::Since(refused) => (Outage::Since(refused + 1), true),
        };
        *outage = next;
        is_away
    }

    /// What is on its way and due arrives. `usize::MAX`: all of it.
    pub(super) fn deliver_late(&self, now: usize) {
        let due: Vec<Call> = {
            let mut late = self.late.lock();
            let (due, later) = late.drain(..).partition(|(at, _)| *at <= now);
            *late = later;
            due.into_iter().map(|(_, call)| call).collect()
        };
        for call in due {
            // Nobody hears the answer.
            let _ = self.world.lock().deliver(&call);
        }
    }
}

/// The status of a call that never left.
pub(super) fn away() -> Status {
    retry_later(
        Code::Unavailable,
        "BREAKER_OPEN",
        "open",
        Duration::from_millis(1),
    )
}

fn full() -> Error {
    store::Unavailable::from(store::rusqlite::Error::InvalidQuery).into()
}
