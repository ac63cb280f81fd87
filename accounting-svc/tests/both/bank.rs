//! Jepsen's bank: eight accounts that hold 100 together, transfers of at most 5 between them by 400
//! callers, and reads of all eight meanwhile, each at one moment (GetTrialBalance). Every read adds
//! up to 100, and none is below zero.

use std::{collections::BTreeMap, time::Duration};

use mizan_contracts::accounting::v1::*;
use tokio::sync::watch;
use tonic::Status;

use crate::{
    Client, Random, create, each_store, pence,
    process::{PATIENCE, Process, asked, sound_after},
    reason, serve, sound, transfer,
};

const CALLERS: usize = 400;

/// How many read all eight, one read after the other.
const READERS: usize = 8;

/// How often the server is killed, unless `MIZAN_TEST_BANK_KILLS` says otherwise.
const KILLS: u32 = 3;

/// How many transfers each caller makes, unless `MIZAN_TEST_BANK_ROUNDS` says otherwise.
const ROUNDS: u32 = 2;

async fn open(client: &mut Client) -> Vec<String> {
    create(client, "bank", AccountLimit::Unspecified).await;
    let names: Vec<String> = (0..8).map(|n| format!("account-{n}")).collect();
    for (index, name) in names.iter().enumerate() {
        create(client, name, AccountLimit::DebitsMustNotExceedCredits).await;
        let given = if index < 4 { 13 } else { 12 };
        let request = transfer(&format!("open-{name}"), "bank", name, given);
        client.record_transaction(request).await.unwrap();
    }
    names
}

/// What the eight hold, all at one moment.
async fn read(client: &mut Client) -> Result<BTreeMap<String, i64>, Status> {
    let trial = client.get_trial_balance(GetTrialBalanceRequest::default());
    let held = trial.await?.into_inner().balances.into_iter();
    let held = held.filter(|b| b.account_id != "bank");
    Ok(held
        .map(|b| (b.account_id, pence(b.balance.as_ref())))
        .collect())
}

fn judge(held: &BTreeMap<String, i64>, store: &str) {
    assert_eq!(held.values().sum::<i64>(), 100, "{store}: {held:?}");
    assert!(held.values().all(|n| *n >= 0), "{store}: {held:?}");
}

/// By two instances on one store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bank_of_eight_accounts_never_holds_more_or_less_than_it_was_given() {
    for (store, data, url, mut client) in each_store().await {
        let names = open(&mut client).await;
        let other = serve(data.path(), url).await;
        let clients = [client.clone(), other];
        let writers = (0..CALLERS).map(|n| {
            let mut client = clients[n % 2].clone();
            let (from, to) = (&names[n % 8], &names[(n + 1 + n / 8 % 7) % 8]);
            let minor = i64::try_from(n % 5).unwrap() + 1;
            let request = transfer(&format!("t{n}"), from, to, minor);
            // Who is not told the outcome asks for it.
            tokio::spawn(async move {
                loop {
                    match client.record_transaction(request.clone()).await {
                        Err(status) if status.code() == tonic::Code::Unavailable => {}
                        told => return told,
                    }
                }
            })
        });
        let writers: Vec<_> = writers.collect();
        let mut reads = 0;
        loop {
            let done = writers.iter().all(tokio::task::JoinHandle::is_finished);
            judge(&read(&mut client).await.unwrap(), store);
            reads += 1;
            if done {
                break;
            }
        }
        let mut refused = 0;
        for writer in writers {
            if let Err(status) = writer.await.unwrap() {
                assert_eq!(reason(&status), "DEBITS_EXCEED_CREDITS", "{store}");
                refused += 1;
            }
        }
        eprintln!("{store}: {reads} reads, {refused} of {CALLERS} refused");
        sound(&mut client).await;
    }
}

/// The server that stands now; changes with every restart.
type Standing = watch::Receiver<(u32, Client)>;

/// Asks until it knows the outcome, by the same id: whether it was done.
async fn insist(standing: &mut Standing, request: RecordTransactionRequest) -> bool {
    loop {
        let (life, mut client) = standing.borrow_and_update().clone();
        match client.record_transaction(request.clone()).await {
            Ok(_) => return true,
            Err(status) if reason(&status) == "DEBITS_EXCEED_CREDITS" => return false,
            Err(_) => {}
        }
        // Nothing changes until there is another server; one that stands is asked again.
        let next = standing.wait_for(|(now, _)| *now > life);
        let _ = tokio::time::timeout(Duration::from_millis(200), next).await;
    }
}

