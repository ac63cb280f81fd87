//! What callers of a database may rely on.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use store::{Database, Unavailable, rusqlite};

const MIGRATIONS: &[&str] = &["CREATE TABLE item (name TEXT PRIMARY KEY) STRICT"];

#[derive(Debug)]
enum Failed {
    Refused,
    Store,
}

impl From<Unavailable> for Failed {
    fn from(_: Unavailable) -> Self {
        Self::Store
    }
}

impl From<rusqlite::Error> for Failed {
    fn from(_: rusqlite::Error) -> Self {
        Self::Refused
    }
}

fn open(folder: &Path) -> Database {
    Database::open(&folder.join("deep/er/items.db"), MIGRATIONS).unwrap()
}

async fn insert(database: &Database, name: &str) -> Result<(), Failed> {
    let name = name.to_owned();
    database
        .write(move |c| {
            c.execute("INSERT INTO item VALUES (?1)", [&name])?;
            if name.starts_with("bad") {
                return Err(Failed::Refused);
            }
            Ok(())
        })
        .await
}

async fn count(database: &Database) -> i64 {
    database
        .read(|c| Ok::<_, Failed>(c.query_row("SELECT count(*) FROM item", [], |r| r.get(0))?))
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_write_undoes_only_itself() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path());
    let writes: Vec<_> = (0..200)
        .map(|i| {
            let database = database.clone();
            let name = if i % 4 == 0 {
                format!("bad{i}")
            } else {
                format!("item{i}")
            };
            tokio::spawn(async move { insert(&database, &name).await.is_ok() })
        })
        .collect();
    let mut kept = 0;
    for write in writes {
        kept += i64::from(write.await.unwrap());
    }
    assert_eq!((kept, count(&database).await), (150, 150));
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path());
    insert(&database, "kept").await.unwrap();
    drop(database);
    assert_eq!(count(&open(folder.path())).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_handles_share_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (open(folder.path()), open(folder.path()));
    let writes = (0..100).map(|i| {
        let database = if i % 2 == 0 { one.clone() } else { two.clone() };
        tokio::spawn(async move { insert(&database, &format!("item{i}")).await.unwrap() })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.unwrap();
    }
    assert_eq!((count(&one).await, count(&two).await), (100, 100));
}

#[tokio::test]
async fn a_write_that_panics_is_undone_and_the_next_one_stands() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path());
    let panicked: Result<(), Failed> = database
        .write(|c| {
            c.execute("INSERT INTO item VALUES ('undone')", [])?;
            panic!("a write with a bug")
        })
        .await;
    assert!(matches!(panicked, Err(Failed::Store)));
    insert(&database, "kept").await.unwrap();
    assert_eq!(count(&database).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_whose_callers_left_still_count() {
    const AT_ONCE: usize = 4;
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path());
    let (begun, mut begins) = tokio::sync::mpsc::unbounded_channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Arc::new(std::sync::Mutex::new(released));
    for _ in 0..AT_ONCE {
        let (begun, released) = (begun.clone(), released.clone());
        let reader = database.clone();
        let read = tokio::spawn(async move {
            let job = move |_: &rusqlite::Connection| {
                begun.send(()).unwrap();
                // Until the test lets go of the other end.
                let _ = released.lock().unwrap().recv();
                Ok::<_, Failed>(())
            };
            reader.read(job).await
        });
        begins.recv().await.unwrap();
        read.abort();
        assert!(read.await.unwrap_err().is_cancelled());
    }
    let mut next = Box::pin(count(&database));
    let waited = tokio::time::timeout(std::time::Duration::from_millis(100), &mut next).await;
    assert!(waited.is_err(), "a fifth read began beside four");
    drop(release);
    assert_eq!(next.await, 0);
}

#[test]
fn many_may_open_a_new_file_at_once() {
    for _ in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| open(folder.path()));
            }
        });
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let error = Database::open(&file.join("items.db"), MIGRATIONS).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with(&format!("cannot open {}", file.display())),
        "{error}"
    );
}
