//! The RefundPayment saga. That the refunds of a payment never exceed it is decided when one is
//! accepted, in the same transaction (`domain::refund`); invoicing holds the same for the credit
//! notes of an invoice.
//!
//! | step | calls | undone by |
//! |---|---|---|
//! | credit note | CreateCreditNote on the payment's invoice | VoidInvoice on the credit note |
//! | ledger | RecordTransaction with the payment's legs swapped | nothing: the pivot |
//! | settle credit note | RecordInvoicePayment on the credit note | nothing: repeated until done |

use mizan_contracts::invoice::v1::CreateCreditNoteRequest;
use tonic::Status;

use super::{
    outside::Call,
    requests::{amount, record, settle, void},
    table::Line,
};
use crate::domain::{Payment, Step};

/// The saga.
pub(super) const STEPS: &[Line] = &[
    Line {
        step: Step::Document,
        run: credit_note,
        undo: Some(void),
    },
    Line {
        step: Step::Ledger,
        run: record,
        undo: None,
    },
    Line {
        step: Step::Settle,
        run: settle,
        undo: None,
    },
];

fn credit_note(payment: &Payment) -> Result<Vec<Call>, Status> {
    let intent = &payment.intent;
    let Some((invoice_id, _)) = intent.refunded() else {
        return Err(Status::internal("a refund of nothing"));
    };
    let create = CreateCreditNoteRequest {
        request_id: intent.document_id(),
        invoice_id,
        amount: Some(amount(intent)?),
        reason: intent.description.clone(),
        reference: intent.id.clone(),
        metadata: intent.metadata.clone(),
        ..CreateCreditNoteRequest::default()
    };
    Ok(vec![Call::CreateCreditNote(Box::new(create))])
}
