//! What credit notes take off, give back, and never exceed.

use std::slice;

use proptest::prelude::*;

use super::*;
use crate::domain::{
    State,
    samples::{self, line, pounds},
};

/// 100.00 at 25 % and 50.00 exempt: 175.00.
fn invoice() -> Invoice {
    let document = samples::document(&[line("2", 5_000, "25"), line("1", 5_000, "0")]).unwrap();
    let draft = Invoice::draft("i".to_owned(), document, Micros(1)).unwrap();
    draft.finalize(1, Micros(2)).unwrap()
}

fn asking(part: Part) -> CreditNote {
    CreditNote {
        part,
        reason: "returned".to_owned(),
        series: "CRN".to_owned(),
        reference: String::new(),
        metadata: BTreeMap::new(),
    }
}

fn part(minor: i128) -> Part {
    Part::Amount(Payment::new(pounds(minor)).unwrap())
}

/// The first credit of an invoice.
fn credit(invoice: Invoice, part: Part) -> Result<(Invoice, Invoice), Refusal> {
    credit_after(invoice, &[], part)
}

/// One more, after these notes, none of which is void.
fn credit_after(
    invoice: Invoice,
    notes: &[Invoice],
    part: Part,
) -> Result<(Invoice, Invoice), Refusal> {
    let id = format!("c{}", invoice.credit_notes.len());
    issue(invoice, &sums(notes), id, asking(part), (1, Micros(5)))
}

fn sums(notes: &[Invoice]) -> Credited {
    let mut credited = Credited::default();
    notes.iter().for_each(|note| credited.add(&note.document));
    credited
}

fn lines(percent: &str, minor: i128) -> Part {
    Part::Lines(vec![Line::new(line("1", minor, percent)).unwrap()])
}

fn finalized(document: Document) -> Invoice {
    let draft = Invoice::draft("i".to_owned(), document, Micros(1)).unwrap();
    draft.finalize(1, Micros(2)).unwrap()
}

/// The lines of a credit note.
fn amounts(note: &Invoice) -> Vec<i128> {
    let lines = note.document.asked().lines.iter();
    lines.map(|l| l.amount().minor()).collect()
}

fn paying(invoice: Invoice, minor: i128) -> Invoice {
    let payment = Payment::new(pounds(minor)).unwrap();
    invoice.pay(payment, Micros(3)).unwrap()
}

#[test]
fn the_whole_settles_an_open_invoice_and_says_all_that_it_said() {
    let (invoice, note) = credit(invoice(), Part::Whole).unwrap();
    assert_eq!(invoice.standing.state(), State::Paid);
    assert_eq!(invoice.standing.credited(), pounds(17_500));
    assert_eq!(invoice.times.paid, Some(Micros(5)));
    assert_eq!(invoice.credit_notes, ["c0"]);
    assert_eq!(note.document.totals(), invoice.document.totals());
    assert_eq!(note.document.asked().lines, invoice.document.asked().lines);
    assert_eq!(note.document.asked().note, "returned");
    assert_eq!(note.number().as_deref(), Some("CRN-00000001"));
    assert_eq!(note.standing.state(), State::Paid);
    assert_eq!(note.credits.as_deref(), Some("i"));
    assert_eq!((note.revision, invoice.revision), (1, 3));
    let again = credit_after(invoice, &[note], Part::Whole);
    assert_eq!(again.unwrap_err(), Refusal::CreditExceedsInvoice);
}

#[test]
fn a_credit_first_lowers_what_is_due_and_owes_the_rest() {
    let (invoice, note) = credit(paying(invoice(), 10_000), part(9_000)).unwrap();
    assert_eq!(invoice.standing.state(), State::Paid);
    assert_eq!(invoice.standing.credited(), pounds(7_500));
    assert_eq!(invoice.credited_after, pounds(1_500));
    assert_eq!(note.standing.state(), State::Open);
    assert_eq!(note.standing.due(), pounds(1_500));
    let paid_back = paying(note, 1_500);
    assert_eq!(paid_back.standing.state(), State::Paid);
}

#[test]
fn an_amount_is_spread_over_the_rates_in_proportion() {
    // 125.00 of 175.00 were billed at 25 %.
    let (_, note) = credit(invoice(), part(1_750)).unwrap();
    assert_eq!(amounts(&note), [1_000, 500]);
    assert_eq!(note.document.totals().tax, pounds(250));
    assert_eq!(note.document.totals().due, pounds(1_750));
    assert!(note.document.totals().rounding.is_zero());
}

