//! Credit notes, and invoices that are given up.

use mizan_contracts::{
    invoice::v1::{
        CreateCreditNoteRequest, CreateInvoiceRequest, DocumentType, InvoiceLine, InvoiceState,
        ListInvoicesRequest, Tax, TaxCategory,
    },
    r#type::v1::Money,
};
use tonic::Code;

use super::harness::*;

#[tokio::test]
async fn a_credit_lowers_what_is_due_and_both_name_each_other() {
    let fresh = Fresh::start().await;
    let client = fresh.client();
    open(&client, "i-1").await;
    let request = CreateCreditNoteRequest {
        reason: "one was torn".to_owned(),
        ..crediting("c-1", "i-1", pounds(30, 0))
    };
    let note = credit(&client, request.clone()).await.unwrap();
    assert_eq!(note.invoice_id, "c-1");
    assert_eq!(note.document_type(), DocumentType::CreditNote);
    assert_eq!((note.state(), note.number.as_str()), (InvoiceState::Paid, "CRN-00000001"));
    assert_eq!((note.total.clone(), note.amount_due.clone()), (pounds(30, 0), pounds(0, 0)));
    assert_eq!(note.amount_credited, pounds(30, 0));
    assert_eq!((note.credited_invoice_id.as_str(), note.note.as_str()), ("i-1", "one was torn"));
    assert_eq!(note.party, hundred("i-1").party);
    assert_eq!(credit(&client, request).await.unwrap(), note, "a repeat");

    let invoice = get(&client, "i-1").await.unwrap();
    assert_eq!((invoice.state(), invoice.amount_due.clone()), (InvoiceState::Open, pounds(70, 0)));
    assert_eq!(invoice.amount_credited, pounds(30, 0));
    assert_eq!(invoice.credit_note_ids, ["c-1"]);
    let of_it = ListInvoicesRequest {
        credited_invoice_id: "i-1".to_owned(),
        ..ListInvoicesRequest::default()
    };
    assert_eq!(page(&client, of_it).await.unwrap().0, ["c-1"]);

    let voided = void(&client, voiding("v", "c-1")).await.unwrap();
    assert_eq!(voided.state(), InvoiceState::Void);
    let invoice = get(&client, "i-1").await.unwrap();
    assert_eq!((invoice.amount_due, invoice.amount_credited), (pounds(100, 0), pounds(0, 0)));
    let paid = pay(&client, paying("p", "i-1", pounds(100, 0))).await.unwrap();
    assert_eq!(paid.state(), InvoiceState::Paid);
    fresh.server.stop().await;
}

