//! What is acknowledged is durable and nothing is half-written, whichever process is killed.

#![allow(clippy::unwrap_used, reason = "tests")]

mod kit;

use std::{
    collections::BTreeSet,
    env,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Command as Process, Stdio},
    sync::{Arc, Mutex},
};

use kit::{Items, names, open, put, within};
use store::{
    Location, Store,
    testing::{Server, Settings},
};
use tokio::time::{Duration, interval};

/// How many callers write at once.
const CALLERS: usize = 64;

/// How many writes are acknowledged before something is killed.
const ACKNOWLEDGED: usize = 250;

const FILE: &str = "STORE_CRASH_FILE";
const URL: &str = "STORE_CRASH_URL";

fn location(of: &str) -> Location {
    Location::Server {
        url: of.to_owned(),
        schema: "items".to_owned(),
    }
}

/// Not a test by itself: the process that the tests below start, and kill.
#[test]
#[ignore = "runs until it is killed"]
fn writes_until_it_is_killed() {
    let location = match (env::var(FILE), env::var(URL)) {
        (Ok(file), _) => Location::File(PathBuf::from(file)),
        (_, Ok(url)) => location(&url),
        _ => return,
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = open(&location).await;
        let mut callers = Vec::new();
        let process = std::process::id();
        for caller in 0..CALLERS {
            let store = store.clone();
            callers.push(tokio::spawn(async move {
                for n in 0.. {
                    let name = format!("{process}-{caller}-{n}");
                    put(&store, name.as_str()).await.unwrap();
                    println!("acknowledged {name}");
                }
            }));
        }
        for caller in callers {
            caller.await.unwrap();
        }
    });
}

/// Kills a process in the middle of many writes, and says what it had acknowledged.
fn kill_a_writer(variable: &str, value: &str) -> BTreeSet<String> {
    let mut writer = Process::new(env::current_exe().unwrap())
        .args(["writes_until_it_is_killed", "--exact", "--ignored"])
        .arg("--nocapture")
        .env(variable, value)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(writer.stdout.take().unwrap());
    let mut acknowledged = BTreeSet::new();
    let mut line = String::new();
    while said.read_line(&mut line).unwrap() > 0 {
        // A line that was cut off acknowledged nothing.
        if let Some(name) = line.strip_prefix("acknowledged ")
            && let Some(name) = name.strip_suffix('\n')
        {
            acknowledged.insert(name.to_owned());
        }
        if acknowledged.len() == ACKNOWLEDGED {
            writer.kill().unwrap();
        }
        line.clear();
    }
    writer.wait().unwrap();
    assert!(
        acknowledged.len() >= ACKNOWLEDGED,
        "only {}",
        acknowledged.len()
    );
    acknowledged
}

async fn assert_kept(store: &Store<Items>, acknowledged: &BTreeSet<String>) {
    let kept = names(store).await;
    let lost: Vec<_> = acknowledged.difference(&kept).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
}

#[tokio::test]
async fn what_a_killed_writer_acknowledged_is_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("items.db");
    for _ in 0..2 {
        let acknowledged = kill_a_writer(FILE, path.to_str().unwrap());
        let store = open(&Location::File(path.clone())).await;
        assert_kept(&store, &acknowledged).await;
        put(&store, "after").await.unwrap();
        drop(store);
        std::fs::remove_dir_all(folder.path()).unwrap();
    }
}

/// Two processes at a time, killed again and again on one file: each time who comes after them is
/// alone, checks it, and finds nothing missing.
#[tokio::test]
async fn a_file_whose_writers_are_killed_is_never_taken_for_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("items.db");
    let mut acknowledged = BTreeSet::new();
    for _ in 0..3 {
        let killed = || kill_a_writer(FILE, path.to_str().unwrap());
        let (one, two) = std::thread::scope(|scope| {
            let (one, two) = (scope.spawn(killed), scope.spawn(killed));
            (one.join().unwrap(), two.join().unwrap())
        });
        acknowledged.extend(one);
        acknowledged.extend(two);
        let store = open(&Location::File(path.clone())).await;
        assert_kept(&store, &acknowledged).await;
        within(store.close()).await;
    }
}

#[tokio::test]
async fn what_a_killed_writer_acknowledged_is_on_the_server() {
    let Some(url) = store::testing::postgres().await else {
        return;
    };
    let acknowledged = kill_a_writer(URL, &url);
    let store = open(&location(&url)).await;
    assert_kept(&store, &acknowledged).await;
    put(&store, "after").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_before_the_server_was_killed_is_there_when_it_is_back() {
    let sync = Settings {
        sync: true,
        ..Settings::default()
    };
    let Some(mut server) = Server::start(&sync) else {
        return;
    };
    let store = open(&location(&server.database().await)).await;
    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    for round in 0..2 {
        let before = acknowledged.lock().unwrap().len();
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let (store, acknowledged) = (store.clone(), acknowledged.clone());
                tokio::spawn(async move {
                    for n in 0.. {
                        let name = format!("{round}-{caller}-{n}");
                        if put(&store, name.as_str()).await.is_err() {
                            return;
                        }
                        acknowledged.lock().unwrap().insert(name);
                    }
                })
            })
            .collect();
        let mut look = interval(Duration::from_millis(5));
        within(async {
            while acknowledged.lock().unwrap().len() < before + ACKNOWLEDGED {
                look.tick().await;
            }
        })
        .await;
        server.kill();
        // Nobody hangs: each caller is told.
        for caller in callers {
            within(caller).await.unwrap();
        }
        // And while the server is away, at once.
        for _ in 0..100 {
            put(&store, "away").await.unwrap_err();
            within(store.read(kit::Names)).await.unwrap_err();
        }
        server = tokio::task::spawn_blocking(move || {
            server.restart();
            server
        })
        .await
        .unwrap();
        // The same handle works again, without anybody's doing.
        within(async {
            while put(&store, format!("back-{round}")).await.is_err() {
                look.tick().await;
            }
            while store.read(kit::Names).await.is_err() {
                look.tick().await;
            }
        })
        .await;
        let so_far = acknowledged.lock().unwrap().clone();
        assert_kept(&store, &so_far).await;
        assert!(!names(&store).await.contains("away"));
    }
}
