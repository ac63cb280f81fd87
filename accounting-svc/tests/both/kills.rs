//! `kill -9` of real servers while they write: what was acknowledged is there, and nothing half.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use mizan::Connection;
use mizan_contracts::accounting::v1::*;

use crate::{Client, create, sound, transfer};

/// How many times, unless the environment says otherwise.
const KILLS: u32 = 5;
const CALLERS: u32 = 64;

fn start(data: &Path, url: Option<&str>, port: u16) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_accounting-svc"));
    command
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .arg("--data")
        .arg(data)
        .args(["--registry", "127.0.0.1:1"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if let Some(url) = url {
        command.args(["--database-url", url]);
    }
    command.spawn().unwrap()
}

async fn connect(port: u16) -> Client {
    let mut tries = tokio::time::interval(Duration::from_millis(10));
    let asking = async {
        loop {
            tries.tick().await;
            let address = format!("127.0.0.1:{port}");
            if let Ok(connection) = Connection::open(&address, Duration::from_secs(5)).await {
                return Client::new(connection);
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asking)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_every_kill_and_nothing_is_half_done() {
    let kills = std::env::var("MIZAN_TEST_KILLS").ok();
    let kills = kills.and_then(|n| n.parse().ok()).unwrap_or(KILLS);
    let mut urls = vec![None];
    urls.extend(store::testing::postgres().await.map(Some));
    for url in urls {
        let data = tempfile::tempdir().unwrap();
        // Free now; the server takes it a moment later.
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let mut acknowledged: BTreeMap<String, i64> = BTreeMap::new();
        let mut server = start(data.path(), url.as_deref(), port);
        let mut client = connect(port).await;
        create(&mut client, "a", AccountLimit::Unspecified).await;
        create(&mut client, "b", AccountLimit::Unspecified).await;
        for kill in 0..kills {
            let callers = (0..CALLERS).map(|caller| {
                let mut client = client.clone();
                tokio::spawn(async move {
                    let mut done = Vec::new();
                    for n in 0.. {
                        let id = format!("k{kill}-{caller}-{n}");
                        let request = transfer(&id, "a", "b", 1);
                        let Ok(answer) = client.record_transaction(request).await else {
                            break;
                        };
                        done.push((id, answer.into_inner().sequence));
                    }
                    done
                })
            });
            let callers: Vec<_> = callers.collect();
            // Somewhere in the middle of it: other moments each time.
            let mut probe = client.clone();
            for n in 0..=(kill * 7 % 13) {
                let request = transfer(&format!("probe-{kill}-{n}"), "a", "b", 1);
                let _ = probe.record_transaction(request).await;
            }
            server.kill().unwrap();
            server.wait().unwrap();
            for caller in callers {
                acknowledged.extend(caller.await.unwrap());
            }
            server = start(data.path(), url.as_deref(), port);
            client = connect(port).await;
            sound(&mut client).await;
        }
        let mut found: BTreeMap<String, i64> = BTreeMap::new();
        let mut list = ListTransactionsRequest {
            page_size: 1000,
            ..ListTransactionsRequest::default()
        };
        loop {
            let page = client.list_transactions(list.clone()).await.unwrap();
            let page = page.into_inner();
            let ids = page.transactions.into_iter();
            found.extend(ids.map(|t| (t.transaction_id, t.sequence)));
            if page.next_page_token.is_empty() {
                break;
            }
            list.page_token = page.next_page_token;
        }
        for (id, sequence) in &acknowledged {
            assert_eq!(found.get(id), Some(sequence), "{id}");
        }
        let trial = client.get_trial_balance(GetTrialBalanceRequest::default());
        let trial = trial.await.unwrap().into_inner();
        assert_eq!(usize::try_from(trial.transactions).unwrap(), found.len());
        eprintln!(
            "{}: {kills} kills, {} acknowledged, {} found",
            url.as_deref().map_or("SQLite", |_| "PostgreSQL"),
            acknowledged.len(),
            found.len()
        );
        server.kill().unwrap();
        server.wait().unwrap();
    }
}
