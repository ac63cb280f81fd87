//! The ProcessPayment saga.
//!
//! | step | calls | undone by |
//! |---|---|---|
//! | invoice | CreateInvoice, FinalizeInvoice | VoidInvoice, which also fences a create that is late |
//! | ledger | RecordTransaction, after CreateAccount for the default accounts | nothing: the pivot |
//! | mark paid | RecordInvoicePayment | nothing: repeated until done |

use mizan_contracts::invoice::v1::{
    CreateInvoiceRequest, DocumentType, FinalizeInvoiceRequest, InvoiceLine, Party,
};
use tonic::Status;

use super::{
    outside::Call,
    requests::{amount, record, settle, void},
    table::Line,
};
use crate::domain::{Direction, Payment, Step};

/// The saga.
pub(super) const STEPS: &[Line] = &[
    Line {
        step: Step::Document,
        run: invoice,
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

fn invoice(payment: &Payment) -> Result<Vec<Call>, Status> {
    let intent = &payment.intent;
    let document_type = match intent.direction {
        Direction::Outgoing => DocumentType::Invoice,
        Direction::Refund => DocumentType::CreditNote,
    };
    let description = if intent.description.is_empty() {
        &intent.id
    } else {
        &intent.description
    };
    let create = CreateInvoiceRequest {
        request_id: intent.document_id(),
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
    let finalize = FinalizeInvoiceRequest {
        request_id: intent.child_id("finalize"),
        invoice_id: intent.document_id(),
        ..FinalizeInvoiceRequest::default()
    };
    Ok(vec![
        Call::CreateInvoice(Box::new(create)),
        Call::FinalizeInvoice(finalize),
    ])
}
