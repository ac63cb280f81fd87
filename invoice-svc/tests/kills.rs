//! `kill -9` of the one server, ten times, while 64 callers finalize: the numbers have no gap and no
//! double. On a file and on PostgreSQL. `MIZAN_TEST_INVOICES` says how many; without it few enough
//! for a debug build.
#![allow(clippy::unwrap_used, reason = "tests")]

mod process;

use std::collections::BTreeSet;

use mizan_contracts::invoice::v1::Invoice;
use process::{Client, Process, create, finalize};
use tokio::sync::watch;

/// How many callers there are.
const CALLERS: usize = 64;

/// How often the server is killed.
const KILLS: usize = 10;

/// How many invoices are finalized, unless `MIZAN_TEST_INVOICES` says otherwise.
const INVOICES: usize = 640;

fn invoices() -> usize {
    let asked = std::env::var("MIZAN_TEST_INVOICES").ok();
    asked.map_or(INVOICES, |count| count.parse().unwrap())
}

/// The server that stands now; changes with every restart.
type Standing = watch::Receiver<(usize, Client)>;

/// Asks until it is answered, each time the server that stands then.
async fn insist<F: Future<Output = Result<Invoice, tonic::Status>>>(
    standing: &mut Standing,
    ask: impl Fn(Client) -> F,
) -> Invoice {
    loop {
        let (life, client) = standing.borrow_and_update().clone();
        if let Ok(invoice) = ask(client).await {
            return invoice;
        }
        // Nothing changes until there is another server; a server that stands is asked again.
        let next = standing.wait_for(|(now, _)| *now > life);
        let _ = tokio::time::timeout(process::PAUSE, next).await;
    }
}

async fn numbers_have_no_gap_and_no_double(database_url: Option<&str>) {
    let invoices = invoices();
    let folder = tempfile::tempdir().unwrap();
    let mut server = Process::start(folder.path(), database_url).await;
    let (tell, standing) = watch::channel((0, server.client.clone()));
    let (acknowledge, mut acknowledged) = watch::channel(0);
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let (mut standing, acknowledge) = (standing.clone(), acknowledge.clone());
            tokio::spawn(async move {
                let mut mine = Vec::new();
                for n in (caller..invoices).step_by(CALLERS) {
                    let id = format!("i{n}");
                    insist(&mut standing, |client| create(client, id.clone())).await;
                    let invoice = insist(&mut standing, |client| finalize(client, id.clone()));
                    mine.push(invoice.await);
                    acknowledge.send_modify(|count| *count += 1);
                }
                mine
            })
        })
        .collect();

    for kill in 1..=KILLS {
        // Each time after an eleventh more was acknowledged, in the middle of the work.
        let after = invoices * kill / (KILLS + 1);
        acknowledged
            .wait_for(|count| *count >= after)
            .await
            .unwrap();
        server.kill();
        server = Process::start(folder.path(), database_url).await;
        tell.send((kill, server.client.clone())).unwrap();
    }

    let mut numbers = BTreeSet::new();
    for caller in callers {
        for invoice in caller.await.unwrap() {
            let id = invoice.invoice_id.clone();
            let again = finalize(server.client.clone(), id).await.unwrap();
            assert_eq!(again.number, invoice.number, "what was acknowledged stands");
            assert!(numbers.insert(invoice.number), "no double");
        }
    }
    let expected: BTreeSet<_> = (1..=invoices).map(|n| format!("INV-{n:08}")).collect();
    assert_eq!(numbers, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_kills_leave_no_gap_and_no_double_in_a_file() {
    numbers_have_no_gap_and_no_double(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_kills_leave_no_gap_and_no_double_in_postgresql() {
    let Some(url) = store::testing::postgres().await else {
        return;
    };
    numbers_have_no_gap_and_no_double(Some(&url)).await;
}
