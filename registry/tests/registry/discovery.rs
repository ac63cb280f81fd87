//! Listing and watching.

use std::{collections::BTreeMap, time::Duration};

use mizan::{Server, args::ServerArgs};
use mizan_contracts::registry::v1::{
    DeregisterRequest, Instance, InstanceFilter, ListServicesRequest, NoCheck,
    WatchInstancesRequest, WatchInstancesResponse, health_check::Kind,
};
use tokio_util::sync::CancellationToken;

use crate::{
    support::{
        Client, Heartbeat, Registry, Watch, checked, instance, list, listen, register, soon,
    },
    target::Checked,
};

/// An instance that passes at once and is never polled.
fn unpolled(id: &str, service: &str) -> Instance {
    let none = Some(Kind::None(NoCheck {}));
    Instance {
        service: service.to_owned(),
        ..checked(id, 1, none, Duration::from_secs(1))
    }
}

async fn deregister(client: &mut Client, id: &str) -> bool {
    let request = DeregisterRequest {
        instance_id: id.to_owned(),
        ..DeregisterRequest::default()
    };
    let answer = soon(client.deregister(request)).await.unwrap();
    answer.into_inner().removed
}

#[tokio::test]
async fn the_same_registration_again_wakes_no_watcher() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let target = Checked::start().await;
    let mut watch = Watch::open(&mut client, &["invoice"], true).await;
    register(&mut client, instance("a", target.port)).await;
    let passing = watch.until_passing().await;
    let held = register(&mut client, instance("a", target.port)).await;
    assert_eq!(held, passing.instances[0]);
    assert_eq!(list(&mut client, true).await.revision, passing.revision);

    // The next message is that of the next change.
    register(&mut client, unpolled("b", "invoice")).await;
    let next = watch.next().await.unwrap();
    assert_eq!(next.revision, passing.revision + 1);
    assert_eq!(next.instances.len(), 2);
}

#[tokio::test]
async fn a_watcher_of_passing_instances_hears_nothing_of_the_others() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let mut all = Watch::open(&mut client, &["invoice"], true).await;
    let mut passing = Watch::open(&mut client, &["invoice"], false).await;
    let first = passing.next().await.unwrap();

    let dead = Checked::start().await;
    let port = dead.port;
    dead.die().await;
    register(&mut client, instance("a", port)).await;
    all.until_critical("connection refused").await;
    assert_eq!(list(&mut client, false).await.revision, first.revision);

    register(&mut client, unpolled("b", "invoice")).await;
    let second = passing.next().await.unwrap();
    assert_eq!(second.instances.len(), 1);
    assert_eq!(second.instances[0].instance_id, "b");
    assert_eq!(list(&mut client, true).await.instances.len(), 2);
}

#[tokio::test]
async fn a_watch_of_many_begins_with_a_snapshot_of_each() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    register(&mut client, unpolled("a", "accounting")).await;
    let services = ["invoice", "accounting", "nobody", "invoice"];
    let mut watch = Watch::open(&mut client, &services, false).await;
    let mut snapshots = BTreeMap::new();
    for _ in 0..3 {
        let message = watch.next().await.unwrap();
        assert!(message.revision > 0);
        snapshots.insert(message.service, message.instances.len());
    }
    let expected = [("accounting", 1), ("invoice", 0), ("nobody", 0)];
    assert_eq!(snapshots, expected.map(|(s, n)| (s.to_owned(), n)).into());

    register(&mut client, unpolled("b", "nobody")).await;
    let change = watch.next().await.unwrap();
    assert_eq!(
        (change.service.as_str(), change.instances.len()),
        ("nobody", 1)
    );
}

#[tokio::test]
async fn a_resumed_watch_hears_only_what_it_does_not_hold() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    register(&mut client, unpolled("a", "accounting")).await;
    register(&mut client, unpolled("i", "invoice")).await;
    let mut held = BTreeMap::new();
    let mut watch = Watch::open(&mut client, &["accounting", "invoice"], false).await;
    for _ in 0..2 {
        let message = watch.next().await.unwrap();
        held.insert(message.service.clone(), message);
    }
    let (accounting, invoice) = (&held["accounting"], &held["invoice"]);
    let epoch = &accounting.registry_epoch;
    assert!(!epoch.is_empty());
    assert_eq!(epoch, &invoice.registry_epoch);
    let both = [
        ("accounting", accounting.revision),
        ("invoice", invoice.revision),
    ];

    // Nothing moved, so the first message is the next change.
    let mut resumed = Watch::resume(&mut client, &both, epoch).await;
    register(&mut client, unpolled("i2", "invoice")).await;
    let next = resumed.next().await.unwrap();
    assert_eq!((&*next.service, next.instances.len()), ("invoice", 2));
    assert!(next.revision > invoice.revision);

    // Of the two, only the one that is behind is sent, and then goes on by changes.
    let mut resumed = Watch::resume(&mut client, &both, epoch).await;
    assert_eq!(resumed.next().await.unwrap(), next);
    register(&mut client, unpolled("a2", "accounting")).await;
    let change = resumed.next().await.unwrap();
    assert_eq!(
        (&*change.service, change.instances.len()),
        ("accounting", 2)
    );
}

