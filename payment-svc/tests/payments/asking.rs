//! What is refused, and what can be looked up.

use mizan::status;
use mizan_contracts::payment::v1::{ListPaymentsRequest, PaymentState, ProcessPaymentRequest};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::world::{World, gbp, request};

fn field(status: &Status) -> String {
    status.get_details_bad_request().unwrap().field_violations[0]
        .field
        .clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_body_under_the_same_id_is_refused_by_field() {
    let (world, _servers) = World::complete().await;
    world.pay(request("p1")).await.unwrap();
    let other = ProcessPaymentRequest {
        amount: gbp(99, 0),
        ..request("p1")
    };
    let refusal = world.pay(other).await.unwrap_err();
    assert_eq!(refusal.code(), Code::AlreadyExists);
    assert_eq!(
        status::reason(&refusal).as_deref(),
        Some("REQUEST_ID_REUSED")
    );
    assert_eq!(field(&refusal), "amount");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_request_makes_nothing_and_keeps_no_id() {
    let (world, _servers) = World::complete().await;
    let bad = ProcessPaymentRequest {
        amount: gbp(0, 0),
        ..request("p1")
    };
    let refusal = world.pay(bad).await.unwrap_err();
    assert_eq!(
        (refusal.code(), field(&refusal)),
        (Code::InvalidArgument, "amount".to_owned())
    );
    assert_eq!(world.get("p1").await.unwrap_err().code(), Code::NotFound);
    assert_eq!(
        world.pay(request("p1")).await.unwrap().state(),
        PaymentState::Completed
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_newest_first_filtered_and_paged() {
    let (world, _servers) = World::complete().await;
    for i in 0..5 {
        let reference = if i % 2 == 0 { "even" } else { "odd" };
        let payment = ProcessPaymentRequest {
            reference: reference.to_owned(),
            ..request(&format!("p{i}"))
        };
        world.pay(payment).await.unwrap();
    }
    let ids = |response: &mizan_contracts::payment::v1::ListPaymentsResponse| -> Vec<String> {
        response
            .payments
            .iter()
            .map(|p| p.payment_id.clone())
            .collect()
    };
    let mut page = ListPaymentsRequest {
        page_size: 2,
        reference: "even".to_owned(),
        ..ListPaymentsRequest::default()
    };
    let first = world.list(page.clone()).await.unwrap();
    assert_eq!(ids(&first), ["p4", "p2"]);
    page.page_token = first.next_page_token;
    let second = world.list(page.clone()).await.unwrap();
    assert_eq!(
        (ids(&second), &*second.next_page_token),
        (vec!["p0".to_owned()], "")
    );

    let times: Vec<_> = world
        .list(ListPaymentsRequest::default())
        .await
        .unwrap()
        .payments;
    let times: Vec<_> = times
        .iter()
        .map(|p| p.create_time.map(|t| (t.seconds, t.nanos)))
        .collect();
    assert!(
        times.is_sorted_by(|newer, older| newer > older),
        "{times:?}"
    );

    page.reference = "odd".to_owned();
    assert_eq!(field(&world.list(page).await.unwrap_err()), "page_token");
    let completed = ListPaymentsRequest {
        state: PaymentState::Completed.into(),
        ..ListPaymentsRequest::default()
    };
    assert_eq!(world.list(completed).await.unwrap().payments.len(), 5);
    let failed = ListPaymentsRequest {
        state: PaymentState::Failed.into(),
        ..ListPaymentsRequest::default()
    };
    assert_eq!(world.list(failed).await.unwrap().payments.len(), 0);
    let unknown = ListPaymentsRequest {
        state: 99,
        ..ListPaymentsRequest::default()
    };
    assert_eq!(field(&world.list(unknown).await.unwrap_err()), "state");
    let negative = ListPaymentsRequest {
        page_size: -1,
        ..ListPaymentsRequest::default()
    };
    assert_eq!(field(&world.list(negative).await.unwrap_err()), "page_size");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_payment_is_not_found() {
    let (world, _servers) = World::complete().await;
    let missing = world.get("nobody").await.unwrap_err();
    assert_eq!(
        status::reason(&missing).as_deref(),
        Some("PAYMENT_NOT_FOUND")
    );
    assert_eq!(
        field(&world.get("no spaces").await.unwrap_err()),
        "payment_id"
    );
}
