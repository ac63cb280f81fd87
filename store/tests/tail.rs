//! What was acknowledged and is gone is noticed when the file is opened, whatever became of it.

#![allow(clippy::unwrap_used, reason = "tests")]

mod kit;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use kit::{Command, Items, names, open, put, within};
use proptest::{prelude::*, test_runner::TestRunner};
use store::{
    Location, OpenError, Store, Writes as _,
    rusqlite::{Connection, OpenFlags},
};
use tempfile::TempDir;
use tokio::time::interval;

/// What lies beside a database.
const ENDINGS: [&str; 3] = ["", "-wal", "-anchor"];

/// A folder with a database.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, ending: &str) -> PathBuf {
        self.0.path().join(format!("items.db{ending}"))
    }

    fn location(&self) -> Location {
        Location::File(self.file(""))
    }

    async fn open(&self) -> Store<Items> {
        open(&self.location()).await
    }

    /// What lies here now, somewhere else: as a crash at this moment leaves it.
    fn copy(&self) -> Self {
        let copy = Self::new();
        for (ending, bytes) in self.bytes() {
            if let Some(bytes) = bytes {
                fs::write(copy.file(ending), bytes).unwrap();
            }
        }
        copy
    }

    fn bytes(&self) -> Vec<(&'static str, Option<Vec<u8>>)> {
        let read = |ending| {
            let bytes = fs::read(self.file(ending)).ok();
            // An empty file says as much as none.
            (ending, bytes.filter(|bytes| !bytes.is_empty()))
        };
        ENDINGS.into_iter().map(read).collect()
    }

    fn flip(&self, ending: &str, at: usize) {
        let mut bytes = fs::read(self.file(ending)).unwrap();
        bytes[at] ^= 0x40;
        fs::write(self.file(ending), bytes).unwrap();
    }

    fn log_length(&self) -> u64 {
        fs::metadata(self.file("-wal")).map_or(0, |log| log.len())
    }

    /// Refused, twice in these words, and nothing is touched by it.
    async fn refuses(&self, because: &str) -> String {
        let before = self.bytes();
        let mut said = String::new();
        for _ in 0..2 {
            let error = refused(&self.location()).await;
            assert!(error.is_damage(), "{error}");
            said = error.to_string();
            assert!(said.contains(because), "{said}");
            assert!(said.contains("Nothing was changed"), "{said}");
            assert!(
                said.contains(&self.file("").display().to_string()),
                "{said}"
            );
            assert!(self.bytes() == before, "a file was changed: {said}");
        }
        said
    }
}

async fn refused(location: &Location) -> OpenError {
    Store::<Items>::open(location).await.unwrap_err()
}

/// Somebody who reads what there is now, and by whom nothing newer gets out of the log.
fn reader(file: &Path) -> Connection {
    let reader = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let read = "BEGIN; SELECT count(*) FROM item";
    reader.execute_batch(read).unwrap();
    reader
}

fn numbers(all: std::ops::Range<usize>) -> BTreeSet<String> {
    all.map(|n| n.to_string()).collect()
}

/// So many acknowledged groups, all in the log.
async fn in_the_log(folder: &Folder, all: std::ops::Range<usize>) -> (Store<Items>, Connection) {
    let store = folder.open().await;
    let reader = reader(&folder.file(""));
    for name in all {
        put(&store, name.to_string()).await.unwrap();
    }
    (store, reader)
}

/// What a process that was killed left, with twenty groups in its log.
async fn killed() -> Folder {
    let folder = Folder::new();
    let (_store, _reader) = in_the_log(&folder, 0..20).await;
    folder.copy()
}

async fn soon(mut so: impl FnMut() -> bool) {
    let mut look = interval(Duration::from_millis(5));
    within(async {
        while !so() {
            look.tick().await;
        }
    })
    .await;
}

/// The last commit that is in the main file without its log.
fn without_log(folder: &Folder) -> i64 {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let uri = format!("file:{}?immutable=1", folder.file("").display());
    let file = Connection::open_with_flags(uri, flags).unwrap();
    let sql = "SELECT commits FROM mizan_store";
    file.query_row(sql, [], |row| row.get(0)).unwrap_or(0)
}

#[tokio::test]
async fn what_a_killed_process_left_is_opened_whole() {
    let left = killed().await;
    assert_eq!(names(&left.open().await).await, numbers(0..20));
}

#[tokio::test]
async fn a_byte_that_flips_in_the_log_is_told() {
    let left = killed().await;
    let length = usize::try_from(left.log_length()).unwrap();
    // The log's header, its salt and checksum, the first frame, and so on to the last byte.
    for (at, missing) in [
        (0, "20 acknowledged groups of writes are missing"),
        (17, "20 acknowledged groups"),
        (30, "20 acknowledged groups"),
        (40, "20 acknowledged groups"),
        (length / 2, "missing at its end"),
        (length - 1, "1 acknowledged group of writes is missing"),
    ] {
        let left = left.copy();
        left.flip("-wal", at);
        let said = left.refuses(missing).await;
        assert!(said.contains("mizan restore"), "{said}");
    }
}

