//! The catalogue's promises, one by one, and all of them against a naive model.

mod model;
mod validation;

use std::{collections::BTreeMap, time::Duration};

use crate::catalogue::*;

const START: UnixMillis = UnixMillis(1_000);

fn catalogue() -> Catalogue {
    Catalogue::new(START, Bounds::default())
}

/// An instance of `service` that is polled by TCP.
fn instance(id: &str, service: &str) -> Instance {
    Instance {
        instance_id: id.to_owned(),
        service: service.to_owned(),
        address: "10.0.0.1".to_owned(),
        port: 80,
        tags: Vec::new(),
        metadata: BTreeMap::new(),
        weight: 1,
        zone: String::new(),
        check: Check {
            kind: CheckKind::Tcp,
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(2),
        },
    }
}

fn unpolled(id: &str, service: &str) -> Instance {
    let mut instance = instance(id, service);
    instance.check.kind = CheckKind::None;
    instance
}

fn register(catalogue: &mut Catalogue, instance: Instance, now: u64) -> Effects {
    catalogue.register(instance, UnixMillis(now)).unwrap().1
}

fn epoch(effects: &Effects) -> u64 {
    match &effects.polling {
        Some(Polling::Start(target)) => target.epoch,
        other => panic!("no polling began: {other:?}"),
    }
}

fn passing(catalogue: &mut Catalogue, instance: Instance) -> u64 {
    let id = instance.instance_id.clone();
    let epoch = epoch(&register(catalogue, instance, 1_001));
    catalogue
        .report(&id, epoch, Ok(()), UnixMillis(1_002))
        .unwrap();
    epoch
}

fn status(catalogue: &Catalogue, service: &str, id: &str) -> (Status, String) {
    let snapshot = catalogue.snapshot(service);
    let entry = snapshot.get(id).unwrap();
    (entry.status, entry.reason.clone())
}

fn critical(reason: &str) -> (Status, String) {
    (Status::Critical, reason.to_owned())
}

const PASSING: (Status, String) = (Status::Passing, String::new());

#[test]
fn a_new_instance_is_critical_until_its_first_check_passes() {
    let mut catalogue = catalogue();
    let epoch = epoch(&register(&mut catalogue, instance("a", "s"), 5_000));
    assert_eq!(status(&catalogue, "s", "a"), critical("not checked yet"));
    catalogue
        .report("a", epoch, Ok(()), UnixMillis(6_000))
        .unwrap();
    assert_eq!(status(&catalogue, "s", "a"), PASSING);
    let snapshot = catalogue.snapshot("s");
    let entry = snapshot.get("a").unwrap();
    assert_eq!(entry.register_time, UnixMillis(5_000));
    assert_eq!(entry.status_time, UnixMillis(6_000));
}

#[test]
fn an_unpolled_instance_passes_at_once() {
    let mut catalogue = catalogue();
    let effects = register(&mut catalogue, unpolled("a", "s"), 1);
    assert_eq!(effects.polling, Some(Polling::Stop("a".to_owned())));
    assert_eq!(status(&catalogue, "s", "a"), PASSING);
}

#[test]
fn the_same_registration_again_changes_nothing() {
    let mut catalogue = catalogue();
    passing(&mut catalogue, instance("a", "s"));
    let before = catalogue.snapshot("s");
    let effects = register(&mut catalogue, instance("a", "s"), 9_000);
    assert_eq!(effects, Effects::default());
    assert_eq!(catalogue.snapshot("s"), before);
}

#[test]
fn the_same_registration_of_a_critical_instance_hurries_its_check() {
    let mut catalogue = catalogue();
    register(&mut catalogue, instance("a", "s"), 1);
    let effects = register(&mut catalogue, instance("a", "s"), 2);
    assert!(effects.snapshots.is_empty());
    assert_eq!(effects.polling, Some(Polling::Hurry("a".to_owned())));
}

#[test]
fn changed_attributes_keep_the_status_and_a_changed_target_does_not() {
    let mut catalogue = catalogue();
    passing(&mut catalogue, instance("a", "s"));
    let mut tagged = instance("a", "s");
    tagged.tags = vec!["blue".to_owned()];
    let effects = register(&mut catalogue, tagged.clone(), 3_000);
    assert_eq!((effects.snapshots.len(), effects.polling), (1, None));
    assert_eq!(status(&catalogue, "s", "a"), PASSING);

    let mut moved = tagged;
    moved.port = 81;
    let effects = register(&mut catalogue, moved, 4_000);
    assert!(matches!(effects.polling, Some(Polling::Start(target)) if target.port == 81));
    assert_eq!(status(&catalogue, "s", "a"), critical("not checked yet"));
    let snapshot = catalogue.snapshot("s");
    let entry = snapshot.get("a").unwrap();
    assert_eq!(entry.register_time, UnixMillis(1_001));
    assert_eq!(entry.status_time, UnixMillis(4_000));
}

#[test]
fn an_instance_that_moves_leaves_its_old_service() {
    let mut catalogue = catalogue();
    passing(&mut catalogue, instance("a", "old"));
    let effects = register(&mut catalogue, instance("a", "new"), 3_000);
    let told: Vec<_> = effects
        .snapshots
        .iter()
        .map(|s| (s.service(), s.len()))
        .collect();
    assert_eq!(told, [("old", 0), ("new", 1)]);
    assert_eq!(status(&catalogue, "new", "a"), PASSING);
    assert!(catalogue.deregister("a").is_some());
    assert!(catalogue.snapshot("new").is_empty());
}

