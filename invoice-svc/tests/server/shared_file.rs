//! Two instances on one file, at once.

use std::collections::BTreeSet;

use mizan_contracts::invoice::v1::{
    Invoice, InvoiceState, ListInvoicesRequest, VoidInvoiceRequest,
};
use tokio::task::JoinHandle;

use super::harness::*;

/// Two instances that share a folder.
async fn two() -> (Fresh, Server) {
    let fresh = Fresh::start().await;
    let other = fresh.another().await;
    (fresh, other)
}

async fn all(tasks: Vec<JoinHandle<Answer>>) -> Vec<Answer> {
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_finalizes_leave_no_gap_and_no_double_in_the_numbers() {
    let (fresh, other) = two().await;
    let clients = [fresh.client(), other.client.clone()];
    let mut finalizing_all = Vec::new();
    for n in 0..32 {
        let id = format!("i{n}");
        create(&clients[n % 2], hundred(&id)).await.unwrap();
    }
    for n in 0..32 {
        let client = clients[n / 2 % 2].clone();
        let id = format!("i{n}");
        finalizing_all.push(tokio::spawn(async move {
            finalize(&client, finalizing(&id, &id)).await
        }));
    }
    let answers = all(finalizing_all).await.into_iter();
    let numbers: BTreeSet<_> = answers.map(|a| a.unwrap().number).collect();
    let expected: BTreeSet<_> = (1..=32).map(|n| format!("INV-{n:08}")).collect();
    assert_eq!(numbers, expected);
    other.stop().await;
    fresh.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_sent_to_both_at_once_is_done_once() {
    let (fresh, other) = two().await;
    let clients = [fresh.client(), other.client.clone()];
    let creating = (0..16).map(|n| {
        let client = clients[n % 2].clone();
        tokio::spawn(async move { create(&client, hundred("i-1")).await })
    });
    let created: Vec<Invoice> = all(creating.collect())
        .await
        .into_iter()
        .map(Answer::unwrap)
        .collect();
    assert!(created.windows(2).all(|pair| pair[0] == pair[1]));
    finalize(&clients[0], finalizing("f", "i-1")).await.unwrap();
    let paying_all = (0..16).map(|n| {
        let client = clients[n % 2].clone();
        tokio::spawn(async move { pay(&client, paying("p", "i-1", pounds(10, 0))).await })
    });
    for answer in all(paying_all.collect()).await {
        assert_eq!(answer.unwrap().amount_paid, pounds(10, 0));
    }
    let (ids, _) = page(&clients[1], ListInvoicesRequest::default())
        .await
        .unwrap();
    assert_eq!(ids, ["i-1"]);
    other.stop().await;
    fresh.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_payments_never_pay_more_than_the_total() {
    let (fresh, other) = two().await;
    let clients = [fresh.client(), other.client.clone()];
    open(&clients[0], "i-1").await;
    let paying_all = (0..16).map(|n| {
        let client = clients[n % 2].clone();
        let request = paying(&format!("p{n}"), "i-1", pounds(30, 0));
        tokio::spawn(async move { pay(&client, request).await })
    });
    let answers = all(paying_all.collect()).await;
    let paid = answers.iter().filter(|a| a.is_ok()).count();
    assert_eq!(paid, 3, "three times 30.00 of 100.00");
    for refused in answers.into_iter().filter(Answer::is_err) {
        assert_eq!(refusal(refused), precondition("OVERPAYMENT"));
    }
    let invoice = get(&clients[1], "i-1").await.unwrap();
    assert_eq!(invoice.amount_due, pounds(10, 0));
    other.stop().await;
    fresh.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_and_its_void_in_a_race_always_end_void() {
    let (fresh, other) = two().await;
    let clients = [fresh.client(), other.client.clone()];
    let mut creating = Vec::new();
    let mut voiding_all = Vec::new();
    for n in 0..16 {
        let (first, second) = (clients[0].clone(), clients[1].clone());
        let request = VoidInvoiceRequest {
            allow_missing: true,
            ..voiding(&format!("v{n}"), &format!("i{n}"))
        };
        creating.push(tokio::spawn(async move {
            create(&first, hundred(&format!("i{n}"))).await
        }));
        voiding_all.push(tokio::spawn(async move { void(&second, request).await }));
    }
    for answer in all(voiding_all).await {
        assert_eq!(answer.unwrap().state(), InvoiceState::Void);
    }
    for (n, answer) in all(creating).await.into_iter().enumerate() {
        if answer.is_err() {
            assert_eq!(refusal(answer), precondition("INVOICE_VOIDED"));
        }
        let end = get(&clients[0], &format!("i{n}")).await.unwrap();
        assert_eq!(end.state(), InvoiceState::Void);
    }
    other.stop().await;
    fresh.server.stop().await;
}