#[tokio::test]
async fn a_log_that_was_cut_or_deleted_is_told() {
    let left = killed().await;
    let length = left.log_length();
    for kept in [0, 31, 32, length / 3, length - 1] {
        let left = left.copy();
        let log = fs::File::options().write(true).open(left.file("-wal"));
        log.unwrap().set_len(kept).unwrap();
        left.refuses("missing at its end").await;
    }
    fs::remove_file(left.file("-wal")).unwrap();
    left.refuses("20 acknowledged groups of writes are missing")
        .await;
}

/// Any number of changed bytes, anywhere: what is opened is whole.
#[test]
fn what_is_opened_holds_all_that_was_acknowledged() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let left = runtime.block_on(killed());
    let log = fs::read(left.file("-wal")).unwrap();
    let damage = prop::collection::vec((0..log.len(), 1_u8..=255), 1..4);
    let mut runner = TestRunner::new(ProptestConfig::with_cases(48));
    let outcome = runner.run(&damage, |damage| {
        let left = left.copy();
        let mut log = log.clone();
        for (at, flip) in damage {
            log[at] ^= flip;
        }
        let same = log == fs::read(left.file("-wal")).unwrap();
        fs::write(left.file("-wal"), log).unwrap();
        runtime.block_on(async {
            match Store::<Items>::open(&left.location()).await {
                Ok(store) => prop_assert_eq!(names(&store).await, numbers(0..20)),
                Err(error) => prop_assert!(!same && error.is_damage(), "{}", error),
            }
            Ok(())
        })
    });
    outcome.unwrap();
}

#[tokio::test]
async fn who_accepts_the_loss_goes_on_without_it() {
    let left = killed().await;
    left.flip("-wal", usize::try_from(left.log_length()).unwrap() - 1);
    left.refuses("remove").await;
    fs::remove_file(left.file("-anchor")).unwrap();
    let store = left.open().await;
    assert_eq!(names(&store).await, numbers(0..19));
    put(&store, "after").await.unwrap();
    store.close().await;
    assert!(names(&left.open().await).await.contains("after"));
}

#[tokio::test]
async fn an_older_file_in_its_place_is_told() {
    let folder = Folder::new();
    let store = folder.open().await;
    put(&store, "old").await.unwrap();
    store.close().await;
    let old = fs::read(folder.file("")).unwrap();
    let store = folder.open().await;
    put(&store, "new").await.unwrap();
    store.close().await;
    let (_store, _reader) = in_the_log(&folder, 0..5).await;

    // Beside the log of the newer one, which is not its own; and without.
    let left = folder.copy();
    fs::write(left.file(""), &old).unwrap();
    let said = left.refuses("a log that is not its own").await;
    assert!(said.contains("items.db-wal and"), "{said}");
    fs::remove_file(left.file("-wal")).unwrap();
    left.refuses("an older or another one was put in its place")
        .await;
    fs::remove_file(left.file("-anchor")).unwrap();
    assert_eq!(names(&left.open().await).await, ["old".to_owned()].into());
}

#[tokio::test]
async fn another_file_in_its_place_is_told() {
    let other = Folder::new();
    let store = other.open().await;
    put(&store, "other").await.unwrap();
    store.close().await;

    let left = killed().await;
    let other = fs::read(other.file("")).unwrap();
    fs::write(left.file(""), &other).unwrap();
    left.refuses("not the file that was here").await;
    // Without an anchor too: a log is not of this file that says of another life.
    fs::remove_file(left.file("-anchor")).unwrap();
    left.refuses("a log that is not its own").await;
}

#[tokio::test]
async fn a_file_that_is_gone_is_told() {
    let left = killed().await;
    fs::remove_file(left.file("")).unwrap();
    left.refuses("20 groups of writes were acknowledged").await;
    assert!(!left.file("").exists());
}

#[tokio::test]
async fn a_log_without_its_file_is_told() {
    let folder = killed().await;
    fs::remove_file(folder.file("")).unwrap();
    fs::remove_file(folder.file("-anchor")).unwrap();
    let said = refused(&folder.location()).await.to_string();
    assert!(said.contains("the file is gone, and its log"), "{said}");
}

#[tokio::test]
async fn an_anchor_that_cannot_be_read_is_told() {
    let left = killed().await;
    fs::write(left.file("-anchor"), "rubbish".repeat(600)).unwrap();
    left.refuses("items.db-anchor, which tells whether it is whole, is damaged")
        .await;
}

