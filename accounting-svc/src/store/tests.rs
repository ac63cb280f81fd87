//! What the file itself refuses, whoever writes to it, and how it is searched.

use std::collections::BTreeMap;

use ::store::rusqlite::Connection;
use money::Money;
use tempfile::TempDir;

use super::*;
use crate::domain::{AccountType, Leg, Side, Transaction};

/// A ledger with the accounts `cash` and `food` in GBP and one transaction between them, and a
/// second way into its file.
async fn ledger() -> (TempDir, Ledger, Connection) {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(folder.path()).unwrap();
    for (account_id, account_type) in [("cash", AccountType::Asset), ("food", AccountType::Expense)]
    {
        let new = NewAccount {
            request_id: account_id.to_owned(),
            account_id: account_id.to_owned(),
            account_type,
            currency: "GBP".parse().unwrap(),
            body: account_id.into(),
            now: 1,
        };
        assert_eq!(ledger.create_account(new).await.unwrap(), Outcome::Done(1));
    }
    let recorded = ledger.record(transfer("t1", 100, 10)).await.unwrap();
    assert_eq!(recorded, done(1, 10));
    let file = Connection::open(folder.path().join(FILE)).unwrap();
    file.pragma_update(None, "foreign_keys", true).unwrap();
    (folder, ledger, file)
}

fn transfer(request_id: &str, minor: i128, now: Micros) -> NewTransaction {
    let amount = Money::from_minor(minor, "GBP".parse().unwrap());
    let legs = vec![
        Leg::new("food", Side::Debit, amount).unwrap(),
        Leg::new("cash", Side::Credit, amount).unwrap(),
    ];
    NewTransaction {
        request_id: request_id.to_owned(),
        transaction: Transaction::new(legs).unwrap(),
        reference: String::new(),
        effective_time: None,
        body: request_id.into(),
        now,
    }
}

fn done(sequence: i64, record_time: Micros) -> Outcome<Receipt> {
    Outcome::Done(Receipt {
        sequence,
        record_time,
    })
}

/// What the file says to statements that break its rules.
fn refusal(file: &Connection, sql: &str) -> String {
    let refused = file.execute_batch(&format!("BEGIN; {sql} COMMIT;"));
    file.execute_batch("ROLLBACK").unwrap();
    refused.unwrap_err().to_string()
}

const JOURNAL_ROW: &str = "INSERT INTO journal
    (sequence, transaction_id, reference, effective_time, record_time, body) VALUES";

#[tokio::test]
async fn the_file_refuses_a_transaction_that_does_not_balance() {
    let (_folder, _ledger, file) = ledger().await;
    for legs in [
        "(2, 0, 1, 'GBP', 1, 5), (2, 1, 2, 'GBP', 2, 4)",
        "(2, 0, 1, 'GBP', 1, 5), (2, 1, 2, 'GBP', 1, 5)",
        "(2, 0, 1, 'GBP', 1, 5)",
    ] {
        let sql = format!("INSERT INTO leg VALUES {legs}; {JOURNAL_ROW} (2, 't', '', 1, 1, x'');");
        assert!(
            refusal(&file, &sql).contains("balances in each currency"),
            "{legs}"
        );
    }
    let none = format!("{JOURNAL_ROW} (2, 't', '', 1, 1, x'');");
    assert!(refusal(&file, &none).contains("balances in each currency"));
    // The same way in, with legs that balance.
    let legs = "(2, 0, 1, 'GBP', 1, 5), (2, 1, 2, 'GBP', 2, 5)";
    let row = format!("{JOURNAL_ROW} (2, 't', '', 1, 1, x'');");
    let sql = format!("BEGIN; INSERT INTO leg VALUES {legs}; {row} COMMIT;");
    file.execute_batch(&sql).unwrap();
}

#[tokio::test]
async fn the_file_refuses_legs_of_another_currency_without_account_or_without_transaction() {
    let (_folder, _ledger, file) = ledger().await;
    for leg in [
        "(2, 0, 1, 'USD', 1, 5)",
        "(2, 0, 9, 'GBP', 1, 5)",
        "(2, 0, 1, 'GBP', 1, 5)",
    ] {
        let sql = format!("INSERT INTO leg VALUES {leg};");
        assert_eq!(
            refusal(&file, &sql),
            "FOREIGN KEY constraint failed",
            "{leg}"
        );
    }
    let late = "INSERT INTO leg VALUES (1, 2, 1, 'GBP', 1, 5);";
    assert!(refusal(&file, late).contains("no further legs"));
    for amount in ["0", "-1", "1.5", "'x'"] {
        let sql = format!("INSERT INTO leg VALUES (2, 0, 1, 'GBP', 1, {amount});");
        refusal(&file, &sql);
    }
}

