//! Payments that go well, once.

use mizan_contracts::{
    invoice::v1::{DocumentType, InvoiceState},
    payment::v1::{Direction, Payment, PaymentState, ProcessPaymentRequest, StepState},
};

use crate::world::{World, gbp, pounds, request, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_is_a_paid_invoice_and_a_balanced_transaction() {
    let (world, _servers) = World::complete().await;
    // The first is perhaps tried before the others have been found.
    until(async || world.pay(request("p0")).await.ok()).await;
    world.reaches("p0", PaymentState::Completed).await;
    let payment = world.pay(request("p1")).await.unwrap();
    assert_eq!(payment.state(), PaymentState::Completed);
    assert_eq!(payment.amount, gbp(12, 34));
    assert_eq!(
        (&*payment.expense_account_id, &*payment.cash_account_id),
        ("expense-gbp", "cash-gbp")
    );

    let invoices = world.invoices("p1").await.unwrap();
    assert_eq!(invoices.len(), 1);
    assert_eq!(invoices[0].invoice_id, payment.invoice_id);
    assert_eq!(invoices[0].state(), InvoiceState::Paid);
    assert_eq!(invoices[0].total, gbp(12, 34));
    let books = world.books().await.unwrap();
    assert_eq!((pounds(&books), books.transactions), ([2468, 2468, 0], 2));
    let seen = world.get("p1").await.unwrap();
    let steps: Vec<_> = seen.steps.iter().map(|s| (&*s.name, s.attempts)).collect();
    assert_eq!(steps, [("invoice", 1), ("ledger", 1), ("mark_paid", 1)]);
    assert!(
        seen.steps
            .iter()
            .all(|s| s.state() == StepState::Done && s.end_time.is_some())
    );
    let without_steps = Payment {
        steps: Vec::new(),
        ..seen
    };
    assert_eq!(without_steps, payment);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_is_a_credit_note_and_goes_the_other_way() {
    let (world, _servers) = World::complete().await;
    world.pay(request("p1")).await.unwrap();
    let refund = ProcessPaymentRequest {
        direction: Direction::Refund.into(),
        amount: gbp(2, 34),
        ..request("p2")
    };
    assert_eq!(
        world.pay(refund).await.unwrap().state(),
        PaymentState::Completed
    );
    let invoices = world.invoices("p2").await.unwrap();
    assert_eq!(invoices[0].document_type(), DocumentType::CreditNote);
    assert_eq!(invoices[0].number, "CRN-00000001");
    let books = world.books().await.unwrap();
    let expense = books
        .balances
        .iter()
        .find(|b| b.account_id == "expense-gbp")
        .unwrap();
    assert_eq!(expense.balance, gbp(10, 0));
    assert_eq!(pounds(&books), [1468, 1468, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_request_is_the_same_payment() {
    let (world, _servers) = World::complete().await;
    let first = world.pay(request("p1")).await.unwrap();
    assert_eq!(world.pay(request("p1")).await.unwrap(), first);
    assert_eq!(world.books().await.unwrap().transactions, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_at_once_are_one_payment() {
    let (world, _servers) = World::complete().await;
    let world = std::sync::Arc::new(world);
    let calls: Vec<_> = (0..64)
        .map(|_| {
            let world = world.clone();
            tokio::spawn(async move { world.pay(request("p1")).await.unwrap() })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().state(), PaymentState::Completed);
    }
    assert_eq!(world.books().await.unwrap().transactions, 1);
    assert_eq!(world.invoices("p1").await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_pay_each_request_once() {
    let (world, _servers) = World::complete().await;
    let _second = world.payment().await;
    let world = std::sync::Arc::new(world);
    let calls: Vec<_> = (0..100)
        .map(|i| {
            let world = world.clone();
            // Every id comes twice, and the two may meet different instances.
            tokio::spawn(async move { world.pay(request(&format!("p{}", i / 2))).await.unwrap() })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().state(), PaymentState::Completed);
    }
    let books = world.books().await.unwrap();
    assert_eq!((books.transactions, pounds(&books)[2]), (50, 0));
}
