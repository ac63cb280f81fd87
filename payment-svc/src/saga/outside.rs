//! All that the saga touches of the outside, behind one trait: what can fail, and so what the tests
//! make fail.

use mizan_contracts::{
    accounting::v1::{CreateAccountRequest, RecordTransactionRequest},
    invoice::v1::{
        CreateCreditNoteRequest, CreateInvoiceRequest, FinalizeInvoiceRequest,
        RecordInvoicePaymentRequest, VoidInvoiceRequest,
    },
};
use tonic::Status;

use crate::{
    domain::{Command, Outcome},
    store::Error,
};

/// A call to another service. Each is idempotent by its `request_id`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Call {
    CreateInvoice(Box<CreateInvoiceRequest>),
    FinalizeInvoice(FinalizeInvoiceRequest),
    RecordInvoicePayment(Box<RecordInvoicePaymentRequest>),
    VoidInvoice(VoidInvoiceRequest),
    CreateCreditNote(Box<CreateCreditNoteRequest>),
    CreateAccount(Box<CreateAccountRequest>),
    RecordTransaction(Box<RecordTransactionRequest>),
}

impl Call {
    /// Whether it leaves something that a later refusal has to undo. An account is no part of a
    /// payment: it stays.
    pub(crate) fn leaves_something(&self) -> bool {
        !matches!(self, Self::CreateAccount(_))
    }
}

/// The outside.
#[tonic::async_trait]
pub(crate) trait Outside: std::fmt::Debug + Send + Sync + 'static {
    /// Calls another service.
    async fn call(&self, call: Call) -> Result<(), Status>;

    /// Changes the store; answers once that is durable. After an error it may be written or not.
    async fn write(&self, command: Command) -> Result<Outcome, Error>;
}
