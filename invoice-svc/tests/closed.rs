//! Fails closed: what cannot be kept is UNAVAILABLE, nothing of it is kept, no number is lost, reads
//! go on where they can, and the same request is done once the store is well again.
#![allow(clippy::unwrap_used, reason = "tests")]

mod process;

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use mizan::status;
use mizan_contracts::invoice::v1::{GetInvoiceRequest, Invoice, InvoiceState};
use process::{Client, Process, create, finalize};
use store::{
    rusqlite::{Connection, params},
    testing::{Server, Settings, limit_file_size, unprivileged},
};
use tonic::{Code, Status};

/// Two drafts and one that is finalized.
async fn begun(client: &Client) {
    for id in ["first", "second", "third"] {
        create(client.clone(), id.to_owned()).await.unwrap();
    }
    let first = finalize(client.clone(), "first".to_owned()).await.unwrap();
    assert_eq!(first.number, "INV-00000001");
}

async fn get(client: &Client, id: &str) -> Result<Invoice, Status> {
    let request = GetInvoiceRequest {
        invoice_id: id.to_owned(),
    };
    let got = client.clone().get_invoice(request).await?;
    Ok(got.into_inner())
}

fn told(status: &Status) -> (Code, String) {
    (status.code(), status::reason(status).unwrap_or_default())
}

/// Refused, and told to try again.
async fn refused(client: &Client) {
    let refused = finalize(client.clone(), "second".to_owned()).await;
    let refused = refused.unwrap_err();
    let unavailable = (Code::Unavailable, "STORE_UNAVAILABLE".to_owned());
    assert_eq!(told(&refused), unavailable);
    assert!(status::retry_after(&refused).is_some());
}

async fn reads_go_on(client: &Client) {
    let draft = get(client, "second").await.unwrap();
    assert_eq!(draft.state(), InvoiceState::Draft);
}

/// Nothing of what was refused is there; by the same id it is done, once, and the numbers go on.
async fn healed(client: &Client) {
    reads_go_on(client).await;
    for _ in 0..2 {
        let second = finalize(client.clone(), "second".to_owned()).await.unwrap();
        assert_eq!(second.number, "INV-00000002");
    }
    let third = finalize(client.clone(), "third".to_owned()).await.unwrap();
    assert_eq!(third.number, "INV-00000003");
}

#[tokio::test]
async fn a_full_disk_is_unavailable_until_there_is_room() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::start(data.path(), None).await;
    begun(&server.client).await;
    limit_file_size(server.id(), Some(0));
    for _ in 0..3 {
        refused(&server.client).await;
    }
    reads_go_on(&server.client).await;
    limit_file_size(server.id(), None);
    healed(&server.client).await;
}

#[tokio::test]
async fn a_file_that_another_locks_is_unavailable_until_it_is_let_go() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::start(data.path(), None).await;
    begun(&server.client).await;
    let other = Connection::open(data.path().join("invoice.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    refused(&server.client).await;
    reads_go_on(&server.client).await;
    other.execute_batch("ROLLBACK").unwrap();
    healed(&server.client).await;
}

/// Root may write what is read-only, so the server runs as somebody else then.
#[tokio::test]
async fn a_read_only_file_is_unavailable_and_written_again_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let mode = |path: &Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(data.path(), 0o777);
    let mut server = Process::start_by(unprivileged(), data.path(), None).await;
    begun(&server.client).await;
    server.kill();
    let file = data.path().join("invoice.db");
    mode(&file, 0o444);
    let mut server = Process::start_by(unprivileged(), data.path(), None).await;
    refused(&server.client).await;
    reads_go_on(&server.client).await;
    // An open file stays as it was opened.
    server.kill();
    mode(&file, 0o666);
    let server = Process::start_by(unprivileged(), data.path(), None).await;
    healed(&server.client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_postgresql_is_unavailable_until_it_is_back() {
    let start = tokio::task::spawn_blocking(|| Server::start(&Settings::default()));
    let Some(mut database) = start.await.unwrap() else {
        return;
    };
    let url = database.database().await;
    let data = tempfile::tempdir().unwrap();
    let server = Process::start(data.path(), Some(&url)).await;
    begun(&server.client).await;
    database.kill();
    refused(&server.client).await;
    let unread = get(&server.client, "second").await.unwrap_err();
    assert_eq!(
        unread.code(),
        Code::Unavailable,
        "reads have no other place"
    );
    let database = tokio::task::spawn_blocking(move || {
        database.restart();
        database
    });
    let _database = database.await.unwrap();
    healed(&server.client).await;
}

/// Not UNAVAILABLE: trying again does not help.
#[tokio::test]
async fn a_damaged_record_is_data_loss_to_whoever_meets_it() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::start(data.path(), None).await;
    begun(&server.client).await;
    let file = Connection::open(data.path().join("invoice.db")).unwrap();
    file.pragma_update(None, "ignore_check_constraints", true)
        .unwrap();
    for (column, damage) in [
        ("content", "{\"lines\": []}"),
        ("state", "lost"),
        ("currency", "ZZZ"),
        ("metadata", "[]"),
        ("credit_notes", "7"),
    ] {
        let read = format!("SELECT {column} FROM invoice WHERE invoice_id = 'second'");
        let kept: String = file.query_row(&read, [], |row| row.get(0)).unwrap();
        let write = format!("UPDATE invoice SET {column} = ?1 WHERE invoice_id = 'second'");
        file.execute(&write, params![damage]).unwrap();
        let lost = (Code::DataLoss, "STORE_DAMAGED".to_owned());
        let read = get(&server.client, "second").await.unwrap_err();
        assert_eq!(told(&read), lost, "{column}");
        let written = finalize(server.client.clone(), "second".to_owned()).await;
        assert_eq!(told(&written.unwrap_err()), lost, "{column}");
        file.execute(&write, params![kept]).unwrap();
    }
    healed(&server.client).await;
}
