//! Writes invoices as messages.

use mizan_contracts::{invoice::v1 as wire, r#type::v1 as types};
use money::{Error, Money};
use prost_types::Timestamp;

use crate::domain::{DocumentType, Invoice, Line, Micros, Record, State, Tombstone};

/// The message of a record.
///
/// # Errors
/// [`Error::Overflow`] for an amount that a message cannot hold; what was read from a message, or
/// adds up to an `i64` of smallest units, always can.
pub(crate) fn record(record: &Record) -> Result<wire::Invoice, Error> {
    let mut message = match record {
        Record::Invoice(invoice) => self::invoice(invoice)?,
        Record::Tombstone(tombstone) => self::tombstone(tombstone),
    };
    message.etag = record.etag();
    Ok(message)
}

fn invoice(invoice: &Invoice) -> Result<wire::Invoice, Error> {
    let document = &invoice.document;
    let standing = &invoice.standing;
    Ok(wire::Invoice {
        invoice_id: invoice.id.clone(),
        number: invoice.number().unwrap_or_default(),
        document_type: match document.document_type {
            DocumentType::Invoice => wire::DocumentType::Invoice,
            DocumentType::CreditNote => wire::DocumentType::CreditNote,
        }
        .into(),
        state: state(standing.state()).into(),
        party: Some(wire::Party {
            party_id: document.party.id.clone(),
            name: document.party.name.clone(),
            ..wire::Party::default()
        }),
        lines: document.lines.iter().map(line).collect::<Result<_, _>>()?,
        total: Some(standing.total().try_into()?),
        amount_paid: Some(standing.paid().try_into()?),
        amount_due: Some(standing.due().try_into()?),
        reference: document.reference.clone(),
        metadata: document.metadata.clone(),
        etag: String::new(),
        create_time: Some(timestamp(invoice.create_time)),
        finalize_time: invoice.finalize_time.map(timestamp),
        paid_time: invoice.paid_time.map(timestamp),
        void_time: invoice.void_time.map(timestamp),
        void_reason: invoice.void_reason.clone(),
        ..wire::Invoice::default()
    })
}

/// Only what is known of an invoice that was never created.
fn tombstone(tombstone: &Tombstone) -> wire::Invoice {
    wire::Invoice {
        invoice_id: tombstone.id.clone(),
        state: wire::InvoiceState::Void.into(),
        void_time: Some(timestamp(tombstone.void_time)),
        void_reason: tombstone.void_reason.clone(),
        ..wire::Invoice::default()
    }
}

fn line(line: &Line) -> Result<wire::InvoiceLine, Error> {
    let money = |amount: Money| types::Money::try_from(amount).map(Some);
    Ok(wire::InvoiceLine {
        description: line.description().to_owned(),
        quantity: line.quantity(),
        unit_price: money(line.unit_price())?,
        amount: money(line.amount())?,
        ..wire::InvoiceLine::default()
    })
}

const fn state(state: State) -> wire::InvoiceState {
    match state {
        State::Draft => wire::InvoiceState::Draft,
        State::Open => wire::InvoiceState::Open,
        State::Paid => wire::InvoiceState::Paid,
        State::Void => wire::InvoiceState::Void,
    }
}

fn timestamp(Micros(micros): Micros) -> Timestamp {
    mizan::request::timestamp(micros)
}
