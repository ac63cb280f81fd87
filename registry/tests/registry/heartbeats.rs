//! Heartbeat streams: what the registry learns without asking.

use std::time::Duration;

use mizan_contracts::registry::v1::{
    DeregisterRequest, Instance, InstanceStatus, NoCheck, ReportCheckRequest, TtlCheck,
    health_check::Kind,
};
use store::rusqlite::Connection;
use tonic::Code;

use crate::{
    support::{Heartbeat, Registry, Watch, checked, list, register, soon},
    target::Checked,
};

const HOURLY: Duration = Duration::from_secs(3600);

fn unpolled(id: &str) -> Instance {
    checked(id, 1, Some(Kind::None(NoCheck {})), HOURLY)
}

#[tokio::test]
async fn a_broken_connection_turns_the_instance_critical_at_once() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let mut watch = Watch::open(&mut client, &["invoice"], true).await;
    let mut own = registry.client().await;
    register(&mut own, unpolled("a")).await;
    let mut heartbeat = Heartbeat::open(&mut own).await;
    assert!(heartbeat.beat("a").await.unwrap());
    watch.until_passing().await;
    drop((heartbeat, own));
    watch.until_critical("heartbeat lost").await;
}

#[tokio::test]
async fn an_instance_whose_heartbeat_broke_is_checked_again_on_a_fresh_connection() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let mut target = Checked::start().await;
    let mut watch = Watch::open(&mut client, &["invoice"], true).await;
    register(&mut client, checked("a", target.port, None, HOURLY)).await;
    let before = watch.until_passing().await;
    let mut own = registry.client().await;
    let mut heartbeat = Heartbeat::open(&mut own).await;
    assert!(heartbeat.beat("a").await.unwrap());
    drop((heartbeat, own));
    soon(target.accepted.wait_for(|accepted| *accepted == 2))
        .await
        .unwrap();
    // Critical, and passing again.
    let after = watch.until_passing().await;
    assert_eq!(after.revision, before.revision + 2);

    let mut own = registry.client().await;
    let mut heartbeat = Heartbeat::open(&mut own).await;
    assert!(heartbeat.beat("a").await.unwrap());
    target.die().await;
    drop((heartbeat, own));
    watch.until_critical("connection refused").await;
}

#[tokio::test]
async fn only_the_last_of_two_streams_counts() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    register(&mut client, unpolled("a")).await;
    let mut old = Heartbeat::open(&mut client).await;
    let mut new = Heartbeat::open(&mut client).await;
    assert!(old.beat("a").await.unwrap() && new.beat("a").await.unwrap());
    old.close().await;
    assert_eq!(list(&mut client, false).await.instances.len(), 1);
    new.close().await;
    let held = list(&mut client, true).await.instances;
    assert_eq!(held[0].status(), InstanceStatus::Critical);
    assert_eq!(held[0].status_reason, "heartbeat lost");
}

#[tokio::test]
async fn an_unknown_instance_is_told_to_register() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let mut heartbeat = Heartbeat::open(&mut client).await;
    assert!(!heartbeat.beat("a").await.unwrap());
    register(&mut client, unpolled("a")).await;
    assert!(heartbeat.beat("a").await.unwrap());
    heartbeat.close().await;
    assert!(list(&mut client, false).await.instances.is_empty());
}

#[tokio::test]
async fn the_end_of_the_stream_after_a_deregister_means_nothing() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    register(&mut client, unpolled("a")).await;
    let mut heartbeat = Heartbeat::open(&mut client).await;
    assert!(heartbeat.beat("a").await.unwrap());
    let request = DeregisterRequest {
        instance_id: "a".to_owned(),
        ..DeregisterRequest::default()
    };
    soon(client.deregister(request)).await.unwrap();
    assert!(!heartbeat.beat("a").await.unwrap());
    register(&mut client, unpolled("a")).await;
    heartbeat.close().await;
    assert_eq!(list(&mut client, false).await.instances.len(), 1);
}

#[tokio::test]
async fn a_stream_is_about_one_instance() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let mut heartbeat = Heartbeat::open(&mut client).await;
    assert!(!heartbeat.beat("a").await.unwrap());
    let refused = heartbeat.beat("b").await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let mut heartbeat = Heartbeat::open(&mut client).await;
    let refused = heartbeat.beat("").await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

/// Moves with every commit.
fn commits(file: &Connection) -> i64 {
    let select = "SELECT commits FROM mizan_store";
    file.query_row(select, [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn heartbeats_and_reports_that_say_the_same_never_touch_the_file() {
    let data = tempfile::tempdir().unwrap();
    let registry = Registry::keeping(data.path()).await;
    let mut client = registry.client().await;
    let ttl = Duration::from_secs(3600).try_into().ok();
    let reported = Some(Kind::Ttl(TtlCheck { ttl }));
    register(&mut client, checked("a", 1, reported, HOURLY)).await;
    register(&mut client, unpolled("b")).await;
    let report = |status: InstanceStatus, n: usize| ReportCheckRequest {
        instance_id: "a".to_owned(),
        status: status.into(),
        output: format!("report {n}"),
        ..ReportCheckRequest::default()
    };
    let first = report(InstanceStatus::Passing, 0);
    soon(client.report_check(first)).await.unwrap();
    let mut heartbeat = Heartbeat::open(&mut client).await;
    assert!(heartbeat.beat("b").await.unwrap());
    // Answered after all that came before it is on the disk.
    register(&mut client, unpolled("c")).await;

    let file = Connection::open(data.path().join("registry.db")).unwrap();
    let before = commits(&file);
    for n in 1..500 {
        assert!(heartbeat.beat("b").await.unwrap());
        let same = report(InstanceStatus::Passing, n);
        soon(client.report_check(same)).await.unwrap();
    }
    // Registering the same waits for all that came before it too, and is nothing to write.
    register(&mut client, unpolled("c")).await;
    assert_eq!(commits(&file), before);

    // What does change is written.
    let other = report(InstanceStatus::Warning, 0);
    soon(client.report_check(other)).await.unwrap();
    register(&mut client, unpolled("c")).await;
    assert_ne!(commits(&file), before);
    registry.stop().await;
}
