//! What VerifyJournal finds, and where, when the file is changed past the service; and what calls
//! answer that meet what was never written.

use accounting_svc::store::FILE;
use mizan_contracts::accounting::v1::*;
use store::rusqlite::{Connection, types::Value};
use tempfile::TempDir;
use tonic::Code;

use crate::{Client, create, reason, serve, sound, transfer, verified};

/// A ledger with seven entries, of which the sixth is pending and the seventh closes an account, and
/// its file with nothing that guards it.
async fn unguarded() -> (TempDir, Client, Connection) {
    let data = tempfile::tempdir().unwrap();
    let mut client = serve(data.path(), None).await;
    for id in ["a", "b", "c"] {
        create(&mut client, id, AccountLimit::Unspecified).await;
    }
    for n in 1..=6 {
        let mut request = transfer(&format!("t{n}"), "a", "b", n);
        request.reference = format!("r{n}");
        request.pending = n == 6;
        request.timeout = (n == 6).then_some(prost_types::Duration {
            seconds: 3_600,
            nanos: 0,
        });
        client.record_transaction(request).await.unwrap();
    }
    let close = CloseAccountRequest {
        request_id: "close".to_owned(),
        account_id: "c".to_owned(),
    };
    client.close_account(close).await.unwrap();
    sound(&mut client).await;
    let file = Connection::open(data.path().join(FILE)).unwrap();
    let guards = "SELECT group_concat('DROP TRIGGER ' || name, ';') FROM sqlite_master
                  WHERE type = 'trigger'";
    let guards: String = file.query_row(guards, [], |row| row.get(0)).unwrap();
    file.execute_batch(&guards).unwrap();
    for pragma in ["ignore_check_constraints", "foreign_keys"] {
        let on = pragma == "ignore_check_constraints";
        file.pragma_update(None, pragma, on).unwrap();
    }
    (data, client, file)
}

/// Table, column, its new value, of which row; the entry and the part that are named.
const CASES: &[(&str, &str, &str, &str, i64, &str)] = &[
    (
        "leg",
        "amount",
        "amount + 1",
        "sequence = 3 AND position = 0",
        3,
        "legs",
    ),
    (
        "leg",
        "side",
        "3 - side",
        "sequence = 3 AND position = 1",
        3,
        "legs",
    ),
    (
        "leg",
        "account_key",
        "2",
        "sequence = 2 AND position = 0",
        2,
        "legs",
    ),
    ("journal", "reference", "'x'", "sequence = 2", 2, "entry"),
    (
        "journal",
        "record_time",
        "record_time + 1",
        "sequence = 4",
        4,
        "entry",
    ),
    (
        "journal",
        "effective_time",
        "effective_time - 1",
        "sequence = 4",
        4,
        "entry",
    ),
    (
        "journal",
        "transaction_id",
        "'t9'",
        "sequence = 1",
        1,
        "entry",
    ),
    (
        "journal",
        "expire_time",
        "expire_time + 1",
        "sequence = 6",
        6,
        "entry",
    ),
    ("journal", "target", "1", "sequence = 7", 7, "entry"),
    (
        "journal",
        "transaction_id",
        "'t99'",
        "sequence = 7",
        7,
        "entry",
    ),
    ("journal", "kind", "7", "sequence = 7", 7, "entry"),
    ("journal", "body", "x'ff'", "sequence = 1", 1, "body"),
    ("journal", "hash", "zeroblob(32)", "sequence = 5", 5, "hash"),
    ("journal", "hash", "zeroblob(32)", "sequence = 7", 7, "hash"),
    ("account", "type", "1", "account_key = 1", 0, "account"),
    ("account", "limits", "1", "account_key = 2", 0, "account"),
    (
        "account",
        "hash",
        "zeroblob(32)",
        "account_key = 2",
        0,
        "account",
    ),
    (
        "turnover",
        "debits",
        "debits + 1",
        "account_key = 1",
        0,
        "balance",
    ),
    (
        "turnover",
        "pending_credits",
        "0",
        "account_key = 2",
        0,
        "balance",
    ),
    ("turnover", "closed", "1", "account_key = 1", 0, "balance"),
    ("turnover", "limits", "1", "account_key = 2", 0, "balance"),
    (
        "hold",
        "expire_time",
        "expire_time + 1",
        "sequence = 6",
        6,
        "balance",
    ),
    ("hold", "sequence", "5", "sequence = 6", 5, "balance"),
    (
        "total",
        "debits",
        "debits + 1",
        "currency = 'GBP'",
        0,
        "total",
    ),
    (
        "total",
        "pending_debits",
        "0",
        "currency = 'GBP'",
        0,
        "total",
    ),
    (
        "head",
        "transactions",
        "transactions - 1",
        "one = 1",
        0,
        "head",
    ),
    ("head", "hash", "zeroblob(32)", "one = 1", 0, "head"),
    (
        "head",
        "record_time",
        "record_time + 1",
        "one = 1",
        0,
        "head",
    ),
    (
        "head",
        "accounts_hash",
        "zeroblob(32)",
        "one = 1",
        0,
        "head",
    ),
];