#[tokio::test]
async fn a_watcher_that_is_ahead_or_comes_from_another_life_is_answered_at_once() {
    let registry = Registry::start().await;
    let authority = registry.authority();
    let mut client = registry.client().await;
    register(&mut client, unpolled("i", "invoice")).await;
    let mut watch = Watch::open(&mut client, &["invoice"], false).await;
    let first = watch.next().await.unwrap();
    for (revision, epoch) in [
        (first.revision + 1_000_000, first.registry_epoch.as_str()),
        (0, first.registry_epoch.as_str()),
        (first.revision, ""),
        (first.revision, "another life"),
    ] {
        let mut watch = Watch::resume(&mut client, &[("invoice", revision)], epoch).await;
        assert_eq!(watch.next().await.unwrap(), first, "{revision} {epoch:?}");
    }

    registry.stop().await;
    let registry = Registry::restart(&authority).await;
    let mut client = registry.client().await;
    let held = [("invoice", first.revision)];
    let mut watch = Watch::resume(&mut client, &held, &first.registry_epoch).await;
    let anew = watch.next().await.unwrap();
    assert!(anew.instances.is_empty());
    assert_ne!(anew.registry_epoch, first.registry_epoch);
    // Whatever the revisions of the two lives are: here the same one.
    let held = [("invoice", anew.revision)];
    let mut watch = Watch::resume(&mut client, &held, &first.registry_epoch).await;
    assert_eq!(watch.next().await.unwrap(), anew);
}

#[tokio::test]
async fn a_deregistered_instance_is_gone_and_the_revision_goes_on() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    register(&mut client, unpolled("a", "invoice")).await;
    let mut watch = Watch::open(&mut client, &["invoice"], false).await;
    let there = watch.next().await.unwrap();
    assert!(deregister(&mut client, "a").await);
    let gone = watch.next().await.unwrap();
    assert!(gone.instances.is_empty() && gone.revision > there.revision);
    assert!(!deregister(&mut client, "a").await);
    register(&mut client, unpolled("a", "invoice")).await;
    assert!(watch.next().await.unwrap().revision > gone.revision);
}

#[tokio::test]
async fn services_come_in_pages_by_name() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    for service in ["zakat", "invoice", "accounting"] {
        register(&mut client, unpolled(service, service)).await;
    }
    let mut names = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListServicesRequest {
            page_size: 2,
            page_token,
        };
        let page = soon(client.list_services(request))
            .await
            .unwrap()
            .into_inner();
        for summary in page.services {
            assert_eq!((summary.instances, summary.passing), (1, 1));
            names.push(summary.service);
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(names, ["accounting", "invoice", "zakat"]);
}

#[tokio::test]
async fn stopping_ends_every_stream_at_once() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    register(&mut client, unpolled("a", "invoice")).await;
    let mut watch = Watch::open(&mut client, &["invoice"], false).await;
    watch.next().await.unwrap();
    let mut heartbeat = Heartbeat::open(&mut client).await;
    assert!(heartbeat.beat("a").await.unwrap());
    registry.stop().await;
    assert_eq!(watch.next().await, None);
    heartbeat.ended().await;
}

#[tokio::test]
async fn a_mizan_server_registers_passes_and_leaves_when_it_drains() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let mut watch = Watch::open(&mut client, &["invoice"], true).await;
    let stop = CancellationToken::new();
    let args = ServerArgs::with_registry(vec![registry.authority()]);
    let serving = Server::builder("invoice")
        .args(&args)
        .serve(listen().await, stop.clone().cancelled_owned());
    let serving = tokio::spawn(serving);
    watch.until_passing().await;
    stop.cancel();
    watch.until(|message| message.instances.is_empty()).await;
    soon(serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_watch_with_a_filter_is_told_only_of_what_the_filter_keeps() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let tagged = |id: &str, tag: &str, port: u16| {
        let standing = Some(Kind::None(NoCheck {}));
        let mut instance = checked(id, port, standing, Duration::from_secs(3_600));
        instance.tags = vec![tag.to_owned()];
        instance
    };
    register(&mut client, tagged("kept", "blue", 1)).await;
    let request = WatchInstancesRequest {
        services: vec!["invoice".to_owned()],
        filter: Some(InstanceFilter {
            tags: vec!["blue".to_owned()],
            ..InstanceFilter::default()
        }),
        ..WatchInstancesRequest::default()
    };
    let mut watch = Watch::ask(&mut client, request).await;
    let ports = |answer: &WatchInstancesResponse| {
        let ports = answer.instances.iter().map(|one| one.port);
        ports.collect::<Vec<_>>()
    };
    assert_eq!(ports(&watch.next().await.unwrap()), [1]);
    let mut all = Watch::open(&mut client, &["invoice"], false).await;
    // Each is a change of the service, which others are told; none is one of what was asked for.
    for (id, port) in [("other", 7), ("other", 8), ("another", 9)] {
        register(&mut client, tagged(id, "green", port)).await;
        all.until(|answer| ports(answer).contains(&u32::from(port)))
            .await;
    }
    register(&mut client, tagged("kept", "blue", 2)).await;
    assert_eq!(ports(&watch.next().await.unwrap()), [2]);
    registry.stop().await;
}
