//! What either database refuses by itself, when it is written to past the rules.

use std::error::Error as _;

use ::store::{Location, Store, Unavailable, Writes, postgres::Session, rusqlite::Connection};
use money::Money;

use super::*;
use crate::domain::{
    About, AccountType, Action, Hold, Leg, Limit, NewAccount, NewTransaction, Request, Side,
    Transaction,
};

/// Statements as they are, one transaction for each command.
struct Raw;

impl Writes for Raw {
    type Command = Vec<&'static str>;
    type Outcome = ();
    type Memory = ();

    const SQLITE: &'static [&'static str] = LedgerWrites::SQLITE;
    const POSTGRES: &'static [&'static str] = LedgerWrites::POSTGRES;

    fn in_file(
        file: &Connection,
        _: &mut (),
        commands: &[Vec<&'static str>],
    ) -> Result<Vec<()>, Unavailable> {
        for sql in commands.concat() {
            file.execute_batch(sql)?;
        }
        Ok(vec![(); commands.len()])
    }

    async fn on_server(
        server: &Session,
        commands: &[Vec<&'static str>],
    ) -> Result<Vec<()>, Unavailable> {
        for sql in commands.concat() {
            server.execute(sql, &[]).await?;
        }
        Ok(vec![(); commands.len()])
    }
}

/// Five entries: a transaction, a pending one, a reversal of the first, a post of the second, and
/// one that fills a purse, which may not be overdrawn; and a refusal.
async fn fill(ledger: &Ledger) {
    let account = |id: &str, limit| {
        Action::CreateAccount(NewAccount {
            account_id: id.to_owned(),
            account_type: AccountType::Liability,
            currency: "GBP".parse().unwrap(),
            limit,
        })
    };
    let transfer = |from: &str, to: &str, hold| {
        let amount = Money::from_minor(5, "GBP".parse().unwrap());
        let leg = |id: &str, side| Leg::new(id, side, amount).unwrap();
        let legs = vec![leg(from, Side::Debit), leg(to, Side::Credit)];
        Action::Record(NewTransaction {
            transaction: Transaction::new(legs).unwrap(),
            about: About {
                metadata: vec![("k".to_owned(), "v".to_owned())],
                ..About::default()
            },
            hold,
        })
    };
    let all = [
        ("a", account("cash", Limit::None), true),
        ("b", account("food", Limit::None), true),
        ("c", account("purse", Limit::DebitsWithinCredits), true),
        ("t1", transfer("cash", "food", None), true),
        (
            "t2",
            transfer("cash", "food", Some(Hold { timeout: None })),
            true,
        ),
        (
            "t3",
            Action::Reverse {
                transaction_id: "t1".to_owned(),
                about: About::default(),
            },
            true,
        ),
        (
            "post",
            Action::Post {
                transaction_id: "t2".to_owned(),
                amounts: None,
            },
            true,
        ),
        ("t5", transfer("cash", "purse", None), true),
        ("refused", transfer("cash", "nobody", None), false),
    ];
    for (id, action, done) in all {
        let command = Command {
            now: 10,
            requests: vec![Request {
                request_id: id.to_owned(),
                body: id.as_bytes().into(),
                action,
            }],
            atomic: false,
        };
        let outcome = ledger.execute(command).await.unwrap().pop();
        let was_done = matches!(outcome, Some(Outcome::Done { .. }));
        assert_eq!(was_done, done, "{id}: {outcome:?}");
    }
}

/// `SEAL` moves the head over one more entry; `{hash}` and `{body}` are written by each database in
/// its own way, and a file counts its legs.
const SEAL: &str = "UPDATE head SET sequence = sequence + 1, transactions = transactions + 1,
                                    hash = {hash}{legs}";

/// A row of the journal: sequence, kind, transaction id, request id, target.
fn entry(values: &str) -> String {
    format!(
        "INSERT INTO journal (sequence, kind, transaction_id, request_id, target, reference,
                              effective_time, record_time, body, hash)
         VALUES ({values}, '', 10, 10, {{body}}, {{hash}})"
    )
}

/// Rows of legs: sequence, position, account, currency, side, amount.
fn legs(values: &str) -> String {
    format!(
        "INSERT INTO leg (sequence, position, account_key, currency, side, amount) VALUES {values}"
    )
}

