//! Invoicing and accounting as far as the saga knows them.

use std::collections::{BTreeMap, BTreeSet};

use mizan::status::refused;
use mizan_contracts::accounting::v1::{RecordTransactionRequest, Side};
use tonic::{Code, Status};

use crate::{domain::Intent, saga::outside::Call};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Document {
    Draft,
    Open,
    Paid,
    Void,
}

/// What exists, and what is refused from now on.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) documents: BTreeMap<String, Document>,
    /// Who paid a document: the request's id.
    paid_by: BTreeMap<String, String>,
    pub(super) transactions: BTreeMap<String, RecordTransactionRequest>,
    /// Transactions that were refused: for ever.
    refused: BTreeSet<String>,
    pub(super) ledger_refuses: bool,
    pub(super) invoices_refuse: bool,
    /// The calls that came, by name.
    pub(super) came: BTreeMap<&'static str, usize>,
}

fn precondition(reason: &str) -> Status {
    refused(Code::FailedPrecondition, reason, "no")
}

impl World {
    pub(super) fn deliver(&mut self, call: &Call) -> Result<(), Status> {
        *self.came.entry(name(call)).or_default() += 1;
        match call {
            Call::CreateInvoice(r) => self.create(&r.request_id, Document::Draft),
            Call::CreateCreditNote(r) => match self.documents.get(&r.invoice_id) {
                Some(Document::Open | Document::Paid) => self.create(&r.request_id, Document::Open),
                _ => Err(precondition("INVOICE_NOT_OPEN")),
            },
            Call::FinalizeInvoice(r) => match self.documents.get_mut(&r.invoice_id) {
                None => Err(refused(Code::NotFound, "INVOICE_NOT_FOUND", "no")),
                Some(Document::Void) => Err(precondition("INVOICE_VOIDED")),
                Some(draft @ Document::Draft) => {
                    *draft = Document::Open;
                    Ok(())
                }
                Some(Document::Open | Document::Paid) => Ok(()),
            },
            Call::RecordInvoicePayment(r) => self.pay(&r.invoice_id, &r.request_id),
            Call::VoidInvoice(r) => match self.documents.get(&r.invoice_id) {
                Some(Document::Paid) => Err(precondition("INVOICE_PAID")),
                _ => {
                    self.documents.insert(r.invoice_id.clone(), Document::Void);
                    Ok(())
                }
            },
            Call::CreateAccount(_) => Ok(()),
            Call::RecordTransaction(r) => {
                let id = &r.request_id;
                if self.transactions.contains_key(id) {
                    return Ok(());
                }
                if self.refused.contains(id) || self.ledger_refuses {
                    self.refused.insert(id.clone());
                    return Err(precondition("ACCOUNT_CLOSED"));
                }
                self.transactions.insert(id.clone(), (**r).clone());
                Ok(())
            }
        }
    }

    fn create(&mut self, id: &str, as_what: Document) -> Result<(), Status> {
        match self.documents.get(id) {
            // The fakes cannot tell a tombstone from a voided document: either refuses.
            Some(Document::Void) => Err(precondition("INVOICE_VOIDED")),
            Some(_) => Ok(()),
            None if self.invoices_refuse => Err(refused(Code::InvalidArgument, "NO", "no")),
            None => {
                self.documents.insert(id.to_owned(), as_what);
                Ok(())
            }
        }
    }

    pub(super) fn pay(&mut self, document: &str, by: &str) -> Result<(), Status> {
        match self.documents.get_mut(document) {
            None => Err(refused(Code::NotFound, "INVOICE_NOT_FOUND", "no")),
            Some(Document::Draft) => Err(precondition("INVOICE_NOT_OPEN")),
            Some(Document::Void) => Err(precondition("INVOICE_VOIDED")),
            Some(Document::Paid) if self.paid_by.get(document).is_some_and(|b| b == by) => Ok(()),
            Some(Document::Paid) => Err(precondition("INVOICE_PAID")),
            Some(open @ Document::Open) => {
                *open = Document::Paid;
                self.paid_by.insert(document.to_owned(), by.to_owned());
                Ok(())
            }
        }
    }

    /// How often a call came.
    pub(super) fn came(&self, call: &str) -> usize {
        self.came.get(call).copied().unwrap_or_default()
    }

    /// Exactly one of: a document that is open or paid, and one transaction; no document or a void
    /// one, and none. Says which: whether the money moved.
    pub(super) fn moved(&self, intent: &Intent) -> bool {
        let document = self.documents.get(&intent.document_id());
        let transactions = self
            .transactions
            .values()
            .filter(|t| t.reference == intent.id);
        match (document, transactions.count()) {
            (Some(Document::Open | Document::Paid), 1) => true,
            (None | Some(Document::Void), 0) => false,
            (document, count) => panic!("{document:?} and {count} transactions of {}", intent.id),
        }
    }

    /// What the expense account holds, in minor units.
    pub(super) fn spent(&self) -> i128 {
        let legs = self.transactions.values().flat_map(|t| &t.legs);
        legs.filter(|leg| leg.account_id.starts_with("expense"))
            .map(|leg| {
                let amount = mizan_contracts::r#type::v1::Money::read(leg.amount.as_ref());
                let minor = amount.unwrap().minor();
                if leg.side() == Side::Debit {
                    minor
                } else {
                    -minor
                }
            })
            .sum()
    }
}

pub(super) fn name(call: &Call) -> &'static str {
    match call {
        Call::CreateInvoice(_) => "create_invoice",
        Call::FinalizeInvoice(_) => "finalize_invoice",
        Call::RecordInvoicePayment(_) => "record_invoice_payment",
        Call::VoidInvoice(_) => "void_invoice",
        Call::CreateCreditNote(_) => "create_credit_note",
        Call::CreateAccount(_) => "create_account",
        Call::RecordTransaction(_) => "record_transaction",
    }
}
