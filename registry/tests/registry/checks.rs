//! Polling: what the registry finds out by asking.

use std::time::Duration;

use mizan_contracts::registry::v1::{
    GrpcCheck, HealthCheck, InstanceStatus, NoCheck, TcpCheck, health_check::Kind,
};
use tokio::net::TcpListener;
use tonic_health::ServingStatus;

use crate::{
    support::{Registry, Watch, checked, instance, list, register},
    target::Checked,
};

const OFTEN: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_healthy_instance_passes_at_once_and_is_listed() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let target = Checked::start().await;
    let mut watch = Watch::open(&mut client, &["invoice"], true).await;
    let before = watch.next().await.unwrap();
    assert!(before.instances.is_empty() && before.revision > 0);

    let held = register(&mut client, instance("a", target.port)).await;
    assert_eq!(held.status(), InstanceStatus::Critical);
    assert_eq!(held.status_reason, "not checked yet");
    // The default interval is 10 s; the first check does not wait for it.
    let after = watch.until_passing().await;
    assert!(after.revision > before.revision);
    let one = &after.instances[0];
    assert_eq!((one.status_reason.as_str(), one.weight), ("", 1));
    assert_eq!(one.register_time, held.register_time);
    assert_eq!(list(&mut client, false).await.instances, after.instances);
    registry.stop().await;
}

#[tokio::test]
async fn an_instance_that_dies_turns_critical_and_one_that_returns_passes() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let target = Checked::start().await;
    let port = target.port;
    let mut watch = Watch::open(&mut client, &["invoice"], true).await;
    register(&mut client, checked("a", port, None, OFTEN)).await;
    watch.until_passing().await;

    target.die().await;
    watch.until_critical("connection refused").await;
    assert!(list(&mut client, false).await.instances.is_empty());

    let _again = Checked::restart(port).await;
    watch.until_passing().await;
}

#[tokio::test]
async fn checks_share_one_connection() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let target = Checked::start().await;
    let mut watch = Watch::open(&mut client, &["invoice"], true).await;
    // A check may take as long as there is between two; one that took longer would connect anew.
    let seldom = Duration::from_secs(2);
    register(&mut client, checked("a", target.port, None, seldom)).await;
    watch.until_passing().await;
    for (status, passing) in [
        (ServingStatus::NotServing, false),
        (ServingStatus::Serving, true),
        (ServingStatus::Unknown, false),
    ] {
        target.health.set_service_status("", status).await;
        if passing {
            watch.until_passing().await;
        } else {
            let word = if status == ServingStatus::Unknown {
                "UNKNOWN"
            } else {
                "NOT_SERVING"
            };
            watch.until_critical(word).await;
        }
    }
    assert_eq!(*target.accepted.borrow(), 1);
}

#[tokio::test]
async fn the_service_asked_about_is_the_check_s() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let target = Checked::start().await;
    target
        .health
        .set_service_status("known", ServingStatus::Serving)
        .await;
    let ask = |service: &str| {
        let service = service.to_owned();
        checked(
            "a",
            target.port,
            Some(Kind::Grpc(GrpcCheck {
                service,
                ..GrpcCheck::default()
            })),
            OFTEN,
        )
    };
    let mut watch = Watch::open(&mut client, &["invoice"], true).await;
    register(&mut client, ask("known")).await;
    watch.until_passing().await;
    register(&mut client, ask("unknown")).await;
    let failed = watch
        .until(|m| {
            m.instances[0]
                .status_reason
                .starts_with("health check answered NotFound")
        })
        .await;
    assert_eq!(failed.instances[0].status(), InstanceStatus::Critical);
}

#[tokio::test]
async fn an_instance_that_hangs_times_out() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    // The system accepts for it; nobody answers.
    let hung = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut instance = instance("a", hung.local_addr().unwrap().port());
    instance.check = Some(HealthCheck {
        timeout: Some(Duration::from_millis(50).try_into().unwrap()),
        ..HealthCheck::default()
    });
    let mut watch = Watch::open(&mut client, &["invoice"], true).await;
    register(&mut client, instance).await;
    watch.until_critical("timed out after 50ms").await;
}

#[tokio::test]
async fn a_port_that_opens_satisfies_a_tcp_check() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut watch = Watch::open(&mut client, &["invoice"], true).await;
    register(
        &mut client,
        checked("a", port, Some(Kind::Tcp(TcpCheck::default())), OFTEN),
    )
    .await;
    watch.until_passing().await;
    drop(listener);
    watch.until_critical("connection refused").await;
}

#[tokio::test]
async fn registering_again_hurries_the_check_of_a_critical_instance() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let target = Checked::start().await;
    let port = target.port;
    target.die().await;
    let hourly = checked("a", port, None, Duration::from_secs(3600));
    let mut watch = Watch::open(&mut client, &["invoice"], true).await;
    register(&mut client, hourly.clone()).await;
    watch.until_critical("connection refused").await;
    let _again = Checked::restart(port).await;
    register(&mut client, hourly).await;
    watch.until_passing().await;
}

#[tokio::test]
async fn without_a_check_an_instance_passes_by_registering() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let unpolled = checked("a", 1, Some(Kind::None(NoCheck {})), OFTEN);
    let held = register(&mut client, unpolled).await;
    assert_eq!(held.status(), InstanceStatus::Passing);
}
