//! WatchPayment: until it is final, whoever works the payment, and whoever stops.

use mizan_contracts::payment::v1::{
    Payment, PaymentState, ProcessPaymentRequest, WatchPaymentRequest,
    payment_service_client::PaymentServiceClient,
};
use tonic::{Code, Status, Streaming};

use crate::world::{World, request};

type Client = PaymentServiceClient<mizan::Connection>;

async fn watch(client: &Client, payment_id: &str) -> Streaming<Payment> {
    let request = WatchPaymentRequest {
        payment_id: payment_id.to_owned(),
    };
    let stream = client.clone().watch_payment(request).await;
    stream.unwrap().into_inner()
}

async fn begin(client: &Client, id: &str) {
    let request = ProcessPaymentRequest {
        asynchronous: true,
        ..request(id)
    };
    client.clone().process_payment(request).await.unwrap();
}

/// The next thing that is told; a stream that says nothing fails the test instead of lasting.
async fn next(stream: &mut Streaming<Payment>) -> Result<Option<Payment>, Status> {
    let patience = std::time::Duration::from_secs(60);
    let next = tokio::time::timeout(patience, stream.message());
    next.await.expect("it says nothing")
}

/// Reads until a state is told, and gives what was told on the way, that included.
async fn until(stream: &mut Streaming<Payment>, state: PaymentState) -> Vec<Payment> {
    let mut told = Vec::new();
    loop {
        let payment = next(stream).await.unwrap().expect("it ended before");
        let is_so = payment.state() == state;
        told.push(payment);
        if is_so {
            return told;
        }
    }
}

/// How far a state is on the way forward.
fn place(payment: &Payment) -> usize {
    const WAY: [PaymentState; 4] = [
        PaymentState::Accepted,
        PaymentState::Invoiced,
        PaymentState::Recorded,
        PaymentState::Completed,
    ];
    let found = WAY.iter().position(|state| *state == payment.state());
    found.unwrap_or_else(|| panic!("{payment:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_sees_the_way_of_a_payment_and_its_end() {
    let world = World::new().await;
    let _invoice = world.invoice().await;
    let (_first, worker) = world.payment_as(|_| {}).await;
    let (_second, other) = world.payment_as(|_| {}).await;
    begin(&worker, "p1").await;
    // One that the working instance tells, one by another, and one that begins late.
    let mut streams = vec![watch(&worker, "p1").await, watch(&other, "p1").await];
    for stream in &mut streams {
        until(stream, PaymentState::Invoiced).await;
    }
    let _ledger = world.accounting().await;
    streams.push(watch(&other, "p1").await);
    for stream in &mut streams {
        let told = until(stream, PaymentState::Completed).await;
        let places: Vec<_> = told.iter().map(place).collect();
        assert!(places.is_sorted(), "{places:?}");
        let last = told.last().unwrap();
        assert_eq!(last.steps.len(), 3, "with its steps");
        assert!(next(stream).await.unwrap().is_none(), "and then it ends");
    }
    // To one who comes when it is over, the end is told at once.
    let mut late = watch(&other, "p1").await;
    let told = next(&mut late).await.unwrap().unwrap();
    assert_eq!(told, world.get("p1").await.unwrap());
    assert!(next(&mut late).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_of_an_instance_that_stops_watches_another() {
    let world = World::new().await;
    let _invoice = world.invoice().await;
    let (first, worker) = world.payment_as(|_| {}).await;
    let (_second, other) = world.payment_as(|_| {}).await;
    begin(&worker, "p1").await;
    let mut stream = watch(&worker, "p1").await;
    until(&mut stream, PaymentState::Invoiced).await;
    let stopping = tokio::spawn(first.stop());
    // It is told that it is over here, though the payment is not.
    let ended = loop {
        match next(&mut stream).await {
            Ok(Some(payment)) => assert_eq!(payment.state(), PaymentState::Invoiced),
            Ok(None) => panic!("it ended as if the payment had"),
            Err(status) => break status,
        }
    };
    assert_eq!(ended.code(), Code::Unavailable);
    assert_eq!(
        mizan::status::reason(&ended).as_deref(),
        Some("PAYMENT_UNFINISHED")
    );
    assert!(mizan::status::retry_after(&ended).is_some());
    stopping.await.unwrap();
    let mut stream = watch(&other, "p1").await;
    let _ledger = world.accounting().await;
    until(&mut stream, PaymentState::Completed).await;
    assert!(next(&mut stream).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_is_seen_by_those_who_watch() {
    let world = World::new().await;
    let _invoice = world.invoice().await;
    let (_server, client) = world.payment_as(|_| {}).await;
    begin(&client, "p1").await;
    let mut stream = watch(&client, "p1").await;
    until(&mut stream, PaymentState::Invoiced).await;
    // Between two attempts that never left.
    crate::world::until(async || world.cancel("p1").await.ok()).await;
    let told = until(&mut stream, PaymentState::Compensated).await;
    let failure = told.last().unwrap().failure.clone().unwrap();
    assert_eq!(failure.reason, "CANCELLED");
    assert!(next(&mut stream).await.unwrap().is_none());
    let unknown = WatchPaymentRequest {
        payment_id: "nothing".to_owned(),
    };
    let refusal = client.clone().watch_payment(unknown).await.unwrap_err();
    assert_eq!(refusal.code(), Code::NotFound);
}
