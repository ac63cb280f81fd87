//! Copies that are made while a file is written, and put back.

#![allow(clippy::unwrap_used, reason = "tests")]

mod kit;

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use kit::{names, open, put, within};
use store::{
    Location, Store,
    backup::{self, Alone},
    rusqlite::Connection,
};
use tempfile::TempDir;

fn file(folder: &TempDir, name: &str) -> PathBuf {
    folder.path().join(name)
}

async fn opened(file: &Path) -> Store<kit::Items> {
    open(&Location::File(file.to_owned())).await
}

async fn with(file: &Path, name: &str) {
    let store = opened(file).await;
    put(&store, name).await.unwrap();
    within(store.close()).await;
}

async fn holds(file: &Path) -> BTreeSet<String> {
    let store = opened(file).await;
    let names = names(&store).await;
    within(store.close()).await;
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_of_one_moment_whoever_writes() {
    let folder = TempDir::new().unwrap();
    let items = file(&folder, "items.db");
    let store = opened(&items).await;
    let writer = store.clone();
    let writing = tokio::spawn(async move {
        let mut n = 0;
        while put(&writer, format!("{n:05}")).await.is_ok() {
            n += 1;
        }
    });
    for _ in 0..5 {
        let before = names(&store).await;
        let copies = TempDir::new().unwrap();
        let (from, to) = (items.clone(), file(&copies, "items.db"));
        let copy = to.clone();
        tokio::task::spawn_blocking(move || backup::copy(&from, &copy))
            .await
            .unwrap()
            .unwrap();
        backup::check(&to).unwrap();
        let mode = fs::metadata(&to).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // Both tables of a command agree, or this fails; and nothing of before is missing.
        assert!(holds(&to).await.is_superset(&before));
    }
    within(store.close()).await;
    writing.await.unwrap();
}

/// It may be put in place of the file that it is of, which went on meanwhile; and it is known then.
#[tokio::test]
async fn a_copy_lives_on_its_own() {
    let (folder, copies) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (items, copy) = (file(&folder, "items.db"), file(&copies, "items.db"));
    with(&items, "a").await;
    backup::copy(&items, &copy).unwrap();
    with(&copy, "in the copy").await;
    with(&items, "b").await;
    fs::rename(&copy, &items).unwrap();
    let refused = Store::<kit::Items>::open(&Location::File(items)).await;
    assert!(refused.unwrap_err().is_damage());
}

#[tokio::test]
async fn what_is_damaged_is_neither_copied_nor_taken_for_a_copy() {
    let (folder, copies) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (items, copy) = (file(&folder, "items.db"), file(&copies, "items.db"));
    let store = opened(&items).await;
    for n in 0..100 {
        put(&store, format!("{n}{}", "x".repeat(500)))
            .await
            .unwrap();
    }
    within(store.close()).await;
    backup::copy(&items, &copy).unwrap();
    for file in [&items, &copy] {
        let mut bytes = fs::read(file).unwrap();
        for byte in bytes.iter_mut().skip(15 * 4096) {
            *byte ^= 0x5a;
        }
        fs::write(file, bytes).unwrap();
    }
    let error = backup::copy(&items, &file(&folder, "other.db")).unwrap_err();
    assert!(error.is_damage() && !file(&folder, "other.db").exists());
    let before = fs::read_dir(copies.path()).unwrap().count();
    assert!(backup::check(&copy).unwrap_err().is_damage());
    assert_eq!(fs::read_dir(copies.path()).unwrap().count(), before);
}

#[tokio::test]
async fn a_file_is_put_back_only_while_nobody_has_it_and_can_be_taken_away_again() {
    let (folder, copies) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (items, copy) = (file(&folder, "items.db"), file(&copies, "items.db"));
    let aside = file(&folder, "aside");
    fs::create_dir(&aside).unwrap();
    with(&items, "copied").await;
    backup::copy(&items, &copy).unwrap();
    let store = opened(&items).await;
    put(&store, "later").await.unwrap();
    assert!(Alone::take(&items).unwrap().is_none());
    within(store.close()).await;
    // Nor while anything else has it open.
    let shell = Connection::open(&items).unwrap();
    shell
        .query_row("SELECT count(*) FROM item", [], |_| Ok(()))
        .unwrap();
    assert!(Alone::take(&items).unwrap().is_none());
    drop(shell);
    let both: BTreeSet<_> = ["copied", "later"].map(str::to_owned).into();

    for undone in [true, false] {
        let mut alone = Alone::take(&items).unwrap().unwrap();
        assert!(alone.is_there());
        alone.bring(&copy).unwrap();
        alone.put_aside(&aside).unwrap();
        alone.place().unwrap();
        if undone {
            alone.undo().unwrap();
            drop(alone);
            assert_eq!(holds(&items).await, both);
        } else {
            alone.settle().unwrap();
        }
    }
    assert_eq!(holds(&items).await, ["copied".to_owned()].into());
    assert_eq!(holds(&aside.join("items.db")).await, both);
    assert!(!file(&folder, "items.db-restoring").exists());
}
