//! What each step of a payment does, as calls to the services that do it.
//!
//! | step | call | through | id |
//! |---|---|---|---|
//! | invoice | CreateInvoice, FinalizeInvoice | the breaker | invoice, finalize |
//! | ledger | RecordTransaction | the limiter | ledger |
//! | mark paid | RecordInvoicePayment | the breaker | paid |
//! | void invoice | VoidInvoice | the breaker | void |
//!
//! Every id derives from the payment's, so that a step can be repeated by anyone. None of these
//! calls is made inside a database transaction.

use std::sync::Arc;

use dashmap::DashSet;
use mizan::{Channel, request::timestamp, status};
use mizan_contracts::{
    accounting::v1::{
        AccountType, CreateAccountRequest, Leg, RecordTransactionRequest, Side,
        accounting_service_client::AccountingServiceClient,
    },
    invoice::v1::{
        CreateInvoiceRequest, DocumentType, FinalizeInvoiceRequest, InvoiceLine, Party,
        RecordInvoicePaymentRequest, VoidInvoiceRequest,
        invoice_service_client::InvoiceServiceClient,
    },
    r#type::v1 as types,
};
use tonic::{Code, Status};

use crate::domain::{Direction, Failure, Intent, Outcome, Payment, Step};

/// The services that a payment is made by.
#[derive(Debug, Clone)]
pub(crate) struct Peers {
    invoices: InvoiceServiceClient<Channel>,
    ledger: AccountingServiceClient<Channel>,
    /// Default accounts that are known to exist.
    accounts: Arc<DashSet<String>>,
}

impl Peers {
    pub(crate) fn new(invoices: Channel, ledger: Channel) -> Self {
        Self {
            invoices: InvoiceServiceClient::new(invoices),
            ledger: AccountingServiceClient::new(ledger),
            accounts: Arc::default(),
        }
    }

    /// Runs a payment's next step. An error means that nobody knows whether it was done, or that it
    /// certainly was not for a reason that passes: it is to be repeated.
    pub(crate) async fn run(&self, step: Step, payment: &Payment) -> Result<Outcome, Status> {
        let intent = &payment.intent;
        match step {
            Step::Invoice => self.invoice(intent).await,
            Step::Ledger => self.ledger(payment).await,
            Step::MarkPaid => outcome(step, true, self.mark_paid(intent).await),
            Step::VoidInvoice => outcome(step, true, self.void(payment).await),
        }
    }

    async fn invoice(&self, intent: &Intent) -> Result<Outcome, Status> {
        let created = self.create(intent).await;
        match outcome(Step::Invoice, false, created)? {
            Outcome::Done => outcome(Step::Invoice, true, self.finalize(intent).await),
            refused @ Outcome::Refused { .. } => Ok(refused),
        }
    }

    async fn create(&self, intent: &Intent) -> Result<(), Status> {
        let document_type = match intent.direction {
            Direction::Outgoing => DocumentType::Invoice,
            Direction::Refund => DocumentType::CreditNote,
        };
        let description = if intent.description.is_empty() {
            &intent.id
        } else {
            &intent.description
        };
        let request = CreateInvoiceRequest {
            request_id: invoice_id(intent),
            document_type: document_type.into(),
            party: Some(Party {
                party_id: intent.counterparty_id.clone(),
                name: intent.counterparty_name.clone(),
                ..Party::default()
            }),
            lines: vec![InvoiceLine {
                description: description.clone(),
                quantity: 1,
                unit_price: Some(amount(intent)?),
                ..InvoiceLine::default()
            }],
            reference: intent.id.clone(),
            metadata: intent.metadata.clone(),
            ..CreateInvoiceRequest::default()
        };
        self.invoices
            .clone()
            .create_invoice(request)
            .await
            .map(drop)
    }

    async fn finalize(&self, intent: &Intent) -> Result<(), Status> {
        let request = FinalizeInvoiceRequest {
            request_id: intent.child_id("finalize"),
            invoice_id: invoice_id(intent),
            etag: String::new(),
        };
        self.invoices
            .clone()
            .finalize_invoice(request)
            .await
            .map(drop)
    }

    async fn ledger(&self, payment: &Payment) -> Result<Outcome, Status> {
        let intent = &payment.intent;
        let accounts = self.default_accounts(intent).await;
        if let refused @ Outcome::Refused { .. } = outcome(Step::Ledger, true, accounts)? {
            return Ok(refused);
        }
        let recorded = self
            .ledger
            .clone()
            .record_transaction(transaction(payment)?)
            .await;
        outcome(Step::Ledger, true, recorded.map(drop))
    }