/// One caller's transfers: how many, and those that were done.
type Done = Vec<(usize, usize, i64)>;

async fn caller(
    mut standing: Standing,
    names: Vec<String>,
    number: usize,
    rounds: u32,
    answered: watch::Sender<u32>,
) -> Done {
    let mut random = Random(u64::try_from(number).unwrap());
    let mut done = Vec::new();
    for round in 0..rounds {
        let [from, by, minor] = [8, 7, 5].map(|bound| random.below(bound));
        let (from, to) = (usize::try_from(from).unwrap(), from + 1 + by);
        let to = usize::try_from(to % 8).unwrap();
        let minor = i64::try_from(minor).unwrap() + 1;
        let id = format!("t{number}-{round}");
        let request = transfer(&id, &names[from], &names[to], minor);
        if insist(&mut standing, request).await {
            done.push((from, to, minor));
        }
        answered.send_modify(|count| *count += 1);
    }
    done
}

/// Reads and judges until it is stopped: how often.
async fn reader(
    mut standing: Standing,
    mut stopped: watch::Receiver<bool>,
    store: &'static str,
) -> u32 {
    let mut reads = 0;
    while !*stopped.borrow_and_update() {
        let (_, mut client) = standing.borrow_and_update().clone();
        match read(&mut client).await {
            Ok(held) => {
                judge(&held, store);
                reads += 1;
            }
            // Until there is another server.
            Err(_) => {
                let next = standing.changed();
                let _ = tokio::time::timeout(Duration::from_millis(200), next).await;
            }
        }
    }
    reads
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bank_adds_up_though_its_server_is_killed() {
    let kills = asked("MIZAN_TEST_BANK_KILLS", KILLS);
    let rounds = asked("MIZAN_TEST_BANK_ROUNDS", ROUNDS);
    let mut urls = vec![None];
    urls.extend(store::testing::postgres().await.map(Some));
    for url in urls {
        let store = url.as_deref().map_or("SQLite", |_| "PostgreSQL");
        let data = tempfile::tempdir().unwrap();
        let mut server = Process::new(data.path(), url.as_deref());
        let mut client = server.start().await;
        let names = open(&mut client).await;
        let (tell, standing) = watch::channel((0, client.clone()));
        let (answered, mut count) = watch::channel(0);
        let callers: Vec<_> = (0..CALLERS)
            .map(|number| {
                let (standing, names) = (standing.clone(), names.clone());
                tokio::spawn(caller(standing, names, number, rounds, answered.clone()))
            })
            .collect();
        let (stop, stopped) = watch::channel(false);
        let readers = (0..READERS).map(|_| {
            let (standing, stopped) = (standing.clone(), stopped.clone());
            tokio::spawn(reader(standing, stopped, store))
        });
        let readers: Vec<_> = readers.collect();
        let all = rounds * u32::try_from(CALLERS).unwrap();
        for kill in 1..=kills {
            // In the middle of the work, each time after another part of it.
            let enough = all * kill / (kills + 1);
            let waited = count.wait_for(|count| *count >= enough);
            tokio::time::timeout(PATIENCE, waited)
                .await
                .unwrap()
                .unwrap();
            server.kill();
            client = server.start().await;
            tell.send((kill, client.clone())).unwrap();
        }
        let mut expected = BTreeMap::new();
        for (index, name) in names.iter().enumerate() {
            expected.insert(name.clone(), if index < 4 { 13 } else { 12 });
        }
        let mut accepted = 0;
        for caller in callers {
            for (from, to, minor) in caller.await.unwrap() {
                *expected.get_mut(&names[from]).unwrap() -= minor;
                *expected.get_mut(&names[to]).unwrap() += minor;
                accepted += 1;
            }
        }
        stop.send(true).unwrap();
        let mut reads = 0;
        for reader in readers {
            reads += reader.await.unwrap();
        }
        assert!(reads > 0, "{store}");
        assert_eq!(read(&mut client).await.unwrap(), expected, "{store}");
        sound_after(&mut client, 0).await;
        eprintln!("{store}: {kills} kills, {reads} reads, {accepted} of {all} transfers accepted");
    }
}
