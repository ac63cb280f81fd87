//! Reads requests: every rule of the contract that needs no invoice to be checked.
//!
//! Each function notes all that is wrong, field by field, and returns what it could read.

mod document;
mod line;
mod list;
mod party;
mod texts;

use mizan::{
    request::{METADATA_MAX, document_metadata, metadata, read_micros},
    status::Violations,
};
use mizan_contracts::{
    invoice::v1::{self as wire, CreateCreditNoteRequest, RecordInvoicePaymentRequest},
    r#type::v1 as types,
};
use prost_types::Timestamp;

use crate::domain::{CreditNote, DocumentType, Micros, Part, Payment};

pub(crate) use document::{created, updated};
pub(crate) use list::list;
pub(crate) use party::party;
pub(crate) use texts::{plain_required, plain_text};

/// The most characters of a note.
const NOTE_CHARS_MAX: usize = 1024;
/// The most characters of a reference.
const REFERENCE_CHARS_MAX: usize = 256;
/// The most characters of a series.
const SERIES_CHARS_MAX: usize = 20;

/// The amount that a payment is of.
pub(crate) fn payment(
    request: &RecordInvoicePaymentRequest,
    violations: &mut Violations,
) -> Option<Payment> {
    plain_text(
        REFERENCE_CHARS_MAX,
        "reference",
        &request.reference,
        violations,
    );
    amount(request.amount.as_ref(), violations)
}

/// What a credit note takes back, and what it says.
pub(crate) fn credit_note(
    request: &CreateCreditNoteRequest,
    violations: &mut Violations,
) -> Option<CreditNote> {
    let part = match (&request.amount, request.lines.is_empty()) {
        (None, true) => Some(Part::Whole),
        (None, false) => document::lines("lines", &request.lines, violations).map(Part::Lines),
        (Some(_), true) => amount(request.amount.as_ref(), violations).map(Part::Amount),
        (Some(_), false) => {
            violations.add("amount", "is given beside lines");
            None
        }
    };
    let (reason, reference) = (&request.reason, &request.reference);
    plain_text(NOTE_CHARS_MAX, "reason", reason, violations);
    let series = series(
        "series",
        &request.series,
        DocumentType::CreditNote,
        violations,
    );
    plain_text(REFERENCE_CHARS_MAX, "reference", reference, violations);
    metadata(METADATA_MAX, &request.metadata, violations);
    document_metadata("metadata", &request.metadata, violations);
    Some(CreditNote {
        part: part?,
        reason: reason.clone(),
        series,
        reference: reference.clone(),
        metadata: request.metadata.clone(),
    })
}

fn amount(amount: Option<&types::Money>, violations: &mut Violations) -> Option<Payment> {
    let amount = violations.keep("amount", types::Money::read(amount))?;
    let payment = Payment::new(amount);
    violations.require(payment.is_some(), "amount", "is not above zero");
    payment
}

/// The series asked for, or the one of the type.
fn series(
    field: &str,
    value: &str,
    document_type: DocumentType,
    violations: &mut Violations,
) -> String {
    if value.is_empty() {
        return document_type.series().to_owned();
    }
    let plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-';
    let good = value.len() <= SERIES_CHARS_MAX
        && value.bytes().all(plain)
        && !value.starts_with('-')
        && !value.ends_with('-');
    violations.require(
        good,
        field,
        "is not 1 to 20 characters of [A-Z0-9-] between two that are no hyphens",
    );
    value.to_owned()
}

/// The type of a new document.
fn document_type(field: &str, value: i32, violations: &mut Violations) -> Option<DocumentType> {
    match wire::DocumentType::try_from(value) {
        Ok(wire::DocumentType::Unspecified | wire::DocumentType::Invoice) => {
            Some(DocumentType::Invoice)
        }
        Ok(wire::DocumentType::CreditNote) => Some(DocumentType::CreditNote),
        Err(_) => {
            violations.add(field, "is not a DocumentType");
            None
        }
    }
}

/// A moment, if one is given.
fn time(field: &str, time: Option<&Timestamp>, violations: &mut Violations) -> Option<Micros> {
    violations.keep(field, read_micros(time?)).map(Micros)
}
