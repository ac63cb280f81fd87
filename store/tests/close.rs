//! An orderly end: all that was asked for is done, and one whole file is left.

#![allow(clippy::unwrap_used, reason = "tests")]

mod kit;

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, mpsc},
};

use kit::{Command, Items, file, names, open, put, server, within};
use store::{Database, Location, Query, Store, Unavailable, postgres::Session, rusqlite};
use tempfile::TempDir;

fn path(location: &Location) -> &Path {
    match location {
        Location::File(path) => path,
        Location::Server { .. } => panic!("not a file"),
    }
}

fn beside(location: &Location, ending: &str) -> PathBuf {
    PathBuf::from(format!("{}{ending}", path(location).display()))
}

/// The names in a copy of the main file alone.
async fn alone(location: &Location) -> BTreeSet<String> {
    let folder = TempDir::new().unwrap();
    let copy = folder.path().join("items.db");
    fs::copy(path(location), &copy).unwrap();
    names(&open(&Location::File(copy)).await).await
}

fn assert_one_file(location: &Location) {
    for ending in ["-wal", "-shm"] {
        assert!(!beside(location, ending).exists(), "{ending} is left");
    }
}

/// A process that keeps its handles has no more of the file: who restores it may.
fn assert_nobody_has_it(location: &Location) {
    let lock = fs::File::open(beside(location, "-anchor")).unwrap();
    assert!(lock.try_lock().is_ok(), "it is locked after its end");
}

