//! What time and noise do to a service, as its clients see it: flapping is damped, a mass expiry is
//! held back, and both are told through every API.

use std::time::Duration;

use mizan_contracts::registry::v1::{
    DeregisterRequest, InstanceStatus, ListServicesRequest, NoCheck, ReportCheckRequest,
    ServiceSummary, TtlCheck, health_check::Kind,
};

use crate::{
    consul::client::read,
    metrics::page,
    support::{Client, Registry, Watch, checked, list, register, soon},
};

const HOURLY: Duration = Duration::from_secs(3600);

pub(crate) fn ttl(ttl: Duration) -> Option<Kind> {
    let ttl = ttl.try_into().ok();
    Some(Kind::Ttl(TtlCheck { ttl }))
}

async fn report(client: &mut Client, id: &str, status: InstanceStatus) {
    let request = ReportCheckRequest {
        instance_id: id.to_owned(),
        status: status.into(),
        ..ReportCheckRequest::default()
    };
    soon(client.report_check(request)).await.unwrap();
}

async fn summary(client: &mut Client) -> ServiceSummary {
    let all = soon(client.list_services(ListServicesRequest::default()));
    all.await.unwrap().into_inner().services.remove(0)
}

/// A metric's value.
async fn metric(registry: &Registry, name: &str) -> String {
    let page = page(registry).await;
    let mut lines = page.lines().filter_map(|line| line.strip_prefix(name));
    lines.next().expect("it is there").trim().to_owned()
}

#[tokio::test]
async fn an_instance_that_flaps_is_kept_from_clients_and_that_is_said_everywhere() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let standing = Some(Kind::None(NoCheck {}));
    register(&mut client, checked("b", 1, standing, HOURLY)).await;
    register(&mut client, checked("a", 1, ttl(HOURLY), HOURLY)).await;
    report(&mut client, "a", InstanceStatus::Passing).await;
    for _ in 0..3 {
        report(&mut client, "a", InstanceStatus::Critical).await;
        report(&mut client, "a", InstanceStatus::Passing).await;
    }
    // Three falls are none too many.
    assert_eq!(list(&mut client, false).await.instances.len(), 2);
    assert_eq!(metric(&registry, "mizan_registry_flapping").await, "0");

    report(&mut client, "a", InstanceStatus::Critical).await;
    report(&mut client, "a", InstanceStatus::Passing).await;
    let given = list(&mut client, false).await.instances;
    assert_eq!(given.len(), 1);
    assert_eq!(given[0].instance_id, "b");
    let held = list(&mut client, true).await.instances.remove(0);
    assert_eq!(held.status(), InstanceStatus::Warning);
    assert!(held.flapping && !held.status_reason.is_empty(), "{held:?}");
    assert_eq!(
        held.check_states[0].status(),
        InstanceStatus::Passing,
        "its check says what it says"
    );
    assert_eq!(metric(&registry, "mizan_registry_flapping").await, "1");
    assert_eq!(summary(&mut client).await.warning, 1);
    let told = read(&registry, "/v1/health/service/invoice").await;
    let checks = told[0]["Checks"].as_array().unwrap();
    let damped = checks
        .iter()
        .find(|check| check["CheckID"] == "_flapping:a");
    let damped = damped.expect("Consul's clients are told by a check");
    assert_eq!(damped["Status"], "warning");
    let passing = read(&registry, "/v1/health/service/invoice?passing").await;
    assert_eq!(passing.as_array().unwrap().len(), 1);

    // Once no other passes, it is needed.
    let mut watch = Watch::open(&mut client, &["invoice"], false).await;
    let request = DeregisterRequest {
        instance_id: "b".to_owned(),
        ..DeregisterRequest::default()
    };
    soon(client.deregister(request)).await.unwrap();
    let only = watch.until(|m| m.instances.iter().all(|one| one.instance_id == "a"));
    assert_eq!(only.await.instances.len(), 1);
    assert_eq!(metric(&registry, "mizan_registry_flapping").await, "0");
    registry.stop().await;
}

#[tokio::test]
async fn a_mass_expiry_is_held_back_and_that_is_said_everywhere() {
    const ALL: u32 = 20;
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let ids: Vec<_> = (0..ALL).map(|n| format!("i{n:02}")).collect();
    let short = ttl(Duration::from_secs(6));
    for id in &ids {
        register(&mut client, checked(id, 1, short.clone(), HOURLY)).await;
    }
    for id in &ids {
        report(&mut client, id, InstanceStatus::Passing).await;
    }
    let mut watch = Watch::open(&mut client, &["invoice"], false).await;
    watch.until(|m| m.instances.len() == ids.len()).await;
    // Nobody reports any more. All but the share that may go are due, and still given out.
    watch.until(|m| m.instances.len() < ids.len()).await;
    let held = loop {
        let now = summary(&mut client).await;
        let held = now.guard.as_ref().map_or(0, |guard| guard.held);
        if now.critical > 0 && now.critical + held == ALL {
            break now;
        }
        tokio::task::yield_now().await;
    };
    let guard = held.guard.unwrap();
    assert_eq!(held.passing, guard.held, "what is held is given out");
    assert!(guard.since_time.is_some() && guard.next_time.is_some());
    let shown: u32 = metric(&registry, "mizan_registry_guard_held")
        .await
        .parse()
        .unwrap();
    assert!(
        shown > 0 && shown <= guard.held,
        "{shown} of {}",
        guard.held
    );
    let passing = read(&registry, "/v1/health/service/invoice?passing").await;
    let passing = u32::try_from(passing.as_array().unwrap().len()).unwrap();
    assert!(passing > 0 && passing <= guard.held, "{passing}");

    // The network is back. Whoever reports is not held, and nothing is left to hold.
    let all = loop {
        for id in &ids {
            report(&mut client, id, InstanceStatus::Passing).await;
        }
        let now = summary(&mut client).await;
        if now.guard.is_none() {
            break now;
        }
    };
    assert!(all.passing > 0);
    registry.stop().await;
}
