//! A random process is killed again and again, the registry included, while rows are paid; and the
//! payer itself is killed.

use std::{process::Stdio, time::Duration};

use e2e::{Chaos, Up, report};
use mizan_contracts::invoice::v1::InvoiceState;

use crate::books::{Books, spending, spending_from, until};

/// How many are killed at least.
const KILLS: u32 = 6;

/// How many rows are paid in one go. While a file is paid anybody may die; a fast machine pays more
/// files until enough have.
const ROWS: u32 = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_is_paid_once_whoever_is_killed() {
    let mut up = Up::start();
    let mut chaos = Chaos::new(7, Duration::from_secs(1));
    let mut files: Vec<String> = Vec::new();
    while chaos.count() < KILLS {
        let paid_before = u32::try_from(files.len()).unwrap() * ROWS;
        let (file, _) = spending_from(&up, paid_before, ROWS);
        let file = file.to_str().unwrap().to_owned();
        let replay = up
            .command(&["replay", "--json", "--concurrency", "8", &file])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let (code, report) = report(&chaos.during(&mut up, replay.unwrap()));
        assert_eq!(code, Some(0), "{:?} {report:#}", chaos.kills);
        assert_eq!(report["paid"], ROWS, "{:?} {report:#}", chaos.kills);
        assert_eq!(report["reconciliation"]["agree"], true, "{report:#}");
        files.push(file);
    }
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let (code, all) = up.replay(&[&["--nothing-else"], &files[..]].concat());
    assert_eq!(code, Some(0), "{all:#}");
    assert_eq!(
        (&all["paid"], &all["already_paid"]),
        (&0.into(), &all["rows"])
    );
    let invoices = Books::of(&up).invoices().await;
    assert_eq!(all["rows"], invoices.len());
    assert!(invoices.iter().all(|one| one.state() == InvoiceState::Paid));
    assert_eq!(up.stop().0, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payer_that_was_killed_goes_on_where_it_stopped() {
    const ALL: u32 = 400;
    let (up, file, books, done) = loop {
        let up = Up::start();
        let (file, _) = spending(&up, ALL);
        let mut first = up
            .command(&["replay", "--concurrency", "4"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let books = Books::of(&up);
        let some = || async { books.transactions().await.is_some_and(|count| count >= 40) };
        until(some).await;
        first.kill().unwrap();
        first.wait().unwrap();
        // What it had sent goes on by itself; only that can still be added.
        let done = books.payments().await.len();
        // Unless this test slept until everything was paid: it was to be killed in the middle.
        if done < ALL as usize {
            break (up, file, books, done);
        }
    };
    let file = file.to_str().unwrap();

    let (code, second) = up.replay(&["--nothing-else", file]);
    assert_eq!(code, Some(0), "{second:#}");
    let count = |name: &str| usize::try_from(second[name].as_u64().unwrap()).unwrap();
    assert_eq!(count("paid") + count("already_paid"), ALL as usize);
    assert!(count("already_paid") >= done.min(40), "{second:#}");
    assert_eq!(second["reconciliation"]["agree"], true);
    assert_eq!(books.payments().await.len(), ALL as usize);

    // Nothing is asked for any more.
    let (_, third) = up.replay(&[file]);
    assert_eq!(third["already_paid"], ALL);
    assert!(third["p50_micros"].is_null(), "{third:#}");
    assert_eq!(up.stop().0, Some(0));
}