#[test]
fn a_result_from_an_earlier_epoch_is_ignored() {
    let mut catalogue = catalogue();
    let old = epoch(&register(&mut catalogue, instance("a", "s"), 1));
    catalogue.deregister("a").unwrap();
    assert_eq!(catalogue.report("a", old, Ok(()), START), None);
    register(&mut catalogue, instance("a", "s"), 2);
    assert_eq!(catalogue.report("a", old, Ok(()), START), None);
    assert_eq!(status(&catalogue, "s", "a"), critical("not checked yet"));
}

#[test]
fn only_the_last_heartbeat_stream_counts() {
    let mut catalogue = catalogue();
    let first = passing(&mut catalogue, instance("a", "s"));
    catalogue.heartbeat("a", 1, START).unwrap();
    catalogue.heartbeat("a", 2, START).unwrap();
    assert_eq!(catalogue.heartbeat_ended("a", 1, START), None);
    assert_eq!(status(&catalogue, "s", "a"), PASSING);
    let effects = catalogue.heartbeat_ended("a", 2, START).unwrap();
    assert_eq!(status(&catalogue, "s", "a"), critical("heartbeat lost"));
    // A check that was under way when the heartbeat broke is not believed; a new one is.
    assert_eq!(catalogue.report("a", first, Ok(()), START), None);
    catalogue
        .report("a", epoch(&effects), Ok(()), START)
        .unwrap();
    assert_eq!(status(&catalogue, "s", "a"), PASSING);
}

#[test]
fn a_stream_that_outlives_its_registration_says_nothing_of_the_next() {
    let mut catalogue = catalogue();
    passing(&mut catalogue, instance("a", "s"));
    catalogue.heartbeat("a", 1, START).unwrap();
    catalogue.deregister("a").unwrap();
    assert_eq!(catalogue.heartbeat("a", 1, START), None);
    passing(&mut catalogue, instance("a", "s"));
    assert_eq!(catalogue.heartbeat_ended("a", 1, START), None);
    assert_eq!(status(&catalogue, "s", "a"), PASSING);
}

#[test]
fn an_unpolled_instance_comes_back_with_its_heartbeat_or_by_registering() {
    let mut catalogue = catalogue();
    register(&mut catalogue, unpolled("a", "s"), 1);
    for stream in [1, 2] {
        catalogue.heartbeat("a", stream, START).unwrap();
        assert_eq!(status(&catalogue, "s", "a"), PASSING);
        catalogue.heartbeat_ended("a", stream, START).unwrap();
        assert_eq!(status(&catalogue, "s", "a"), critical("heartbeat lost"));
    }
    register(&mut catalogue, unpolled("a", "s"), 2);
    assert_eq!(status(&catalogue, "s", "a"), PASSING);
}

#[test]
fn a_failing_check_says_why_within_bounds() {
    let mut catalogue = catalogue();
    let epoch = passing(&mut catalogue, instance("a", "s"));
    let long = "x".repeat(10_000);
    catalogue.report("a", epoch, Err(&long), START).unwrap();
    let (status, reason) = status(&catalogue, "s", "a");
    assert_eq!(
        (status, reason.len()),
        (Status::Critical, limits::REASON_CHARS_MAX)
    );
}

#[test]
fn the_revision_of_passing_instances_ignores_the_others() {
    let mut catalogue = catalogue();
    passing(&mut catalogue, instance("a", "s"));
    let before = catalogue.snapshot("s");
    register(&mut catalogue, instance("b", "s"), 2);
    let after = catalogue.snapshot("s");
    assert!(after.revision(View::All) > before.revision(View::All));
    assert_eq!(
        after.revision(View::Passing),
        before.revision(View::Passing)
    );
}

#[test]
fn a_full_catalogue_takes_changes_but_no_more_instances() {
    let bounds = Bounds {
        instances_max: 1,
        ..Bounds::default()
    };
    let mut catalogue = Catalogue::new(START, bounds);
    register(&mut catalogue, instance("a", "s"), 1);
    let refused = catalogue.register(instance("b", "s"), START).unwrap_err();
    assert_eq!(refused, Full { instances_max: 1 });
    register(&mut catalogue, instance("a", "t"), 2);
    assert_eq!(catalogue.snapshot("t").len(), 1);
}

#[test]
fn forgetting_empty_services_never_takes_a_revision_back() {
    let bounds = Bounds {
        empty_services_max: 1,
        ..Bounds::default()
    };
    let mut catalogue = Catalogue::new(START, bounds);
    let mut highest = 0;
    for service in ["s", "t"] {
        register(&mut catalogue, instance("a", service), 1);
        let effects = catalogue.deregister("a").unwrap();
        highest = effects.snapshots[0].revision(View::All);
        assert_eq!(effects.forgotten.len(), if service == "t" { 2 } else { 0 });
    }
    assert!(catalogue.snapshot("s").revision(View::Passing) >= highest);
    register(&mut catalogue, instance("a", "s"), 1);
    assert!(catalogue.snapshot("s").revision(View::All) > highest);
}

#[test]
fn services_are_listed_by_name_in_pages_without_the_empty_ones() {
    let mut catalogue = catalogue();
    for service in ["c", "a", "b", "d"] {
        register(&mut catalogue, unpolled(service, service), 1);
    }
    catalogue.deregister("b").unwrap();
    let (page, more) = catalogue.services(None, 2);
    let names: Vec<_> = page.iter().map(|s| s.service.as_str()).collect();
    assert_eq!((names, more), (vec!["a", "c"], true));
    let (page, more) = catalogue.services(Some("c"), 2);
    assert_eq!((page.len(), page[0].passing, more), (1, 1, false));
}
