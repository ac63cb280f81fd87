//! The catalogue's promises, one by one; and all of them against naive models.

mod heartbeats;
mod holders;
mod incidents;
mod model;
mod nodes;
mod restarts;
mod thresholds;
mod time;
mod validation;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::catalogue::*;

const START: UnixMillis = UnixMillis(1_000);
const HOME: &str = "home";

fn catalogue() -> Catalogue {
    Catalogue::new(START.0, Bounds::default())
}

fn key(id: &str) -> Key {
    Key::new(HOME, id)
}

fn own(id: &str) -> Owner {
    Owner::Instance(key(id))
}

fn check_of(id: &str, check_id: &str) -> CheckRef {
    CheckRef {
        owner: own(id),
        check_id: check_id.to_owned(),
    }
}

fn tcp() -> CheckKind {
    CheckKind::Tcp { target: None }
}

fn definition(check_id: &str, kind: CheckKind) -> CheckDefinition {
    CheckDefinition {
        check_id: check_id.to_owned(),
        name: String::new(),
        notes: String::new(),
        kind,
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(2),
        success_before_passing: 1,
        failures_before_warning: 1,
        failures_before_critical: 1,
        deregister_critical_after: None,
        initial: None,
        tls: None,
        detached: false,
    }
}

/// An instance of `service` with these checks.
fn checked(id: &str, service: &str, checks: &[CheckDefinition]) -> Instance {
    Instance {
        node: HOME.to_owned(),
        instance_id: id.to_owned(),
        service: service.to_owned(),
        address: "10.0.0.1".to_owned(),
        port: 80,
        weight: 1,
        checks: checks.iter().cloned().map(Arc::new).collect(),
        ..Instance::default()
    }
}

/// An instance of `service` that is checked by TCP.
fn instance(id: &str, service: &str) -> Instance {
    checked(id, service, &[definition("tcp", tcp())])
}

fn standing(id: &str, service: &str) -> Instance {
    checked(id, service, &[definition("heartbeat", CheckKind::Standing)])
}

fn register(catalogue: &mut Catalogue, instance: Instance, now: u64) -> Effects {
    catalogue.register(instance, UnixMillis(now)).unwrap().1
}

fn epoch(effects: &Effects) -> u64 {
    match &effects.polling[..] {
        [.., Polling::Start(target)] => target.epoch,
        other => panic!("no check began: {other:?}"),
    }
}

fn ran(
    catalogue: &mut Catalogue,
    id: &str,
    epoch: u64,
    status: Status,
    output: &str,
) -> Option<Effects> {
    catalogue.ran(&check_of(id, "tcp"), epoch, (status, output), START)
}

fn passing(catalogue: &mut Catalogue, instance: Instance) -> u64 {
    let key = instance.key();
    let epoch = epoch(&register(catalogue, instance, 1_001));
    let check = CheckRef {
        owner: Owner::Instance(key),
        check_id: "tcp".to_owned(),
    };
    catalogue
        .ran(&check, epoch, (Status::Passing, "open"), UnixMillis(1_002))
        .unwrap();
    epoch
}

fn status(catalogue: &Catalogue, id: &str) -> (Status, String) {
    let entry = catalogue.entry(&key(id)).unwrap();
    (entry.status, entry.reason.clone())
}

fn critical(reason: &str) -> (Status, String) {
    (Status::Critical, reason.to_owned())
}

const PASSING: (Status, String) = (Status::Passing, String::new());

/// Whether anybody is woken.
fn wakes(effects: &Effects) -> bool {
    effects.snapshots.iter().any(|(_, wake)| *wake)
}

#[test]
fn a_new_instance_is_critical_until_its_first_check_passes() {
    let mut catalogue = catalogue();
    let epoch = epoch(&register(&mut catalogue, instance("a", "s"), 5_000));
    assert_eq!(status(&catalogue, "a"), critical("not checked yet"));
    let check = check_of("a", "tcp");
    let passed = (Status::Passing, "open");
    let effects = catalogue.ran(&check, epoch, passed, UnixMillis(6_000));
    assert_eq!(effects.unwrap().turned.len(), 1);
    assert_eq!(status(&catalogue, "a"), PASSING);
    let entry = catalogue.entry(&key("a")).unwrap();
    assert_eq!(entry.register_time, UnixMillis(5_000));
    assert_eq!(entry.status_time, UnixMillis(6_000));
    assert_eq!(entry.checks[0].output, "open");
}

