//! Payments whose services refuse, are away, or die.

use mizan_contracts::{
    invoice::v1::InvoiceState,
    payment::v1::{ListPaymentsRequest, PaymentState, ProcessPaymentRequest},
};
use tonic::Code;

use crate::world::{World, pounds, request, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_ledger_refuses_the_invoice_is_voided() {
    let (world, _servers) = World::complete().await;
    let to_nowhere = ProcessPaymentRequest {
        expense_account_id: "no-such-account".to_owned(),
        ..request("p1")
    };
    let payment = world.pay(to_nowhere.clone()).await.unwrap();
    assert_eq!(payment.state(), PaymentState::Compensated);
    let failure = payment.failure.clone().unwrap();
    assert_eq!(
        (&*failure.step, &*failure.reason),
        ("ledger", "ACCOUNT_NOT_FOUND")
    );
    assert_eq!(payment.transaction_id, "");
    assert_eq!(
        world.invoices("p1").await.unwrap()[0].state(),
        InvoiceState::Void
    );
    assert_eq!(world.books().await.unwrap().transactions, 0);
    assert_eq!(
        world.pay(to_nowhere).await.unwrap(),
        payment,
        "and every repetition says the same"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_ledger_the_payment_is_kept_and_goes_on_when_it_is_back() {
    let world = World::new().await;
    let _servers = [world.invoice().await, world.payment().await];
    let waiting = until(async || {
        world
            .pay(request("p1"))
            .await
            .err()
            .filter(|s| s.message().contains("accepted"))
    });
    let status = waiting.await;
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(
        mizan::status::reason(&status).as_deref(),
        Some("NO_INSTANCES")
    );
    assert!(mizan::status::retry_after(&status).is_some());
    world.reaches("p1", PaymentState::Invoiced).await;
    let _ledger = world.accounting().await;
    let payment = world.reaches("p1", PaymentState::Completed).await;
    let again = world.pay(request("p1")).await.unwrap();
    assert_eq!(again.update_time, payment.update_time);
    let ledger = payment.steps.iter().find(|step| step.name == "ledger");
    let attempts = ledger.unwrap().recent_attempts.iter();
    let errors = attempts.filter_map(|attempt| attempt.error.as_ref());
    let told: Vec<_> = errors.map(|e| (&*e.code, &*e.reason)).collect();
    assert!(told.contains(&("UNAVAILABLE", "NO_INSTANCES")), "{told:?}");
    assert_eq!(world.books().await.unwrap().transactions, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_payment_is_resumed_by_the_next_start() {
    let world = World::new().await;
    let _invoice = world.invoice().await;
    let first = world.payment().await;
    until(async || {
        world
            .pay(request("p1"))
            .await
            .err()
            .filter(|s| s.message().contains("accepted"))
    })
    .await;
    world.reaches("p1", PaymentState::Invoiced).await;
    first.stop().await;
    let _servers = [world.accounting().await, world.payment().await];
    world.reaches("p1", PaymentState::Completed).await;
    let books = world.books().await.unwrap();
    assert_eq!((books.transactions, pounds(&books)), (1, [1234, 1234, 0]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_instance_leaves_another_finishes() {
    let world = World::new().await;
    let invoice = world.invoice().await;
    let killed = world.payment().await;
    until(async || {
        world
            .pay(request("p1"))
            .await
            .err()
            .filter(|s| s.message().contains("accepted"))
    })
    .await;
    world.reaches("p1", PaymentState::Invoiced).await;
    drop(killed);
    let _servers = [invoice, world.accounting().await, world.payment().await];
    world.reaches("p1", PaymentState::Completed).await;
    assert_eq!(world.books().await.unwrap().transactions, 1);
    assert_eq!(world.invoices("p1").await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payments_that_wait_do_not_hold_up_those_that_can_go_on() {
    /// More than are driven at once.
    const WAITING: usize = 530;
    let world = World::new().await;
    let _servers = [world.invoice().await, world.payment().await];
    until(async || world.list(ListPaymentsRequest::default()).await.ok()).await;
    let world = std::sync::Arc::new(world);
    let begin = |id: String| {
        let world = world.clone();
        let request = ProcessPaymentRequest {
            asynchronous: true,
            ..request(&id)
        };
        tokio::spawn(async move { world.pay(request).await.unwrap() })
    };
    let waiting: Vec<_> = (0..WAITING).map(|i| begin(format!("w{i}"))).collect();
    for call in waiting {
        call.await.unwrap();
    }
    begin("late".to_owned()).await.unwrap();
    world.reaches("late", PaymentState::Invoiced).await;
}

/// What goes forward waits for the limiter; what is undone does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compensation_is_exempt_from_the_limiter_of_the_ledger() {
    const PAYMENTS: usize = 20;
    let world = World::new().await;
    let _servers = [world.invoice().await, world.accounting().await];
    let (_payment, client) = world
        .payment_as(|config| {
            // One a second.
            (config.ledger_rate, config.ledger_burst) = (1, 1);
            config.ledger_wait_seconds = 36_000;
        })
        .await;
    world.ready().await;
    for nth in 0..PAYMENTS {
        let request = ProcessPaymentRequest {
            asynchronous: true,
            ..request(&format!("p{nth}"))
        };
        client.clone().process_payment(request).await.unwrap();
    }
    let (mut made, mut undone) = (0, 0);
    // Last come, last served: those at the end are sent away until then, not kept waiting.
    for nth in (0..PAYMENTS).rev() {
        let id = format!("p{nth}");
        // Until it is cancelled, or its turn came.
        let ended = until(async || {
            let _ = world.cancel(&id).await;
            let payment = world.get(&id).await.ok()?;
            matches!(
                payment.state(),
                PaymentState::Completed | PaymentState::Compensated | PaymentState::Failed
            )
            .then_some(payment)
        })
        .await;
        let invoices = world.invoices(&id).await.unwrap();
        let standing = invoices
            .iter()
            .filter(|i| i.state() != InvoiceState::Void)
            .count();
        let posted = world.transactions(&id).await.unwrap().len();
        if ended.state() == PaymentState::Completed {
            assert_eq!((standing, posted), (1, 1));
            made += 1;
        } else {
            assert_eq!((standing, posted), (0, 0));
            undone += 1;
        }
    }
    assert_eq!(made + undone, PAYMENTS);
    assert!(undone > 0);
}
