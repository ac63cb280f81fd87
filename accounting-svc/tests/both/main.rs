//! One suite on both stores: a SQLite file, and PostgreSQL where there is one.
#![allow(clippy::unwrap_used, reason = "tests")]

mod as_of;
mod bank;
mod closed;
mod ends;
mod fifteen;
mod kills;
mod process;
mod tampered;

use std::{path::Path, time::Duration};

use accounting_svc::Config;
use mizan::{Connection, args::ServerArgs, status};
use mizan_contracts::{
    accounting::v1::{accounting_service_client::AccountingServiceClient, *},
    r#type::v1::Money,
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::Status;

type Client = AccountingServiceClient<Connection>;

async fn serve(data: &Path, database_url: Option<String>) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let config = Config {
        data: data.to_owned(),
        database_url,
        server: ServerArgs::with_registry(Vec::new()),
    };
    tokio::spawn(accounting_svc::serve(
        listener,
        config,
        std::future::pending(),
    ));
    let connection = Connection::open(&address, Duration::from_secs(30)).await;
    Client::new(connection.unwrap())
}

/// A service on each store; PostgreSQL only where there is one, which is said on stderr.
async fn each_store() -> Vec<(&'static str, TempDir, Option<String>, Client)> {
    let mut all = Vec::new();
    let data = tempfile::tempdir().unwrap();
    let client = serve(data.path(), None).await;
    all.push(("SQLite", data, None, client));
    if let Some(url) = store::testing::postgres().await {
        let data = tempfile::tempdir().unwrap();
        let client = serve(data.path(), Some(url.clone())).await;
        all.push(("PostgreSQL", data, Some(url), client));
    }
    all
}

fn gbp(pence: i64) -> Money {
    Money {
        currency_code: "GBP".to_owned(),
        units: pence / 100,
        nanos: i32::try_from(pence % 100).unwrap() * 10_000_000,
    }
}

fn pence(money: Option<&Money>) -> i64 {
    money.map_or(0, |m| m.units * 100 + i64::from(m.nanos) / 10_000_000)
}

fn transfer(id: &str, debited: &str, credited: &str, minor: i64) -> RecordTransactionRequest {
    let leg = |account_id: &str, side: Side| Leg {
        account_id: account_id.to_owned(),
        side: side.into(),
        amount: Some(gbp(minor)),
    };
    RecordTransactionRequest {
        request_id: id.to_owned(),
        legs: vec![leg(debited, Side::Debit), leg(credited, Side::Credit)],
        ..RecordTransactionRequest::default()
    }
}

async fn create(client: &mut Client, id: &str, limit: AccountLimit) {
    let request = CreateAccountRequest {
        request_id: format!("create-{id}"),
        account_id: id.to_owned(),
        display_name: id.to_owned(),
        r#type: AccountType::Liability.into(),
        currency_code: "GBP".to_owned(),
        limit: limit.into(),
        ..CreateAccountRequest::default()
    };
    client.create_account(request).await.unwrap();
}

/// Debits, credits, pending debits, pending credits.
async fn holds(client: &mut Client, id: &str) -> [i64; 4] {
    let request = GetBalanceRequest {
        account_id: id.to_owned(),
        ..GetBalanceRequest::default()
    };
    sides(&client.get_balance(request).await.unwrap().into_inner())
}

fn sides(b: &Balance) -> [i64; 4] {
    [&b.debits, &b.credits, &b.pending_debits, &b.pending_credits].map(|m| pence(m.as_ref()))
}

/// Checks the journal after an entry, so many entries of it as a debug build does in a call's time.
async fn verified(client: &mut Client, after_sequence: i64) -> VerifyJournalResponse {
    let request = VerifyJournalRequest {
        after_sequence,
        max_entries: 5_000,
    };
    client.verify_journal(request).await.unwrap().into_inner()
}

async fn sound(client: &mut Client) {
    let found = verified(client, 0).await;
    assert!(found.valid && found.complete, "{found:?}");
}