#[test]
fn an_instance_without_a_check_that_runs_passes_at_once() {
    let mut catalogue = catalogue();
    let effects = register(&mut catalogue, standing("a", "s"), 1);
    assert_eq!(effects.polling, []);
    assert_eq!(status(&catalogue, "a"), PASSING);
    register(&mut catalogue, checked("b", "s", &[]), 1);
    assert_eq!(status(&catalogue, "b"), PASSING);
}

#[test]
fn the_same_registration_again_changes_nothing() {
    let mut catalogue = catalogue();
    passing(&mut catalogue, instance("a", "s"));
    let (before, indexes) = (catalogue.snapshot("s"), catalogue.indexes());
    let effects = register(&mut catalogue, instance("a", "s"), 9_000);
    assert!(effects.snapshots.is_empty() && effects.polling.is_empty());
    assert!(effects.stale.is_empty());
    assert_eq!(
        (catalogue.snapshot("s"), catalogue.indexes()),
        (before, indexes)
    );
}

#[test]
fn the_same_registration_of_a_critical_instance_hurries_its_check() {
    let mut catalogue = catalogue();
    register(&mut catalogue, instance("a", "s"), 1);
    let effects = register(&mut catalogue, instance("a", "s"), 2);
    assert!(effects.snapshots.is_empty());
    assert_eq!(effects.polling, [Polling::Hurry(check_of("a", "tcp"))]);
}

#[test]
fn changed_attributes_keep_the_status_and_a_changed_target_does_not() {
    let mut catalogue = catalogue();
    passing(&mut catalogue, instance("a", "s"));
    let mut tagged = instance("a", "s");
    tagged.tags = vec!["blue".to_owned()];
    let effects = register(&mut catalogue, tagged.clone(), 3_000);
    assert!(wakes(&effects) && effects.polling.is_empty());
    assert_eq!(effects.stale, [own("a")]);
    assert_eq!(status(&catalogue, "a"), PASSING);

    let mut moved = tagged;
    moved.port = 81;
    let effects = register(&mut catalogue, moved, 4_000);
    let [Polling::Stop(_), Polling::Start(target)] = &effects.polling[..] else {
        panic!("{:?}", effects.polling)
    };
    assert_eq!(target.port, 81);
    assert_eq!(status(&catalogue, "a"), critical("not checked yet"));
    let entry = catalogue.entry(&key("a")).unwrap();
    assert_eq!(entry.register_time, UnixMillis(1_001));
    assert_eq!(entry.status_time, UnixMillis(4_000));
}

/// Registers `a` with one check, has it say something, and registers it with another; answers what
/// that did, and the status after.
fn redefined(first: CheckDefinition, said: Status, second: CheckDefinition) -> (Effects, Status) {
    let mut catalogue = catalogue();
    let id = first.check_id.clone();
    register(&mut catalogue, checked("a", "s", &[first]), 1_000);
    let check = check_of("a", &id);
    let epoch = catalogue.records[&key("a")].checks[0].epoch;
    let of_a_run = catalogue.ran(&check, epoch, (said, "said"), START);
    let reported = catalogue.report(&check, (said, "said"), START);
    assert!(of_a_run.is_some() || reported.is_ok());
    let effects = register(&mut catalogue, checked("a", "s", &[second]), 2_000);
    assert!(effects.stale.contains(&own("a")));
    let old = (Status::Warning, "late");
    assert!(catalogue.ran(&check, epoch, old, START).is_none() || effects.polling.is_empty());
    let entry = catalogue.entry(&key("a")).unwrap();
    if entry.status == said {
        assert_eq!(entry.checks[0].output, "said");
    }
    (effects, entry.status)
}