fn cases() -> Vec<Vec<String>> {
    let seal = || SEAL.to_owned();
    let next = || entry("6, 1, 't6', NULL, NULL");
    let even = "(6, 0, 1, 'GBP', 1, 5), (6, 1, 2, 'GBP', 2, 5)";
    let mut all: Vec<Vec<String>> = [
        // Unbalanced: by an amount, on one side, one leg, in two currencies.
        "(6, 0, 1, 'GBP', 1, 5), (6, 1, 2, 'GBP', 2, 4)",
        "(6, 0, 1, 'GBP', 1, 5), (6, 1, 2, 'GBP', 1, 5)",
        "(6, 0, 1, 'GBP', 1, 5)",
        "(6, 0, 1, 'GBP', 1, 5), (6, 1, 2, 'USD', 2, 5)",
        // In another currency than the accounts, or on none.
        "(6, 0, 1, 'USD', 1, 5), (6, 1, 2, 'USD', 2, 5)",
        "(6, 0, 1, 'GBP', 1, 5), (6, 1, 9, 'GBP', 2, 5)",
        // Amounts that are none, a side that is none, the same place twice.
        "(6, 0, 1, 'GBP', 1, 0), (6, 1, 2, 'GBP', 2, 0)",
        "(6, 0, 1, 'GBP', 1, -5), (6, 1, 2, 'GBP', 2, -5)",
        "(6, 0, 1, 'GBP', 3, 5), (6, 1, 2, 'GBP', 2, 5)",
        "(6, 0, 1, 'GBP', 1, 5), (6, 0, 2, 'GBP', 2, 5)",
    ]
    .into_iter()
    .map(|bad| vec![legs(bad), next(), seal()])
    .collect();
    all.extend([
        // Without legs; legs without their entry; more legs for one that is recorded.
        vec![next(), seal()],
        vec![legs(even), seal()],
        vec![
            legs("(1, 7, 1, 'GBP', 1, 5), (1, 8, 2, 'GBP', 2, 5)"),
            seal(),
        ],
        vec![
            legs("(1, 7, 1, 'GBP', 1, 5), (1, 8, 2, 'GBP', 2, 5)"),
            legs(even),
            next(),
            seal(),
        ],
        // A gap, a place that is taken, an id that is taken.
        vec![
            legs("(7, 0, 1, 'GBP', 1, 5), (7, 1, 2, 'GBP', 2, 5)"),
            entry("7, 1, 't7', NULL, NULL"),
            seal(),
        ],
        vec![entry("5, 5, '/5', 'x', 1"), seal()],
        vec![legs(even), entry("6, 1, 't1', NULL, NULL"), seal()],
        // A second reversal; a second settlement, by a void and by a post; a request id again.
        vec![legs(even), entry("6, 3, 't6', NULL, 1"), seal()],
        vec![entry("6, 5, '/6', 'void', 2"), seal()],
        vec![legs(even), entry("6, 4, '/6', 'post-2', 2"), seal()],
        vec![legs(even), entry("6, 4, '/6', 'post', 1"), seal()],
    ]);
    let one = [
        // Counters below zero, going back, or beyond a limit; totals that differ.
        "UPDATE turnover SET pending_debits = -1",
        "UPDATE turnover SET debits = debits - 1 WHERE debits > 0",
        "UPDATE turnover SET debits = credits + 1 WHERE limits = 1",
        "UPDATE turnover SET pending_debits = credits + 1 WHERE limits = 1",
        "UPDATE turnover SET closed = 2",
        "UPDATE total SET debits = debits + 1",
        "UPDATE total SET pending_credits = 1",
        "UPDATE total SET debits = -1, credits = -1",
        // What is recorded, changed or forgotten.
        "UPDATE journal SET reference = 'x'",
        "UPDATE journal SET hash = {hash}",
        "DELETE FROM journal",
        "UPDATE leg SET amount = 1",
        "DELETE FROM leg",
        "UPDATE account SET currency = 'USD'",
        "DELETE FROM account",
        "UPDATE label SET value = 'x'",
        "DELETE FROM label",
        "UPDATE refused SET reason = 'x'",
        "DELETE FROM refused",
        "UPDATE head SET sequence = sequence - 1",
        "UPDATE head SET record_time = record_time - 1",
        "UPDATE head SET accounts = 0",
        "DELETE FROM head",
    ];
    all.extend(one.map(|sql| vec![sql.to_owned()]));
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_database_refuses_what_breaks_the_rules_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    for place in tests::places(&folder).await {
        let in_file = matches!(place, Location::File(_));
        let (hash, body, legs_too) = if in_file {
            ("zeroblob(32)", "x''", ", legs = (SELECT count(*) FROM leg)")
        } else {
            ("decode(repeat('00', 32), 'hex')", "''::bytea", "")
        };
        let written = |sql: Vec<String>| -> Vec<&'static str> {
            let one = |sql: String| {
                let sql = sql.replace("{hash}", hash).replace("{body}", body);
                let sql = sql.replace("{legs}", legs_too);
                &*sql.leak()
            };
            sql.into_iter().map(one).collect()
        };
        let ledger = Ledger::open(&place).await.unwrap();
        fill(&ledger).await;
        let raw = Store::<Raw>::open(&place).await.unwrap();
        for case in cases() {
            let refused = raw.execute(written(case.clone())).await.unwrap_err();
            let mut said = Vec::new();
            let mut next = refused.source();
            while let Some(error) = next {
                said.push(error.to_string());
                next = error.source();
            }
            let said = said.join(": ");
            let known = [
                "constraint",
                "append-only",
                "balances in each currency",
                "no gaps",
                "no further legs",
                "only grows",
                "currency of an account",
                "has its legs",
            ];
            let by_a_rule = known.iter().any(|word| said.contains(word));
            assert!(by_a_rule, "{place:?}: {case:?}: {said}");
        }
        let verified = ledger.verify(0, 100, |_, _| None).await.unwrap();
        assert_eq!(
            (verified.faults, verified.sequence),
            (vec![], 5),
            "{place:?}"
        );
        // The same way in, with what keeps the rules.
        let good = vec![
            legs("(6, 0, 1, 'GBP', 1, 5), (6, 1, 2, 'GBP', 2, 5)"),
            entry("6, 1, 't6', NULL, NULL"),
            SEAL.to_owned(),
        ];
        raw.execute(written(good)).await.unwrap();
    }
}
