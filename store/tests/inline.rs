//! Databases of a simulation: the same rules, on the thread that asks.
#![allow(clippy::unwrap_used, reason = "tests")]

use store::{Database, Unavailable, rusqlite};

const MIGRATIONS: &[&str] = &["CREATE TABLE entry (id INTEGER PRIMARY KEY)"];

#[derive(Debug)]
enum Failed {
    Refused,
    Unavailable,
}

impl From<Unavailable> for Failed {
    fn from(_: Unavailable) -> Self {
        Self::Unavailable
    }
}

async fn count(database: &Database) -> i64 {
    let count = |file: &rusqlite::Connection| {
        file.query_row("SELECT count(*) FROM entry", [], |row| row.get(0))
            .map_err(Unavailable::from)
    };
    database.read(count).await.unwrap()
}

async fn insert(database: &Database, id: i64, kept: bool) -> Result<(), Failed> {
    let insert = move |file: &rusqlite::Connection| {
        file.execute("INSERT INTO entry VALUES (?1)", [id])
            .map_err(Unavailable::from)?;
        if kept { Ok(()) } else { Err(Failed::Refused) }
    };
    database.write(insert).await
}

#[tokio::test(start_paused = true)]
async fn what_was_done_is_kept_and_what_failed_is_undone() {
    store::simulate_on_this_thread();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let one = Database::open(&path, MIGRATIONS).unwrap();
    // A second process that shares the file.
    let two = Database::open(&path, MIGRATIONS).unwrap();
    insert(&one, 1, true).await.unwrap();
    assert!(matches!(insert(&two, 2, false).await, Err(Failed::Refused)));
    assert!(matches!(
        insert(&two, 1, true).await,
        Err(Failed::Unavailable)
    ));
    insert(&two, 3, true).await.unwrap();
    assert_eq!((count(&one).await, count(&two).await), (2, 2));
    drop((one, two));
    assert_eq!(count(&Database::open(&path, MIGRATIONS).unwrap()).await, 2);
}

/// A machine may die after the commit and before the answer: it is kept all the same.
#[tokio::test(start_paused = true)]
async fn the_answer_comes_after_the_commit() {
    store::simulate_on_this_thread();
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&folder.path().join("a.db"), MIGRATIONS).unwrap();
    let writer = database.clone();
    let writing = tokio::spawn(async move { insert(&writer, 1, true).await });
    while count(&database).await == 0 {
        tokio::task::yield_now().await;
    }
    assert!(!writing.is_finished());
    writing.await.unwrap().unwrap();
}