#[tokio::test]
async fn one_whole_file_is_left() {
    let place = file();
    let store = open(&place.location).await;
    let mut all = BTreeSet::new();
    for n in 0..50 {
        put(&store, n.to_string()).await.unwrap();
        all.insert(n.to_string());
    }
    assert_eq!(names(&store).await, all);
    // Handles that live on keep nothing open.
    let clone = store.clone();
    within(store.close()).await;
    assert_one_file(&place.location);
    assert_nobody_has_it(&place.location);
    assert_eq!(alone(&place.location).await, all);
    put(&clone, "late").await.unwrap_err();
    within(clone.read(kit::Names)).await.unwrap_err();
    within(clone.close()).await;
    assert_eq!(names(&open(&place.location).await).await, all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_done_before_the_end_and_what_comes_later_is_told() {
    let place = file();
    let store = open(&place.location).await;
    let (begun, begins) = mpsc::channel();
    let (go_on, end) = mpsc::channel();
    let hold = Command::Hold(begun, Arc::new(Mutex::new(end)));
    let ask = |command| {
        let store = store.clone();
        tokio::spawn(async move { store.execute(command).await })
    };
    let held = ask(hold);
    tokio::task::spawn_blocking(move || begins.recv().unwrap())
        .await
        .unwrap();
    let waiting: Vec<_> = (0..10).map(|n| ask(Command::Put(n.to_string()))).collect();
    // They are in the queue when a read that came after them is answered.
    names(&store).await;
    let closing = tokio::spawn({
        let store = store.clone();
        async move { store.close().await }
    });
    go_on.send(()).unwrap();
    within(closing).await.unwrap();
    within(held).await.unwrap().unwrap();
    let mut done = BTreeSet::new();
    for (n, asked) in waiting.into_iter().enumerate() {
        if within(asked).await.unwrap().is_ok() {
            done.insert(n.to_string());
        }
    }
    put(&store, "late").await.unwrap_err();
    assert_eq!(alone(&place.location).await, done);
}

/// Closes one after the other, and both at once, many times over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_of_two_leaves_one_file() {
    let place = file();
    let mut all = BTreeSet::new();
    for round in 0..20 {
        let (one, two) = (open(&place.location).await, open(&place.location).await);
        for (name, store) in [("one", &one), ("two", &two)] {
            let name = format!("{name}-{round}");
            put(store, name.as_str()).await.unwrap();
            all.insert(name);
        }
        if round % 2 == 0 {
            within(one.close()).await;
            let name = format!("alone-{round}");
            put(&two, name.as_str()).await.unwrap();
            all.insert(name);
            within(two.close()).await;
        } else {
            within(async { tokio::join!(one.close(), two.close()) }).await;
        }
        assert_one_file(&place.location);
        assert_eq!(alone(&place.location).await, all);
    }
}

/// Whoever looks into the file with a tool of his own, the log is copied and cut.
#[tokio::test]
async fn a_log_that_must_stay_is_empty() {
    let place = file();
    let store = open(&place.location).await;
    let shell = rusqlite::Connection::open(path(&place.location)).unwrap();
    let count = || {
        let count = "SELECT count(*) FROM item";
        let count = shell.query_row(count, [], |row| row.get::<_, i64>(0));
        count.unwrap()
    };
    assert_eq!(count(), 0);
    put(&store, "a").await.unwrap();
    within(store.close()).await;
    let log = fs::metadata(beside(&place.location, "-wal")).unwrap();
    assert_eq!((log.len(), count()), (0, 1));
    assert_eq!(alone(&place.location).await, ["a".to_owned()].into());
}

/// A read that does not end.
struct Hangs(mpsc::Sender<()>, mpsc::Receiver<()>);

impl Query for Hangs {
    type Output = ();

    fn in_file(self, _: &rusqlite::Connection) -> Result<(), Unavailable> {
        self.0.send(()).unwrap();
        // Until the test lets go of the other end.
        let _ = self.1.recv();
        Ok(())
    }

    async fn on_server(self, _: &Session) -> Result<(), Unavailable> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_hangs_does_not_hold_up_the_end() {
    let place = file();
    let store = open(&place.location).await;
    put(&store, "kept").await.unwrap();
    let (begun, begins) = mpsc::channel();
    let (let_go, end) = mpsc::channel();
    let reader = store.clone();
    let hanging = tokio::spawn(async move { reader.read(Hangs(begun, end)).await });
    tokio::task::spawn_blocking(move || begins.recv().unwrap())
        .await
        .unwrap();
    within(store.close()).await;
    assert_eq!(alone(&place.location).await, ["kept".to_owned()].into());
    drop(let_go);
    within(hanging).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_store_on_a_server_is_closed_too() {
    let Some(place) = server().await else { return };
    let store = open(&place.location).await;
    put(&store, "kept").await.unwrap();
    assert_eq!(within(store.missing()).await.unwrap(), 0);
    let clone = store.clone();
    within(store.close()).await;
    put(&clone, "late").await.unwrap_err();
    within(clone.read(kit::Names)).await.unwrap_err();
    let store = open(&place.location).await;
    assert_eq!(names(&store).await, ["kept".to_owned()].into());
}

#[tokio::test]
async fn a_database_is_closed_too() {
    let place = file();
    let migrations = &[
        "CREATE TABLE item (name TEXT)",
        "CREATE TABLE twin (name TEXT)",
    ];
    let database = Database::open(path(&place.location), migrations).unwrap();
    let insert = |database: Database| async move {
        let insert = |c: &rusqlite::Connection| {
            c.execute("INSERT INTO item VALUES ('a')", [])
                .map_err(Unavailable::from)
        };
        database.write(insert).await
    };
    insert(database.clone()).await.unwrap();
    within(database.close()).await;
    assert_one_file(&place.location);
    assert_nobody_has_it(&place.location);
    insert(database.clone()).await.unwrap_err();
    let read = database.read(|_| Ok::<_, Unavailable>(()));
    within(read).await.unwrap_err();
}

#[tokio::test]
async fn what_is_kept_is_for_the_owner_alone() {
    let place = file();
    let store = open(&place.location).await;
    put(&store, "a").await.unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for ending in ["", "-wal", "-shm", "-anchor"] {
        assert_eq!(mode(&beside(&place.location, ending)), 0o600, "{ending}");
    }
    let folder = path(&place.location).parent().unwrap();
    assert_eq!(
        (mode(folder), mode(folder.parent().unwrap())),
        (0o700, 0o700)
    );
}

/// What SQLite refuses when the transaction is to be committed was not written, whatever its
/// statements said.
#[tokio::test]
async fn a_commit_that_is_refused_is_not_acknowledged() {
    const TABLES: &str = "CREATE TABLE parent (id INTEGER PRIMARY KEY) STRICT;
        CREATE TABLE child (of INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED) STRICT";
    const ORPHAN: &str = "INSERT INTO child VALUES (7)";
    let place = file();
    let store: Store<Items> = open(&place.location).await;
    within(store.execute(Command::Sql(TABLES))).await.unwrap();
    let commits = async || {
        let commits = kit::Number("SELECT commits FROM mizan_store");
        within(store.read(commits)).await.unwrap()
    };
    let before = commits().await;
    within(store.execute(Command::Sql(ORPHAN)))
        .await
        .unwrap_err();
    let children = kit::Number("SELECT count(*) FROM child");
    assert_eq!(within(store.read(children)).await.unwrap(), 0);
    assert_eq!(commits().await, before);
    assert_eq!(within(store.missing()).await.unwrap(), 0);
    put(&store, "after").await.unwrap();
    within(store.close()).await;

    let folder = TempDir::new().unwrap();
    let database = Database::open(&folder.path().join("a.db"), &[TABLES]).unwrap();
    let orphan = database.write(|c| c.execute(ORPHAN, []).map_err(Unavailable::from));
    within(orphan).await.unwrap_err();
    let count = database.read(|c| {
        c.query_row("SELECT count(*) FROM child", [], |row| row.get::<_, i64>(0))
            .map_err(Unavailable::from)
    });
    assert_eq!(within(count).await.unwrap(), 0);
    // It is undone, or the next one would be within it.
    let after = database.write(|c| {
        c.execute("INSERT INTO parent VALUES (1)", [])
            .map_err(Unavailable::from)
    });
    assert_eq!(within(after).await.unwrap(), 1);
    within(database.close()).await;
}

/// A process goes on with a file that is no longer there, and nobody would find what it writes.
#[tokio::test]
async fn nothing_is_acknowledged_into_a_file_that_was_removed_or_replaced() {
    let place = file();
    let store: Store<Items> = open(&place.location).await;
    put(&store, "before").await.unwrap();
    let (here, aside) = (path(&place.location), beside(&place.location, "-aside"));
    fs::rename(here, &aside).unwrap();
    let refused = put(&store, "gone").await.unwrap_err();
    let why = std::error::Error::source(&refused).unwrap().to_string();
    assert!(why.contains("removed or replaced"), "{why}");
    fs::copy(&aside, here).unwrap();
    put(&store, "replaced").await.unwrap_err();
    fs::rename(&aside, here).unwrap();
    put(&store, "after").await.unwrap();
    assert_eq!(
        names(&store).await,
        ["after", "before"].map(str::to_owned).into()
    );
}