#[test]
fn a_check_that_is_done_in_another_way_keeps_what_it_said() {
    let run = |interval: u64, kind: CheckKind| CheckDefinition {
        interval: Duration::from_secs(interval),
        ..definition("check", kind)
    };
    let http = |url: &str, method: &str| CheckKind::Http {
        url: url.to_owned(),
        method: method.to_owned(),
        headers: Vec::new(),
        body: String::new(),
        follow_redirects: true,
    };
    let (passing, critical) = (Status::Passing, Status::Critical);
    for (first, said, second, expected) in [
        (run(10, tcp()), passing, run(5, tcp()), passing),
        (
            run(10, http("http://a/", "GET")),
            Status::Warning,
            run(10, http("http://a/", "HEAD")),
            Status::Warning,
        ),
        (
            run(10, http("http://a/", "GET")),
            passing,
            run(10, http("http://b/", "GET")),
            critical,
        ),
        (
            run(10, tcp()),
            passing,
            run(10, http("http://a/", "GET")),
            critical,
        ),
    ] {
        let (effects, status) = redefined(first, said, second);
        assert_eq!(status, expected);
        let [.., Polling::Start(target)] = &effects.polling[..] else {
            panic!("{:?}", effects.polling)
        };
        assert_eq!(target.check, check_of("a", "check"));
    }
    let ttl = |seconds| CheckKind::Ttl {
        ttl: Duration::from_secs(seconds),
    };
    let named = |name: &str, kind| CheckDefinition {
        name: name.to_owned(),
        initial: Some(Status::Critical),
        ..definition("check", kind)
    };
    let first = || named("one", ttl(60));
    let again = |second| redefined(first(), passing, second);
    assert_eq!(again(named("two", ttl(60))).1, passing);
    assert_eq!(again(named("one", ttl(5))).1, passing);
    assert_eq!(again(named("one", CheckKind::Reported)).1, critical);
}

#[test]
fn a_report_counts_for_the_new_time_once_it_is_another() {
    let mut catalogue = catalogue();
    let ttl = |seconds| {
        let ttl = Duration::from_secs(seconds);
        checked("a", "s", &[definition("ttl", CheckKind::Ttl { ttl })])
    };
    register(&mut catalogue, ttl(3600), START.0);
    let fine = (Status::Passing, "fine");
    catalogue
        .report(&check_of("a", "ttl"), fine, START)
        .unwrap();
    register(&mut catalogue, ttl(1), START.0);
    assert_eq!(status(&catalogue, "a"), PASSING);
    catalogue.sweep(START.after(Duration::from_secs(1)), 7);
    assert_eq!(status(&catalogue, "a").0, Status::Critical);
}

#[test]
fn an_instance_that_moves_leaves_its_old_service() {
    let mut catalogue = catalogue();
    passing(&mut catalogue, instance("a", "old"));
    let effects = register(&mut catalogue, instance("a", "new"), 3_000);
    let snapshots = effects.snapshots.iter();
    let told: Vec<_> = snapshots.map(|(s, _)| (s.service(), s.len())).collect();
    assert_eq!(told, [("old", 0), ("new", 1)]);
    assert_eq!(status(&catalogue, "a"), PASSING);
    let names: Vec<_> = catalogue.tags().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(names, ["new"]);
    assert!(catalogue.deregister(&key("a"), START).is_some());
    assert!(catalogue.snapshot("new").is_empty());
}

#[test]
fn a_result_from_an_earlier_epoch_is_ignored() {
    let mut catalogue = catalogue();
    let old = epoch(&register(&mut catalogue, instance("a", "s"), 1));
    catalogue.deregister(&key("a"), START).unwrap();
    assert!(ran(&mut catalogue, "a", old, Status::Passing, "").is_none());
    register(&mut catalogue, instance("a", "s"), 2);
    assert!(ran(&mut catalogue, "a", old, Status::Passing, "").is_none());
    assert_eq!(status(&catalogue, "a"), critical("not checked yet"));
}

#[test]
fn a_failing_check_says_why_within_bounds() {
    let mut catalogue = catalogue();
    let epoch = passing(&mut catalogue, instance("a", "s"));
    let long = "x".repeat(10_000);
    ran(&mut catalogue, "a", epoch, Status::Critical, &long).unwrap();
    let (status, reason) = status(&catalogue, "a");
    assert_eq!(
        (status, reason.len()),
        (Status::Critical, limits::OUTPUT_CHARS_MAX)
    );
}

#[test]
fn a_thousand_results_that_differ_in_output_alone_wake_nobody() {
    let mut catalogue = catalogue();
    let epoch = passing(&mut catalogue, instance("a", "s"));
    let (before, indexes) = (catalogue.snapshot("s"), catalogue.indexes());
    for run in 0..1_000 {
        let output = format!("answered in {run} us");
        let effects = ran(&mut catalogue, "a", epoch, Status::Passing, &output).unwrap();
        assert!(!wakes(&effects) && effects.stale.is_empty());
    }
    let after = catalogue.snapshot("s");
    for view in [View::Passing, View::All, View::Registered] {
        assert_eq!(after.revision(view), before.revision(view));
    }
    assert_eq!(catalogue.indexes(), indexes);
    assert_eq!(
        after.get(&key("a")).unwrap().checks[0].output,
        "answered in 999 us"
    );
}

