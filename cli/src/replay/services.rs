//! The services that a run asks: channels that wait, and lists read to their end.

use std::{cell::RefCell, collections::BTreeMap, future::Future, time::Duration};

use mizan::{
    Channel, InvalidChannel,
    retry::{Policy, RetryPolicy, Thousandths, Throttling},
};
use mizan_contracts::{
    accounting::v1::{
        GetTrialBalanceRequest, ListTransactionsRequest, Transaction, TrialBalance,
        accounting_service_client::AccountingServiceClient,
    },
    payment::v1::{
        ListPaymentsRequest, Payment, ProcessPaymentRequest,
        payment_service_client::PaymentServiceClient,
    },
};
use tonic::Status;

use super::{
    Args,
    answer::{Instant, Verdict, judge_payment, judge_read},
    patience::{End, until_known},
    progress::Progress,
};

/// How long one call may take, retries of the channel included: `mizan up` holds one back for up to
/// 5 s that dies again and again, and several may do so one after the other.
const CALL_DEADLINE: Duration = Duration::from_secs(60);

/// How long one attempt may take: an instance that hangs does not use up its call.
const ATTEMPT_DEADLINE: Duration = Duration::from_secs(20);

/// How often a call may be tried: more often than its deadline leaves time for. Instances that are
/// killed one after the other are not a reason to tell a row that it failed.
const ATTEMPTS_MAX: u32 = 100;

/// How much a page has; the most that the services give.
const PAGE: i32 = 1000;

/// The largest page that is taken. Payments with all the metadata that they may have are 30 KB.
const PAGE_BYTES_MAX: usize = 64 << 20;

/// The services, each call repeated until its end is known or patience is over.
#[derive(Debug)]
pub(crate) struct Services<'a> {
    payment: PaymentServiceClient<Channel>,
    ledger: AccountingServiceClient<Channel>,
    patience: Duration,
    progress: &'a Progress,
    /// How many calls of ProcessPayment ended without telling the payment's end, whatever the
    /// channel tried, by reason.
    failed: RefCell<BTreeMap<String, u64>>,
}

impl<'a> Services<'a> {
    pub(crate) fn new(args: &Args, progress: &'a Progress) -> Result<Self, InvalidChannel> {
        let payment = PaymentServiceClient::new(channel(args, "payment")?);
        let ledger = AccountingServiceClient::new(channel(args, "accounting")?);
        Ok(Self {
            payment: payment.max_decoding_message_size(PAGE_BYTES_MAX),
            ledger: ledger.max_decoding_message_size(PAGE_BYTES_MAX),
            patience: args.patience(),
            progress,
            failed: RefCell::default(),
        })
    }

    /// Pays, and tells when the payment was accepted.
    pub(crate) async fn pay(&self, request: &ProcessPaymentRequest) -> End<Option<Instant>> {
        until_known(
            || {
                let (mut client, request) = (self.payment.clone(), request.clone());
                async move {
                    let answer = client.process_payment(request).await;
                    answer.map(tonic::Response::into_inner)
                }
            },
            |answer| {
                let failed = answer.as_ref().err().cloned();
                let verdict = judge_payment(answer);
                // A refusal is an answer: only what has to be asked again has failed.
                if let (Some(status), Verdict::Again { .. }) = (failed, &verdict) {
                    self.note(&status);
                }
                verdict
            },
            self.patience,
            |why| self.progress.waiting(why),
        )
        .await
    }

    fn note(&self, status: &Status) {
        let reason = mizan::status::reason(status);
        let reason = reason.unwrap_or_else(|| format!("{:?}", status.code()));
        *self.failed.borrow_mut().entry(reason).or_default() += 1;
    }

    /// The calls of ProcessPayment so far that did not tell an end, by reason.
    pub(crate) fn failed_calls(&self) -> BTreeMap<String, u64> {
        self.failed.borrow().clone()
    }

    /// Takes every payment there is, newest first.
    pub(crate) async fn payments(&self, mut take: impl FnMut(Payment)) -> Result<(), String> {
        let mut asked = ListPaymentsRequest {
            page_size: PAGE,
            ..ListPaymentsRequest::default()
        };
        loop {
            let page = self
                .read(|| {
                    let (mut client, asked) = (self.payment.clone(), asked.clone());
                    async move { Ok(client.list_payments(asked).await?.into_inner()) }
                })
                .await?;
            page.payments.into_iter().for_each(&mut take);
            asked.page_token = page.next_page_token;
            if asked.page_token.is_empty() {
                return Ok(());
            }
        }
    }

    /// Takes every transaction there is, in the order of the journal.
    pub(crate) async fn transactions(
        &self,
        mut take: impl FnMut(Transaction),
    ) -> Result<(), String> {
        let mut asked = ListTransactionsRequest {
            page_size: PAGE,
            ..ListTransactionsRequest::default()
        };
        loop {
            let page = self
                .read(|| {
                    let (mut client, asked) = (self.ledger.clone(), asked.clone());
                    async move { Ok(client.list_transactions(asked).await?.into_inner()) }
                })
                .await?;
            page.transactions.into_iter().for_each(&mut take);
            asked.page_token = page.next_page_token;
            if asked.page_token.is_empty() {
                return Ok(());
            }
        }
    }

    /// The ledger's own check of all it holds.
    pub(crate) async fn trial_balance(&self) -> Result<TrialBalance, String> {
        self.read(|| {
            let mut client = self.ledger.clone();
            async move {
                let asked = GetTrialBalanceRequest::default();
                Ok(client.get_trial_balance(asked).await?.into_inner())
            }
        })
        .await
    }

    async fn read<T, F>(&self, ask: impl FnMut() -> F) -> Result<T, String>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let waiting = |why: &str| self.progress.waiting(why);
        match until_known(ask, judge_read, self.patience, waiting).await {
            End::Done { value, .. } => Ok(value),
            End::Refused(why) | End::Unknown(why) => Err(why),
        }
    }
}

/// A channel that waits for an instance, and tries again whenever one is lost: every call here may
/// be repeated, and each row has patience of its own. No breaker, and throttling that does not set
/// in while some calls succeed: either would only keep rows from noticing that the service is back.
fn channel(args: &Args, service: &str) -> Result<Channel, InvalidChannel> {
    Channel::builder(service)
        .registry(args.registry.registry.clone())
        .contracts(mizan_contracts::FILE_DESCRIPTOR_SET)
        .deadline(CALL_DEADLINE)
        .wait_for_ready(true)
        .attempts_cap(ATTEMPTS_MAX)
        .retry(Policy::Retry(RetryPolicy {
            attempts_max: ATTEMPTS_MAX,
            attempt_timeout: Some(ATTEMPT_DEADLINE),
            ..RetryPolicy::default()
        }))
        .throttling(Throttling {
            tokens_max: Thousandths::whole(1000),
            token_ratio: Thousandths::whole(1),
        })
        .no_breaker()
        .connect()
}
