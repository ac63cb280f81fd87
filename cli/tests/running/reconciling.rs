//! `mizan replay`: what it has done it does not do again, and what differs it finds.

use std::path::{Path, PathBuf};

use mizan_contracts::accounting::v1::{
    Leg, RecordTransactionRequest, ReverseTransactionRequest, Side,
    accounting_service_client::AccountingServiceClient,
};
use serde_json::Value;

use crate::world::{Told, World};

const HEAD: &str = "Paid Date,Trans No,Amount,Supplier Name\n";

impl World {
    pub(crate) fn file(&self, name: &str, lines: &[&str]) -> PathBuf {
        let path = self.data().join(name);
        std::fs::write(&path, format!("{HEAD}{}\n", lines.join("\n"))).unwrap();
        path
    }

    pub(crate) async fn replay(&self, file: &Path, flags: &[&str]) -> Told {
        let file = file.to_str().unwrap();
        self.run(&[&["replay", "--json", file], flags].concat())
            .await
    }
}

/// The kinds of the differences, with the transaction number of each.
fn kinds(report: &Value) -> Vec<String> {
    let differences = report["reconciliation"]["differences"].as_array().unwrap();
    let of = |one: &Value| {
        let reference = one["reference"].as_str().unwrap_or("-");
        format!("{} {reference}", one["kind"].as_str().unwrap())
    };
    differences.iter().map(of).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_payments_and_ledger_agree_and_a_second_run_asks_for_nothing() {
    let (world, _servers) = World::complete().await;
    let file = world.file(
        "a.csv",
        &[
            "05/04/2016,1,5.00,Acme",
            "05/04/2016,2,3.00,Acme",
            "05/04/2016,3,-2.00,Bolt",
        ],
    );
    let first = world.replay(&file, &[]).await;
    assert_eq!(first.code(), Some(0), "{}", first.err());
    let report = first.json();
    assert_eq!(report["paid"], 3);
    let found = &report["reconciliation"];
    assert_eq!(
        (&found["agree"], kinds(&report).len()),
        (&true.into(), 0),
        "{found:#}"
    );
    let total = &found["totals"][0];
    assert_eq!(
        [&total["files"], &total["payments"], &total["ledger"]],
        ["6.00", "6.00", "6.00"]
    );
    assert_eq!(found["suppliers"][0]["supplier"], "Acme");
    assert_eq!(found["suppliers"][0]["ledger"], "8.00");
    assert_eq!(found["supplier_count"], 2);
    // The one that the world began with.
    assert_eq!(
        (&found["other_payments"], &found["other_transactions"]),
        (&1.into(), &1.into())
    );

    let second = world.replay(&file, &[]).await.json();
    assert_eq!(
        (&second["paid"], &second["already_paid"]),
        (&0.into(), &3.into())
    );
    assert_eq!(second["p50_micros"], Value::Null, "nothing was asked for");
    assert_eq!(second["reconciliation"]["totals"], found["totals"]);

    // A run that was stopped: what is left is paid, and nothing else is asked for.
    let more = world.file(
        "more.csv",
        &[
            "05/04/2016,1,5.00,Acme",
            "05/04/2016,2,3.00,Acme",
            "05/04/2016,3,-2.00,Bolt",
            "05/04/2016,4,1.00,Bolt",
        ],
    );
    let third = world.replay(&more, &[]).await.json();
    assert_eq!(
        (&third["paid"], &third["already_paid"]),
        (&1.into(), &3.into())
    );

    let alone = world.replay(&more, &["--nothing-else"]).await;
    assert_eq!(alone.code(), Some(4));
    assert_eq!(kinds(&alone.json()), ["PAYMENT_EXTRA nobody's"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_number_with_another_amount_is_refused_and_not_passed_over() {
    let (world, _servers) = World::complete().await;
    let twice = ["05/04/2016,7,5.00,Acme", "05/04/2016,7,5.00,Acme"];
    let harmless = world.file("a.csv", &twice);
    let told = world.replay(&harmless, &[]).await;
    assert_eq!(told.code(), Some(0), "{}", told.err());
    assert_eq!(told.json()["duplicates"], 1);

    let other = ["05/04/2016,7,6.00,Acme", "05/04/2016,8\u{7},1.00,Acme"];
    let other = world.file("b.csv", &[&twice[..], &other].concat());
    for flags in [&[][..], &["--check"]] {
        let told = world.replay(&other, flags).await;
        assert_eq!(told.code(), Some(3), "{}", told.err());
        let report = told.json();
        assert_eq!(
            (&report["duplicates"], &report["refused"]),
            (&1.into(), &2.into())
        );
        let refused = report["refused_rows"].as_array().unwrap();
        let reasons = [0, 1].map(|row| refused[row]["reason"].as_str().unwrap());
        let amounts = "with another amount: 6.00 GBP here, 5.00 GBP there";
        assert!(reasons[0].ends_with(amounts), "{reasons:?}");
        assert!(reasons[1].contains("control character"), "{reasons:?}");
        assert_eq!(report["reconciliation"]["agree"], true);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_difference_is_listed_and_is_an_exit_code() {
    let (world, _servers) = World::complete().await;
    let file = world.file(
        "a.csv",
        &["05/04/2016,1,5.00,Acme", "05/04/2016,2,3.00,Acme"],
    );
    assert_eq!(world.replay(&file, &[]).await.code(), Some(0));

    // The file says something else than what was paid.
    let other = world.file(
        "b.csv",
        &[
            "05/04/2016,1,5.01,Acme",
            "05/04/2016,2,3.00,Acne",
            "05/04/2016,9,1.00,Acme",
        ],
    );
    let check = world.replay(&other, &["--check"]).await;
    assert_eq!(check.code(), Some(4), "{}", check.err());
    let report = check.json();
    assert_eq!(
        kinds(&report),
        [
            "PAYMENT_AMOUNT 1",
            "TRANSACTION_AMOUNT 1",
            "PAYMENT_SUPPLIER 2",
            "TRANSACTION_SUPPLIER 2",
            "PAYMENT_MISSING 9",
        ]
    );
    assert_eq!(report["paid"], 0, "a check pays nothing");
    let first = &report["reconciliation"]["differences"][0];
    assert_eq!(
        (&first["line"], &first["files"]),
        (&2.into(), &"5.01 GBP".into())
    );
    assert_eq!(first["payments"], "5.00 GBP");
    let text = world
        .run(&["replay", "--check", other.to_str().unwrap()])
        .await;
    assert!(
        text.out().contains("b.csv:4  no payment; 9;"),
        "{}",
        text.out()
    );
    assert!(text.out().contains("\n  5 differences\n"), "{}", text.out());

    // A number paid twice, under another id.
    world.pay("twice", "5.00", "1").send().await.unwrap();
    // One transaction taken back, and one that says it is of a payment and is not.
    let listed = world
        .run(&["payments", "list", "--reference", "2", "--json"])
        .await
        .json();
    let payment = &listed["payments"][0];
    let text = |name: &str| payment[name].as_str().unwrap().to_owned();
    let mut ledger = AccountingServiceClient::new(world.channel("accounting"));
    let reverse = ReverseTransactionRequest {
        request_id: "back".to_owned(),
        transaction_id: text("transaction_id"),
        ..ReverseTransactionRequest::default()
    };
    ledger.reverse_transaction(reverse).await.unwrap();
    let leg = |account_id: &str, side: Side| Leg {
        account_id: account_id.to_owned(),
        side: side.into(),
        amount: world.pay("", "3.00", "").request.amount,
    };
    let more = RecordTransactionRequest {
        request_id: "more".to_owned(),
        legs: vec![
            leg("expense-gbp", Side::Debit),
            leg("cash-gbp", Side::Credit),
        ],
        reference: text("payment_id"),
        ..RecordTransactionRequest::default()
    };
    ledger.record_transaction(more).await.unwrap();
    let spoilt = world.replay(&file, &[]).await;
    assert_eq!(spoilt.code(), Some(4));
    let mut found = kinds(&spoilt.json());
    found.sort();
    assert_eq!(
        found,
        [
            "PAYMENT_EXTRA 1",
            "TRANSACTION_EXTRA 2",
            "TRANSACTION_NOT_STANDING 2"
        ]
    );
}
