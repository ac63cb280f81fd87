//! One request id is one outcome, however often and however concurrently it is sent.

use futures_util::future::join_all;
use mizan_contracts::accounting::v1::{RecordTransactionRequest, Transaction};
use prost_types::Timestamp;
use tonic::{Code, Status};

use crate::{
    requests::{balance, create_accounts, lunch, money, transfer, trial_balance},
    service::{Client, assert_refused, start},
};

async fn record_at_once(
    client: &Client,
    requests: impl IntoIterator<Item = RecordTransactionRequest>,
) -> Vec<Result<Transaction, Status>> {
    let calls = requests.into_iter().map(|request| {
        let mut client = client.clone();
        tokio::spawn(async move { client.record_transaction(request).await })
    });
    let answers = join_all(calls.collect::<Vec<_>>()).await;
    let answers = answers.into_iter().map(Result::unwrap);
    answers
        .map(|a| a.map(tonic::Response::into_inner))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_at_once_are_one_transaction() {
    let (_data, mut client) = start().await;
    create_accounts(&mut client).await;
    let answers = record_at_once(&client, vec![lunch("t1"); 64]).await;
    let first = answers[0].as_ref().unwrap();
    assert!(answers.iter().all(|a| a.as_ref().unwrap() == first));
    assert_eq!(balance(&mut client, "food").await, 12_340_000_000);
    assert_eq!(trial_balance(&mut client).await.transactions, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_asked_for_many_times_at_once_is_never_a_success() {
    let (_data, mut client) = start().await;
    create_accounts(&mut client).await;
    let refused = transfer("t1", "food", "nobody", money("GBP", 1, 0));
    for answer in record_at_once(&client, vec![refused; 32]).await {
        let (code, reason) = (Code::FailedPrecondition, "ACCOUNT_NOT_FOUND");
        assert_refused(&answer.unwrap_err(), code, reason, "legs[1].account_id");
    }
    assert_eq!(trial_balance(&mut client).await.transactions, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_bodies_with_one_id_one_wins_and_the_other_is_told() {
    let (_data, mut client) = start().await;
    create_accounts(&mut client).await;
    let other = transfer("t1", "food", "cash", money("GBP", 99, 0));
    let bodies = (0..32).flat_map(|_| [lunch("t1"), other.clone()]);
    let answers = record_at_once(&client, bodies).await;
    let (done, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((done.len(), refused.len()), (32, 32));
    for answer in refused {
        let (code, reason) = (Code::AlreadyExists, "REQUEST_ID_REUSED");
        assert_refused(&answer.unwrap_err(), code, reason, "legs");
    }
    assert_eq!(trial_balance(&mut client).await.transactions, 1);
}

#[tokio::test]
async fn a_used_id_with_another_body_is_refused_with_the_field() {
    type Change = fn(&mut RecordTransactionRequest);
    let (_data, mut client) = start().await;
    create_accounts(&mut client).await;
    let recorded = client
        .record_transaction(lunch("t1"))
        .await
        .unwrap()
        .into_inner();
    let refused = || transfer("t2", "food", "nobody", money("GBP", 1, 0));
    client.record_transaction(refused()).await.unwrap_err();
    let changes: [(&str, Change); 7] = [
        ("legs", |r| r.legs.extend(r.legs.clone())),
        ("legs", |r| r.legs[0].account_id = "cash".to_owned()),
        ("legs", |r| {
            r.legs.iter_mut().for_each(|l| l.side = 3 - l.side)
        }),
        ("description", |r| r.description.push('x')),
        ("reference", |r| r.reference.push('x')),
        ("metadata", |r| {
            drop(r.metadata.insert("k".into(), "v".into()))
        }),
        ("effective_time", |r| {
            r.effective_time = Some(Timestamp {
                seconds: 1,
                nanos: 0,
            });
        }),
    ];
    for (field, change) in changes {
        // Also an id that gave a refusal.
        for mut request in [lunch("t1"), refused()] {
            change(&mut request);
            let status = client.record_transaction(request).await.unwrap_err();
            assert_refused(&status, Code::AlreadyExists, "REQUEST_ID_REUSED", field);
        }
    }
    let again = client
        .record_transaction(lunch("t1"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again, recorded);
}
