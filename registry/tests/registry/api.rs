//! Maintenance, reports, filters and watches of everything.

use std::{collections::BTreeMap, time::Duration};

use mizan_contracts::registry::v1::{
    AliasCheck, HealthCheck, Instance, InstanceFilter, InstanceStatus, ListInstancesRequest,
    ListServicesRequest, NoCheck, ReportCheckRequest, SetMaintenanceRequest, TtlCheck,
    WatchInstancesRequest, health_check::Kind,
};
use tonic::Code;

use crate::support::{Client, Registry, Watch, checked, instance, list, register, soon};

const HOURLY: Duration = Duration::from_secs(3600);

fn standing(id: &str, service: &str) -> Instance {
    Instance {
        service: service.to_owned(),
        ..checked(id, 1, Some(Kind::None(NoCheck {})), HOURLY)
    }
}

async fn maintain(
    client: &mut Client,
    request: SetMaintenanceRequest,
) -> Result<(), tonic::Status> {
    soon(client.set_maintenance(request)).await.map(drop)
}

fn out(id: &str) -> SetMaintenanceRequest {
    SetMaintenanceRequest {
        instance_id: id.to_owned(),
        enabled: true,
        reason: "new disk".to_owned(),
        ..SetMaintenanceRequest::default()
    }
}

#[tokio::test]
async fn maintenance_takes_out_and_puts_back() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    register(&mut client, standing("a", "invoice")).await;
    let mut watch = Watch::open(&mut client, &["invoice"], false).await;
    watch.until(|m| m.instances.len() == 1).await;
    maintain(&mut client, out("a")).await.unwrap();
    watch.until(|m| m.instances.is_empty()).await;
    let held = &list(&mut client, true).await.instances[0];
    assert_eq!(held.status(), InstanceStatus::Maintenance);
    assert_eq!(held.status_reason, "new disk");
    let back = SetMaintenanceRequest {
        enabled: false,
        ..out("a")
    };
    maintain(&mut client, back).await.unwrap();
    watch.until(|m| m.instances.len() == 1).await;

    let node = SetMaintenanceRequest {
        instance_id: String::new(),
        ..out("a")
    };
    maintain(&mut client, node).await.unwrap();
    watch.until(|m| m.instances.is_empty()).await;
    let refused = maintain(&mut client, out("nobody")).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert_eq!(
        mizan::status::reason(&refused).as_deref(),
        Some("INSTANCE_NOT_FOUND")
    );
    let nowhere = SetMaintenanceRequest {
        instance_id: String::new(),
        node: "nowhere".to_owned(),
        ..out("a")
    };
    let refused = maintain(&mut client, nowhere).await.unwrap_err();
    assert_eq!(
        (refused.code(), mizan::status::reason(&refused).as_deref()),
        (Code::NotFound, Some("NODE_NOT_FOUND"))
    );
    let long = SetMaintenanceRequest {
        reason: "x".repeat(257),
        ..out("a")
    };
    assert_eq!(
        maintain(&mut client, long).await.unwrap_err().code(),
        Code::InvalidArgument
    );
}

#[tokio::test]
async fn a_report_is_what_a_ttl_check_says_and_it_expires() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let ttl = Some(Duration::from_millis(300).try_into().unwrap());
    let ttl = HealthCheck {
        kind: Some(Kind::Ttl(TtlCheck { ttl })),
        ..HealthCheck::default()
    };
    let mut watch = Watch::open(&mut client, &["invoice"], true).await;
    let reporting = Instance {
        check: Some(ttl),
        ..instance("a", 1)
    };
    register(&mut client, reporting).await;
    let report = |status: InstanceStatus, check_id: &str| ReportCheckRequest {
        instance_id: "a".to_owned(),
        status: status.into(),
        output: "said".to_owned(),
        check_id: check_id.to_owned(),
        ..ReportCheckRequest::default()
    };
    soon(client.report_check(report(InstanceStatus::Passing, "")))
        .await
        .unwrap();
    watch.until_passing().await;
    watch
        .until_critical("TTL expired (last output before timeout follows): said")
        .await;
    for (status, check_id, code) in [
        (InstanceStatus::Maintenance, "ttl", Code::InvalidArgument),
        (InstanceStatus::Passing, "other", Code::NotFound),
    ] {
        let refused = soon(client.report_check(report(status, check_id)))
            .await
            .unwrap_err();
        assert_eq!(refused.code(), code);
    }
    register(&mut client, instance("a", 1)).await;
    let run = report(InstanceStatus::Passing, "grpc");
    let refused = soon(client.report_check(run)).await.unwrap_err();
    let reason = mizan::status::reason(&refused);
    assert_eq!(reason.as_deref(), Some("CHECK_NOT_REPORTABLE"));
}

#[tokio::test]
async fn several_checks_count_together_and_each_is_shown() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    register(&mut client, standing("other", "accounting")).await;
    let alias = HealthCheck {
        kind: Some(Kind::Alias(AliasCheck {
            instance_id: "other".to_owned(),
            ..AliasCheck::default()
        })),
        ..HealthCheck::default()
    };
    let both = Instance {
        checks: vec![alias],
        ..standing("a", "invoice")
    };
    let held = register(&mut client, both.clone()).await;
    assert_eq!(held.status(), InstanceStatus::Passing);
    let ids: Vec<_> = held
        .check_states
        .iter()
        .map(|state| state.check_id.as_str())
        .collect();
    assert_eq!(ids, ["heartbeat", "alias"]);
    // What comes back can be registered again, and is the same.
    let again = register(&mut client, held.clone()).await;
    assert_eq!(again, held);
    let mut watch = Watch::open(&mut client, &["invoice"], true).await;
    maintain(&mut client, out("other")).await.unwrap();
    let request = mizan_contracts::registry::v1::DeregisterRequest {
        instance_id: "other".to_owned(),
        ..Default::default()
    };
    soon(client.deregister(request)).await.unwrap();
    let reason = "alias: the instance or node that it mirrors is not registered";
    watch.until_critical(reason).await;
}

