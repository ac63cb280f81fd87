//! Invoicing and accounting as far as the saga knows them. `contract.rs` holds them against the real
//! ones: the same calls get the same answers.

use std::collections::BTreeMap;

use mizan::status::refused;
use mizan_contracts::{
    accounting::v1::{RecordTransactionRequest, Side},
    r#type::v1::Money,
};
use tonic::{Code, Status};

use crate::{domain::Intent, saga::outside::Call};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Document {
    Draft,
    Open,
    Paid,
    Void,
    /// Voided before it was made.
    Tombstone,
}

/// What exists, and what is refused from now on.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) documents: BTreeMap<String, Document>,
    /// What each document comes to, in minor units.
    totals: BTreeMap<String, i128>,
    /// The invoice of each credit note.
    notes: BTreeMap<String, String>,
    accounts: BTreeMap<String, ()>,
    pub(super) transactions: BTreeMap<String, RecordTransactionRequest>,
    /// What was done, by the call's name and the request's id: done once.
    done: BTreeMap<(&'static str, String), Call>,
    /// Transactions that were refused: for ever, and alike.
    refused: BTreeMap<String, Status>,
    pub(super) ledger_refuses: bool,
    pub(super) invoices_refuse: bool,
    /// The calls that came, by name.
    pub(super) came: BTreeMap<&'static str, usize>,
}

fn precondition(reason: &str) -> Status {
    refused(Code::FailedPrecondition, reason, "no")
}

fn unknown() -> Status {
    refused(Code::NotFound, "INVOICE_NOT_FOUND", "no")
}

fn minor(amount: Option<&Money>) -> i128 {
    Money::read(amount).unwrap().minor()
}

impl World {
    pub(super) fn deliver(&mut self, call: &Call) -> Result<(), Status> {
        *self.came.entry(name(call)).or_default() += 1;
        let key = (name(call), request_id(call).to_owned());
        match self.done.get(&key) {
            Some(before) if before == call => return Ok(()),
            Some(_) => return Err(refused(Code::AlreadyExists, "REQUEST_ID_REUSED", "no")),
            None => self.act(call)?,
        }
        self.done.insert(key, call.clone());
        Ok(())
    }

    fn act(&mut self, call: &Call) -> Result<(), Status> {
        match call {
            Call::CreateInvoice(r) => {
                self.free(&r.request_id)?;
                let price = r.lines[0].unit_price.as_ref();
                self.add(&r.request_id, Document::Draft, minor(price))
            }
            Call::CreateCreditNote(r) => {
                let invoice = self.documents.get(&r.invoice_id).copied();
                match invoice.ok_or_else(unknown)? {
                    Document::Tombstone => return Err(precondition("INVOICE_VOIDED")),
                    Document::Open => panic!("a completed payment's invoice is paid"),
                    Document::Draft | Document::Paid | Document::Void => {}
                }
                self.free(&r.request_id)?;
                match invoice {
                    Some(Document::Draft) => return Err(precondition("INVOICE_NOT_OPEN")),
                    Some(Document::Void) => return Err(precondition("INVOICE_VOIDED")),
                    _ => {}
                }
                let amount = minor(r.amount.as_ref());
                if self.credited(&r.invoice_id) + amount > self.totals[&r.invoice_id] {
                    return Err(precondition("CREDIT_EXCEEDS_INVOICE"));
                }
                self.notes
                    .insert(r.request_id.clone(), r.invoice_id.clone());
                self.add(&r.request_id, Document::Open, amount)
            }
            Call::FinalizeInvoice(r) => {
                let document = self.documents.get_mut(&r.invoice_id);
                let document = document.ok_or_else(unknown)?;
                match document {
                    Document::Draft => *document = Document::Open,
                    Document::Open => return Err(precondition("INVOICE_NOT_DRAFT")),
                    Document::Paid => return Err(precondition("INVOICE_PAID")),
                    Document::Void | Document::Tombstone => {
                        return Err(precondition("INVOICE_VOIDED"));
                    }
                }
                Ok(())
            }
            Call::RecordInvoicePayment(r) => self.pay(&r.invoice_id),
            Call::VoidInvoice(r) => self.void(&r.invoice_id),
            Call::CreateAccount(r) => {
                self.accounts.insert(r.account_id.clone(), ());
                Ok(())
            }
            Call::RecordTransaction(r) => {
                let refusal = self
                    .refused
                    .get(&r.request_id)
                    .cloned()
                    .or_else(|| self.ledger_says_no(r));
                if let Some(refusal) = refusal {
                    self.refused.insert(r.request_id.clone(), refusal.clone());
                    return Err(refusal);
                }
                self.transactions
                    .insert(r.request_id.clone(), (**r).clone());
                Ok(())
            }
        }
    }

