//! Two real processes on one file, one of them killed at work.
#![allow(clippy::unwrap_used, reason = "tests")]

mod process;

use std::collections::BTreeSet;

use process::{Process, create, finalize};

/// How many invoices are finalized.
const INVOICES: usize = 120;

/// How many callers there are, half of them at each process.
const WORKERS: usize = 8;

/// How many are acknowledged when one process is killed.
const BEFORE_THE_KILL: usize = 20;

fn ids() -> impl Iterator<Item = String> {
    (0..INVOICES).map(|n| format!("i{n}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_leaves_no_gap_and_takes_back_no_number() {
    let folder = tempfile::tempdir().unwrap();
    let steady = Process::start(folder.path(), None).await;
    let mut doomed = Process::start(folder.path(), None).await;
    for id in ids() {
        create(steady.client.clone(), id).await.unwrap();
    }

    // Nobody goes on before what was answered is counted: the kill comes in the middle.
    let (tell, mut told) = tokio::sync::mpsc::channel(1);
    for worker in 0..WORKERS {
        let process = if worker % 2 == 0 { &steady } else { &doomed };
        let (client, tell) = (process.client.clone(), tell.clone());
        tokio::spawn(async move {
            // One after another, so that the killed process is always at work on something.
            for id in ids().skip(worker).step_by(WORKERS) {
                match finalize(client.clone(), id).await {
                    Ok(invoice) => tell.send(invoice).await.unwrap(),
                    Err(_) => return,
                }
            }
        });
    }
    drop(tell);
    let mut acknowledged = Vec::new();
    while let Some(invoice) = told.recv().await {
        acknowledged.push(invoice);
        if acknowledged.len() == BEFORE_THE_KILL {
            doomed.kill();
        }
    }
    assert!(acknowledged.len() >= INVOICES / 2, "the other goes on");
    assert!(
        acknowledged.len() < INVOICES,
        "the kill interrupted something"
    );

    let restarted = Process::start(folder.path(), None).await;
    let mut numbers = BTreeSet::new();
    for id in ids() {
        let invoice = finalize(restarted.client.clone(), id.clone())
            .await
            .unwrap();
        if let Some(before) = acknowledged.iter().find(|i| i.invoice_id == id) {
            assert_eq!(&invoice, before);
        }
        numbers.insert(invoice.number);
    }
    let expected: BTreeSet<_> = (1..=INVOICES).map(|n| format!("INV-{n:08}")).collect();
    assert_eq!(numbers, expected);
}