    async fn mark_paid(&self, intent: &Intent) -> Result<(), Status> {
        let request = RecordInvoicePaymentRequest {
            request_id: intent.child_id("paid"),
            invoice_id: invoice_id(intent),
            amount: Some(amount(intent)?),
            reference: transaction_id(intent),
            etag: String::new(),
        };
        self.invoices
            .clone()
            .record_invoice_payment(request)
            .await
            .map(drop)
    }

    async fn void(&self, payment: &Payment) -> Result<(), Status> {
        let reason = payment
            .failure
            .as_ref()
            .map_or("refused", |failure| &failure.reason);
        let request = VoidInvoiceRequest {
            request_id: payment.intent.child_id("void"),
            invoice_id: invoice_id(&payment.intent),
            reason: reason.to_owned(),
            etag: String::new(),
            allow_missing: true,
        };
        self.invoices.clone().void_invoice(request).await.map(drop)
    }

    /// Makes the accounts that a payment did not name, once per process and account.
    async fn default_accounts(&self, intent: &Intent) -> Result<(), Status> {
        let accounts = [
            (
                &intent.expense_account,
                intent.expense_account(),
                AccountType::Expense,
                "Expenses",
            ),
            (
                &intent.cash_account,
                intent.cash_account(),
                AccountType::Asset,
                "Cash",
            ),
        ];
        for (named, account_id, account_type, title) in accounts {
            if !named.is_empty() || self.accounts.contains(&account_id) {
                continue;
            }
            let currency_code = intent.amount.currency().code().to_owned();
            let request = CreateAccountRequest {
                request_id: format!("default-account-{account_id}"),
                account_id: account_id.clone(),
                display_name: format!("{title} in {currency_code}"),
                r#type: account_type.into(),
                currency_code,
                ..CreateAccountRequest::default()
            };
            match self.ledger.clone().create_account(request).await {
                Ok(_) => {}
                // Somebody made it their own way; whether it fits, the ledger says.
                Err(status) if status.code() == Code::AlreadyExists => {}
                Err(status) => return Err(status),
            }
            self.accounts.insert(account_id);
        }
        Ok(())
    }
}

pub(crate) fn invoice_id(intent: &Intent) -> String {
    intent.child_id("invoice")
}

pub(crate) fn transaction_id(intent: &Intent) -> String {
    intent.child_id("ledger")
}

/// A payment debits the expense and credits the cash; a refund the other way round.
fn transaction(payment: &Payment) -> Result<RecordTransactionRequest, Status> {
    let intent = &payment.intent;
    let (debited, credited) = match intent.direction {
        Direction::Outgoing => (intent.expense_account(), intent.cash_account()),
        Direction::Refund => (intent.cash_account(), intent.expense_account()),
    };
    let leg = |account_id, side: Side| -> Result<Leg, Status> {
        Ok(Leg {
            account_id,
            side: side.into(),
            amount: Some(amount(intent)?),
        })
    };
    let mut metadata = intent.metadata.clone();
    metadata.insert(
        "mizan.counterparty".to_owned(),
        intent.counterparty_name.clone(),
    );
    metadata.insert(
        "mizan.counterparty_id".to_owned(),
        intent.counterparty_id.clone(),
    );
    metadata.insert("mizan.invoice_id".to_owned(), invoice_id(intent));
    let effective = intent.effective_micros.unwrap_or(payment.create_micros);
    Ok(RecordTransactionRequest {
        request_id: transaction_id(intent),
        legs: vec![leg(debited, Side::Debit)?, leg(credited, Side::Credit)?],
        description: intent.description.clone(),
        reference: intent.id.clone(),
        metadata,
        effective_time: Some(timestamp(effective)),
        ..RecordTransactionRequest::default()
    })
}

fn amount(intent: &Intent) -> Result<types::Money, Status> {
    types::Money::try_from(intent.amount).map_err(|e| Status::internal(format!("amount {e}")))
}

/// Sorts an answer: done, refused for good, or to be repeated.
fn outcome(
    step: Step,
    left_something: bool,
    answer: Result<(), Status>,
) -> Result<Outcome, Status> {
    match answer {
        Ok(()) => Ok(Outcome::Done),
        Err(status) if is_final(status.code()) => Ok(Outcome::Refused {
            failure: Failure {
                step: step.name().to_owned(),
                reason: status::reason(&status).unwrap_or_else(|| format!("{:?}", status.code())),
                message: status.message().to_owned(),
            },
            left_something,
        }),
        Err(status) => Err(status),
    }
}

/// Whether asking again would give the same answer.
fn is_final(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::OutOfRange
    )
}