#[test]
fn an_amount_that_is_no_net_and_tax_is_rounded_to() {
    // At 25 %, 0.02 is either 0.01 + 0.00 or 0.02 + 0.01.
    let document = samples::document(&[line("1", 10_000, "25")]).unwrap();
    let draft = Invoice::draft("i".to_owned(), document, Micros(1)).unwrap();
    let open = draft.finalize(1, Micros(2)).unwrap();
    let (_, note) = credit(open, part(2)).unwrap();
    assert_eq!(note.document.totals().gross, pounds(3));
    assert_eq!(note.document.totals().rounding, pounds(-1));
    assert_eq!(note.standing.payable(), pounds(2));
}

#[test]
fn lines_are_credited_at_rates_that_were_billed() {
    let (invoice, note) = credit(invoice(), lines("25", 1_000)).unwrap();
    assert_eq!(note.standing.payable(), pounds(1_250));
    assert_eq!(invoice.standing.due(), pounds(16_250));
    let other = credit_after(invoice, &[note], lines("24", 1_000));
    assert_eq!(other.unwrap_err(), Refusal::TaxNotInvoiced);
}

#[test]
fn no_more_is_credited_at_a_rate_than_was_billed_at_it() {
    // 1,000.00 at 25 % and 1,000.00 exempt, 250.00 of tax. It was asked by 1,800.00 at 25 % for
    // 450.00 of tax, and got it, since 2,250.00 is no more than the invoice.
    let document = samples::document(&[line("1", 100_000, "25"), line("1", 100_000, "0")]);
    let invoice = finalized(document.unwrap());
    let refused = |invoice: &Invoice, notes: &[Invoice], part| {
        let refused = credit_after(invoice.clone(), notes, part).unwrap_err();
        assert_eq!(refused, Refusal::CreditExceedsRate);
    };
    refused(&invoice, &[], lines("25", 180_000));
    refused(&invoice, &[], lines("25", 100_001));
    // The notes before count, one by one.
    let (invoice, first) = credit(invoice, lines("25", 60_000)).unwrap();
    refused(&invoice, slice::from_ref(&first), lines("25", 40_001));
    let more = Part::Lines(vec![
        Line::new(line("1", 70_000, "0")).unwrap(),
        Line::new(line("1", 40_001, "25")).unwrap(),
    ]);
    refused(&invoice, slice::from_ref(&first), more);
    // Nor is anything billed by a credit note.
    let billing = Part::Lines(vec![
        Line::new(line("1", 10_000, "25")).unwrap(),
        Line::new(line("-1", 1, "0")).unwrap(),
    ]);
    refused(&invoice, slice::from_ref(&first), billing);
    let notes = [first];
    let (invoice, second) = credit_after(invoice, &notes, lines("25", 40_000)).unwrap();
    let [first] = notes;
    let notes = [first, second];
    refused(&invoice, &notes, lines("25", 1));
    // The rest by amount is all at the rate that has it.
    let (invoice, rest) = credit_after(invoice, &notes, part(100_000)).unwrap();
    assert_eq!(amounts(&rest), [100_000]);
    assert!(rest.document.totals().tax.is_zero());
    assert_eq!(invoice.standing.state(), State::Paid);
}

#[test]
fn a_correction_within_the_invoice_is_credited_up_to_itself() {
    // 900.00 exempt, and 100.00 at 25 % taken off again: 775.00.
    let document = samples::document(&[line("1", 90_000, "0"), line("-1", 10_000, "25")]);
    let invoice = finalized(document.unwrap());
    let too_much = credit(invoice.clone(), lines("25", 10_000));
    assert_eq!(too_much.unwrap_err(), Refusal::CreditExceedsRate);
    let both = |minor| {
        let taken = Line::new(line("1", 90_000, "0")).unwrap();
        let given = Line::new(line("-1", minor, "25")).unwrap();
        Part::Lines(vec![taken, given])
    };
    let too_far = credit(invoice.clone(), both(10_001));
    assert_eq!(too_far.unwrap_err(), Refusal::CreditExceedsRate);
    let (_, half) = credit(invoice.clone(), part(38_750)).unwrap();
    assert_eq!(amounts(&half), [45_000, -5_000]);
    let (invoice, _) = credit(invoice, both(10_000)).unwrap();
    assert_eq!(invoice.standing.due(), pounds(0));
}

