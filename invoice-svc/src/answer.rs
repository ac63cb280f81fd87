//! Writes invoices as messages.

use mizan_contracts::{invoice::v1 as wire, r#type::v1 as types};
use money::{Error, Money};
use prost_types::Timestamp;

use crate::domain::{
    Adjusted, Decimal, DocumentType, Invoice, Line, Micros, Party, QUANTITY_MAX, Record, Size,
    State, Tax, TaxCategory, Taxed, Tombstone, Totals,
};

/// The message of a record, as it stands at `now`.
///
/// # Errors
/// [`Error::Overflow`] for an amount that a message cannot hold; what adds up to an `i64` of
/// smallest units, as a document's amounts do, always can.
pub(crate) fn record(record: &Record, now: Micros) -> Result<wire::Invoice, Error> {
    let mut message = match record {
        Record::Invoice(invoice) => self::invoice(invoice, now)?,
        Record::Tombstone(tombstone) => self::tombstone(tombstone),
    };
    message.etag = record.etag();
    Ok(message)
}

fn invoice(invoice: &Invoice, now: Micros) -> Result<wire::Invoice, Error> {
    let document = &invoice.document;
    let asked = document.asked();
    let standing = &invoice.standing;
    let times = &invoice.times;
    let breakdown = document.breakdown().iter().map(|subtotal| {
        Ok(wire::TaxSubtotal {
            tax: Some(tax(&subtotal.tax)),
            taxable: money(subtotal.taxable)?,
            amount: money(subtotal.amount)?,
        })
    });
    Ok(wire::Invoice {
        invoice_id: invoice.id.clone(),
        number: invoice.number().unwrap_or_default(),
        document_type: match asked.document_type {
            DocumentType::Invoice => wire::DocumentType::Invoice,
            DocumentType::CreditNote => wire::DocumentType::CreditNote,
        }
        .into(),
        state: state(standing.state()).into(),
        party: Some(party(&asked.party)),
        lines: asked.lines.iter().map(line).collect::<Result<_, _>>()?,
        total: money(document.totals().gross)?,
        amount_paid: money(standing.paid())?,
        amount_due: money(standing.due())?,
        reference: asked.reference.clone(),
        metadata: asked.metadata.clone(),
        etag: String::new(),
        create_time: Some(timestamp(times.create)),
        finalize_time: times.finalize.map(timestamp),
        paid_time: times.paid.map(timestamp),
        void_time: times.void.map(timestamp),
        void_reason: invoice.void_reason.clone(),
        allowances: adjustments(document.allowances())?,
        charges: adjustments(document.charges())?,
        prepaid: asked.prepaid.map(types::Money::try_from).transpose()?,
        rounding: asked.rounding.map(types::Money::try_from).transpose()?,
        due_time: asked.due_time.map(timestamp),
        series: asked.series.clone(),
        note: asked.note.clone(),
        delivery_time: asked.delivery_time.map(timestamp),
        totals: Some(totals(document.totals())?),
        tax_breakdown: breakdown.collect::<Result<_, Error>>()?,
        overdue: invoice.overdue(now),
        amount_credited: money(standing.credited())?,
        amount_credited_after_payment: money(invoice.credited_after)?,
        credited_invoice_id: invoice.credits.clone().unwrap_or_default(),
        credit_note_ids: invoice.credit_notes.clone(),
        uncollectible_time: times.uncollectible.map(timestamp),
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

fn party(party: &Party) -> wire::Party {
    let address = &party.address;
    let written = wire::Address {
        street: address.street.clone(),
        additional: address.additional.clone(),
        city: address.city.clone(),
        postal_code: address.postal_code.clone(),
        subdivision: address.subdivision.clone(),
        country_code: address.country_code.clone(),
    };
    wire::Party {
        party_id: party.id.clone(),
        name: party.name.clone(),
        tax_id: party.tax_id.clone(),
        legal_id: party.legal_id.clone(),
        address: (written != wire::Address::default()).then_some(written),
        endpoint_id: party.endpoint_id.clone(),
        endpoint_scheme: party.endpoint_scheme.clone(),
    }
}

fn line(line: &Line) -> Result<wire::InvoiceLine, Error> {
    let asked = line.asked();
    let counts = |whole: &i64| (1..=i64::from(QUANTITY_MAX)).contains(whole);
    let adjusted = |all: &[Adjusted]| {
        let each = all.iter().map(|one| adjustment(one, None));
        each.collect::<Result<Vec<_>, Error>>()
    };
    Ok(wire::InvoiceLine {
        description: asked.description.clone(),
        quantity: asked.quantity.to_whole().filter(counts).unwrap_or(0),
        unit_price: money(asked.unit_price)?,
        amount: money(line.amount())?,
        quantity_decimal: asked.quantity.to_string(),
        base_quantity: match asked.base_quantity {
            Decimal::ONE => String::new(),
            base => base.to_string(),
        },
        unit_code: asked.unit_code.clone(),
        tax: (asked.tax != Tax::none()).then(|| tax(&asked.tax)),
        allowances: adjusted(line.allowances())?,
        charges: adjusted(line.charges())?,
    })
}

fn adjustments(all: &[Taxed]) -> Result<Vec<wire::Adjustment>, Error> {
    all.iter()
        .map(|one| adjustment(&one.adjusted, Some(tax(&one.tax))))
        .collect()
}

fn adjustment(one: &Adjusted, tax: Option<wire::Tax>) -> Result<wire::Adjustment, Error> {
    let (percent, base) = match one.asked.size {
        Size::Amount(_) => (String::new(), None),
        Size::Percent { percent, base } => (percent.to_string(), base),
    };
    Ok(wire::Adjustment {
        amount: money(one.amount)?,
        percent,
        base: base.map(types::Money::try_from).transpose()?,
        reason: one.asked.reason.clone(),
        reason_code: one.asked.reason_code.clone(),
        tax,
    })
}

fn tax(tax: &Tax) -> wire::Tax {
    let rate = tax.rate();
    wire::Tax {
        category: match rate.category() {
            TaxCategory::Standard => wire::TaxCategory::Standard,
            TaxCategory::ZeroRated => wire::TaxCategory::ZeroRated,
            TaxCategory::Exempt => wire::TaxCategory::Exempt,
            TaxCategory::ReverseCharge => wire::TaxCategory::ReverseCharge,
            TaxCategory::IntraCommunity => wire::TaxCategory::IntraCommunity,
            TaxCategory::Export => wire::TaxCategory::Export,
            TaxCategory::OutOfScope => wire::TaxCategory::OutOfScope,
            TaxCategory::Igic => wire::TaxCategory::Igic,
            TaxCategory::Ipsi => wire::TaxCategory::Ipsi,
        }
        .into(),
        rate_percent: rate.percent().to_string(),
        exemption_reason: tax.exemption_reason().to_owned(),
        exemption_reason_code: tax.exemption_reason_code().to_owned(),
    }
}

fn totals(totals: &Totals) -> Result<wire::Totals, Error> {
    Ok(wire::Totals {
        lines: money(totals.lines)?,
        allowances: money(totals.allowances)?,
        charges: money(totals.charges)?,
        net: money(totals.net)?,
        tax: money(totals.tax)?,
        gross: money(totals.gross)?,
        prepaid: money(totals.prepaid)?,
        rounding: money(totals.rounding)?,
        due: money(totals.due)?,
    })
}

const fn state(state: State) -> wire::InvoiceState {
    match state {
        State::Draft => wire::InvoiceState::Draft,
        State::Open => wire::InvoiceState::Open,
        State::Paid => wire::InvoiceState::Paid,
        State::Void => wire::InvoiceState::Void,
        State::Uncollectible => wire::InvoiceState::Uncollectible,
    }
}

fn money(amount: Money) -> Result<Option<types::Money>, Error> {
    amount.try_into().map(Some)
}

fn timestamp(Micros(micros): Micros) -> Timestamp {
    mizan::request::timestamp(micros)
}