/// SplitMix64: the same numbers from the same seed for ever.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

fn reason(status: &Status) -> String {
    status::reason(status).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pending_posting_voiding_and_reversing() {
    for (store, _data, _url, mut client) in each_store().await {
        for id in ["a", "b"] {
            create(&mut client, id, AccountLimit::Unspecified).await;
        }
        for id in ["p1", "p2"] {
            let mut request = transfer(id, "a", "b", 1_000);
            request.pending = true;
            let recorded = client.record_transaction(request).await.unwrap();
            assert_eq!(recorded.into_inner().state(), TransactionState::Pending);
        }
        assert_eq!(holds(&mut client, "a").await, [0, 0, 2_000, 0], "{store}");
        let post = PostTransactionRequest {
            request_id: "post".into(),
            transaction_id: "p1".into(),
            amounts: vec![gbp(400), gbp(400)],
        };
        let posted = client.post_transaction(post.clone()).await.unwrap();
        let posted = posted.into_inner();
        assert_eq!(posted.state(), TransactionState::Posted);
        assert_eq!(posted.posted_amounts, [gbp(400), gbp(400)]);
        let again = client.post_transaction(post).await.unwrap();
        assert!(again.metadata().get("mizan-replayed").is_some(), "{store}");
        let void = VoidTransactionRequest {
            request_id: "void".into(),
            transaction_id: "p2".into(),
        };
        client.void_transaction(void).await.unwrap();
        let reverse = |id: &str| ReverseTransactionRequest {
            request_id: id.into(),
            transaction_id: "p1".into(),
            ..ReverseTransactionRequest::default()
        };
        let reversal = client.reverse_transaction(reverse("r")).await.unwrap();
        let reversal = reversal.into_inner();
        assert_eq!(reversal.reverses_transaction_id, "p1");
        let twice = client.reverse_transaction(reverse("r2")).await.unwrap_err();
        assert_eq!(reason(&twice), "TRANSACTION_REVERSED");
        assert_eq!(holds(&mut client, "a").await, [400, 400, 0, 0], "{store}");
        let get = GetTransactionRequest {
            transaction_id: "p1".into(),
        };
        let got = client.get_transaction(get).await.unwrap().into_inner();
        assert_eq!(got.reversed_by_transaction_id, "r");
        assert_eq!(got.posted_amounts, [gbp(400), gbp(400)]);
        // Both transactions, the post, the void, the reversal.
        assert_eq!(reversal.sequence, 5, "{store}");
        let list = ListTransactionsRequest {
            account_id: "a".into(),
            order_by: "sequence desc".into(),
            ..ListTransactionsRequest::default()
        };
        let listed = client.list_transactions(list.clone()).await.unwrap();
        let listed = listed.into_inner().transactions;
        let ids: Vec<_> = listed.iter().map(|t| &*t.transaction_id).collect();
        assert_eq!(ids, ["r", "p2", "p1"], "{store}");
        let voided = ListTransactionsRequest {
            state: TransactionState::Voided.into(),
            ..list
        };
        let listed = client.list_transactions(voided).await.unwrap();
        assert_eq!(listed.into_inner().transactions.len(), 1, "{store}");
        sound(&mut client).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_expires_stops_counting_by_itself() {
    for (store, _data, _url, mut client) in each_store().await {
        create(&mut client, "a", AccountLimit::Unspecified).await;
        create(&mut client, "b", AccountLimit::Unspecified).await;
        let mut request = transfer("p", "a", "b", 5);
        request.pending = true;
        request.timeout = Some(prost_types::Duration {
            seconds: 0,
            nanos: 1_000,
        });
        client.record_transaction(request).await.unwrap();
        let mut tries = tokio::time::interval(Duration::from_millis(1));
        while holds(&mut client, "a").await != [0; 4] {
            tries.tick().await;
        }
        sound(&mut client).await;
        // What leaves no entry meets it first: a repetition, and a refusal.
        create(&mut client, "a", AccountLimit::Unspecified).await;
        sound(&mut client).await;
        let nobody = client.record_transaction(transfer("no", "a", "nobody", 1));
        assert_eq!(reason(&nobody.await.unwrap_err()), "ACCOUNT_NOT_FOUND");
        sound(&mut client).await;
        assert_eq!(holds(&mut client, "a").await, [0; 4], "{store}");
        let close = CloseAccountRequest {
            request_id: "c".into(),
            account_id: "a".into(),
        };
        let closed = client.close_account(close).await.unwrap().into_inner();
        assert!(closed.closed, "{store}: nothing is pending any more");
        let late = client
            .record_transaction(transfer("late", "a", "b", 1))
            .await;
        assert_eq!(reason(&late.unwrap_err()), "ACCOUNT_CLOSED");
        sound(&mut client).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_metadata_and_balances_as_of_other_times() {
    for (store, _data, _url, mut client) in each_store().await {
        create(&mut client, "a", AccountLimit::Unspecified).await;
        create(&mut client, "b", AccountLimit::Unspecified).await;
        let at = |seconds| prost_types::Timestamp { seconds, nanos: 0 };
        let mut old = transfer("old", "a", "b", 100);
        old.effective_time = Some(at(1_000));
        old.metadata.insert("city".into(), "Leeds".into());
        let bad = transfer("bad", "a", "nobody", 1);
        let mut batch = BatchRecordTransactionsRequest {
            requests: vec![old.clone(), bad, transfer("new", "a", "b", 10)],
            atomic: true,
        };
        let refused = client.batch_record_transactions(batch.clone()).await;
        let results = refused.unwrap().into_inner().results;
        let told = |r: &RecordTransactionResult| match &r.outcome {
            Some(record_transaction_result::Outcome::Refusal(refusal)) => refusal.reason.clone(),
            _ => "done".to_owned(),
        };
        let reasons: Vec<_> = results.iter().map(told).collect();
        assert_eq!(
            reasons,
            ["LINKED_FAILED", "ACCOUNT_NOT_FOUND", "LINKED_FAILED"],
            "{store}"
        );
        assert_eq!(holds(&mut client, "a").await, [0; 4]);
        batch.atomic = false;
        let done = client.batch_record_transactions(batch).await.unwrap();
        let reasons: Vec<_> = done.into_inner().results.iter().map(told).collect();
        assert_eq!(reasons, ["done", "ACCOUNT_NOT_FOUND", "done"], "{store}");

        let found = ListTransactionsRequest {
            metadata: old.metadata.clone(),
            ..ListTransactionsRequest::default()
        };
        let found = client.list_transactions(found).await.unwrap().into_inner();
        assert_eq!(found.transactions.len(), 1, "{store}");
        let by = |effective, recorded| GetBalanceRequest {
            account_id: "a".into(),
            effective_as_of: effective,
            recorded_as_of: recorded,
        };
        for (request, debits) in [
            (by(Some(at(1_000)), None), 100),
            (by(Some(at(999)), None), 0),
            (by(None, Some(at(999))), 0),
            (by(None, Some(at(4_000_000_000))), 110),
        ] {
            let balance = client.get_balance(request).await.unwrap().into_inner();
            assert_eq!(sides(&balance), [debits, 0, 0, 0], "{store}");
        }
        let page = GetTrialBalanceRequest {
            page_size: 1,
            ..GetTrialBalanceRequest::default()
        };
        let first = client.get_trial_balance(page.clone()).await.unwrap();
        let first = first.into_inner();
        let next = GetTrialBalanceRequest {
            page_token: first.next_page_token.clone(),
            ..page
        };
        let second = client.get_trial_balance(next).await.unwrap().into_inner();
        assert_eq!(first.totals, second.totals);
        assert_eq!(second.balances[0].account_id, "b", "{store}");
        assert_eq!(second.next_page_token, "");
        sound(&mut client).await;
    }
}
