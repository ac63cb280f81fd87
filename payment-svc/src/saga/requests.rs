//! The calls that payments and refunds have in common.
//!
//! What a request says must not change from version to version: a payment that was begun by an older
//! one repeats its requests, and the same id with another body is refused.

use std::collections::BTreeMap;

use mizan::request::timestamp;
use mizan_contracts::{
    accounting::v1::{AccountType, CreateAccountRequest, Leg, RecordTransactionRequest, Side},
    invoice::v1::{RecordInvoicePaymentRequest, VoidInvoiceRequest},
    r#type::v1 as types,
};
use tonic::Status;

use super::outside::Call;
use crate::domain::{Direction, Intent, Payment};

/// Records the transaction: debits the expense and credits the cash; the other way round when the
/// money comes back. Before it, makes the accounts that the payment did not name.
pub(super) fn record(payment: &Payment) -> Result<Vec<Call>, Status> {
    let mut calls = default_accounts(&payment.intent);
    calls.push(Call::RecordTransaction(Box::new(transaction(payment)?)));
    Ok(calls)
}

fn default_accounts(intent: &Intent) -> Vec<Call> {
    let currency = intent.amount.currency();
    let currency_code = currency.code();
    let account = |id: String, kind: AccountType, title: &str| CreateAccountRequest {
        request_id: format!("default-account-{id}"),
        account_id: id,
        display_name: format!("{title} in {currency_code}"),
        r#type: kind.into(),
        currency_code: currency_code.to_owned(),
        metadata: BTreeMap::new(),
        ..CreateAccountRequest::default()
    };
    let mut calls = Vec::new();
    if intent.expense_account.is_empty() {
        let request = account(intent.expense_account(), AccountType::Expense, "Expenses");
        calls.push(Call::CreateAccount(Box::new(request)));
    }
    if intent.cash_account.is_empty() {
        let request = account(intent.cash_account(), AccountType::Asset, "Cash");
        calls.push(Call::CreateAccount(Box::new(request)));
    }
    calls
}

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
    let mut tell = |key: &str, value: String| metadata.insert(key.to_owned(), value);
    tell("mizan.counterparty", intent.counterparty_name.clone());
    tell("mizan.counterparty_id", intent.counterparty_id.clone());
    tell("mizan.invoice_id", intent.document_id());
    if let (Some(payment_id), Some((_, transaction_id))) = (&intent.refund_of, intent.refunded()) {
        tell("mizan.refunded_payment_id", payment_id.clone());
        tell("mizan.refunded_transaction_id", transaction_id);
    }
    let effective = intent.effective_micros.unwrap_or(payment.create_micros);
    Ok(RecordTransactionRequest {
        request_id: intent.transaction_id(),
        legs: vec![leg(debited, Side::Debit)?, leg(credited, Side::Credit)?],
        description: intent.description.clone(),
        reference: intent.id.clone(),
        metadata,
        effective_time: Some(timestamp(effective)),
        ..RecordTransactionRequest::default()
    })
}

/// Marks the invoice as paid, or the credit note as paid back.
pub(super) fn settle(payment: &Payment) -> Result<Vec<Call>, Status> {
    let intent = &payment.intent;
    let request = RecordInvoicePaymentRequest {
        request_id: intent.child_id("paid"),
        invoice_id: intent.document_id(),
        amount: Some(amount(intent)?),
        reference: intent.transaction_id(),
        ..RecordInvoicePaymentRequest::default()
    };
    Ok(vec![Call::RecordInvoicePayment(Box::new(request))])
}

/// Voids the document. If it does not exist, the void leaves a tombstone: a create that is late is
/// refused then.
pub(super) fn void(payment: &Payment) -> Result<Vec<Call>, Status> {
    let intent = &payment.intent;
    let reason = payment.failure.as_ref().map_or("refused", |f| &f.reason);
    let request = VoidInvoiceRequest {
        request_id: intent.child_id("void"),
        invoice_id: intent.document_id(),
        reason: reason.to_owned(),
        allow_missing: true,
        ..VoidInvoiceRequest::default()
    };
    Ok(vec![Call::VoidInvoice(request)])
}

pub(super) fn amount(intent: &Intent) -> Result<types::Money, Status> {
    types::Money::try_from(intent.amount).map_err(|e| Status::internal(format!("amount {e}")))
}