#[test]
fn a_thousand_writes_elsewhere_wake_nobody_here() {
    let mut catalogue = catalogue();
    passing(&mut catalogue, instance("a", "s"));
    let before = catalogue.snapshot("s");
    for write in 0..1_000 {
        let effects = register(&mut catalogue, standing(&format!("b{write}"), "t"), write);
        assert!(
            effects
                .snapshots
                .iter()
                .all(|(told, _)| told.service() == "t")
        );
    }
    assert!(Arc::ptr_eq(&before, &catalogue.snapshot("s")));
}

#[test]
fn each_view_has_a_revision_of_its_own() {
    let mut catalogue = catalogue();
    let a = passing(&mut catalogue, instance("a", "s"));
    let revisions = |catalogue: &Catalogue| {
        let snapshot = catalogue.snapshot("s");
        [View::Passing, View::All, View::Registered].map(|view| snapshot.revision(view))
    };
    let before = revisions(&catalogue);
    register(&mut catalogue, instance("b", "s"), 2);
    let after = revisions(&catalogue);
    assert!(after[0] == before[0] && after[1] > before[1] && after[2] > before[2]);

    ran(&mut catalogue, "a", a, Status::Critical, "down").unwrap();
    let last = revisions(&catalogue);
    assert!(last[0] > after[0] && last[1] > after[1] && last[2] == after[2]);
}

#[test]
fn a_full_catalogue_takes_changes_but_no_more_instances() {
    let bounds = Bounds {
        instances_max: 1,
        ..Bounds::default()
    };
    let mut catalogue = Catalogue::new(START.0, bounds);
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
    let mut catalogue = Catalogue::new(START.0, bounds);
    let mut highest = 0;
    for service in ["s", "t"] {
        register(&mut catalogue, instance("a", service), 1);
        let effects = catalogue.deregister(&key("a"), START).unwrap();
        highest = effects.snapshots[0].0.revision(View::All);
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
        register(&mut catalogue, standing(service, service), 1);
    }
    catalogue.deregister(&key("b"), START).unwrap();
    let (page, more) = catalogue.services(None, 2, START);
    let names: Vec<_> = page.iter().map(|s| s.service.as_str()).collect();
    assert_eq!((names, more), (vec!["a", "c"], true));
    let (page, more) = catalogue.services(Some("c"), 2, START);
    assert_eq!((page.len(), page[0].counts.passing, more), (1, 1, false));
}

#[test]
fn the_map_of_tags_moves_with_every_registration_that_changes() {
    let mut catalogue = catalogue();
    let tagged = |id: &str, tags: &[&str]| Instance {
        tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
        ..standing(id, "s")
    };
    let map = |catalogue: &Catalogue| -> BTreeMap<String, Vec<String>> {
        let own = |(name, tags): (&str, Vec<String>)| (name.to_owned(), tags);
        let services = catalogue.tags();
        services
            .map(|(name, tags)| own((name, tags.map(str::to_owned).collect())))
            .collect()
    };
    let mut step = |instance: Option<Instance>, moves: bool, tags: &[&str]| {
        let before = catalogue.indexes().services;
        match instance {
            Some(instance) => drop(register(&mut catalogue, instance, 1)),
            None => drop(catalogue.deregister(&key("a"), START).unwrap()),
        }
        assert_eq!(catalogue.indexes().services > before, moves);
        assert_eq!(map(&catalogue)["s"], tags);
    };
    step(Some(tagged("a", &["x", "y"])), true, &["x", "y"]);
    step(Some(tagged("a", &["x", "y"])), false, &["x", "y"]);
    step(Some(tagged("a", &["y", "x"])), true, &["x", "y"]);
    step(Some(tagged("b", &["y"])), true, &["x", "y"]);
    step(Some(tagged("b", &["y"])), false, &["x", "y"]);
    step(Some(tagged("b", &["z"])), true, &["x", "y", "z"]);
    step(None, true, &["z"]);
}

#[test]
fn changes_are_listed_the_oldest_first() {
    let mut catalogue = catalogue();
    for service in ["s", "t", "u"] {
        register(&mut catalogue, standing(service, service), 1);
    }
    let held = catalogue.indexes().newest;
    catalogue.deregister(&key("t"), START).unwrap();
    register(&mut catalogue, standing("s2", "s"), 2);
    let names = |after| {
        let snapshots = catalogue.snapshots(after);
        let names = snapshots
            .iter()
            .map(|snapshot| snapshot.service().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(held), ["t", "s"]);
    assert_eq!(names(0), ["u", "t", "s"]);
}
