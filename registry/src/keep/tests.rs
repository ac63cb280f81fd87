//! The store: kept, read again, and not believed when damaged.

use std::{fs, time::Duration};

use store::rusqlite::Connection;

use super::*;
use crate::catalogue::{Bounds, Catalogue, Instance, Key, Owner};

const NOW: UnixMillis = UnixMillis(5_000);

/// A catalogue with one instance, and what is to be kept of it.
fn kept() -> (Catalogue, Vec<(Owner, Option<Stored>)>) {
    let mut catalogue = Catalogue::new(1, Bounds::default());
    let instance = Instance {
        node: "n".to_owned(),
        instance_id: "a".to_owned(),
        service: "s".to_owned(),
        ..Instance::default()
    };
    let (_, effects) = catalogue.register(instance, NOW).unwrap();
    let stale = effects.stale.into_iter();
    let owners = stale.map(|owner| (owner.clone(), catalogue.stored(&owner)));
    let owners = owners.collect();
    (catalogue, owners)
}

async fn write(data: &Path) -> Kept {
    let mut kept_now = open(data, NOW, Metrics::default()).await.unwrap();
    kept_now.journal.note(kept().1, kept_now.first_revision);
    assert!(kept_now.journal.pending().durable().await);
    kept_now
}

#[tokio::test]
async fn what_is_durable_is_there_again_and_revisions_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let before = write(folder.path()).await;
    let (epoch, first) = (before.epoch.clone(), before.first_revision);
    drop(before);
    // Even when the clock went back meanwhile.
    let after = open(folder.path(), UnixMillis(1), Metrics::default())
        .await
        .unwrap();
    assert_eq!(after.epoch, epoch);
    assert!(after.first_revision > first + AHEAD);
    let mut catalogue = Catalogue::new(after.first_revision, Bounds::default());
    catalogue.restore(after.stored, NOW);
    let owner = Owner::Instance(Key::new("n", "a"));
    assert_eq!(catalogue.stored(&owner), kept().0.stored(&owner));
}

#[tokio::test]
async fn what_is_gone_stays_gone() {
    let folder = tempfile::tempdir().unwrap();
    let mut before = write(folder.path()).await;
    let gone = kept()
        .1
        .into_iter()
        .map(|(owner, _)| (owner, None))
        .collect();
    before.journal.note(gone, 1);
    assert!(before.journal.pending().durable().await);
    drop(before);
    assert!(
        open(folder.path(), NOW, Metrics::default())
            .await
            .unwrap()
            .stored
            .is_empty()
    );
}

#[tokio::test]
async fn revisions_are_reserved_ahead() {
    let folder = tempfile::tempdir().unwrap();
    let mut before = write(folder.path()).await;
    let far = before.first_revision + AHEAD;
    before.journal.note(Vec::new(), far);
    assert!(before.journal.pending().durable().await);
    drop(before);
    assert!(
        open(folder.path(), NOW, Metrics::default())
            .await
            .unwrap()
            .first_revision
            > far + AHEAD
    );
}

#[tokio::test]
async fn a_second_registry_is_told_that_the_file_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let _first = write(folder.path()).await;
    let second = open(folder.path(), NOW, Metrics::default())
        .await
        .unwrap_err();
    assert!(matches!(second, KeepError::Taken(_)), "{second}");
}

#[tokio::test]
async fn a_row_that_was_changed_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    drop(write(folder.path()).await);
    let path = folder.path().join("registry.db");
    let sql = r#"UPDATE kept SET record = replace(record, '"s"', '"t"') WHERE id = 'a'"#;
    assert_eq!(
        Connection::open(&path).unwrap().execute(sql, []).unwrap(),
        1
    );
    let error = open(folder.path(), NOW, Metrics::default())
        .await
        .unwrap_err();
    let said = error.to_string();
    assert!(said.contains("damaged") && said.contains("\"a\""), "{said}");
}

#[tokio::test]
async fn a_file_that_was_overwritten_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    drop(write(elsewhere.path()).await);
    // Everything in one file, then rubbish over its middle.
    let path = folder.path().join("registry.db");
    let whole = Connection::open(elsewhere.path().join("registry.db")).unwrap();
    whole
        .execute("VACUUM INTO ?1", [path.to_str().unwrap()])
        .unwrap();
    let mut bytes = fs::read(&path).unwrap();
    for byte in bytes.iter_mut().skip(4096) {
        *byte ^= 0x5a;
    }
    fs::write(&path, bytes).unwrap();
    let error = open(folder.path(), NOW, Metrics::default())
        .await
        .unwrap_err();
    let said = mizan::process::chain(&error);
    assert!(
        said.contains("damaged") || said.contains("malformed"),
        "{said}"
    );
}

#[tokio::test]
async fn while_the_file_cannot_be_written_nobody_is_told_that_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut before = write(folder.path()).await;
    let path = folder.path().join("registry.db");
    let other = Connection::open(&path).unwrap();
    other
        .execute_batch("ALTER TABLE kept RENAME TO hidden")
        .unwrap();
    before.journal.note(kept().1, 1);
    assert!(!before.journal.pending().durable().await);
    other
        .execute_batch("ALTER TABLE hidden RENAME TO kept")
        .unwrap();
    // It is tried again without being asked, and then it is true.
    let written = tokio::time::timeout(Duration::from_secs(20), before.journal.pending().durable());
    assert!(written.await.unwrap());
}