#[tokio::test]
async fn what_is_credited_after_payment_is_paid_back_on_the_note() {
    let fresh = Fresh::start().await;
    let client = fresh.client();
    open(&client, "i-1").await;
    pay(&client, paying("p", "i-1", pounds(80, 0))).await.unwrap();
    let note = credit(&client, crediting("c-1", "i-1", None)).await.unwrap();
    assert_eq!((note.state(), note.amount_due), (InvoiceState::Open, pounds(80, 0)));
    let invoice = get(&client, "i-1").await.unwrap();
    assert_eq!(invoice.state(), InvoiceState::Paid);
    assert_eq!(invoice.amount_credited, pounds(20, 0));
    assert_eq!(invoice.amount_credited_after_payment, pounds(80, 0));
    let back = pay(&client, paying("b", "c-1", pounds(80, 0))).await.unwrap();
    assert_eq!((back.state(), back.amount_due), (InvoiceState::Paid, pounds(0, 0)));
    let late = void(&client, voiding("v", "c-1")).await;
    assert_eq!(refusal(late), precondition("PAYMENT_APPLIED"));
    fresh.server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_credited_is_refused_and_changes_nothing() {
    let fresh = Fresh::start().await;
    let client = fresh.client();
    create(&client, hundred("draft")).await.unwrap();
    open(&client, "open").await;
    open(&client, "void").await;
    void(&client, voiding("v", "void")).await.unwrap();
    open(&client, "lost").await;
    give_up(&client, "g", "lost").await.unwrap();
    credit(&client, crediting("c-1", "open", pounds(60, 0))).await.unwrap();
    let before = get(&client, "open").await.unwrap();
    for (id, amount, reason) in [
        ("draft", None, "INVOICE_NOT_OPEN"),
        ("void", None, "INVOICE_VOIDED"),
        ("lost", None, "INVOICE_UNCOLLECTIBLE"),
        ("open", pounds(40, 1), "CREDIT_EXCEEDS_INVOICE"),
        ("open", None, "CREDIT_EXCEEDS_INVOICE"),
        ("open", money("USD", 1, 0), "CURRENCY_MISMATCH"),
        ("c-1", pounds(1, 0), "IS_CREDIT_NOTE"),
    ] {
        let answer = credit(&client, crediting("c-2", id, amount)).await;
        assert_eq!(refusal(answer), precondition(reason), "{id}");
    }
    let taxed = InvoiceLine {
        tax: Some(Tax {
            category: TaxCategory::Standard.into(),
            rate_percent: "20".to_owned(),
            ..Tax::default()
        }),
        ..line("l", 1, pounds(1, 0))
    };
    let lines = CreateCreditNoteRequest {
        lines: vec![taxed],
        ..crediting("c-2", "open", None)
    };
    assert_eq!(refusal(credit(&client, lines.clone()).await), precondition("TAX_NOT_INVOICED"));
    let both = CreateCreditNoteRequest {
        amount: pounds(1, 0),
        ..lines
    };
    assert_eq!(fields(credit(&client, both).await), ["amount"]);
    let taken = credit(&client, crediting("open", "open", pounds(1, 0))).await;
    assert_eq!(refusal(taken), (Code::AlreadyExists, "REQUEST_ID_REUSED".to_owned()));
    assert_eq!(refusal(void(&client, voiding("w", "open")).await), precondition("CREDIT_NOTE_APPLIED"));
    assert_eq!(refusal(give_up(&client, "g2", "c-1").await), precondition("IS_CREDIT_NOTE"));
    assert_eq!(get(&client, "open").await.unwrap(), before);
    let next = credit(&client, crediting("c-2", "open", pounds(40, 0))).await.unwrap();
    assert_eq!(next.number, "CRN-00000002", "a refusal uses up no number");
    let settled = get(&client, "open").await.unwrap();
    assert_eq!(settled.state(), InvoiceState::Paid);
    assert_eq!(refusal(void(&client, voiding("x", "c-2")).await), precondition("INVOICE_PAID"));
    fresh.server.stop().await;
}

/// A line at 25 %, or zero rated.
fn taxed(rate: &str, amount: Option<Money>) -> InvoiceLine {
    let category = if rate == "0" { TaxCategory::ZeroRated } else { TaxCategory::Standard };
    InvoiceLine {
        tax: Some(Tax {
            category: category.into(),
            rate_percent: rate.to_owned(),
            ..Tax::default()
        }),
        ..line("l", 1, amount)
    }
}

#[tokio::test]
async fn credit_notes_take_back_no_more_tax_than_was_billed() {
    let fresh = Fresh::start().await;
    let client = fresh.client();
    let request = CreateInvoiceRequest {
        lines: vec![taxed("25", pounds(1_000, 0)), taxed("0", pounds(1_000, 0))],
        ..hundred("i-1")
    };
    create(&client, request).await.unwrap();
    let open = finalize(&client, finalizing("f", "i-1")).await.unwrap();
    assert_eq!(open.total, pounds(2_250, 0));
    let lines = |id: &str, rate, units| CreateCreditNoteRequest {
        lines: vec![taxed(rate, pounds(units, 0))],
        ..crediting(id, "i-1", None)
    };
    let exceeds = precondition("CREDIT_EXCEEDS_INVOICE");
    let too_much = credit(&client, lines("c", "25", 1_800)).await;
    assert_eq!(fields(too_much.clone()), ["lines"]);
    assert_eq!(refusal(too_much), exceeds, "450.00 of tax, 250.00 were billed");

    // More notes than are read at once; void ones do not count, whatever instance wrote them.
    let other = fresh.another().await;
    credit(&other.client, lines("c-void", "25", 900)).await.unwrap();
    assert_eq!(refusal(credit(&client, lines("c", "25", 101)).await), exceeds);
    void(&client, voiding("v", "c-void")).await.unwrap();
    for n in 0..20 {
        credit(&other.client, lines(&format!("c{n}"), "25", 45)).await.unwrap();
    }
    assert_eq!(refusal(credit(&client, lines("c", "25", 101)).await), exceeds);
    credit(&client, lines("c", "25", 100)).await.unwrap();

    // Half of the rest by amount, and then all of it: at the rate that has something left.
    for id in ["h", "r"] {
        let rest = credit(&client, crediting(id, "i-1", pounds(500, 0))).await.unwrap();
        let [part] = rest.tax_breakdown.as_slice() else {
            panic!("one rate");
        };
        assert_eq!((part.taxable.clone(), part.amount.clone()), (pounds(500, 0), pounds(0, 0)));
    }
    let invoice = get(&client, "i-1").await.unwrap();
    assert_eq!((invoice.state(), invoice.amount_due), (InvoiceState::Paid, pounds(0, 0)));
    other.stop().await;
    fresh.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_credits_of_lines_never_exceed_a_rate() {
    let fresh = Fresh::start().await;
    let other = fresh.another().await;
    let clients = [fresh.client(), other.client.clone()];
    let request = CreateInvoiceRequest {
        lines: vec![taxed("25", pounds(100, 0)), taxed("0", pounds(1_000, 0))],
        ..hundred("i-1")
    };
    create(&clients[0], request).await.unwrap();
    finalize(&clients[0], finalizing("f", "i-1")).await.unwrap();
    let credits = (0..16).map(|n| {
        let client = clients[n % 2].clone();
        let request = CreateCreditNoteRequest {
            lines: vec![taxed("25", pounds(30, 0))],
            ..crediting(&format!("c{n}"), "i-1", None)
        };
        tokio::spawn(async move { credit(&client, request).await })
    });
    let mut done = 0;
    for task in credits.collect::<Vec<_>>() {
        done += i32::from(task.await.unwrap().is_ok());
    }
    assert_eq!(done, 3, "three times 30.00 of 100.00");
    other.stop().await;
    fresh.server.stop().await;
}

#[tokio::test]
async fn an_invoice_that_was_given_up_can_still_be_paid_or_voided() {
    let fresh = Fresh::start().await;
    let client = fresh.client();
    for id in ["a", "b"] {
        open(&client, id).await;
        let lost = give_up(&client, &format!("g-{id}"), id).await.unwrap();
        assert_eq!(lost.state(), InvoiceState::Uncollectible);
        assert!(lost.uncollectible_time.is_some());
        assert_eq!(lost.amount_due, pounds(100, 0));
    }
    assert_eq!(refusal(give_up(&client, "g2", "a").await), precondition("INVOICE_UNCOLLECTIBLE"));
    let part = pay(&client, paying("p1", "a", pounds(1, 0))).await.unwrap();
    assert_eq!(part.state(), InvoiceState::Uncollectible);
    let paid = pay(&client, paying("p2", "a", pounds(99, 0))).await.unwrap();
    assert_eq!(paid.state(), InvoiceState::Paid);
    assert_eq!(void(&client, voiding("v", "b")).await.unwrap().state(), InvoiceState::Void);
    assert_eq!(refusal(give_up(&client, "g3", "b").await), precondition("INVOICE_VOIDED"));
    assert_eq!(refusal(give_up(&client, "g4", "a").await), precondition("INVOICE_PAID"));
    fresh.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_credits_and_their_voids_never_exceed_the_invoice() {
    let fresh = Fresh::start().await;
    let other = fresh.another().await;
    let clients = [fresh.client(), other.client.clone()];
    open(&clients[0], "i-1").await;
    let credits = (0..12).map(|n| {
        let client = clients[n % 2].clone();
        tokio::spawn(async move {
            let note = credit(&client, crediting(&format!("c{n}"), "i-1", pounds(30, 0))).await;
            if n % 3 == 0 && note.is_ok() {
                // The note's id sorts before the invoice's; whoever locks goes by the order of ids.
                void(&client, voiding(&format!("v{n}"), &format!("c{n}"))).await.unwrap();
                return None;
            }
            note.ok()
        })
    });
    let mut live = 0;
    for task in credits.collect::<Vec<_>>() {
        live += i64::from(task.await.unwrap().is_some());
    }
    let invoice = get(&clients[1], "i-1").await.unwrap();
    assert!(live <= 3);
    assert_eq!(invoice.amount_credited, pounds(30 * live, 0));
    assert_eq!(invoice.amount_due, pounds(100 - 30 * live, 0));
    other.stop().await;
    fresh.server.stop().await;
}
