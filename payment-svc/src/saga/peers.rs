//! The outside as it is in service: the store, invoicing, accounting.

use std::sync::Arc;

use dashmap::DashSet;
use mizan::Channel;
use mizan_contracts::{
    accounting::v1::accounting_service_client::AccountingServiceClient,
    invoice::v1::invoice_service_client::InvoiceServiceClient,
};
use tonic::{Code, Status};

use super::{Outside, outside::Call};
use crate::{
    domain::{Command, Outcome},
    store::{Error, Store},
};

/// The store, and the services that a payment is made by.
///
/// None of the channels retries by itself: after a retry the last answer would hide that an attempt
/// before it may have been executed. The coordinator repeats, and notes every attempt.
#[derive(Debug, Clone)]
pub(crate) struct Peers {
    pub(crate) store: Store,
    /// With a breaker.
    pub(crate) invoices: InvoiceServiceClient<Channel>,
    /// With a breaker of its own and no limiter: compensation does not queue behind what goes
    /// forward, and is not kept back because that fails.
    pub(crate) undoing: InvoiceServiceClient<Channel>,
    /// With a limiter and a breaker.
    pub(crate) ledger: AccountingServiceClient<Channel>,
    /// Default accounts that are known to exist.
    pub(crate) accounts: Arc<DashSet<String>>,
}

#[tonic::async_trait]
impl Outside for Peers {
    async fn call(&self, call: Call) -> Result<(), Status> {
        let mut invoices = self.invoices.clone();
        match call {
            Call::CreateInvoice(request) => invoices.create_invoice(*request).await.map(drop),
            Call::FinalizeInvoice(request) => invoices.finalize_invoice(request).await.map(drop),
            Call::RecordInvoicePayment(request) => {
                invoices.record_invoice_payment(*request).await.map(drop)
            }
            Call::CreateCreditNote(request) => {
                invoices.create_credit_note(*request).await.map(drop)
            }
            Call::VoidInvoice(request) => {
                self.undoing.clone().void_invoice(request).await.map(drop)
            }
            Call::RecordTransaction(request) => self
                .ledger
                .clone()
                .record_transaction(*request)
                .await
                .map(drop),
            Call::CreateAccount(request) => {
                let account_id = request.account_id.clone();
                if self.accounts.contains(&account_id) {
                    return Ok(());
                }
                match self.ledger.clone().create_account(*request).await {
                    Ok(_) => {}
                    // Somebody made it their own way; whether it fits, the ledger says.
                    Err(status) if status.code() == Code::AlreadyExists => {}
                    Err(status) => return Err(status),
                }
                self.accounts.insert(account_id);
                Ok(())
            }
        }
    }

    async fn write(&self, command: Command) -> Result<Outcome, Error> {
        self.store.write(command).await
    }
}