#[tokio::test]
async fn a_damaged_file_is_told() {
    let folder = Folder::new();
    let store = folder.open().await;
    for name in 0..200 {
        put(&store, format!("{name}{}", "x".repeat(500)))
            .await
            .unwrap();
    }
    store.close().await;
    let mut bytes = fs::read(folder.file("")).unwrap();
    for byte in bytes.iter_mut().skip(20 * 4096) {
        *byte ^= 0x5a;
    }
    fs::write(folder.file(""), bytes).unwrap();
    folder.refuses("it is damaged").await;
}

/// The log was copied, and then a byte of it flipped: with it, the file would be taken back.
#[tokio::test]
async fn a_damaged_log_of_which_all_is_in_the_file_is_told_from_a_loss() {
    let folder = Folder::new();
    let store = folder.open().await;
    let mut written = 0;
    // Somebody reads the end of the log, so that it may be copied and not cut.
    let _reader = loop {
        for _ in 0..20 {
            put(&store, written.to_string()).await.unwrap();
            written += 1;
        }
        let reader = reader(&folder.file(""));
        if folder.log_length() > 0 {
            break reader;
        }
    };
    // The last slot says that nothing needs the log any more.
    let floor = |anchor: Vec<u8>| {
        let at = written % 64 * 64 + 48;
        anchor[at..at + 8] == written.to_le_bytes()
    };
    soon(|| floor(fs::read(folder.file("-anchor")).unwrap())).await;
    let left = folder.copy();
    left.flip("-wal", usize::try_from(left.log_length()).unwrap() / 2);
    let said = left.refuses("would be missing").await;
    assert!(said.contains("is in the file without its log"), "{said}");
    // As it says, also where somebody takes the anchor for the trouble.
    fs::remove_file(left.file("-anchor")).unwrap();
    left.refuses("may not be whole").await;
    fs::remove_file(left.file("-wal")).unwrap();
    assert_eq!(names(&left.open().await).await, numbers(0..written));
}

#[tokio::test]
async fn a_log_is_copied_and_cut_when_nobody_writes() {
    let folder = Folder::new();
    let store = folder.open().await;
    put(&store, "a").await.unwrap();
    assert!(folder.log_length() > 0);
    soon(|| folder.log_length() == 0).await;
    assert_eq!(without_log(&folder), 1);
    // A copy of the main file alone, made now, is whole.
    let copy = Folder::new();
    fs::copy(folder.file(""), copy.file("")).unwrap();
    assert_eq!(names(&copy.open().await).await, ["a".to_owned()].into());
}

#[tokio::test]
async fn one_that_writes_all_the_time_has_a_short_log_too() {
    let folder = Folder::new();
    let store = folder.open().await;
    let mut commits = interval(Duration::from_millis(400));
    within(async {
        let mut last = 0;
        // Never a second without a write.
        for n in 0.. {
            commits.tick().await;
            let length = folder.log_length();
            if length < last {
                break;
            }
            last = length;
            put(&store, n.to_string()).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_file_of_an_earlier_version_is_opened_and_counted_from_then_on() {
    let folder = Folder::new();
    let file = Connection::open(folder.file("")).unwrap();
    file.pragma_update(None, "journal_mode", "wal").unwrap();
    for migration in Items::SQLITE {
        file.execute_batch(migration).unwrap();
    }
    file.pragma_update(None, "user_version", 2).unwrap();
    file.execute_batch("INSERT INTO item VALUES ('old', 1); INSERT INTO twin VALUES ('old');")
        .unwrap();
    drop(file);
    let store = folder.open().await;
    let _reader = reader(&folder.file(""));
    put(&store, "new").await.unwrap();
    let both: BTreeSet<_> = ["old", "new"].map(str::to_owned).into();
    assert_eq!(names(&store).await, both);
    let left = folder.copy();
    assert_eq!(names(&left.copy().open().await).await, both);
    fs::remove_file(left.file("-wal")).unwrap();
    left.refuses("1 acknowledged group of writes is missing")
        .await;
}

#[tokio::test]
async fn what_a_running_store_lacks_is_counted() {
    let folder = Folder::new();
    let (store, _reader) = in_the_log(&folder, 0..5).await;
    assert_eq!(within(store.missing()).await.unwrap(), 0);
    let other = Connection::open(folder.file("")).unwrap();
    let back = "UPDATE mizan_store SET commits = commits - 3";
    other.execute(back, []).unwrap();
    assert_eq!(within(store.missing()).await.unwrap(), 3);
}

/// A group that changes nothing costs no sync, and is nothing that could be lost.
#[tokio::test]
async fn a_group_that_changes_nothing_is_no_commit() {
    let folder = Folder::new();
    let (store, _reader) = in_the_log(&folder, 0..1).await;
    let length = folder.log_length();
    within(store.execute(Command::Sql("SELECT 1")))
        .await
        .unwrap();
    assert_eq!(folder.log_length(), length);
}
