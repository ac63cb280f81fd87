//! Credit notes of an invoice: issued at once, whole or in part, and revoked.

use std::collections::BTreeMap;

use money::Money;

use super::{
    Credited, Decimal, Document, DocumentSpec, DocumentType, Invoice, Line, LineSpec, Micros,
    Payment, ROUNDING, Rate, Refusal, Standing, Tax,
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

/// Issues a credit note under the next number of its series, at the time that goes with it; answers
/// the invoice, less what was taken off it, and the credit note, which owes the party the rest.
/// `credited` is what the notes before it took back.
///
/// # Errors
/// As [`Standing::credit`]; [`Refusal::IsCreditNote`], [`Refusal::TaxNotInvoiced`],
/// [`Refusal::CreditTooSmall`], [`Refusal::CreditExceedsInvoice`], [`Refusal::CreditExceedsRate`].
pub fn issue(
    invoice: Invoice,
    credited: &Credited,
    id: String,
    asked: CreditNote,
    (sequence, now): (i64, Micros),
) -> Result<(Invoice, Invoice), Refusal> {
    if invoice.document.document_type() == DocumentType::CreditNote {
        return Err(Refusal::IsCreditNote);
    }
    // An amount is spread within what is left, but for the one unit that `spread` tells of.
    let spread = matches!(asked.part, Part::Amount(_));
    let document = document(&invoice, credited, asked)?;
    let credit = Payment::new(document.totals().due).ok_or(Refusal::CreditTooSmall)?;
    // The state is looked at first: what is void is told so, however much is asked.
    let (standing, taken_off) = invoice.standing.credit(credit)?;
    let left = document.totals().due.minor() - taken_off.minor();
    let credited_after = invoice.credited_after.minor() + left;
    if standing.credited().minor() + credited_after > invoice.document.ceiling().minor() {
        return Err(Refusal::CreditExceedsInvoice);
    }
    if !spread && credited.exceeds(&invoice.document, &document) {
        return Err(Refusal::CreditExceedsRate);
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

fn document(
    invoice: &Invoice,
    credited: &Credited,
    asked: CreditNote,
) -> Result<Document, Refusal> {
    let of = &invoice.document;
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
        Part::Amount(amount) => return spread(invoice, credited, amount, blank),
    };
    Document::new(asked).map_err(|_| Refusal::CreditTooSmall)
}

/// A credit note of exactly `amount`, tax included, with one line for each rate of tax of the
/// invoice that something is left to credit at. Each takes the part of what is left there that the
/// amount is of all that is left; so no line exceeds what was billed, and the note of the whole rest
/// takes exactly what is left. Not every amount is a net amount and its tax: what is missing of a
/// smallest unit, or over, is the document's rounding (BT-114).
///
/// Where nothing can be spread, since nothing but roundings is left, the note has a line of one
/// smallest unit, and the rest is rounding too: what is due can be credited to the end.
fn spread(
    invoice: &Invoice,
    credited: &Credited,
    amount: Payment,
    blank: DocumentSpec,
) -> Result<Document, Refusal> {
    let (of, amount) = (&invoice.document, amount.amount());
    if amount.currency() != of.currency() {
        return Err(Refusal::CurrencyMismatch);
    }
    let before = invoice.standing.credited().minor() + invoice.credited_after.minor();
    // More than is left is refused by the caller, who looks at the state first.
    let whole = (of.ceiling().minor() - before).max(amount.minor());
    let (mut passed, mut given) = (0, 0);
    let mut lines = Vec::new();
    for billed in of.breakdown() {
        let left = credited.left(billed);
        // Each share is the difference of two rounded sums: small ones do not all round to nothing.
        passed += left;
        let up_to = amount
            .checked_mul_ratio(passed, whole, ROUNDING)
            .map_err(|_| Refusal::CreditExceedsInvoice)?;
        let share = (up_to.minor() - given).clamp(left.min(0), left.max(0));
        given = up_to.minor();
        let share = Money::from_minor(share, of.currency());
        lines.extend(net_line(share, &billed.tax));
    }
    let of_lines = |lines| {
        let blank = blank.clone();
        Document::new(DocumentSpec { lines, ..blank }).map_err(|_| Refusal::CreditTooSmall)
    };
    let rough = of_lines(lines).or_else(|_| {
        let most = of.breakdown().iter();
        let most = most.max_by_key(|billed| (credited.left(billed), billed.taxable.minor()));
        let unit = Money::from_minor(1, of.currency());
        let line = most.and_then(|most| net_line(unit, &most.tax));
        of_lines(line.into_iter().collect())
    })?;
    let rest = amount.minor() - rough.totals().gross.minor();
    let rounding = (rest != 0).then(|| Money::from_minor(rest, of.currency()));
    Document::new(DocumentSpec {
        rounding,
        ..rough.asked().clone()
    })
    .map_err(|_| Refusal::CreditTooSmall)
}

/// A line of so much; none of nothing.
fn net_line(net: Money, tax: &Tax) -> Option<Line> {
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
