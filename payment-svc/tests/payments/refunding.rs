//! Refunds against the real invoicing and accounting.

use std::sync::Arc;

use mizan_contracts::{
    accounting::v1::Side,
    invoice::v1::{DocumentType, InvoiceState},
    payment::v1::{Payment, PaymentState, RefundPaymentRequest},
    r#type::v1::Money,
};
use tonic::Code;

use crate::world::{World, gbp, pounds, request, until};

fn refund(id: &str, amount: Option<Money>) -> RefundPaymentRequest {
    RefundPaymentRequest {
        request_id: id.to_owned(),
        payment_id: "p1".to_owned(),
        amount,
        reason: "returned".to_owned(),
        ..RefundPaymentRequest::default()
    }
}

/// One credit note of the invoice, paid back, and one transaction with the legs the other way.
async fn is_made(world: &World, refund: &Payment, amount: Option<Money>) {
    let id = &refund.payment_id;
    assert_eq!(refund.state(), PaymentState::Completed, "{refund:?}");
    assert_eq!(refund.amount, amount);
    assert_eq!(refund.refunded_payment_id, "p1");
    let paid = world.get("p1").await.unwrap();
    let notes = world.invoices(id).await.unwrap();
    assert_eq!(notes.len(), 1, "{id}");
    let note = &notes[0];
    assert_eq!(note.document_type(), DocumentType::CreditNote);
    assert_eq!(note.invoice_id, refund.invoice_id);
    assert_eq!(note.credited_invoice_id, paid.invoice_id);
    assert_eq!(
        (note.state(), note.total.clone()),
        (InvoiceState::Paid, amount.clone())
    );
    let posted = world.transactions(id).await.unwrap();
    assert_eq!(posted.len(), 1, "{id}");
    assert_eq!(posted[0].transaction_id, refund.transaction_id);
    let legs: Vec<_> = posted[0].legs.iter().collect();
    let leg = |side: Side| legs.iter().find(|leg| leg.side() == side).unwrap();
    assert_eq!(leg(Side::Debit).account_id, paid.cash_account_id);
    assert_eq!(leg(Side::Credit).account_id, paid.expense_account_id);
    assert!(legs.iter().all(|leg| leg.amount == amount));
}