    fn ledger_says_no(&self, r: &RecordTransactionRequest) -> Option<Status> {
        if self.ledger_refuses {
            return Some(precondition("ACCOUNT_CLOSED"));
        }
        let known = |id: &String| self.accounts.contains_key(id);
        let all = r.legs.iter().all(|leg| known(&leg.account_id));
        (!all).then(|| precondition("ACCOUNT_NOT_FOUND"))
    }

    pub(super) fn void(&mut self, id: &str) -> Result<(), Status> {
        let left = match self.documents.get(id) {
            None => Document::Tombstone,
            Some(Document::Draft | Document::Open) => Document::Void,
            Some(Document::Paid) if self.notes.contains_key(id) => {
                return Err(precondition("PAYMENT_APPLIED"));
            }
            Some(Document::Paid) => return Err(precondition("INVOICE_PAID")),
            Some(Document::Void | Document::Tombstone) => {
                return Err(precondition("INVOICE_VOIDED"));
            }
        };
        self.documents.insert(id.to_owned(), left);
        Ok(())
    }

    /// Whether an id can be given to something new.
    fn free(&self, id: &str) -> Result<(), Status> {
        match self.documents.get(id) {
            Some(Document::Tombstone) => Err(precondition("INVOICE_VOIDED")),
            Some(_) => panic!("no two of the saga's documents have the same id"),
            None if self.invoices_refuse => Err(refused(Code::InvalidArgument, "NO", "no")),
            None => Ok(()),
        }
    }

    fn add(&mut self, id: &str, document: Document, total: i128) -> Result<(), Status> {
        self.documents.insert(id.to_owned(), document);
        self.totals.insert(id.to_owned(), total);
        Ok(())
    }

    /// What the credit notes of an invoice come to that are not void.
    pub(super) fn credited(&self, invoice: &str) -> i128 {
        let notes = self.notes.iter().filter(|(note, of)| {
            *of == invoice && matches!(self.documents[*note], Document::Open | Document::Paid)
        });
        notes.map(|(note, _)| self.totals[note]).sum()
    }

    /// Pays the whole of a document.
    pub(super) fn pay(&mut self, document: &str) -> Result<(), Status> {
        let document = self.documents.get_mut(document).ok_or_else(unknown)?;
        match document {
            Document::Draft => Err(precondition("INVOICE_NOT_OPEN")),
            Document::Void | Document::Tombstone => Err(precondition("INVOICE_VOIDED")),
            Document::Paid => Err(precondition("INVOICE_PAID")),
            Document::Open => {
                *document = Document::Paid;
                Ok(())
            }
        }
    }

    /// How often a call came.
    pub(super) fn came(&self, call: &str) -> usize {
        self.came.get(call).copied().unwrap_or_default()
    }

    /// The transactions of a payment.
    pub(super) fn recorded(&self, intent: &Intent) -> usize {
        let all = self.transactions.values();
        all.filter(|t| t.reference == intent.id).count()
    }

    /// Exactly one of: a document that is settled, and one transaction; no document or a void one,
    /// and none. Says which: whether the money moved.
    pub(super) fn moved(&self, intent: &Intent) -> bool {
        let document = self.documents.get(&intent.document_id());
        match (document, self.recorded(intent)) {
            (Some(Document::Paid), 1) => true,
            (None | Some(Document::Void | Document::Tombstone), 0) => false,
            (document, count) => panic!("{document:?} and {count} transactions of {}", intent.id),
        }
    }

    /// What the expense account holds, in minor units.
    pub(super) fn spent(&self) -> i128 {
        let legs = self.transactions.values().flat_map(|t| &t.legs);
        legs.filter(|leg| leg.account_id.starts_with("expense"))
            .map(|leg| {
                let minor = minor(leg.amount.as_ref());
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

fn request_id(call: &Call) -> &str {
    match call {
        Call::CreateInvoice(r) => &r.request_id,
        Call::FinalizeInvoice(r) => &r.request_id,
        Call::RecordInvoicePayment(r) => &r.request_id,
        Call::VoidInvoice(r) => &r.request_id,
        Call::CreateCreditNote(r) => &r.request_id,
        Call::CreateAccount(r) => &r.request_id,
        Call::RecordTransaction(r) => &r.request_id,
    }
}
