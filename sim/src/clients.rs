//! Those who pay: each asks for its payments, by the same id, until it knows how they ended.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};

use fastrand::Rng;
use mizan::Channel;
use mizan_contracts::{
    payment::v1::{
        Counterparty, Direction, PaymentState, ProcessPaymentRequest, RetryPaymentRequest,
        payment_service_client::PaymentServiceClient,
    },
    r#type::v1::Money,
};
use tokio::{task::JoinSet, time::sleep};
use tonic::{Code, Status};

use crate::{
    network::Simulated,
    plan::{Intent, Kind, Plan},
    world::REGISTRY,
};

/// What the clients were told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Record {
    /// How a payment ended, by its id: all final answers that anybody got.
    pub(crate) ended: BTreeMap<String, BTreeSet<PaymentState>>,
    /// Payments that were refused, with why.
    pub(crate) refused: BTreeMap<String, String>,
    /// Every id that was sent.
    pub(crate) sent: BTreeSet<String>,
    /// How many calls were made, and how many of them ended without a final answer.
    pub(crate) calls: u64,
    pub(crate) unknown: u64,
    /// How many clients have finished.
    pub(crate) finished: usize,
}

type Shared = Rc<RefCell<Record>>;

/// One client's payments, all at once.
pub(crate) async fn pay(
    plan: Plan,
    index: usize,
    careless: bool,
    record: Shared,
) -> turmoil::Result {
    let channel = Channel::builder("payment")
        .registry(vec![REGISTRY.to_owned()])
        .connector(Simulated)
        .no_breaker()
        .connect()?;
    let client = PaymentServiceClient::new(channel);
    let mine = plan
        .intents
        .iter()
        .filter(|intent| intent.senders.contains(&index));
    let mut paying = JoinSet::new();
    for (number, intent) in mine.enumerate() {
        let seed = plan
            .seed
            .wrapping_mul(31)
            .wrapping_add(u64::try_from(number * 2 + index)?);
        let one = One {
            intent: intent.clone(),
            client: client.clone(),
            random: Rng::with_seed(seed),
            record: record.clone(),
            careless,
        };
        paying.spawn_local(one.until_known());
    }
    while let Some(paid) = paying.join_next().await {
        paid?;
    }
    record.borrow_mut().finished += 1;
    Ok(())
}

/// One payment of one client.
struct One {
    intent: Intent,
    client: PaymentServiceClient<Channel>,
    random: Rng,
    record: Shared,
    careless: bool,
}

impl One {
    async fn until_known(mut self) {
        sleep(self.intent.at).await;
        let mut request = request(&self.intent);
        loop {
            self.record
                .borrow_mut()
                .sent
                .insert(request.request_id.clone());
            match self.ask(&request).await {
                Ok(state) if is_final(state) => break,
                Err(status) if is_refusal(&status) => {
                    let why = format!("{:?}: {}", status.code(), status.message());
                    self.record
                        .borrow_mut()
                        .refused
                        .insert(request.request_id.clone(), why);
                    break;
                }
                // What a person does with it, who knows that the trouble is over.
                Ok(PaymentState::NeedsAttention) => self.retry(&request.request_id).await,
                Ok(_) | Err(_) => {
                    self.record.borrow_mut().unknown += 1;
                    if self.careless {
                        request.request_id.push_str("-again");
                    }
                }
            }
            sleep(Duration::from_millis(self.random.u64(100..1_500))).await;
        }
        // And once more, as somebody does who lost the answer: it must be the same one.
        while !matches!(self.ask(&request).await, Ok(state) if is_final(state)) {
            if self
                .record
                .borrow()
                .refused
                .contains_key(&request.request_id)
            {
                break;
            }
            sleep(Duration::from_millis(self.random.u64(100..1_500))).await;
        }
    }

    async fn retry(&mut self, payment_id: &str) {
        let number = self.random.u64(..);
        let request = RetryPaymentRequest {
            request_id: format!("retry-{number}"),
            payment_id: payment_id.to_owned(),
        };
        let answer = self.client.retry_payment(request).await;
        let code = answer.map_or_else(|status| status.code(), |_| Code::Ok);
        tracing::debug!(payment = payment_id, ?code, "retried by hand");
    }

    /// Asks once, as a caller does who may lose patience.
    async fn ask(&mut self, request: &ProcessPaymentRequest) -> Result<PaymentState, Status> {
        self.record.borrow_mut().calls += 1;
        let patience = Duration::from_millis(match self.random.u32(..8) {
            0 => self.random.u64(1..200),
            _ => 6_000,
        });
        let call = self.client.process_payment(request.clone());
        let answer = match tokio::time::timeout(patience, call).await {
            Ok(answer) => answer.map(|payment| payment.into_inner().state()),
            Err(_) => Err(Status::cancelled("the client lost patience")),
        };
        let id = &request.request_id;
        tracing::debug!(payment = %id, answer = ?answer.as_ref().map_err(Status::code), "answered");
        if let Ok(state) = answer
            && is_final(state)
        {
            let mut record = self.record.borrow_mut();
            record.ended.entry(id.clone()).or_default().insert(state);
        }
        answer
    }
}

fn is_final(state: PaymentState) -> bool {
    matches!(
        state,
        PaymentState::Completed | PaymentState::Compensated | PaymentState::Failed
    )
}

/// Whether the payment was refused for good: nobody's trouble, and no use in asking again.
fn is_refusal(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::InvalidArgument | Code::AlreadyExists | Code::NotFound | Code::FailedPrecondition
    )
}

fn request(intent: &Intent) -> ProcessPaymentRequest {
    let direction = match intent.kind {
        Kind::Refund => Direction::Refund,
        Kind::Paid | Kind::Refused => Direction::Outgoing,
    };
    let account = match intent.kind {
        Kind::Refused => "no-such-account",
        Kind::Paid | Kind::Refund => "",
    };
    ProcessPaymentRequest {
        request_id: intent.id.clone(),
        amount: Some(money(intent.amount)),
        direction: direction.into(),
        counterparty: Some(Counterparty {
            counterparty_id: String::new(),
            name: "Infomill".to_owned(),
        }),
        description: "Paper".to_owned(),
        // What the payment is for: the judge counts what became of it.
        reference: intent.id.clone(),
        expense_account_id: account.to_owned(),
        ..ProcessPaymentRequest::default()
    }
}

/// Pence as pounds.
fn money(pence: i64) -> Money {
    Money {
        currency_code: "GBP".to_owned(),
        units: pence / 100,
        nanos: i32::try_from(pence % 100).unwrap_or_default() * 10_000_000,
    }
}