#[tokio::test]
async fn the_file_refuses_a_gap_in_the_sequence() {
    let (_folder, _ledger, file) = ledger().await;
    for sequence in ["3", "1", "0", "-1"] {
        let sql = format!("{JOURNAL_ROW} ({sequence}, 't', '', 1, 1, x'');");
        assert!(refusal(&file, &sql).contains("no gaps"), "{sequence}");
    }
}

#[tokio::test]
async fn the_file_refuses_to_change_or_forget_what_is_recorded() {
    let (_folder, ledger, file) = ledger().await;
    let mut unknown = transfer("refused", 1, 1);
    let legs = ["nobody", "cash"].iter().zip([Side::Debit, Side::Credit]);
    let amount = Money::from_minor(1, "GBP".parse().unwrap());
    let legs = legs.map(|(id, side)| Leg::new(*id, side, amount).unwrap());
    unknown.transaction = Transaction::new(legs.collect()).unwrap();
    assert!(matches!(
        ledger.record(unknown).await.unwrap(),
        Outcome::Refused(_)
    ));
    for sql in [
        "UPDATE journal SET reference = 'x';",
        "DELETE FROM journal;",
        "UPDATE leg SET amount = 1;",
        "DELETE FROM leg;",
        "UPDATE account SET currency = 'USD';",
        "DELETE FROM account;",
        "UPDATE refusal SET reason = 'x';",
        "DELETE FROM refusal;",
    ] {
        assert!(refusal(&file, sql).contains("append-only"), "{sql}");
    }
    for sql in [
        "UPDATE turnover SET debits = debits - 1 WHERE debits > 0;",
        "UPDATE turnover SET account_key = account_key + 7;",
    ] {
        assert!(refusal(&file, sql).contains("only grows"), "{sql}");
    }
    assert!(refusal(&file, "UPDATE total SET debits = debits + 1;").contains("CHECK"));
}

#[tokio::test]
async fn the_record_time_never_goes_back() {
    let (_folder, ledger, _file) = ledger().await;
    assert_eq!(
        ledger.record(transfer("t2", 1, 5)).await.unwrap(),
        done(2, 10)
    );
    assert_eq!(
        ledger.record(transfer("t3", 1, 30)).await.unwrap(),
        done(3, 30)
    );
}

#[tokio::test]
async fn a_transaction_that_the_file_refuses_leaves_nothing_behind() {
    let (_folder, ledger, file) = ledger().await;
    // A defect elsewhere: the totals cannot be written any more.
    file.execute_batch(
        "CREATE TRIGGER defect BEFORE UPDATE ON total BEGIN SELECT RAISE(ABORT, 'defect'); END;",
    )
    .unwrap();
    let before = contents(&file);
    ledger.record(transfer("t2", 5, 20)).await.unwrap_err();
    assert_eq!(contents(&file), before);
    file.execute_batch("DROP TRIGGER defect").unwrap();
    assert_eq!(
        ledger.record(transfer("t2", 5, 20)).await.unwrap(),
        done(2, 20)
    );
}

fn contents(file: &Connection) -> BTreeMap<&'static str, i64> {
    let count = |sql: &str| file.query_row(sql, [], |row| row.get(0)).unwrap();
    BTreeMap::from([
        ("journal", count("SELECT count(*) FROM journal")),
        ("leg", count("SELECT count(*) FROM leg")),
        ("turnover", count("SELECT sum(debits) FROM turnover")),
    ])
}

#[tokio::test]
async fn every_search_of_the_journal_walks_an_index_in_order() {
    let (_folder, _ledger, file) = ledger().await;
    for sql in [
        journal::ALL,
        journal::BY_REFERENCE,
        journal::BY_ACCOUNT,
        journal::BY_ACCOUNT_AND_REFERENCE,
    ] {
        let mut statement = file.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        for index in 1..=statement.parameter_count() {
            statement.raw_bind_parameter(index, 1).unwrap();
        }
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next().unwrap() {
            let step: String = row.get("detail").unwrap();
            let walks_all = step.starts_with("SCAN") && !step.contains("subquery");
            assert!(
                !walks_all && !step.contains("TEMP B-TREE"),
                "{step} in {sql}"
            );
        }
    }
}