/// What the expense account holds, in pence.
async fn spent(world: &World) -> i64 {
    let books = world.books().await.unwrap();
    assert_eq!(pounds(&books)[2], 0, "the books balance");
    let mut accounts = books.balances.iter();
    let expense = accounts.find(|b| b.account_id == "expense-gbp").unwrap();
    let balance = expense.balance.as_ref().unwrap();
    balance.units * 100 + i64::from(balance.nanos) / 10_000_000
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_refund_takes_everything_back_once() {
    let (world, _servers) = World::complete().await;
    world.pay(request("p1")).await.unwrap();
    let made = world.refund(refund("r1", None)).await.unwrap();
    is_made(&world, &made, gbp(12, 34)).await;
    assert_eq!(spent(&world).await, 0);
    assert_eq!(world.refund(refund("r1", None)).await.unwrap(), made);
    assert_eq!(world.transactions("r1").await.unwrap().len(), 1);
    let other = world.refund(refund("r1", gbp(1, 0))).await.unwrap_err();
    assert_eq!(other.code(), Code::AlreadyExists);
    let more = world.refund(refund("r2", gbp(0, 1))).await.unwrap_err();
    assert_eq!(
        mizan::status::reason(&more).as_deref(),
        Some("REFUND_TOO_LARGE")
    );
    assert_eq!(world.get("r2").await.unwrap_err().code(), Code::NotFound);
    assert_eq!(
        world.get("p1").await.unwrap().state(),
        PaymentState::Completed
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_are_refunded_until_nothing_is_left() {
    let (world, _servers) = World::complete().await;
    world.pay(request("p1")).await.unwrap();
    for (id, amount, left) in [("r1", gbp(2, 34), 1000), ("r2", gbp(4, 0), 600)] {
        let made = world.refund(refund(id, amount.clone())).await.unwrap();
        is_made(&world, &made, amount).await;
        assert_eq!(spent(&world).await, left);
    }
    let more = world.refund(refund("r3", gbp(6, 1))).await.unwrap_err();
    assert_eq!(
        mizan::status::reason(&more).as_deref(),
        Some("REFUND_TOO_LARGE")
    );
    // What is left, by another id: a late copy of what was refused is refused.
    let again = world.refund(refund("r3", gbp(6, 1))).await.unwrap_err();
    assert_eq!(again.message(), more.message());
    let other = world.refund(refund("r3", None)).await.unwrap_err();
    assert_eq!(other.code(), Code::AlreadyExists);
    let rest = world.refund(refund("r4", None)).await.unwrap();
    is_made(&world, &rest, gbp(6, 0)).await;
    assert_eq!(spent(&world).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refunds_at_once_on_two_instances_never_exceed_the_payment() {
    let (world, _servers) = World::complete().await;
    let _second = world.payment().await;
    world.pay(request("p1")).await.unwrap();
    let world = Arc::new(world);
    let calls: Vec<_> = (0..12)
        .map(|nth| {
            let world = world.clone();
            // Every refund is asked for twice; of 12.34 there are three parts of 4.00.
            let id = format!("r{}", nth / 2);
            tokio::spawn(async move { (id.clone(), world.refund(refund(&id, gbp(4, 0))).await) })
        })
        .collect();
    let mut made = std::collections::BTreeMap::new();
    for call in calls {
        let (id, answer) = call.await.unwrap();
        match answer {
            Ok(refund) => {
                made.insert(id, refund);
            }
            Err(status) => {
                let reason = mizan::status::reason(&status);
                assert_eq!(reason.as_deref(), Some("REFUND_TOO_LARGE"), "{status:?}");
            }
        }
    }
    assert_eq!(made.len(), 3, "{made:?}");
    for refund in made.values() {
        is_made(&world, refund, gbp(4, 0)).await;
    }
    assert_eq!(spent(&world).await, 34);
    assert_eq!(world.books().await.unwrap().transactions, 4);
}

/// The credit note is issued and the ledger is away; then the instance is gone, and another one
/// finishes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_credit_note_and_transaction_loses_and_doubles_nothing() {
    let world = World::new().await;
    let _invoice = world.invoice().await;
    let accounting = world.accounting().await;
    let (killed, client) = world.payment_as(|_| {}).await;
    world.ready().await;
    world.pay(request("p1")).await.unwrap();
    accounting.stop().await;
    let asynchronous = RefundPaymentRequest {
        asynchronous: true,
        ..refund("r1", gbp(5, 0))
    };
    client.clone().refund_payment(asynchronous).await.unwrap();
    world.reaches("r1", PaymentState::Invoiced).await;
    let notes = world.invoices("r1").await.unwrap();
    assert_eq!(
        notes[0].state(),
        InvoiceState::Open,
        "issued, not paid back"
    );
    drop(killed);
    let _servers = [world.accounting().await, world.payment().await];
    let made = world.reaches("r1", PaymentState::Completed).await;
    assert!(made.steps.iter().any(|step| step.attempts > 1));
    until(async || world.books().await.ok()).await;
    let made = world.refund(refund("r1", gbp(5, 0))).await.unwrap();
    is_made(&world, &made, gbp(5, 0)).await;
    assert_eq!(spent(&world).await, 734);
}

/// A refund that is cancelled while the ledger is away: its credit note is voided, and the invoice
/// can be credited again, whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_refund_voids_its_credit_note_and_frees_what_it_took() {
    let world = World::new().await;
    let _invoice = world.invoice().await;
    let accounting = world.accounting().await;
    let (_payment, client) = world.payment_as(|_| {}).await;
    world.ready().await;
    world.pay(request("p1")).await.unwrap();
    accounting.stop().await;
    let asynchronous = RefundPaymentRequest {
        asynchronous: true,
        ..refund("r1", None)
    };
    client.clone().refund_payment(asynchronous).await.unwrap();
    world.reaches("r1", PaymentState::Invoiced).await;
    until(async || world.cancel("r1").await.ok()).await;
    let ended = world.reaches("r1", PaymentState::Compensated).await;
    assert_eq!(ended.failure.unwrap().reason, "CANCELLED");
    let notes = world.invoices("r1").await.unwrap();
    assert_eq!(notes[0].state(), InvoiceState::Void);
    let _accounting = world.accounting().await;
    until(async || world.books().await.ok()).await;
    assert!(world.transactions("r1").await.unwrap().is_empty());
    let asked = until(async || world.refund(refund("r2", None)).await.ok()).await;
    let made = if asked.state() == PaymentState::Completed {
        asked
    } else {
        world.reaches("r2", PaymentState::Completed).await
    };
    let made = Payment {
        steps: Vec::new(),
        ..made
    };
    is_made(&world, &made, gbp(12, 34)).await;
    assert_eq!(spent(&world).await, 0);
}
