//! What the file itself keeps, whoever writes to it, how it is searched, and how a file of the
//! first version becomes one of this.

use std::collections::BTreeMap;

use ::store::rusqlite::Connection;
use mizan_contracts::accounting::v1::RecordTransactionRequest;
use money::Money;
use prost::Message as _;
use tempfile::TempDir;

use super::*;
use crate::domain::{
    About, AccountType, Action, Hold, Leg, Limit, NewAccount, NewTransaction, Reason, Request,
    Side, Transaction,
};

/// A ledger with the accounts `cash` and `food` in GBP and one transaction between them, and a
/// second way into its file.
async fn ledger() -> (TempDir, Ledger, Connection) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let ledger = Ledger::open(&Location::File(path.clone())).await.unwrap();
    for (account_id, account_type) in [("cash", AccountType::Asset), ("food", AccountType::Expense)]
    {
        let new = NewAccount {
            account_id: account_id.to_owned(),
            account_type,
            currency: "GBP".parse().unwrap(),
            limit: Limit::None,
        };
        let created = execute(&ledger, account_id, Action::CreateAccount(new), 1).await;
        assert!(matches!(created, Ok(Outcome::Done { .. })), "{created:?}");
    }
    assert_eq!(record(&ledger, "t1", 100, 10).await.unwrap(), (1, 10));
    let file = Connection::open(path).unwrap();
    file.pragma_update(None, "foreign_keys", true).unwrap();
    (folder, ledger, file)
}

async fn execute(
    ledger: &Ledger,
    request_id: &str,
    action: Action,
    now: Micros,
) -> Result<Outcome, Unavailable> {
    let request = Request {
        request_id: request_id.to_owned(),
        body: RecordTransactionRequest {
            request_id: request_id.to_owned(),
            ..RecordTransactionRequest::default()
        }
        .encode_to_vec()
        .into(),
        action,
    };
    let command = Command {
        now,
        requests: vec![request],
        atomic: false,
    };
    Ok(ledger.execute(command).await?.remove(0))
}

fn transfer(debited: &str, minor: i128) -> Action {
    moved(debited, "cash", minor, None)
}

/// Records a transfer to `food`: where and when.
async fn record(
    ledger: &Ledger,
    request_id: &str,
    minor: i128,
    now: Micros,
) -> Result<(i64, Micros), Unavailable> {
    match execute(ledger, request_id, transfer("food", minor), now).await? {
        Outcome::Done {
            answer: crate::domain::Answer::Transaction(record),
            ..
        } => Ok((record.sequence, record.record_time)),
        other => panic!("{other:?}"),
    }
}

/// What the file says to statements that break its rules.
fn refusal(file: &Connection, sql: &str) -> String {
    let refused = file.execute_batch(&format!("BEGIN; {sql} COMMIT;"));
    file.execute_batch("ROLLBACK").unwrap();
    refused.unwrap_err().to_string()
}

#[tokio::test]
async fn the_file_refuses_to_change_or_forget_what_is_recorded() {
    let (_folder, ledger, file) = ledger().await;
    let refused = execute(&ledger, "refused", transfer("nobody", 1), 1).await;
    assert!(matches!(refused, Ok(Outcome::Refused(_))), "{refused:?}");
    for sql in [
        "UPDATE journal SET reference = 'x';",
        "UPDATE journal SET hash = x'00';",
        "DELETE FROM journal;",
        "UPDATE leg SET amount = 1;",
        "DELETE FROM leg;",
        "UPDATE account SET currency = 'USD';",
        "UPDATE account SET limits = 1;",
        "DELETE FROM account;",
        "UPDATE refused SET reason = 'x';",
        "DELETE FROM refused;",
        "UPDATE head SET sequence = 0;",
        "DELETE FROM head;",
    ] {
        assert!(refusal(&file, sql).contains("append-only"), "{sql}");
    }
    for sql in [
        "UPDATE turnover SET debits = debits - 1 WHERE debits > 0;",
        "UPDATE turnover SET account_key = account_key + 7;",
    ] {
        assert!(refusal(&file, sql).contains("only grows"), "{sql}");
    }
    for sql in [
        "UPDATE total SET debits = debits + 1;",
        "UPDATE total SET pending_debits = pending_debits + 1;",
        // `cash` has only credits.
        "UPDATE turnover SET limits = 2 WHERE credits > 0;",
        "UPDATE turnover SET limits = 1 WHERE debits > 0;",
    ] {
        assert!(refusal(&file, sql).contains("CHECK"), "{sql}");
    }
}

/// An empty store of each kind: a file, and PostgreSQL where there is one.
pub(super) async fn places(folder: &TempDir) -> Vec<Location> {
    let mut places = vec![Location::File(folder.path().join(FILE))];
    if let Some(url) = ::store::testing::postgres().await {
        let schema = SCHEMA.to_owned();
        places.push(Location::Server { url, schema });
    }
    places
}

