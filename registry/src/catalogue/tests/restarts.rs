//! What is kept, and beginning from it.

use super::*;

/// Another life of the registry, from what this one kept.
fn restarted(before: &Catalogue, owners: &[Owner]) -> (Catalogue, Effects) {
    let kept = owners.iter().filter_map(|owner| before.stored(owner));
    let mut after = Catalogue::new(before.indexes().newest + 1, Bounds::default());
    let effects = after.restore(kept.collect(), LATER);
    (after, effects)
}

const LATER: UnixMillis = UnixMillis(60_000);

#[test]
fn everybody_has_the_status_it_had_and_checks_run_at_once() {
    let mut before = catalogue();
    passing(&mut before, instance("a", "s"));
    let b = passing(&mut before, instance("b", "s"));
    ran(&mut before, "b", b, Status::Critical, "down").unwrap();
    before
        .set_maintenance(&own("a"), Some("why".to_owned()), START)
        .unwrap();
    let home = Owner::Node(HOME.to_owned());
    let (after, effects) = restarted(&before, &[own("a"), home, own("b")]);
    let starts = |p: &&Polling| matches!(p, Polling::Start(_));
    assert_eq!(effects.polling.iter().filter(starts).count(), 2);
    assert!(effects.stale.is_empty());
    let [(snapshot, true)] = &effects.snapshots[..] else {
        panic!("{:?}", effects.snapshots)
    };
    let newest = before.snapshot("s").revision(View::All);
    assert!(snapshot.revision(View::All) > newest);
    assert_eq!(status(&after, "a").0, Status::Maintenance);
    assert_eq!(status(&after, "b"), critical("down"));
    let entry = after.entry(&key("a")).unwrap();
    assert_eq!(entry.register_time, UnixMillis(1_001));
    assert_eq!(entry.checks[0].status, Status::Passing);
    for id in ["a", "b"] {
        assert_eq!(after.stored(&own(id)), before.stored(&own(id)));
    }
}

#[test]
fn every_service_is_published_whatever_its_instances_are_like() {
    let mut before = catalogue();
    let unchecked = |id: &str| checked(id, id, &[]);
    register(&mut before, unchecked("plain"), START.0);
    register(&mut before, standing("standing", "standing"), START.0);
    let ttl = CheckKind::Ttl {
        ttl: Duration::from_secs(60),
    };
    let silent = checked("silent", "silent", &[definition("ttl", ttl)]);
    register(&mut before, silent, START.0);
    passing(&mut before, instance("checked", "checked"));
    let ids = ["checked", "plain", "silent", "standing"];
    let (after, effects) = restarted(&before, &ids.map(own));
    let published = effects.snapshots.iter();
    let published: Vec<_> = published.map(|(held, _)| Arc::clone(held)).collect();
    assert_eq!(published, ids.map(|id| after.snapshot(id)));
    for id in ids {
        assert_eq!(after.snapshot(id).len(), 1, "{id}");
    }
}

#[test]
fn a_heartbeat_must_come_back_within_the_grace_period() {
    let mut before = catalogue();
    for id in ["back", "gone", "never"] {
        register(&mut before, standing(id, "s"), START.0);
    }
    for (id, stream) in [("back", 1), ("gone", 2)] {
        before.heartbeat(&key(id), stream, START).unwrap();
    }
    let owners = ["back", "gone", "never"].map(own);
    let (mut after, _) = restarted(&before, &owners);
    after.heartbeat(&key("back"), 1, LATER).unwrap();
    let grace = Bounds::default().grace;
    after.sweep(LATER.after(grace - SWEEP), 7);
    assert_eq!(after.snapshot("s").counts().passing, 3);
    after.sweep(LATER.after(grace), 7);
    assert_eq!(status(&after, "gone"), critical("heartbeat lost"));
    // One that never had any is none to lose.
    assert_eq!(
        (status(&after, "back"), status(&after, "never")),
        (PASSING, PASSING)
    );
}

#[test]
fn a_report_counts_once_more_after_a_restart() {
    let ttl = Duration::from_secs(1);
    let mut before = catalogue();
    let kind = CheckKind::Ttl { ttl };
    register(
        &mut before,
        checked("a", "s", &[definition("ttl", kind)]),
        START.0,
    );
    let fine = (Status::Passing, "fine");
    before.report(&check_of("a", "ttl"), fine, START).unwrap();
    let (mut after, _) = restarted(&before, &[own("a")]);
    let grace = Bounds::default().grace;
    let mut now = LATER;
    while now < LATER.after(grace - SWEEP) {
        now = now.after(SWEEP);
        after.sweep(now, 7);
    }
    assert_eq!(status(&after, "a"), PASSING);
    after.sweep(LATER.after(grace), 7);
    assert_eq!(status(&after, "a").0, Status::Critical);
}
