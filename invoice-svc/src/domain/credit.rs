//! Credit notes of an invoice: issued at once, whole or in part, and revoked.

use std::collections::BTreeMap;

use money::Money;

use super::{
    Decimal, Document, DocumentSpec, DocumentType, Invoice, Line, LineSpec, Micros, Payment,
    ROUNDING, Rate, Refusal, Standing, Subtotal, Tax,
};

/// What a credit note takes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// All that the invoice says.
    Whole,
    /// These lines.
    Lines(Vec<Line>),
    /// So much, tax included, of all of it.
    Amount(Payment),
}

/// A credit note as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreditNote {
    /// What is taken back.
    pub part: Part,
    /// Why.
    pub reason: String,
    /// The series that it is numbered in.
    pub series: String,
    /// The caller's own reference.
    pub reference: String,
    /// Free key-value pairs.
    pub metadata: BTreeMap<String, String>,
}

/// Issues a credit note under the next number of its series; answers the invoice, less what was
/// taken off it, and the credit note, which owes the party the rest.
///
/// # Errors
/// As [`Standing::credit`]; [`Refusal::IsCreditNote`], [`Refusal::TaxNotInvoiced`],
/// [`Refusal::CreditTooSmall`], [`Refusal::CreditExceedsInvoice`].
pub fn issue(
    invoice: Invoice,
    id: String,
    asked: CreditNote,
    sequence: i64,
    now: Micros,
) -> Result<(Invoice, Invoice), Refusal> {
    if invoice.document.document_type() == DocumentType::CreditNote {
        return Err(Refusal::IsCreditNote);
    }
    let document = document(&invoice.document, asked)?;
    let credit = Payment::new(document.totals().due).ok_or(Refusal::CreditTooSmall)?;
    // The state is looked at first: what is void is told so, however much is asked.
    let (standing, taken_off) = invoice.standing.credit(credit)?;
    let left = document.totals().due.minor() - taken_off.minor();
    let credited_after = invoice.credited_after.minor() + left;
    if standing.credited().minor() + credited_after > invoice.document.ceiling().minor() {
        return Err(Refusal::CreditExceedsInvoice);
    }
    let note = Invoice::draft(id, document, now).ok_or(Refusal::CreditTooSmall)?;
    let issued = Standing::issued(note.standing.payable(), taken_off);
    let mut note = note.finalize(sequence, now)?;
    note = note.settled(issued.ok_or(Refusal::CreditExceedsInvoice)?, now);
    note.revision = 1;
    note.credits = Some(invoice.id.clone());
    let mut invoice = invoice.settled(standing, now);
    invoice.credited_after = Money::from_minor(credited_after, note.document.currency());
    invoice.credit_notes.push(note.id.clone());
    Ok((invoice, note))
}

/// Voids the credit note of an invoice and puts what it took off back on the invoice; answers both,
/// the invoice first.
///
/// # Errors
/// As [`Standing::revoke`] and [`Standing::uncredit`].
pub fn revoke(
    invoice: Invoice,
    note: Invoice,
    reason: String,
    now: Micros,
) -> Result<(Invoice, Invoice), Refusal> {
    let revoked = note.standing.revoke()?;
    let taken_off = note.standing.credited();
    let left = note.standing.payable().minor() - taken_off.minor();
    let standing = invoice.standing.uncredit(taken_off)?;
    let credited_after = invoice.credited_after.minor() - left;
    let mut invoice = invoice.changed(standing);
    invoice.credited_after = Money::from_minor(credited_after, note.document.currency());
    Ok((invoice, note.voided(revoked, reason, now)))
}

