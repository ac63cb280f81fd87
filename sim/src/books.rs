//! What stands in the books at the end, read through the services themselves.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    time::Duration,
};

use mizan::Channel;
use mizan_contracts::{
    accounting::v1::{
        GetTrialBalanceRequest, ListTransactionsRequest, Transaction, TrialBalance,
        VerifyJournalRequest, VerifyJournalResponse,
        accounting_service_client::AccountingServiceClient,
    },
    invoice::v1::{Invoice, ListInvoicesRequest, invoice_service_client::InvoiceServiceClient},
    payment::v1::{
        GetPaymentRequest, Payment, PaymentState, payment_service_client::PaymentServiceClient,
    },
};
use tokio::time::sleep;
use tonic::{Code, Status};

use crate::{network::Simulated, world::REGISTRY};

/// The pause before something is asked for again.
const PAUSE: Duration = Duration::from_millis(500);

/// The size of a page.
const PAGE: i32 = 100;

/// Everything there is.
#[derive(Debug, Default)]
pub(crate) struct Books {
    /// By id; those that were asked for and do not exist are absent.
    pub(crate) payments: BTreeMap<String, Payment>,
    pub(crate) invoices: Vec<Invoice>,
    pub(crate) transactions: Vec<Transaction>,
    pub(crate) trial: TrialBalance,
    /// What accounting says of its own journal.
    pub(crate) journal: VerifyJournalResponse,
}

/// Something false to write into the books that were read, so that the judge is seen to see it.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Tamper {
    /// A refund has no transaction.
    Refund,
    /// More was paid back than was paid.
    Overpaid,
    /// A payment is completed whose cancelling was acknowledged.
    Cancel,
    /// The journal is damaged.
    Journal,
}

impl Books {
    /// How many payments were made.
    pub(crate) fn completed(&self) -> usize {
        let states = self.payments.values().map(Payment::state);
        states
            .filter(|state| *state == PaymentState::Completed)
            .count()
    }

    /// How many refunds were made.
    pub(crate) fn refunded(&self) -> usize {
        let payments = self.payments.values();
        payments
            .filter(|payment| !payment.refunded_payment_id.is_empty())
            .filter(|payment| payment.state() == PaymentState::Completed)
            .count()
    }

    /// Makes something of them false, if there is such a thing.
    pub(crate) fn tamper(&mut self, what: Tamper, cancelled: &BTreeSet<String>) {
        let refund = self
            .payments
            .values_mut()
            .find(|payment| !payment.refunded_payment_id.is_empty());
        match (what, refund) {
            (Tamper::Refund, Some(refund)) => {
                self.transactions
                    .retain(|transaction| transaction.reference != refund.payment_id);
            }
            (Tamper::Overpaid, Some(refund)) => {
                if let Some(amount) = &mut refund.amount {
                    amount.units += 1_000_000;
                }
            }
            (Tamper::Cancel, _) => {
                let id = cancelled.first();
                if let Some(payment) = id.and_then(|id| self.payments.get_mut(id)) {
                    payment.set_state(PaymentState::Completed);
                }
            }
            (Tamper::Journal, _) => self.journal.valid = false,
            _ => {}
        }
    }
}

/// Reads all of it. Every answer is waited for: faults are over.
pub(crate) async fn collect(ids: &[String]) -> Result<Books, Box<dyn std::error::Error>> {
    let channel = |service: &str| {
        Channel::builder(service)
            .registry(vec![REGISTRY.to_owned()])
            .connector(Simulated)
            .contracts(mizan_contracts::FILE_DESCRIPTOR_SET)
            .no_breaker()
            .connect()
    };
    let payments = PaymentServiceClient::new(channel("payment")?);
    let invoices = InvoiceServiceClient::new(channel("invoice")?);
    let ledger = AccountingServiceClient::new(channel("accounting")?);
    let mut books = Books::default();
    for id in ids {
        let found = until(|| {
            let (mut payments, payment_id) = (payments.clone(), id.clone());
            async move {
                match payments.get_payment(GetPaymentRequest { payment_id }).await {
                    Ok(payment) => Ok(Some(payment.into_inner())),
                    Err(status) if status.code() == Code::NotFound => Ok(None),
                    Err(status) => Err(status),
                }
            }
        });
        if let Some(payment) = found.await {
            books.payments.insert(id.clone(), payment);
        }
    }
    let mut page_token = String::new();
    loop {
        let page = until(|| {
            let (mut invoices, page_token) = (invoices.clone(), page_token.clone());
            async move {
                let request = ListInvoicesRequest {
                    page_size: PAGE,
                    page_token,
                    ..ListInvoicesRequest::default()
                };
                Ok(invoices.list_invoices(request).await?.into_inner())
            }
        });
        let page = page.await;
        books.invoices.extend(page.invoices);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    loop {
        let page = until(|| {
            let (mut ledger, page_token) = (ledger.clone(), page_token.clone());
            async move {
                let request = ListTransactionsRequest {
                    page_size: PAGE,
                    page_token,
                    ..ListTransactionsRequest::default()
                };
                Ok(ledger.list_transactions(request).await?.into_inner())
            }
        });
        let page = page.await;
        books.transactions.extend(page.transactions);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    books.trial = until(|| {
        let mut ledger = ledger.clone();
        async move {
            let request = GetTrialBalanceRequest::default();
            Ok(ledger.get_trial_balance(request).await?.into_inner())
        }
    })
    .await;
    while !books.journal.complete {
        let after = books.journal.verified_sequence;
        let verified = until(|| {
            let mut ledger = ledger.clone();
            async move {
                let request = VerifyJournalRequest {
                    after_sequence: after,
                    ..VerifyJournalRequest::default()
                };
                Ok(ledger.verify_journal(request).await?.into_inner())
            }
        });
        books.journal = verified.await;
        if !books.journal.valid {
            break;
        }
    }
    Ok(books)
}

/// Asks until there is an answer.
async fn until<T, F>(mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, Status>>,
{
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(status) => {
                tracing::debug!(code = ?status.code(), "the auditor asks again");
                sleep(PAUSE).await;
            }
        }
    }
}
