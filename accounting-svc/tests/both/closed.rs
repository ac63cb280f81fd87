//! Fails closed: what cannot be kept is UNAVAILABLE, nothing of it is kept, reads go on where they
//! can, and the same request is done once the store is well again.

use std::{fs, os::unix::fs::PermissionsExt as _};

use accounting_svc::store::FILE;
use mizan::status;
use mizan_contracts::accounting::v1::*;
use store::{
    rusqlite::Connection,
    testing::{Server, Settings, limit_file_size, unprivileged},
};
use tonic::Code;

use crate::{Client, create, holds, process::Process, reason, sound, transfer};

async fn begun(client: &mut Client) {
    for id in ["a", "b"] {
        create(client, id, AccountLimit::Unspecified).await;
    }
    let request = transfer("before", "a", "b", 5);
    client.record_transaction(request).await.unwrap();
}

/// Refused, and told to try again.
async fn refused(client: &mut Client, id: &str) {
    let refused = client.record_transaction(transfer(id, "a", "b", 7)).await;
    let refused = refused.unwrap_err();
    let told = (refused.code(), reason(&refused));
    assert_eq!(told, (Code::Unavailable, "STORE_UNAVAILABLE".to_owned()));
    assert!(status::retry_after(&refused).is_some());
}

/// Nothing of what was refused is there; by the same id it is done, once.
async fn healed(client: &mut Client, id: &str) {
    assert_eq!(holds(client, "a").await, [5, 0, 0, 0]);
    for _ in 0..2 {
        let done = client.record_transaction(transfer(id, "a", "b", 7)).await;
        assert_eq!(done.unwrap().into_inner().sequence, 2);
    }
    assert_eq!(holds(client, "a").await, [12, 0, 0, 0]);
    sound(client).await;
}

/// The file may not grow, nor be written again: what a full disk does to a writer.
#[tokio::test]
async fn a_full_disk_is_unavailable_until_there_is_room() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Process::new(data.path(), None);
    let mut client = server.start().await;
    begun(&mut client).await;
    limit_file_size(server.id(), Some(0));
    for _ in 0..3 {
        refused(&mut client, "full").await;
    }
    assert_eq!(holds(&mut client, "a").await, [5, 0, 0, 0], "reads go on");
    limit_file_size(server.id(), None);
    healed(&mut client, "full").await;
}

/// Filled up with real pages, in the middle of a large transaction.
#[tokio::test]
async fn a_disk_that_fills_up_within_a_transaction_keeps_nothing_of_it() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Process::new(data.path(), None);
    let mut client = server.start().await;
    begun(&mut client).await;
    let log = data.path().join(format!("{FILE}-wal"));
    let length = fs::metadata(&log).unwrap().len();
    // Room for a page or two, and not for a thousand legs.
    limit_file_size(server.id(), Some(length + 10_000));
    let mut large = transfer("large", "a", "b", 1);
    large.legs = vec![large.legs; 500].concat();
    let refused = client.record_transaction(large.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(holds(&mut client, "a").await, [5, 0, 0, 0]);
    // And nothing of it comes back with another process.
    server.kill();
    let mut client = server.start().await;
    assert_eq!(holds(&mut client, "a").await, [5, 0, 0, 0]);
    sound(&mut client).await;
    client.record_transaction(large).await.unwrap();
    assert_eq!(holds(&mut client, "a").await, [505, 0, 0, 0]);
    sound(&mut client).await;
}

#[tokio::test]
async fn a_file_that_another_locks_is_unavailable_until_it_is_let_go() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Process::new(data.path(), None);
    let mut client = server.start().await;
    begun(&mut client).await;
    let other = Connection::open(data.path().join(FILE)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    refused(&mut client, "locked").await;
    assert_eq!(holds(&mut client, "a").await, [5, 0, 0, 0], "reads go on");
    other.execute_batch("ROLLBACK").unwrap();
    healed(&mut client, "locked").await;
}

/// Root may write what is read-only, so the server runs as somebody else then.
#[tokio::test]
async fn a_read_only_file_is_unavailable_and_written_again_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let mode = |path: &std::path::Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(data.path(), 0o777);
    let mut server = Process::new(data.path(), None);
    if let Some(user) = unprivileged() {
        server = server.run_by(user);
    }
    let mut client = server.start().await;
    begun(&mut client).await;
    server.kill();
    let file = data.path().join(FILE);
    mode(&file, 0o444);
    let mut client = server.start().await;
    refused(&mut client, "kept-out").await;
    assert_eq!(holds(&mut client, "a").await, [5, 0, 0, 0], "reads go on");
    // An open file stays as it was opened.
    server.kill();
    mode(&file, 0o666);
    let mut client = server.start().await;
    healed(&mut client, "kept-out").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_postgresql_is_unavailable_until_it_is_back() {
    let start = tokio::task::spawn_blocking(|| Server::start(&Settings::default()));
    let Some(mut database) = start.await.unwrap() else {
        return;
    };
    let url = database.database().await;
    let data = tempfile::tempdir().unwrap();
    let mut server = Process::new(data.path(), Some(&url));
    let mut client = server.start().await;
    begun(&mut client).await;
    database.kill();
    refused(&mut client, "away").await;
    let get = GetAccountRequest {
        account_id: "a".to_owned(),
    };
    let refused = client.get_account(get).await.unwrap_err();
    assert_eq!(
        refused.code(),
        Code::Unavailable,
        "reads have no other place"
    );
    let database = tokio::task::spawn_blocking(move || {
        database.restart();
        database
    });
    let _database = database.await.unwrap();
    healed(&mut client, "away").await;
}
