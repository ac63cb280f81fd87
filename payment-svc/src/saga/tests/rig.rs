//! A coordinator between a store and the world, with a fault at any touch of the outside.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use mizan::status::{refused, retry_later};
use mizan_contracts::{
    payment::v1::{Counterparty, ProcessPaymentRequest, RefundPaymentRequest},
    r#type::v1::Money as WireMoney,
};
use parking_lot::Mutex;
use prost::Message as _;
use store::Location;
use tokio::sync::watch;
use tonic::{Code, Status};

use super::world::{World, name};
use crate::{
    domain::{Accepted, Body, Command, Outcome, Payment, Policy, RefundAsked, Set, decide},
    saga::{Coordinator, Outside, Progress, Settings, outside::Call},
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
    /// What goes wrong at every call of a name, and with which status, until it is taken away.
    pub(super) always: Mutex<BTreeMap<&'static str, Status>>,
    touches: AtomicUsize,
    pub(super) hits: AtomicUsize,
    late: Mutex<Vec<(usize, Call)>>,
    crashed: watch::Sender<Option<String>>,
}

/// The outside of one worker.
#[derive(Debug)]
struct Faulty {
    shared: Arc<Shared>,
    worker: String,
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
        if let Some(status) = self.shared.always.lock().get(name(&call)) {
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
        let fails = matches!(
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
    fn deliver_late(&self, now: usize) {
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

/// A worker, and after it died the next one.
pub(super) struct Rig {
    pub(super) shared: Arc<Shared>,
    pub(super) coordinator: Coordinator,
    policy: Policy,
    generation: usize,
    _folder: Option<tempfile::TempDir>,
}

pub(super) const POLICY: Policy = Policy {
    attempts_max: 50,
    ledger_wait_micros: 3_600_000_000,
};

impl Rig {
    pub(super) async fn in_memory(faults: &[(usize, Fault)]) -> Self {
        let memory = Backing::Memory(Box::default());
        Self::over(memory, None, faults, POLICY).await
    }

    /// One on each real store; PostgreSQL left out, loudly, where there is none.
    pub(super) async fn on_both(policy: Policy) -> Vec<Self> {
        let folder = tempfile::tempdir().unwrap();
        let file = Location::File(folder.path().join("payment.db"));
        let file = Backing::Real(Store::open(&file).await.unwrap());
        let mut rigs = vec![Self::over(file, Some(folder), &[], policy).await];
        if let Some(url) = store::testing::postgres().await {
            let server = Location::Server {
                url,
                schema: "payment".to_owned(),
            };
            let server = Backing::Real(Store::open(&server).await.unwrap());
            rigs.push(Self::over(server, None, &[], policy).await);
        }
        rigs
    }

    async fn over(
        backing: Backing,
        folder: Option<tempfile::TempDir>,
        faults: &[(usize, Fault)],
        policy: Policy,
    ) -> Self {
        let shared = Arc::new(Shared {
            world: Mutex::default(),
            backing,
            faults: Mutex::new(faults.iter().copied().collect()),
            always: Mutex::default(),
            touches: AtomicUsize::new(0),
            hits: AtomicUsize::new(0),
            late: Mutex::default(),
            crashed: watch::channel(None).0,
        });
        let coordinator = worker(&shared, 0, policy).await;
        Self {
            shared,
            coordinator,
            policy,
            generation: 0,
            _folder: folder,
        }
    }

    /// A second worker over the same store and world.
    pub(super) async fn another(&self, number: usize) -> Coordinator {
        worker(&self.shared, number, self.policy).await
    }

    pub(super) fn store(&self) -> &Store {
        match &self.shared.backing {
            Backing::Real(store) => store,
            Backing::Memory(_) => panic!("not a real store"),
        }
    }

    pub(super) fn fault_next(&self, fault: Fault) {
        let next = self.shared.touches.load(Relaxed);
        self.shared.faults.lock().insert(next, fault);
    }

    /// A fault at the touch `after` the next.
    pub(super) fn fault(&self, after: usize, fault: Fault) {
        let next = self.shared.touches.load(Relaxed);
        self.shared.faults.lock().insert(next + after, fault);
    }

    pub(super) fn touches(&self) -> usize {
        self.shared.touches.load(Relaxed)
    }

    /// The worker is dead: the next one finds what it left.
    pub(super) async fn restart(&mut self) {
        self.coordinator.halt().await;
        let dead = self.coordinator.worker().to_owned();
        self.shared.crashed.send_replace(None);
        self.generation += 1;
        self.coordinator = worker(&self.shared, self.generation, self.policy).await;
        self.bury(&dead).await;
        // What fails here is looked for again, as in service.
        while self.coordinator.take_over(100).await.is_err()
            && self.shared.crashed.borrow().is_none()
        {}
    }

    /// What recovery does when a count stands still.
    pub(super) async fn bury(&self, worker: &str) {
        let beats = match &self.shared.backing {
            Backing::Memory(_) => 1,
            Backing::Real(store) => {
                let workers = store.workers().await.unwrap();
                workers
                    .iter()
                    .find(|(name, _)| name == worker)
                    .map_or(0, |(_, beats)| *beats)
            }
        };
        let bury = Command::Bury {
            worker: worker.to_owned(),
            beats,
        };
        self.shared.backing.write(bury).await.unwrap();
    }

    /// Asks until the payment is at rest, as a client does and recovery helps it to.
    pub(super) async fn settle(&mut self, body: Body) -> Payment {
        let mut dead = self.shared.crashed.subscribe();
        loop {
            let asked = tokio::select! {
                asked = self.ask(body.clone()) => asked,
                _ = dead.wait_for(Option::is_some) => None,
            };
            if let Some(payment) = asked {
                return payment;
            }
            if dead.borrow_and_update().is_some() {
                self.restart().await;
            }
        }
    }

    async fn ask(&self, body: Body) -> Option<Payment> {
        let id = body.id().to_owned();
        let request = encoded(&body);
        let payment = match self.coordinator.submit(body, request).await {
            Ok(Accepted::Mine(payment) | Accepted::Known(payment)) => payment,
            Ok(other) => panic!("{other:?}"),
            Err(_) => return None,
        };
        if payment.state.is_at_rest() {
            return Some(*payment);
        }
        if let Some(mut progress) = self.coordinator.progress(&id) {
            let over = |p: &Progress| matches!(p, Progress::Rested(_) | Progress::Dropped);
            let _ = progress.wait_for(over).await;
        } else {
            // Written although the answer was lost: recovery adopts it.
            let _ = self.coordinator.adopt(id, payment.version).await;
        }
        None
    }

    /// All that is under way arrives; then nothing may have changed, and the same request gets the
    /// same answer.
    pub(super) async fn check(&mut self, payment: &Payment, body: Body) -> bool {
        self.shared.deliver_late(usize::MAX);
        let moved = self.shared.world.lock().moved(&payment.intent);
        assert_eq!(moved, payment.state.has_transaction(), "{payment:?}");
        self.shared.faults.lock().clear();
        let again = self.settle(body).await;
        assert_eq!(&again, payment, "every repetition gets the same answer");
        moved
    }

    pub(super) async fn pay(&mut self, id: &str) -> Payment {
        self.settle(payment(id)).await
    }
}

async fn worker(shared: &Arc<Shared>, number: usize, policy: Policy) -> Coordinator {
    let worker = format!("w{number}");
    let beat = Command::Beat {
        worker: worker.clone(),
    };
    shared.backing.write(beat).await.unwrap();
    let outside = Faulty {
        shared: shared.clone(),
        worker: worker.clone(),
    };
    let settings = Settings {
        worker,
        policy,
        pause_min: Duration::from_millis(1),
        pause_max: Duration::from_millis(2),
    };
    Coordinator::new(Arc::new(outside), settings)
}

/// A body as the request that asks for it.
pub(super) fn encoded(body: &Body) -> Vec<u8> {
    match body {
        Body::Payment(intent) => request(&intent.id).encode_to_vec(),
        Body::Refund(asked) => RefundPaymentRequest {
            request_id: asked.id.clone(),
            payment_id: asked.of.clone(),
            amount: asked.amount.map(|amount| amount.try_into().unwrap()),
            ..RefundPaymentRequest::default()
        }
        .encode_to_vec(),
    }
}

/// A payment of one pound.
pub(super) fn request(id: &str) -> ProcessPaymentRequest {
    ProcessPaymentRequest {
        request_id: id.to_owned(),
        amount: Some(WireMoney {
            currency_code: "GBP".to_owned(),
            units: 1,
            nanos: 0,
        }),
        counterparty: Some(Counterparty {
            counterparty_id: "s-1".to_owned(),
            name: "A supplier".to_owned(),
        }),
        ..ProcessPaymentRequest::default()
    }
}

pub(super) fn payment(id: &str) -> Body {
    Body::Payment(crate::request::intent(&request(id)).unwrap())
}

pub(super) fn refund(id: &str, of: &str, minor: Option<i128>) -> Body {
    Body::Refund(RefundAsked {
        id: id.to_owned(),
        of: of.to_owned(),
        amount: minor.map(|minor| money::Money::from_minor(minor, "GBP".parse().unwrap())),
        reason: String::new(),
        reference: String::new(),
        metadata: BTreeMap::new(),
        effective_micros: None,
    })
}