#[test]
fn what_only_rounding_is_left_of_is_credited_to_the_end() {
    let mut asked = samples::spec(&[line("1", 10_000, "25")]);
    asked.rounding = Some(pounds(3));
    let invoice = finalized(Document::new(asked).unwrap());
    let (invoice, first) = credit(invoice, lines("25", 10_000)).unwrap();
    assert_eq!(invoice.standing.due(), pounds(3));
    let (invoice, rest) = credit_after(invoice, &[first], part(3)).unwrap();
    assert_eq!(
        (amounts(&rest), rest.document.totals().due),
        (vec![1], pounds(3))
    );
    assert_eq!(invoice.standing.state(), State::Paid);
}

#[test]
fn what_was_paid_in_advance_is_credited_too() {
    let mut asked = samples::spec(&[line("1", 10_000, "25")]);
    asked.prepaid = Some(pounds(12_500));
    let document = Document::new(asked).unwrap();
    let draft = Invoice::draft("i".to_owned(), document, Micros(1)).unwrap();
    let paid = draft.finalize(1, Micros(2)).unwrap();
    assert_eq!(paid.standing.state(), State::Paid);
    let (invoice, note) = credit(paid, Part::Whole).unwrap();
    assert_eq!(invoice.credited_after, pounds(12_500));
    assert_eq!(note.standing.due(), pounds(12_500));
}

#[test]
fn a_revoked_note_puts_back_what_it_took_off() {
    let (invoice, first) = credit(invoice(), part(5_000)).unwrap();
    let (invoice, second) = credit_after(invoice, slice::from_ref(&first), part(2_500)).unwrap();
    assert_eq!(invoice.standing.due(), pounds(10_000));
    let (invoice, first) = revoke(invoice, first, "wrong".to_owned(), Micros(6)).unwrap();
    assert_eq!(invoice.standing.due(), pounds(15_000));
    assert_eq!(first.standing.state(), State::Void);
    assert_eq!(
        (first.times.void, first.times.paid),
        (Some(Micros(6)), None)
    );
    assert_eq!(invoice.credit_notes, ["c0", "c1"], "both stay linked");
    let again = revoke(invoice.clone(), first, String::new(), Micros(7));
    assert_eq!(again.unwrap_err(), Refusal::Voided);
    // Once the invoice is paid, that is final.
    let invoice = paying(invoice, 15_000);
    let late = revoke(invoice, second, String::new(), Micros(7));
    assert_eq!(late.unwrap_err(), Refusal::Paid);
}

#[test]
fn a_note_after_payment_is_revoked_until_it_is_paid_back() {
    let (invoice, note) = credit(paying(invoice(), 17_500), part(1_000)).unwrap();
    assert_eq!(invoice.credited_after, pounds(1_000));
    let part_back = paying(note.clone(), 1);
    let late = revoke(invoice.clone(), part_back, String::new(), Micros(7));
    assert_eq!(late.unwrap_err(), Refusal::PaymentApplied);
    let (invoice, _) = revoke(invoice, note, String::new(), Micros(7)).unwrap();
    assert_eq!(invoice.credited_after, pounds(0));
    assert_eq!(invoice.standing.state(), State::Paid);
}

#[test]
fn what_cannot_be_credited_is_told_why() {
    let draft = Invoice::draft("i".to_owned(), invoice().document, Micros(1)).unwrap();
    assert_eq!(
        credit(draft.clone(), part(1)).unwrap_err(),
        Refusal::NotOpen
    );
    let void = draft.void(String::new(), Micros(2)).unwrap();
    assert_eq!(credit(void, part(1)).unwrap_err(), Refusal::Voided);
    let given_up = invoice().give_up(Micros(3)).unwrap();
    assert_eq!(
        credit(given_up, part(1)).unwrap_err(),
        Refusal::Uncollectible
    );
    let too_much = credit(invoice(), part(17_501));
    assert_eq!(too_much.unwrap_err(), Refusal::CreditExceedsInvoice);
    let dollar = Payment::new(Money::from_minor(1, "USD".parse().unwrap())).unwrap();
    let other = credit(invoice(), Part::Amount(dollar));
    assert_eq!(other.unwrap_err(), Refusal::CurrencyMismatch);
    let (credited, note) = credit(invoice(), part(1)).unwrap();
    assert_eq!(
        credit(note.clone(), part(1)).unwrap_err(),
        Refusal::IsCreditNote
    );
    assert_eq!(note.give_up(Micros(3)).unwrap_err(), Refusal::IsCreditNote);
    let void = credited.void(String::new(), Micros(3));
    assert_eq!(void.unwrap_err(), Refusal::CreditApplied);
}