fn document(of: &Document, asked: CreditNote) -> Result<Document, Refusal> {
    let CreditNote {
        part,
        reason,
        series,
        reference,
        metadata,
    } = asked;
    let blank = DocumentSpec {
        document_type: DocumentType::CreditNote,
        series,
        party: of.asked().party.clone(),
        lines: Vec::new(),
        allowances: Vec::new(),
        charges: Vec::new(),
        prepaid: None,
        rounding: None,
        due_time: None,
        delivery_time: of.asked().delivery_time,
        note: reason,
        reference,
        metadata,
    };
    let asked = match part {
        Part::Whole => DocumentSpec {
            lines: of.asked().lines.clone(),
            allowances: of.asked().allowances.clone(),
            charges: of.asked().charges.clone(),
            rounding: of.asked().rounding,
            ..blank
        },
        Part::Lines(lines) => {
            let currency = |line: &Line| line.amount().currency() == of.currency();
            if !lines.iter().all(currency) {
                return Err(Refusal::CurrencyMismatch);
            }
            let rates: Vec<Rate> = of.breakdown().iter().map(|s| s.tax.rate()).collect();
            if !lines.iter().all(|l| rates.contains(&l.asked().tax.rate())) {
                return Err(Refusal::TaxNotInvoiced);
            }
            DocumentSpec { lines, ..blank }
        }
        Part::Amount(amount) => return spread(of, amount, blank),
    };
    Document::new(asked).map_err(|_| Refusal::CreditTooSmall)
}

/// A credit note of exactly `amount`, tax included, with one line for each of the invoice's rates
/// of tax, in proportion to what was billed at it. Not every amount is a net amount and its tax:
/// what is missing of a smallest unit, or over, is the document's rounding (BT-114).
fn spread(of: &Document, amount: Payment, blank: DocumentSpec) -> Result<Document, Refusal> {
    let amount = amount.amount();
    if amount.currency() != of.currency() {
        return Err(Refusal::CurrencyMismatch);
    }
    let gross = |s: &Subtotal| s.taxable.minor() + s.amount.minor();
    let whole: i128 = of.breakdown().iter().map(gross).sum();
    let (mut passed, mut given) = (0, 0);
    let mut lines = Vec::new();
    for subtotal in of.breakdown() {
        // Each share is the difference of two rounded sums, so that all of them make the amount.
        passed += gross(subtotal);
        let up_to = amount
            .checked_mul_ratio(passed, whole, ROUNDING)
            .map_err(|_| Refusal::CreditExceedsInvoice)?;
        let share = Money::from_minor(up_to.minor() - given, of.currency());
        given = up_to.minor();
        lines.extend(net_line(share, &subtotal.tax));
    }
    let rough =
        Document::new(DocumentSpec { lines, ..blank }).map_err(|_| Refusal::CreditTooSmall)?;
    let rest = amount.minor() - rough.totals().gross.minor();
    let rounding = (rest != 0).then(|| Money::from_minor(rest, of.currency()));
    Document::new(DocumentSpec {
        rounding,
        ..rough.asked().clone()
    })
    .map_err(|_| Refusal::CreditTooSmall)
}

/// A line whose amount with its tax is `gross`, or nearly; none if it comes to nothing.
fn net_line(gross: Money, tax: &Tax) -> Option<Line> {
    /// How many millionths a hundred is.
    const HUNDRED: i128 = 100_000_000;
    let with_tax = HUNDRED + i128::from(tax.rate().percent().millionths());
    let net = gross.checked_mul_ratio(HUNDRED, with_tax, ROUNDING).ok()?;
    if net.is_zero() {
        return None;
    }
    let quantity = if net.is_negative() { -1 } else { 1 };
    Line::new(LineSpec {
        description: "Credit".to_owned(),
        quantity: Decimal::whole(quantity),
        // A price is never negative (BR-27): a correction has a negative quantity.
        unit_price: net.checked_mul(i128::from(quantity)).ok()?,
        base_quantity: Decimal::ONE,
        unit_code: String::new(),
        tax: tax.clone(),
        allowances: Vec::new(),
        charges: Vec::new(),
    })
    .ok()
}

#[cfg(test)]
mod tests;
