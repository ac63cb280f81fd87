//! Several instances on one file, restarts, and a file that fails.

use std::{collections::BTreeMap, path::Path, time::Duration};

use accounting_svc::store::FILE;
use futures_util::future::join_all;
use mizan::status;
use mizan_contracts::accounting::v1::{
    GetAccountRequest, GetTransactionRequest, ListTransactionsRequest,
};
use store::rusqlite::Connection;
use tokio::net::TcpListener;
use tonic::Code;

use crate::{
    requests::{balance, create_accounts, lunch, money, transfer, trial_balance},
    service::{Instance, assert_refused, config, start, told},
};

/// What each account's two sides add up to in the journal, in smallest units.
fn projection(data: &Path) -> BTreeMap<String, (i64, i64)> {
    let file = Connection::open(data.join(FILE)).unwrap();
    let mut sums = file
        .prepare(
            "SELECT account_id, sum(iif(side = 1, amount, 0)), sum(iif(side = 2, amount, 0))
             FROM leg JOIN account USING (account_key) GROUP BY account_id",
        )
        .unwrap();
    let rows = sums.query_map([], |r| Ok((r.get(0)?, (r.get(1)?, r.get(2)?))));
    rows.unwrap().map(Result::unwrap).collect()
}

/// What is kept beside the journal.
fn kept(data: &Path) -> BTreeMap<String, (i64, i64)> {
    let file = Connection::open(data.join(FILE)).unwrap();
    let mut kept = file
        .prepare(
            "SELECT account_id, debits, credits FROM turnover JOIN account USING (account_key)
             WHERE debits > 0 OR credits > 0",
        )
        .unwrap();
    let rows = kept.query_map([], |r| Ok((r.get(0)?, (r.get(1)?, r.get(2)?))));
    rows.unwrap().map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_write_one_journal_without_gaps_and_with_exact_balances() {
    let data = tempfile::tempdir().unwrap();
    let one = Instance::start(data.path()).await;
    let two = Instance::start(data.path()).await;
    create_accounts(&mut one.client.clone()).await;
    // Every id goes to both: 300 transactions, 600 calls.
    let calls = (0..300).flat_map(|n| [(n, one.client.clone()), (n, two.client.clone())]);
    let calls = calls.map(|(n, mut client)| {
        let (debited, credited) = if n % 3 == 0 {
            ("cash", "food")
        } else {
            ("food", "cash")
        };
        let amount = money("GBP", i64::from(n) + 1, 10_000_000);
        let request = transfer(&format!("t{n}"), debited, credited, amount);
        tokio::spawn(async move { client.record_transaction(request).await })
    });
    let answers = join_all(calls.collect::<Vec<_>>()).await;
    let mut sequences = BTreeMap::new();
    for answer in answers {
        let recorded = answer.unwrap().unwrap().into_inner();
        let before = sequences.insert(recorded.transaction_id, recorded.sequence);
        assert!(
            before.is_none_or(|s| s == recorded.sequence),
            "one id, one place"
        );
    }
    let mut places: Vec<i64> = sequences.into_values().collect();
    places.sort_unstable();
    assert_eq!(places, (1..=300).collect::<Vec<_>>());

    let minor = |n: i128| (n + 1) * 1_000_000_000 + 10_000_000;
    let expected: i128 = (0..300)
        .map(|n| if n % 3 == 0 { -minor(n) } else { minor(n) })
        .sum();
    for client in [one.client.clone(), two.client.clone()] {
        let mut client = client;
        assert_eq!(balance(&mut client, "food").await, expected);
        assert_eq!(balance(&mut client, "cash").await, -expected);
        assert_eq!(trial_balance(&mut client).await.transactions, 300);
    }
    assert_eq!(projection(data.path()), kept(data.path()));
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let data = tempfile::tempdir().unwrap();
    let mut first = Instance::start(data.path()).await;
    create_accounts(&mut first.client).await;
    let recorded = first
        .client
        .record_transaction(lunch("t1"))
        .await
        .unwrap()
        .into_inner();
    let refused = transfer("t2", "food", "nobody", money("GBP", 1, 0));
    let refusal = first
        .client
        .record_transaction(refused.clone())
        .await
        .unwrap_err();
    let account_id = "cash".to_owned();
    let get = GetAccountRequest { account_id };
    let account = first
        .client
        .get_account(get.clone())
        .await
        .unwrap()
        .into_inner();
    let trial = trial_balance(&mut first.client).await;
    first.stop().await;

    let mut second = Instance::start(data.path()).await;
    let got = second.client.get_account(get).await.unwrap().into_inner();
    assert_eq!(got, account);
    let again = second
        .client
        .record_transaction(lunch("t1"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again, recorded);
    let again = second.client.record_transaction(refused).await.unwrap_err();
    assert_eq!(
        (told(&again), again.message()),
        (told(&refusal), refusal.message())
    );
    assert_eq!(trial_balance(&mut second.client).await, trial);
    let next = second
        .client
        .record_transaction(lunch("t3"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(next.sequence, 2);
    second.stop().await;
}

#[tokio::test]
async fn a_file_that_cannot_be_written_says_when_to_try_again_and_keeps_nothing() {
    let (data, mut client) = start().await;
    create_accounts(&mut client).await;
    let file = Connection::open(data.path().join(FILE)).unwrap();
    file.execute_batch(
        "CREATE TRIGGER full BEFORE UPDATE ON turnover BEGIN SELECT RAISE(ABORT, 'full'); END;",
    )
    .unwrap();
    let status = client.record_transaction(lunch("t1")).await.unwrap_err();
    assert_eq!(told(&status).0, Code::Unavailable);
    assert_eq!(told(&status).1, "STORE_UNAVAILABLE");
    assert_eq!(status::retry_after(&status), Some(Duration::from_secs(1)));
    assert_eq!(trial_balance(&mut client).await.transactions, 0);

    file.execute_batch("DROP TRIGGER full").unwrap();
    let recorded = client.record_transaction(lunch("t1")).await.unwrap();
    assert_eq!(recorded.into_inner().sequence, 1);
}

#[tokio::test]
async fn a_damaged_record_is_told_and_is_no_panic() {
    let (data, mut client) = start().await;
    create_accounts(&mut client).await;
    client.record_transaction(lunch("t1")).await.unwrap();
    let file = Connection::open(data.path().join(FILE)).unwrap();
    file.execute_batch("DROP TRIGGER journal_is_not_changed; UPDATE journal SET body = x'ff';")
        .unwrap();
    let transaction_id = "t1".to_owned();
    let get = GetTransactionRequest { transaction_id };
    let statuses = [
        client.get_transaction(get).await.unwrap_err(),
        client.record_transaction(lunch("t1")).await.unwrap_err(),
        client
            .list_transactions(ListTransactionsRequest::default())
            .await
            .unwrap_err(),
    ];
    for status in statuses {
        assert_eq!(told(&status).0, Code::DataLoss);
        assert_eq!(told(&status).1, "STORE_DAMAGED");
    }
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("taken");
    std::fs::write(&data, "a file").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let served = accounting_svc::serve(listener, config(&data), std::future::pending()).await;
    let line = mizan::process::chain(&served.unwrap_err());
    assert!(line.contains(&*data.to_string_lossy()), "{line}");
}

#[tokio::test]
async fn an_id_is_a_call_s_own() {
    let (_data, mut client) = start().await;
    create_accounts(&mut client).await;
    // `create-cash` created an account; it may record a transaction as well.
    let recorded = client
        .record_transaction(lunch("create-cash"))
        .await
        .unwrap();
    assert_eq!(recorded.into_inner().sequence, 1);
    let status = client.record_transaction(lunch("")).await.unwrap_err();
    assert_refused(
        &status,
        Code::InvalidArgument,
        "INVALID_REQUEST",
        "request_id",
    );
}