#[tokio::test]
async fn a_changed_value_in_the_file_is_found_and_named() {
    let (_data, mut client, file) = unguarded().await;
    for (table, column, value, row, sequence, part) in CASES {
        let what = format!("{table}.{column} = {value} where {row}");
        let of_row = |sql: &str| -> (i64, Value) {
            let get = |r: &store::rusqlite::Row<'_>| Ok((r.get(0)?, r.get(1)?));
            file.query_row(sql, [], get).unwrap()
        };
        let rowid = match *table {
            "leg" | "total" => "1",
            _ => "rowid",
        };
        let (id, kept) = of_row(&format!(
            "SELECT {rowid}, {column} FROM {table} WHERE {row}"
        ));
        let (_, new) = of_row(&format!("SELECT {rowid}, {value} FROM {table} WHERE {row}"));
        assert_ne!(kept, new, "{what} changes nothing");
        let update = |row: &str, value: &Value| {
            let update = format!("UPDATE {table} SET {column} = ?1 WHERE {row}");
            assert_eq!(file.execute(&update, [value]).unwrap(), 1, "{what}");
        };
        update(row, &new);
        let found = verified(&mut client, 0).await;
        let named = found
            .faults
            .iter()
            .any(|f| f.sequence == *sequence && f.part == *part);
        assert!(named && !found.valid, "{what}: {found:?}");
        match (*table, *column) {
            ("hold", "sequence") => update("sequence = 5", &kept),
            ("journal", _) => update(&format!("rowid = {id}"), &kept),
            _ => update(row, &kept),
        }
        sound(&mut client).await;
    }
}

#[tokio::test]
async fn a_missing_entry_is_found_and_named() {
    let (_data, mut client, file) = unguarded().await;
    file.execute_batch(
        "DELETE FROM leg WHERE sequence = 3; DELETE FROM journal WHERE sequence = 3",
    )
    .unwrap();
    let found = verified(&mut client, 0).await;
    let first = &found.faults[0];
    assert_eq!((first.sequence, &*first.part), (3, "missing"), "{found:?}");
}

/// A journal without its last entries fits together; that there were more is written elsewhere.
#[tokio::test]
async fn an_end_that_is_gone_is_found_and_named() {
    let (_data, mut client, file) = unguarded().await;
    let moved = |by: i64| {
        let sql = "UPDATE mizan_store SET commits = commits + ?1";
        assert_eq!(file.execute(sql, [by]).unwrap(), 1);
    };
    moved(-2);
    let found = verified(&mut client, 0).await;
    let fault = &found.faults[0];
    assert_eq!((fault.sequence, &*fault.part), (0, "tail"), "{found:?}");
    assert!(
        !found.valid && fault.description.ends_with(": 2"),
        "{found:?}"
    );
    // What is not the end of the journal is judged by itself.
    let request = VerifyJournalRequest {
        after_sequence: 0,
        max_entries: 1,
    };
    let first = client.verify_journal(request).await.unwrap().into_inner();
    assert!(first.valid && !first.complete, "{first:?}");
    moved(2);
    sound(&mut client).await;
}

/// Not UNAVAILABLE: trying again does not help.
#[tokio::test]
async fn a_damaged_record_is_data_loss_to_whoever_meets_it() {
    let (_data, mut client, file) = unguarded().await;
    let damages = [
        "UPDATE account SET currency = 'ZZZ' WHERE account_id = 'a'",
        "UPDATE account SET type = 9 WHERE account_id = 'a'",
        "UPDATE turnover SET debits = 1 WHERE account_key = 0 OR 1; UPDATE account SET limits = 9",
    ];
    for damage in damages {
        file.execute_batch(damage).unwrap();
        let balance = GetBalanceRequest {
            account_id: "a".to_owned(),
            ..GetBalanceRequest::default()
        };
        let refused = client.get_balance(balance).await.unwrap_err();
        let told = (refused.code(), reason(&refused));
        assert_eq!(
            told,
            (Code::DataLoss, "STORE_DAMAGED".to_owned()),
            "{damage}"
        );
        let refused = client
            .record_transaction(transfer("new", "a", "b", 1))
            .await;
        let refused = refused.unwrap_err();
        let told = (refused.code(), reason(&refused));
        assert_eq!(
            told,
            (Code::DataLoss, "STORE_DAMAGED".to_owned()),
            "{damage}"
        );
    }
    let kept: i64 = file
        .query_row("SELECT count(*) FROM journal", [], |row| row.get(0))
        .unwrap();
    assert_eq!(kept, 7, "nothing was recorded on what is damaged");
}
