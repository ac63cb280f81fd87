//! What goes wrong with a file, and that it leaves nothing half-written.

#![allow(clippy::unwrap_used, reason = "tests")]

mod kit;

use std::{collections::BTreeSet, fs, path::Path};

use kit::{Command, Items, file, names, open, put, within};
use store::{Location, Store, rusqlite::Connection};

fn path(location: &Location) -> &Path {
    match location {
        Location::File(path) => path,
        Location::Server { .. } => panic!("not a file"),
    }
}

async fn refuses(store: &Store<Items>, name: &str, because: &str) {
    let error = put(store, name).await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains(because), "{cause}");
}

#[tokio::test]
async fn a_full_disk_refuses_and_keeps_what_it_had() {
    let place = file();
    let store = open(&place.location).await;
    put(&store, "before").await.unwrap();
    // As many pages as there are: the next one would be too many.
    within(store.execute(Command::Sql("PRAGMA max_page_count = 1")))
        .await
        .unwrap();
    let long = |i: usize| format!("{i}{}", "x".repeat(4096));
    let mut refused = BTreeSet::new();
    let mut kept = BTreeSet::from(["before".to_owned()]);
    for i in 0..20 {
        match put(&store, long(i)).await {
            Ok(_) => kept.insert(long(i)),
            Err(_) => refused.insert(long(i)),
        };
    }
    assert!(!refused.is_empty());
    assert_eq!(names(&store).await, kept);
    // There is room again.
    within(store.execute(Command::Sql("PRAGMA max_page_count = 100000")))
        .await
        .unwrap();
    for name in refused {
        put(&store, name.as_str()).await.unwrap();
        kept.insert(name);
    }
    assert_eq!(names(&store).await, kept);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_another_locks_refuses_until_it_is_let_go() {
    let place = file();
    let store = open(&place.location).await;
    let other = Connection::open(path(&place.location)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    refuses(&store, "locked", "locked").await;
    // Reads do not mind.
    assert!(names(&store).await.is_empty());
    other.execute_batch("ROLLBACK").unwrap();
    put(&store, "free").await.unwrap();
    assert_eq!(names(&store).await, BTreeSet::from(["free".to_owned()]));
}

#[tokio::test]
async fn who_comes_while_another_has_the_file_goes_along() {
    let place = file();
    let store = open(&place.location).await;
    let other = Connection::open(path(&place.location)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let ask = |i: usize| {
        let store = store.clone();
        tokio::spawn(async move { put(&store, format!("{i}")).await })
    };
    let mut asked = vec![ask(0)];
    // Meanwhile the writer takes the first, and waits for the file.
    assert!(names(&store).await.is_empty());
    asked.extend((1..8).map(ask));
    assert!(names(&store).await.is_empty());
    other.execute_batch("ROLLBACK").unwrap();
    for outcome in asked {
        assert_eq!(outcome.await.unwrap().unwrap().commands, 8);
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_written_refuses() {
    let place = file();
    let store = open(&place.location).await;
    put(&store, "before").await.unwrap();
    within(store.execute(Command::Sql("PRAGMA query_only = on")))
        .await
        .unwrap();
    refuses(&store, "never", "readonly").await;
    assert_eq!(names(&store).await, BTreeSet::from(["before".to_owned()]));
    // The setting is the connection's.
    let store = open(&place.location).await;
    put(&store, "after").await.unwrap();
}

#[tokio::test]
async fn what_is_not_a_database_is_not_opened_and_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("items.db");
    let text = "not a database ".repeat(1000);
    fs::write(&path, &text).unwrap();
    let error = Store::<Items>::open(&Location::File(path.clone()))
        .await
        .unwrap_err();
    let wanted = format!("cannot open {}", path.display());
    assert!(error.to_string().starts_with(&wanted), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}
