//! The sums of notes as one group of commands moves them.

use std::collections::BTreeMap;

use crate::domain::{
    Action, Books, Command, CreditNote, Error, Invoice, Line, Micros, Part, Payment, Record,
    Refusal, Request,
    samples::{self, line, pounds},
};

/// 100.00 at 25 % and 50.00 exempt: 175.00.
fn invoice() -> Invoice {
    let document = samples::document(&[line("2", 5_000, "25"), line("1", 5_000, "0")]).unwrap();
    let draft = Invoice::draft("i".to_owned(), document, Micros(1)).unwrap();
    draft.finalize(1, Micros(2)).unwrap()
}

fn command(request_id: &str, invoice_id: &str, action: Action) -> Command {
    let request = Request {
        request_id: request_id.to_owned(),
        invoice_id: invoice_id.to_owned(),
        etag: String::new(),
        body: request_id.as_bytes().to_vec(),
        now: Micros(5),
    };
    Command { request, action }
}

/// A note of this request's id.
fn credit(id: &str, part: Part) -> Command {
    let note = CreditNote {
        part,
        reason: "returned".to_owned(),
        series: "CRN".to_owned(),
        reference: String::new(),
        metadata: BTreeMap::new(),
    };
    command(id, "i", Action::Credit(Box::new(note)))
}

/// Of the lines at 25 %, without tax.
fn taxed(minor: i128) -> Part {
    Part::Lines(vec![Line::new(line("1", minor, "25")).unwrap()])
}

fn void(id: &str) -> Command {
    let action = Action::Void {
        reason: "wrong".to_owned(),
        allow_missing: false,
    };
    command(&format!("void {id}"), id, action)
}

fn done(books: &mut Books, command: &Command) -> Record {
    books.decide(command).unwrap()
}

fn refused(books: &mut Books, command: &Command) -> Refusal {
    match books.decide(command).unwrap_err() {
        Error::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_note_took_is_free_again_once_it_is_revoked_in_the_same_group() {
    let mut books = Books::new([invoice().into()], []);
    done(&mut books, &credit("a", taxed(10_000)));
    let again = credit("b", taxed(1));
    assert_eq!(refused(&mut books, &again), Refusal::CreditExceedsRate);
    done(&mut books, &void("a"));
    done(&mut books, &again);
    done(&mut books, &credit("c", taxed(9_999)));
    // All of it is taken back again, and no more than that was freed.
    let more = credit("d", taxed(1));
    assert_eq!(refused(&mut books, &more), Refusal::CreditExceedsRate);
}

#[test]
fn a_note_that_was_there_before_the_group_is_free_again_too_and_another_one_stays() {
    let mut earlier = Books::new([invoice().into()], []);
    let first = done(&mut earlier, &credit("a", taxed(6_000)));
    let second = done(&mut earlier, &credit("b", taxed(3_000)));
    let invoice = earlier.moved().next().unwrap().clone();
    // The next group: the store tells it of both.
    let records = [invoice.into(), first.clone(), second.clone()];
    let mut books = Books::new(records, []);
    books.credited_before(&first);
    books.credited_before(&second);
    let above = credit("c", taxed(1_001));
    assert_eq!(refused(&mut books, &above), Refusal::CreditExceedsRate);
    done(&mut books, &void("a"));
    let above = credit("c", taxed(7_001));
    assert_eq!(refused(&mut books, &above), Refusal::CreditExceedsRate);
    done(&mut books, &credit("c", taxed(7_000)));
}

#[test]
fn the_rest_after_a_revoked_note_is_the_whole() {
    let mut books = Books::new([invoice().into()], []);
    let part = Part::Amount(Payment::new(pounds(2_500)).unwrap());
    done(&mut books, &credit("a", part));
    done(&mut books, &void("a"));
    let note = done(&mut books, &credit("b", Part::Whole))
        .invoice()
        .unwrap();
    assert_eq!(note.document.totals().due, pounds(17_500));
}
