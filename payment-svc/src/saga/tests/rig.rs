//! A coordinator between a store and the world: one worker, and after it died the next.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use mizan_contracts::{
    payment::v1::{Counterparty, ProcessPaymentRequest, RefundPaymentRequest},
    r#type::v1::Money as WireMoney,
};
use prost::Message as _;
use store::Location;
use tonic::Status;

use super::faulty::{Backing, Fault, Faulty, Shared};
use crate::{
    domain::{Accepted, Body, Command, Payment, Policy, RefundAsked, State},
    saga::{Coordinator, Progress, Settings},
    store::Store,
};

/// How long a payment may take to come to rest, far longer than any does.
const PATIENCE: Duration = Duration::from_secs(60);

/// Comes when something has gone on for too long by the machine's own clock: the tests' may run ahead.
async fn too_long(begun: std::time::Instant) {
    let mut looks = tokio::time::interval(Duration::from_secs(1));
    while begun.elapsed() < PATIENCE {
        looks.tick().await;
    }
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
        let shared = Arc::new(Shared::new(backing, faults));
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

    /// Every call of this name ends so from now on, until all such are cleared.
    pub(super) fn always(&self, call: &'static str, status: Status) {
        self.shared.always.lock().insert(call, status);
    }

    pub(super) fn fault_next(&self, fault: Fault) {
        self.fault(0, fault);
    }

    /// A fault at the touch `after` the next.
    pub(super) fn fault(&self, after: usize, fault: Fault) {
        let next = self.shared.touched();
        self.shared.faults.lock().insert(next + after, fault);
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
        let begun = std::time::Instant::now();
        loop {
            let asked = tokio::select! {
                asked = self.ask(body.clone()) => asked,
                _ = dead.wait_for(Option::is_some) => None,
                () = too_long(begun) => panic!("{} never came to rest", body.id()),
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

    /// The invariant, whole: nothing that is still under way changes anything; exactly one of a
    /// settled document and one transaction, or a document that is void or never was and none; every
    /// repetition of the request gets the same answer and changes nothing. Says whether the money
    /// moved.
    pub(super) async fn check(&mut self, payment: &Payment, body: Body) -> bool {
        assert!(payment.state.is_final(), "{payment:?}");
        self.shared.faults.lock().clear();
        let before = {
            self.shared.deliver_late(usize::MAX);
            let world = self.shared.world.lock();
            let moved = world.moved(&payment.intent);
            assert_eq!(moved, payment.state == State::Completed, "{payment:?}");
            (world.documents.clone(), world.transactions.clone(), moved)
        };
        for _ in 0..2 {
            let again = self.settle(body.clone()).await;
            assert_eq!(&again, payment, "every repetition gets the same answer");
        }
        let world = self.shared.world.lock();
        let after = (world.documents.clone(), world.transactions.clone());
        assert!((before.0, before.1) == after, "a repetition did something");
        before.2
    }

    /// As [`check`](Self::check), by the service: what callers are told is the same again.
    pub(super) async fn ends_as(&mut self, id: &str, state: State) -> Payment {
        let ended = self.pay(id).await;
        assert_eq!(ended.state, state, "{ended:?}");
        self.check(&ended, payment(id)).await;
        ended
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
pub(crate) fn encoded(body: &Body) -> Vec<u8> {
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

pub(crate) fn payment(id: &str) -> Body {
    Body::Payment(crate::request::intent(&request(id)).unwrap())
}

pub(crate) fn refund(id: &str, of: &str, minor: Option<i128>) -> Body {
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
