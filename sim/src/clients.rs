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
        CancelPaymentRequest, Counterparty, Direction, PaymentState, ProcessPaymentRequest,
        RefundPaymentRequest, RetryPaymentRequest, payment_service_client::PaymentServiceClient,
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
    /// Payments whose cancelling was acknowledged, and those where that is not known.
    pub(crate) cancelled: BTreeSet<String>,
    pub(crate) perhaps_cancelled: BTreeSet<String>,
    /// How many calls were made, and how many of them ended without a final answer.
    pub(crate) calls: u64,
    pub(crate) unknown: u64,
    /// How many clients have finished.
    pub(crate) finished: usize,
}

impl Record {
    /// Notes how an attempt to cancel ended.
    fn cancel(&mut self, payment_id: &str, answer: Result<(), Status>) {
        self.calls += 1;
        match answer {
            Ok(()) => {
                self.cancelled.insert(payment_id.to_owned());
            }
            Err(status) if is_refusal(&status) => {}
            Err(_) => {
                self.unknown += 1;
                self.perhaps_cancelled.insert(payment_id.to_owned());
            }
        }
    }
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
        .contracts(mizan_contracts::FILE_DESCRIPTOR_SET)
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
        let one = |seed| One {
            client: client.clone(),
            random: Rng::with_seed(seed),
            record: record.clone(),
            careless,
        };
        paying.spawn_local(one(seed).pay(intent.clone()));
        if let Kind::Cancelled(after) = intent.kind
            && intent.senders.first() == Some(&index)
        {
            let cancel = one(!seed).cancel(intent.id.clone(), intent.at + after);
            paying.spawn_local(cancel);
        }
    }
    while let Some(paid) = paying.join_next().await {
        paid?;
    }
    record.borrow_mut().finished += 1;
    Ok(())
}

/// What is asked for.
#[derive(Debug, Clone)]
enum Asked {
    Payment(ProcessPaymentRequest),
    Refund(RefundPaymentRequest),
}

impl Asked {
    fn id(&self) -> &String {
        match self {
            Self::Payment(request) => &request.request_id,
            Self::Refund(request) => &request.request_id,
        }
    }

    fn id_mut(&mut self) -> &mut String {
        match self {
            Self::Payment(request) => &mut request.request_id,
            Self::Refund(request) => &mut request.request_id,
        }
    }
}

/// One client's work on one payment.
#[derive(Clone)]
struct One {
    client: PaymentServiceClient<Channel>,
    random: Rng,
    record: Shared,
    careless: bool,
}

impl One {
    /// Pays, and when it is paid asks back what is to be asked back.
    async fn pay(mut self, intent: Intent) {
        sleep(intent.at).await;
        let asked = Asked::Payment(request(&intent));
        let paid = self.until_known(asked).await;
        let Some((payment_id, PaymentState::Completed)) = paid else {
            return;
        };
        let mut refunding = JoinSet::new();
        for part in &intent.refunds {
            let mut one = self.clone();
            one.random = self.random.fork();
            let asked = Asked::Refund(RefundPaymentRequest {
                request_id: part.id.clone(),
                payment_id: payment_id.clone(),
                amount: part.amount.map(money),
                reference: part.id.clone(),
                ..RefundPaymentRequest::default()
            });
            refunding.spawn_local(async move { one.until_known(asked).await });
        }
        while refunding.join_next().await.is_some() {}
    }

    /// Asks until it is known how that ended: by which id, and how, unless it was refused.
    async fn until_known(&mut self, mut asked: Asked) -> Option<(String, PaymentState)> {
        loop {
            let id = asked.id().clone();
            self.record.borrow_mut().sent.insert(id.clone());
            match self.ask(&asked).await {
                Ok(state) if is_final(state) => break,
                Err(status) if is_refusal(&status) => {
                    let reason = mizan::status::reason(&status).unwrap_or_default();
                    let why = format!("{:?} {reason}: {}", status.code(), status.message());
                    self.record.borrow_mut().refused.insert(id, why);
                    break;
                }
                // What a person does with it, who knows that the trouble is over.
                Ok(PaymentState::NeedsAttention) => self.retry(&id).await,
                Ok(_) | Err(_) => {
                    self.record.borrow_mut().unknown += 1;
                    if self.careless {
                        asked.id_mut().push_str("-again");
                    }
                }
            }
            self.pause().await;
        }
        // And once more, as somebody does who lost the answer: it must be the same one.
        loop {
            match self.ask(&asked).await {
                Ok(state) if is_final(state) => return Some((asked.id().clone(), state)),
                _ if self.record.borrow().refused.contains_key(asked.id()) => return None,
                _ => self.pause().await,
            }
        }
    }

    /// Asks to have a payment cancelled, until that is done or certainly refused a few times.
    async fn cancel(mut self, payment_id: String, at: Duration) {
        sleep(at).await;
        let request = CancelPaymentRequest {
            request_id: format!("cancel-{payment_id}"),
            payment_id: payment_id.clone(),
            reason: "not wanted".to_owned(),
        };
        let mut refused = 0;
        while refused < 4 {
            let call = self.client.cancel_payment(request.clone());
            let answer = match tokio::time::timeout(Duration::from_secs(6), call).await {
                Ok(answer) => answer.map(drop),
                Err(_) => Err(Status::cancelled("the client lost patience")),
            };
            if answer.as_ref().is_err_and(is_refusal) {
                // Not accepted yet, or at the ledger just now, or over.
                refused += 1;
            }
            let is_done = answer.is_ok();
            self.record.borrow_mut().cancel(&payment_id, answer);
            if is_done {
                return;
            }
            self.pause().await;
        }
    }

    async fn pause(&mut self) {
        sleep(Duration::from_millis(self.random.u64(100..1_500))).await;
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
    async fn ask(&mut self, asked: &Asked) -> Result<PaymentState, Status> {
        self.record.borrow_mut().calls += 1;
        let patience = Duration::from_millis(match self.random.u32(..8) {
            0 => self.random.u64(1..200),
            _ => 6_000,
        });
        let client = &mut self.client;
        let call = async {
            match asked.clone() {
                Asked::Payment(request) => client.process_payment(request).await,
                Asked::Refund(request) => client.refund_payment(request).await,
            }
        };
        let answer = match tokio::time::timeout(patience, call).await {
            Ok(answer) => answer.map(|payment| payment.into_inner().state()),
            Err(_) => Err(Status::cancelled("the client lost patience")),
        };
        let id = asked.id();
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
        Kind::Paid | Kind::Refused | Kind::Cancelled(_) => Direction::Outgoing,
    };
    let account = match intent.kind {
        Kind::Refused => "no-such-account",
        Kind::Paid | Kind::Refund | Kind::Cancelled(_) => "",
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
