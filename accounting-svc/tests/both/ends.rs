//! What the service leaves on the disk when it ends, in order or not.

use std::fs;

use accounting_svc::store::FILE;
use mizan_contracts::accounting::v1::AccountLimit;
use store::rusqlite::{Connection, OpenFlags};

use crate::{create, holds, process::Process, sound, transfer};

#[tokio::test]
async fn an_orderly_stop_leaves_one_whole_file() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Process::new(data.path(), None);
    let mut client = server.start().await;
    for id in ["a", "b"] {
        create(&mut client, id, AccountLimit::Unspecified).await;
    }
    for n in 0..20 {
        let request = transfer(&format!("t{n}"), "a", "b", 1);
        client.record_transaction(request).await.unwrap();
    }
    server.stop();
    let log = data.path().join(format!("{FILE}-wal"));
    assert!(!log.exists(), "the log is left");

    let elsewhere = tempfile::tempdir().unwrap();
    fs::copy(data.path().join(FILE), elsewhere.path().join(FILE)).unwrap();
    let mut server = Process::new(elsewhere.path(), None);
    let mut client = server.start().await;
    assert_eq!(holds(&mut client, "a").await, [20, 0, 0, 0]);
    sound(&mut client).await;
}

#[tokio::test]
async fn a_killed_one_whose_log_is_damaged_does_not_start_and_says_why() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Process::new(data.path(), None);
    let mut client = server.start().await;
    // Somebody who reads keeps everything newer in the log.
    let file = data.path().join(FILE);
    let reader = Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let read = "BEGIN; SELECT count(*) FROM journal";
    reader.execute_batch(read).unwrap();
    for id in ["a", "b"] {
        create(&mut client, id, AccountLimit::Unspecified).await;
    }
    for n in 0..20 {
        let request = transfer(&format!("t{n}"), "a", "b", 1);
        client.record_transaction(request).await.unwrap();
    }
    server.kill();
    drop(reader);
    let log = data.path().join(format!("{FILE}-wal"));
    let whole = fs::read(&log).unwrap();
    let mut damaged = whole.clone();
    let at = damaged.len() * 3 / 4;
    damaged[at] ^= 0xff;
    fs::write(&log, damaged).unwrap();
    for _ in 0..2 {
        let said = server.refused();
        assert!(
            said.contains("acknowledged groups of writes are missing at its end")
                && said.contains(FILE)
                && said.contains("mizan restore"),
            "{said}"
        );
    }
    // It was not touched: with the byte as it was, nothing is missing.
    fs::write(&log, whole).unwrap();
    let mut client = server.start().await;
    assert_eq!(holds(&mut client, "a").await, [20, 0, 0, 0]);
    sound(&mut client).await;
}
