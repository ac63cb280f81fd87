//! Reads what a document says, as it is created or as it is changed.

use std::collections::BTreeMap;

use mizan::{
    request::{METADATA_MAX, document_metadata, metadata},
    status::Violations,
};
use mizan_contracts::{
    invoice::v1::{self as wire, CreateInvoiceRequest},
    r#type::v1 as types,
};
use prost_types::Timestamp;

use super::{
    NOTE_CHARS_MAX, REFERENCE_CHARS_MAX, document_type, line, party, plain_text, series, time,
};
use crate::domain::{Document, DocumentSpec, Line, TaxedAdjustment};

/// The most lines of a document.
const LINES_MAX: usize = 1000;
/// The most allowances, and the most charges, of a document.
const ADJUSTMENTS_MAX: usize = 64;

/// The fields that both requests have.
struct Said<'a> {
    document_type: i32,
    party: Option<&'a wire::Party>,
    lines: &'a [wire::InvoiceLine],
    reference: &'a str,
    metadata: &'a BTreeMap<String, String>,
    allowances: &'a [wire::Adjustment],
    charges: &'a [wire::Adjustment],
    prepaid: Option<&'a types::Money>,
    rounding: Option<&'a types::Money>,
    due_time: Option<&'a Timestamp>,
    delivery_time: Option<&'a Timestamp>,
    series: &'a str,
    note: &'a str,
}

/// The document that a draft is created with.
pub(crate) fn created(
    request: &CreateInvoiceRequest,
    violations: &mut Violations,
) -> Option<Document> {
    let said = Said {
        document_type: request.document_type,
        party: request.party.as_ref(),
        lines: &request.lines,
        reference: &request.reference,
        metadata: &request.metadata,
        allowances: &request.allowances,
        charges: &request.charges,
        prepaid: request.prepaid.as_ref(),
        rounding: request.rounding.as_ref(),
        due_time: request.due_time.as_ref(),
        delivery_time: request.delivery_time.as_ref(),
        series: &request.series,
        note: &request.note,
    };
    document("", &said, violations)
}

/// The document that a draft is to be.
pub(crate) fn updated(invoice: &wire::Invoice, violations: &mut Violations) -> Option<Document> {
    let said = Said {
        document_type: invoice.document_type,
        party: invoice.party.as_ref(),
        lines: &invoice.lines,
        reference: &invoice.reference,
        metadata: &invoice.metadata,
        allowances: &invoice.allowances,
        charges: &invoice.charges,
        prepaid: invoice.prepaid.as_ref(),
        rounding: invoice.rounding.as_ref(),
        due_time: invoice.due_time.as_ref(),
        delivery_time: invoice.delivery_time.as_ref(),
        series: &invoice.series,
        note: &invoice.note,
    };
    document("invoice.", &said, violations)
}

fn document(outer: &str, said: &Said<'_>, violations: &mut Violations) -> Option<Document> {
    let at = |name: &str| format!("{outer}{name}");
    let document_type = document_type(&at("document_type"), said.document_type, violations);
    let party = party(&at("party"), said.party, violations);
    let lines = lines(&at("lines"), said.lines, violations);
    let (reference, note) = (said.reference, said.note);
    plain_text(REFERENCE_CHARS_MAX, &at("reference"), reference, violations);
    metadata(METADATA_MAX, said.metadata, violations);
    document_metadata(&at("metadata"), said.metadata, violations);
    let allowances = adjustments(&at("allowances"), said.allowances, violations);
    let charges = adjustments(&at("charges"), said.charges, violations);
    let prepaid = money(&at("prepaid"), said.prepaid, violations);
    let rounding = money(&at("rounding"), said.rounding, violations);
    let due_time = time(&at("due_time"), said.due_time, violations);
    let delivery_time = time(&at("delivery_time"), said.delivery_time, violations);
    plain_text(NOTE_CHARS_MAX, &at("note"), note, violations);
    let series = series(
        &at("series"),
        said.series,
        document_type.unwrap_or(crate::domain::DocumentType::Invoice),
        violations,
    );
    let asked = DocumentSpec {
        document_type: document_type?,
        series,
        party: party?,
        lines: lines?,
        allowances: allowances?,
        charges: charges?,
        prepaid: prepaid?,
        rounding: rounding?,
        due_time,
        delivery_time,
        note: note.to_owned(),
        reference: reference.to_owned(),
        metadata: said.metadata.clone(),
    };
    Document::new(asked)
        .map_err(|invalid| violations.add(at(&invalid.field), invalid.problem.to_string()))
        .ok()
}

/// The lines in a field: 1 to 1000, unless none is allowed.
pub(super) fn lines(
    field: &str,
    lines: &[wire::InvoiceLine],
    violations: &mut Violations,
) -> Option<Vec<Line>> {
    let each = |index: usize, one, violations: &mut Violations| {
        line::line(&format!("{field}[{index}]"), one, violations)
    };
    all(LINES_MAX, field, lines, each, violations)
}

fn adjustments(
    field: &str,
    adjustments: &[wire::Adjustment],
    violations: &mut Violations,
) -> Option<Vec<TaxedAdjustment>> {
    let each = |index: usize, one, violations: &mut Violations| {
        line::taxed(&format!("{field}[{index}]"), one, violations)
    };
    all(ADJUSTMENTS_MAX, field, adjustments, each, violations)
}

/// All elements, not up to the first bad one, so that every violation is noted.
fn all<'a, T, U>(
    max: usize,
    field: &str,
    elements: &'a [T],
    each: impl Fn(usize, &'a T, &mut Violations) -> Option<U>,
    violations: &mut Violations,
) -> Option<Vec<U>> {
    if elements.len() > max {
        violations.add(field, format!("has more than {max} elements"));
        return None;
    }
    let elements = elements.iter().enumerate();
    let read: Vec<_> = elements
        .map(|(index, element)| each(index, element, violations))
        .collect();
    read.into_iter().collect()
}

/// An amount, if one is given.
fn money(
    field: &str,
    money: Option<&types::Money>,
    violations: &mut Violations,
) -> Option<Option<money::Money>> {
    match money {
        None => Some(None),
        money => violations.keep(field, types::Money::read(money)).map(Some),
    }
}
