//! `kill -9` of real servers at random moments while 64 callers write: what was acknowledged is
//! there, and nothing half. `MIZAN_TEST_KILLS` says how often, `MIZAN_TEST_SEED` when.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use mizan_contracts::accounting::v1::*;
use tokio::sync::watch;

use crate::{
    Random, create,
    process::{PATIENCE, Process, asked, sound_after},
    transfer,
};

/// How many times, unless the environment says otherwise.
const KILLS: u32 = 5;
const CALLERS: u32 = 64;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_every_kill_and_nothing_is_half_done() {
    let kills = asked("MIZAN_TEST_KILLS", KILLS);
    let mut random = Random(asked("MIZAN_TEST_SEED", 42).into());
    let mut urls = vec![None];
    urls.extend(store::testing::postgres().await.map(Some));
    for url in urls {
        let data = tempfile::tempdir().unwrap();
        let mut server = Process::new(data.path(), url.as_deref());
        let mut client = server.start().await;
        let mut acknowledged: BTreeMap<String, i64> = BTreeMap::new();
        create(&mut client, "a", AccountLimit::Unspecified).await;
        create(&mut client, "b", AccountLimit::Unspecified).await;
        let mut checked = 0;
        for kill in 0..kills {
            let (tell, mut told) = watch::channel(0);
            let killed = Arc::new(AtomicBool::new(false));
            let callers = (0..CALLERS).map(|caller| {
                let (mut client, tell, killed) = (client.clone(), tell.clone(), killed.clone());
                tokio::spawn(async move {
                    let mut done = Vec::new();
                    // Of a number that was not answered, again.
                    let mut n = 0;
                    while !killed.load(Relaxed) {
                        let id = format!("k{kill}-{caller}-{n}");
                        let request = transfer(&id, "a", "b", 1);
                        if let Ok(answer) = client.record_transaction(request).await {
                            done.push((id, answer.into_inner().sequence));
                            tell.send_modify(|count| *count += 1);
                            n += 1;
                        }
                    }
                    done
                })
            });
            let callers: Vec<_> = callers.collect();
            // After so many, and then at any moment: right after an acknowledgement only, the
            // server would always be at the same place in its work.
            let enough = random.below(400);
            let waited = told.wait_for(|count| *count >= enough);
            tokio::time::timeout(PATIENCE, waited)
                .await
                .unwrap()
                .unwrap();
            let moment = Duration::from_millis(random.below(20));
            let _ = tokio::time::timeout(moment, std::future::pending::<()>()).await;
            server.kill();
            killed.store(true, Relaxed);
            for caller in callers {
                acknowledged.extend(caller.await.unwrap());
            }
            client = server.start().await;
            checked = sound_after(&mut client, checked).await;
            // All of this life, each time; of all lives, at the end.
            let list = ListTransactionsRequest {
                page_size: 1,
                order_by: "sequence desc".to_owned(),
                ..ListTransactionsRequest::default()
            };
            let last = client.list_transactions(list).await.unwrap().into_inner();
            let last = last.transactions.first().map_or(0, |t| t.sequence);
            let told = acknowledged.values().max().copied().unwrap_or_default();
            assert!(last >= told, "{last}, {told} was acknowledged");
        }
        sound_after(&mut client, 0).await;
        let mut found: BTreeMap<String, i64> = BTreeMap::new();
        let mut list = ListTransactionsRequest {
            page_size: 1000,
            ..ListTransactionsRequest::default()
        };
        loop {
            let page = client.list_transactions(list.clone()).await.unwrap();
            let page = page.into_inner();
            for one in page.transactions {
                assert_eq!(one.legs.len(), 2, "{one:?}");
                found.insert(one.transaction_id, one.sequence);
            }
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
    }
}