#[tokio::test]
async fn a_filter_keeps_what_matches_and_wakes_for_nothing_else() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let placed = |id: &str, zone: &str, tags: &[&str]| Instance {
        zone: zone.to_owned(),
        tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
        metadata: [("version".to_owned(), id.to_owned())].into(),
        ..standing(id, "invoice")
    };
    for one in [
        placed("a", "x", &["blue"]),
        placed("b", "y", &["blue", "new"]),
        placed("c", "x", &[]),
    ] {
        register(&mut client, one).await;
    }
    maintain(&mut client, out("c")).await.unwrap();
    let mut listed = async |filter: InstanceFilter| {
        let request = ListInstancesRequest {
            service: "invoice".to_owned(),
            include_unhealthy: false,
            filter: Some(filter),
        };
        let answer = soon(client.list_instances(request))
            .await
            .unwrap()
            .into_inner();
        let ids = answer.instances.into_iter().map(|one| one.instance_id);
        ids.collect::<Vec<_>>()
    };
    let blue = || InstanceFilter {
        tags: vec!["blue".to_owned()],
        ..InstanceFilter::default()
    };
    assert_eq!(listed(InstanceFilter::default()).await, ["a", "b"]);
    assert_eq!(listed(blue()).await, ["a", "b"]);
    let in_y = InstanceFilter {
        zone: "y".to_owned(),
        ..blue()
    };
    assert_eq!(listed(in_y.clone()).await, ["b"]);
    let version_a = InstanceFilter {
        metadata: [("version".to_owned(), "a".to_owned())].into(),
        ..InstanceFilter::default()
    };
    assert_eq!(listed(version_a).await, ["a"]);
    let taken_out = InstanceFilter {
        statuses: vec![InstanceStatus::Maintenance.into()],
        ..InstanceFilter::default()
    };
    assert_eq!(listed(taken_out).await, ["c"]);

    let request = WatchInstancesRequest {
        services: vec!["invoice".to_owned()],
        filter: Some(in_y),
        ..WatchInstancesRequest::default()
    };
    let mut watch = Watch::ask(&mut client, request).await;
    assert_eq!(watch.next().await.unwrap().instances.len(), 1);
    register(&mut client, placed("d", "x", &["blue"])).await;
    // Had the change before been told, this would come second.
    register(&mut client, placed("e", "y", &["blue"])).await;
    assert_eq!(watch.next().await.unwrap().instances.len(), 2);
}

#[tokio::test]
async fn a_watch_of_everything_begins_with_all_and_is_resumed() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    for service in ["accounting", "invoice", "zakat"] {
        register(&mut client, standing(service, service)).await;
    }
    let everything = |held: BTreeMap<String, u64>, epoch: &str| WatchInstancesRequest {
        all_services: true,
        after_revision: held,
        registry_epoch: epoch.to_owned(),
        ..WatchInstancesRequest::default()
    };
    let mut watch = Watch::ask(&mut client, everything(BTreeMap::new(), "")).await;
    let mut held = BTreeMap::new();
    let mut epoch = String::new();
    for _ in 0..3 {
        let message = watch.next().await.unwrap();
        epoch = message.registry_epoch;
        held.insert(message.service, message.revision);
    }
    // One that is new, and one that nobody had.
    register(&mut client, standing("p", "payment")).await;
    let new = watch.next().await.unwrap();
    assert_eq!((&*new.service, new.instances.len()), ("payment", 1));

    held.insert("gone".to_owned(), 5);
    let mut resumed = Watch::ask(&mut client, everything(held, &epoch)).await;
    assert_eq!(resumed.next().await.unwrap(), new);
    let gone = resumed.next().await.unwrap();
    assert_eq!((&*gone.service, gone.instances.len()), ("gone", 0));
    register(&mut client, standing("z2", "zakat")).await;
    let change = resumed.next().await.unwrap();
    assert_eq!((&*change.service, change.instances.len()), ("zakat", 2));
    let both = WatchInstancesRequest {
        services: vec!["invoice".to_owned()],
        ..everything(BTreeMap::new(), "")
    };
    let refused = soon(client.watch_instances(both)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn one_id_on_two_nodes_is_told_apart() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let on = |node: &str| Instance {
        node: node.to_owned(),
        ..standing("a", "invoice")
    };
    register(&mut client, on("one")).await;
    maintain(&mut client, out("a")).await.unwrap();
    register(&mut client, on("two")).await;
    // Now the id alone says nothing.
    let refused = maintain(&mut client, out("a")).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    let node = SetMaintenanceRequest {
        node: "two".to_owned(),
        ..out("")
    };
    maintain(&mut client, node).await.unwrap();
    let services = soon(client.list_services(ListServicesRequest::default()))
        .await
        .unwrap();
    let summary = services.into_inner().services.remove(0);
    assert_eq!(
        (summary.instances, summary.maintenance, summary.passing),
        (2, 2, 0)
    );
}