proptest! {
    #[test]
    fn any_credits_and_payments_keep_an_invoice_whole(
        steps in prop::collection::vec((0_u8..3, 1_i128..12_000), 1..12),
    ) {
        let mut invoice = invoice();
        let mut notes: Vec<Invoice> = Vec::new();
        for (call, minor) in steps {
            match call {
                0 => if let Ok((credited, note)) = credit_after(invoice.clone(), &notes, part(minor)) {
                    prop_assert_eq!(note.standing.payable().minor(), minor, "to the penny");
                    invoice = credited;
                    notes.push(note);
                },
                1 => if let Ok(paid) = invoice.clone().pay(Payment::new(pounds(minor)).unwrap(), Micros(3)) {
                    invoice = paid;
                },
                _ => if let Some(note) = notes.pop() {
                    match revoke(invoice.clone(), note.clone(), String::new(), Micros(4)) {
                        Ok((back, _)) => invoice = back,
                        Err(_) => notes.push(note),
                    }
                },
            }
            let live: i128 = notes.iter().map(|n| n.standing.payable().minor()).sum();
            let credited = invoice.standing.credited().minor() + invoice.credited_after.minor();
            prop_assert_eq!(credited, live);
            prop_assert!(credited <= invoice.document.ceiling().minor());
            prop_assert!(invoice.credited_after.minor() >= 0);
            prop_assert!(invoice.standing.due().minor() >= 0);
        }
    }

    #[test]
    fn any_invoice_is_credited_by_amounts_and_lines_to_the_end_and_never_beyond_a_rate(
        billed in prop::collection::vec((1_i128..5_000, 0_usize..4), 1..5),
        rounding in -2_i128..3,
        steps in prop::collection::vec((any::<bool>(), 0_usize..4, 1_i128..3_000), 0..12),
    ) {
        const RATES: [&str; 4] = ["0", "5.5", "25", "100"];
        let billed: Vec<_> = billed.iter().map(|(m, rate)| line("1", *m, RATES[*rate])).collect();
        let mut asked = samples::spec(&billed);
        asked.rounding = (rounding != 0).then(|| pounds(rounding));
        let document = Document::new(asked);
        prop_assume!(document.is_ok());
        let mut invoice = finalized(document.unwrap());
        prop_assume!(invoice.standing.state() == State::Open);
        let mut notes: Vec<Invoice> = Vec::new();
        for (by_amount, rate, minor) in steps {
            let part = if by_amount { part(minor) } else { lines(RATES[rate], minor) };
            if let Ok((credited, note)) = credit_after(invoice.clone(), &notes, part) {
                invoice = credited;
                notes.push(note);
            }
        }
        let due = invoice.standing.due();
        if let Some(due) = Payment::new(due) {
            let (credited, note) = credit_after(invoice, &notes, Part::Amount(due)).unwrap();
            invoice = credited;
            notes.push(note);
        }
        prop_assert_eq!(invoice.standing.state(), State::Paid);
        let sums = sums(&notes);
        let count = i128::try_from(notes.len()).unwrap();
        for billed in invoice.document.breakdown() {
            let rate = billed.tax.rate();
            let parts = notes.iter().flat_map(|n| n.document.breakdown());
            let parts: Vec<_> = parts.filter(|s| s.tax.rate() == rate).collect();
            let taxable: i128 = parts.iter().map(|s| s.taxable.minor()).sum();
            let tax: i128 = parts.iter().map(|s| s.amount.minor()).sum();
            // One unit more at most, for each note that had nothing but roundings left to take.
            prop_assert!(taxable <= billed.taxable.minor() + count, "{taxable} {sums:?}");
            prop_assert!(tax <= billed.amount.minor() + count + 1, "{tax} at {rate:?}");
        }
    }
}
