//! Reads requests: every rule of the contract that needs no invoice to be checked.
//!
//! Each function notes all that is wrong, field by field, and returns what it could read.

use mizan::{
    request::{METADATA_MAX, metadata, reference, required_text, text},
    status::Violations,
};
use mizan_contracts::{
    invoice::v1::{self as wire, CreateInvoiceRequest, RecordInvoicePaymentRequest},
    r#type::v1 as types,
};
use money::Money;

use crate::domain::{Document, DocumentType, InvalidLine, Line, Lines, Party, Payment, State};

/// The most characters of a name.
const NAME_CHARS_MAX: usize = 256;
/// The most characters of a party's id, which is the caller's own.
const PARTY_ID_CHARS_MAX: usize = 256;
/// The most characters of a line's description.
const TEXT_CHARS_MAX: usize = 512;
/// The most lines of an invoice.
const LINES_MAX: usize = 1000;

/// The document that a draft is created with.
pub(crate) fn document(
    request: &CreateInvoiceRequest,
    violations: &mut Violations,
) -> Option<Document> {
    let document_type = document_type(request.document_type, violations);
    let party = party(request.party.as_ref(), violations);
    let lines = lines(&request.lines, violations);
    reference(&request.reference, violations);
    metadata(METADATA_MAX, &request.metadata, violations);
    Some(Document {
        document_type: document_type?,
        party: party?,
        lines: lines?,
        reference: request.reference.clone(),
        metadata: request.metadata.clone(),
    })
}

/// The amount that a payment is of.
pub(crate) fn payment(
    request: &RecordInvoicePaymentRequest,
    violations: &mut Violations,
) -> Option<Payment> {
    let amount = violations.keep("amount", types::Money::read(request.amount.as_ref()))?;
    let payment = Payment::new(amount);
    violations.require(payment.is_some(), "amount", "is not above zero");
    payment
}

/// The state that a list is limited to.
pub(crate) fn state_filter(value: i32, violations: &mut Violations) -> Option<State> {
    match wire::InvoiceState::try_from(value) {
        Ok(wire::InvoiceState::Unspecified) => None,
        Ok(wire::InvoiceState::Draft) => Some(State::Draft),
        Ok(wire::InvoiceState::Open) => Some(State::Open),
        Ok(wire::InvoiceState::Paid) => Some(State::Paid),
        Ok(wire::InvoiceState::Void) => Some(State::Void),
        Ok(wire::InvoiceState::Uncollectible) | Err(_) => {
            violations.add("state", "is not an InvoiceState");
            None
        }
    }
}

fn document_type(value: i32, violations: &mut Violations) -> Option<DocumentType> {
    match wire::DocumentType::try_from(value) {
        Ok(wire::DocumentType::Unspecified | wire::DocumentType::Invoice) => {
            Some(DocumentType::Invoice)
        }
        Ok(wire::DocumentType::CreditNote) => Some(DocumentType::CreditNote),
        Err(_) => {
            violations.add("document_type", "is not a DocumentType");
            None
        }
    }
}

fn party(party: Option<&wire::Party>, violations: &mut Violations) -> Option<Party> {
    let Some(party) = party else {
        violations.add("party", "is required");
        return None;
    };
    text(
        PARTY_ID_CHARS_MAX,
        "party.party_id",
        &party.party_id,
        violations,
    );
    required_text(NAME_CHARS_MAX, "party.name", &party.name, violations);
    Some(Party {
        id: party.party_id.clone(),
        name: party.name.clone(),
    })
}

fn lines(lines: &[wire::InvoiceLine], violations: &mut Violations) -> Option<Lines> {
    if lines.len() > LINES_MAX {
        violations.add("lines", format!("has more than {LINES_MAX} elements"));
        return None;
    }
    // All of them, not up to the first bad one, so that every violation is noted.
    let read: Vec<_> = lines
        .iter()
        .enumerate()
        .map(|(index, line)| self::line(index, line, violations))
        .collect();
    let read: Option<Vec<_>> = read.into_iter().collect();
    violations.keep("lines", Lines::new(read?))
}

fn line(index: usize, line: &wire::InvoiceLine, violations: &mut Violations) -> Option<Line> {
    let field = |name: &str| format!("lines[{index}].{name}");
    required_text(
        TEXT_CHARS_MAX,
        &field("description"),
        &line.description,
        violations,
    );
    let unit_price = types::Money::read(line.unit_price.as_ref());
    let unit_price: Money = violations.keep(field("unit_price"), unit_price)?;
    let quantity = if line.quantity == 0 { 1 } else { line.quantity };
    Line::new(line.description.clone(), quantity, unit_price)
        .map_err(|e| {
            let at = match e {
                InvalidLine::Quantity => "quantity",
                InvalidLine::NegativePrice | InvalidLine::TooLarge => "unit_price",
            };
            violations.add(field(at), e.to_string());
        })
        .ok()
}