/// More entries than two bands of the index hold; one account is on some of them only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_is_found_in_every_band_of_the_index() {
    const RARE: [i64; 5] = [2, 8191, 8192, 16_384, 17_001];
    let folder = tempfile::tempdir().unwrap();
    for place in places(&folder).await {
        let ledger = Ledger::open(&place).await.unwrap();
        for (account_id, account_type) in [
            ("cash", AccountType::Asset),
            ("food", AccountType::Expense),
            ("rare", AccountType::Expense),
        ] {
            let new = NewAccount {
                account_id: account_id.to_owned(),
                account_type,
                currency: "GBP".parse().unwrap(),
                limit: Limit::None,
            };
            execute(&ledger, account_id, Action::CreateAccount(new), 1)
                .await
                .unwrap();
        }
        for first in (1..=17_010).step_by(1_000) {
            let request = |sequence: i64| {
                let debited = if RARE.contains(&sequence) {
                    "rare"
                } else {
                    "food"
                };
                Request {
                    request_id: format!("t{sequence}"),
                    body: sequence.to_be_bytes().as_slice().into(),
                    action: transfer(debited, 1),
                }
            };
            let requests = (first..=17_010.min(first + 999)).map(request).collect();
            let command = Command {
                now: first,
                requests,
                atomic: true,
            };
            ledger.execute(command).await.unwrap();
        }
        for (account_id, wanted) in [
            ("rare", RARE.to_vec()),
            ("food", (1..=17_010).filter(|s| !RARE.contains(s)).collect()),
        ] {
            for order in [Order::Ascending, Order::Descending] {
                let mut wanted = wanted.clone();
                if order == Order::Descending {
                    wanted.reverse();
                }
                // The last and the first page, and one across the end of a band.
                let halfway = wanted.len() / 2;
                for after in [None, Some(wanted[halfway]), Some(8_190)] {
                    let beyond = |sequence: &&i64| match (after, order) {
                        (None, _) => true,
                        (Some(after), Order::Ascending) => **sequence > after,
                        (Some(after), Order::Descending) => **sequence < after,
                    };
                    let page = ledger.transactions(Filter {
                        now: 20_000,
                        account_id: Some(account_id.to_owned()),
                        reference: None,
                        labels: Vec::new(),
                        state: None,
                        effective_from: None,
                        effective_before: None,
                        recorded_from: None,
                        recorded_before: None,
                        order,
                        after,
                        limit: 100,
                    });
                    let page = page.await.unwrap();
                    let found: Vec<i64> = page.transactions.iter().map(|t| t.sequence).collect();
                    let rest: Vec<i64> = wanted.iter().filter(beyond).copied().collect();
                    assert_eq!(page.more, rest.len() > 100, "{place:?} {account_id}");
                    assert_eq!(found, rest[..rest.len().min(100)], "{place:?} {account_id}");
                }
            }
            for recorded in [None, Some(8_001), Some(17_001)] {
                let as_of = AsOf {
                    now: 20_000,
                    recorded,
                    effective: Some(i64::MAX - 1),
                };
                let balance = ledger.balance(account_id.to_owned(), as_of).await.unwrap();
                let debits = balance.unwrap().counters.posted.debits;
                // Each batch of a thousand is recorded at the time of its first.
                let last = recorded.map_or(17_010, |recorded| (recorded + 999).min(17_010));
                let count = wanted.iter().filter(|sequence| **sequence <= last).count();
                assert_eq!(
                    usize::try_from(debits.minor()),
                    Ok(count),
                    "{place:?} {account_id} {recorded:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn the_record_time_never_goes_back() {
    let (_folder, ledger, _file) = ledger().await;
    assert_eq!(record(&ledger, "t2", 1, 5).await.unwrap(), (2, 10));
    assert_eq!(record(&ledger, "t3", 1, 30).await.unwrap(), (3, 30));
}

/// At a hold's very time it is expired: what it held is free for the command of that moment, whose
/// account shows it no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_that_expires_at_the_books_very_time_is_released() {
    let folder = tempfile::tempdir().unwrap();
    for place in places(&folder).await {
        let ledger = Ledger::open(&place).await.unwrap();
        for (account_id, account_type, limit) in [
            ("cash", AccountType::Asset, Limit::CreditsWithinDebits),
            ("food", AccountType::Expense, Limit::None),
            ("capital", AccountType::Equity, Limit::None),
        ] {
            let new = NewAccount {
                account_id: account_id.to_owned(),
                account_type,
                currency: "GBP".parse().unwrap(),
                limit,
            };
            let created = execute(&ledger, account_id, Action::CreateAccount(new), 1).await;
            assert!(matches!(created, Ok(Outcome::Done { .. })), "{created:?}");
        }
        let paid_in = moved("cash", "capital", 100, None);
        assert_eq!(recorded(&ledger, "in", paid_in, 1).await, Ok(1));
        // All of it is held until 30.
        let hold = Some(Hold { timeout: Some(20) });
        let held = moved("food", "cash", 100, hold);
        assert_eq!(recorded(&ledger, "hold", held, 10).await, Ok(10));
        let spent = || moved("food", "cash", 100, None);
        let before = recorded(&ledger, "before", spent(), 29).await;
        assert_eq!(before, Err(Reason::CreditsExceedDebits), "{place:?}");
        let at = recorded(&ledger, "at", spent(), 30).await;
        assert_eq!(at, Ok(30), "{place:?}");
        let as_of = AsOf {
            now: 30,
            recorded: None,
            effective: None,
        };
        let balance = ledger.balance("cash".to_owned(), as_of).await.unwrap();
        let pending = balance.unwrap().counters.pending;
        assert_eq!(pending.credits.minor(), 0, "{place:?}");
    }
}

fn moved(debited: &str, credited: &str, minor: i128, hold: Option<Hold>) -> Action {
    let amount = Money::from_minor(minor, "GBP".parse().unwrap());
    let legs = vec![
        Leg::new(debited, Side::Debit, amount).unwrap(),
        Leg::new(credited, Side::Credit, amount).unwrap(),
    ];
    Action::Record(NewTransaction {
        transaction: Transaction::new(legs).unwrap(),
        about: About::default(),
        hold,
    })
}

/// When it was recorded, or why not.
async fn recorded(
    ledger: &Ledger,
    request_id: &str,
    action: Action,
    now: Micros,
) -> Result<Micros, Reason> {
    match execute(ledger, request_id, action, now).await.unwrap() {
        Outcome::Done {
            answer: crate::domain::Answer::Transaction(record),
            ..
        } => Ok(record.record_time),
        Outcome::Refused(refusal) => Err(refusal.reason),
        other => panic!("{other:?}"),
    }
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
    record(&ledger, "t2", 5, 20).await.unwrap_err();
    assert_eq!(contents(&file), before);
    file.execute_batch("DROP TRIGGER defect").unwrap();
    assert_eq!(record(&ledger, "t2", 5, 20).await.unwrap(), (2, 20));
}

/// A file as the first version wrote it: two accounts, two transactions, a refusal.
fn first_version(path: &std::path::Path) {
    let file = Connection::open(path).unwrap();
    file.execute_batch(include_str!("sqlite_1.sql")).unwrap();
    file.pragma_update(None, "user_version", 1).unwrap();
    let body = RecordTransactionRequest {
        request_id: "t1".into(),
        metadata: BTreeMap::from([("city".into(), "Leeds".into())]),
        ..RecordTransactionRequest::default()
    };
    file.execute_batch(
        "INSERT INTO account (account_id, type, currency, create_time, request_id, body)
             VALUES ('cash', 1, 'GBP', 1, 'a', x''), ('food', 5, 'GBP', 1, 'b', x'');
         INSERT INTO turnover VALUES (1, 0, 7), (2, 7, 0);
         INSERT INTO total VALUES ('GBP', 7, 7);
         INSERT INTO refusal VALUES
             ('RecordTransaction', 'r', 'ACCOUNT_NOT_FOUND', 'legs[0].account_id', 'x', 1, x'');
         BEGIN;
         INSERT INTO leg VALUES (1, 0, 2, 'GBP', 1, 5), (1, 1, 1, 'GBP', 2, 5);",
    )
    .unwrap();
    let insert = "INSERT INTO journal VALUES (?1, ?2, '', 5, ?3, ?4)";
    file.execute(insert, (1, "t1", 10, body.encode_to_vec()))
        .unwrap();
    file.execute_batch("INSERT INTO leg VALUES (2, 0, 2, 'GBP', 1, 2), (2, 1, 1, 'GBP', 2, 2);")
        .unwrap();
    file.execute(insert, (2, "t2", 11, Vec::<u8>::new()))
        .unwrap();
    file.execute_batch("COMMIT").unwrap();
}

#[tokio::test]
async fn a_file_of_the_first_version_is_brought_to_this_one_with_its_chain() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    first_version(&path);
    let ledger = Ledger::open(&Location::File(path.clone())).await.unwrap();
    assert_eq!(record(&ledger, "t3", 1, 30).await.unwrap(), (3, 30));
    let verified = ledger.verify(0, 100, |_, _| None).await.unwrap();
    assert_eq!(verified.faults, []);
    assert!(verified.complete && verified.sequence == 3);
    let file = Connection::open(&path).unwrap();
    let count = |sql: &str| file.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM journal WHERE hash IS NULL"), 0);
    assert_eq!(count("SELECT count(*) FROM account WHERE hash IS NULL"), 0);
    assert_eq!(count("SELECT sequence FROM label WHERE key = 'city'"), 1);
    assert_eq!(count("SELECT space FROM refused WHERE request_id = 'r'"), 4);
    assert_eq!(count("SELECT transactions FROM head"), 3);
    // Opened again, nothing is done twice.
    drop(ledger);
    let ledger = Ledger::open(&Location::File(path)).await.unwrap();
    assert_eq!(record(&ledger, "t3", 1, 40).await.unwrap(), (3, 30));
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
    let searches = [
        journal::ALL,
        journal::BY_REFERENCE,
        journal::BY_LABEL,
        journal::BY_ACCOUNT,
    ];
    for sql in searches.concat() {
        let mut statement = file.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
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
