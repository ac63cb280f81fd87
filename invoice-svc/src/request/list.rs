//! Reads what a list is to show.

use mizan::{request::document_metadata, status::Violations};
use mizan_contracts::invoice::v1::{self as wire, ListInvoicesRequest};

use super::{REFERENCE_CHARS_MAX, document_type, plain_text, time};
use crate::{
    domain::{Micros, State},
    store::{Filter, Span},
};

/// The most pairs of metadata that a list is limited by.
const METADATA_PAIRS_MAX: usize = 8;

/// What a list is limited to, and whether it begins with the oldest.
pub(crate) fn list(
    request: &ListInvoicesRequest,
    now: Micros,
    violations: &mut Violations,
) -> (Filter, bool) {
    let state = state(request.state, violations);
    for (field, value) in [
        ("reference", &request.reference),
        ("party_id", &request.party_id),
        ("number", &request.number),
        ("credited_invoice_id", &request.credited_invoice_id),
    ] {
        plain_text(REFERENCE_CHARS_MAX, field, value, violations);
    }
    let few = request.metadata.len() <= METADATA_PAIRS_MAX;
    violations.require(few, "metadata", "has more than 8 pairs");
    document_metadata("metadata", &request.metadata, violations);
    let document_type = match request.document_type {
        0 => None,
        value => document_type("document_type", value, violations),
    };
    let mut span = |name: &str, from, until| Span {
        from: time(&format!("{name}_from"), from, violations),
        until: time(&format!("{name}_until"), until, violations),
    };
    let created = span(
        "create_time",
        request.create_time_from.as_ref(),
        request.create_time_until.as_ref(),
    );
    let finalized = span(
        "finalize_time",
        request.finalize_time_from.as_ref(),
        request.finalize_time_until.as_ref(),
    );
    let due = span(
        "due_time",
        request.due_time_from.as_ref(),
        request.due_time_until.as_ref(),
    );
    let oldest_first = match wire::InvoiceOrder::try_from(request.order) {
        Ok(wire::InvoiceOrder::Unspecified | wire::InvoiceOrder::NewestFirst) => false,
        Ok(wire::InvoiceOrder::OldestFirst) => true,
        Err(_) => {
            violations.add("order", "is not an InvoiceOrder");
            false
        }
    };
    let given = |text: &String| (!text.is_empty()).then(|| text.clone());
    let filter = Filter {
        state,
        document_type,
        reference: given(&request.reference),
        party_id: given(&request.party_id),
        number: given(&request.number),
        credits: given(&request.credited_invoice_id),
        overdue_at: request.overdue.then_some(now),
        metadata: request.metadata.clone(),
        created,
        finalized,
        due,
    };
    (filter, oldest_first)
}

fn state(value: i32, violations: &mut Violations) -> Option<State> {
    match wire::InvoiceState::try_from(value) {
        Ok(wire::InvoiceState::Unspecified) => None,
        Ok(wire::InvoiceState::Draft) => Some(State::Draft),
        Ok(wire::InvoiceState::Open) => Some(State::Open),
        Ok(wire::InvoiceState::Paid) => Some(State::Paid),
        Ok(wire::InvoiceState::Void) => Some(State::Void),
        Ok(wire::InvoiceState::Uncollectible) => Some(State::Uncollectible),
        Err(_) => {
            violations.add("state", "is not an InvoiceState");
            None
        }
    }
}
