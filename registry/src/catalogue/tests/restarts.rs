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

/// A run check with this many failures before it is critical.
fn patient(id: &str, service: &str, failures: u32) -> Instance {
    let check = CheckDefinition {
        failures_before_warning: failures,
        failures_before_critical: failures,
        success_before_passing: 2,
        ..definition("tcp", tcp())
    };
    checked(id, service, &[check])
}

/// The epoch of an instance's run after a restart.
fn epoch_of(effects: &Effects, id: &str) -> u64 {
    let mut epochs = effects.polling.iter().filter_map(|polling| match polling {
        Polling::Start(target) if target.check == check_of(id, "tcp") => Some(target.epoch),
        _ => None,
    });
    epochs.next_back().unwrap()
}

fn ran_at(catalogue: &mut Catalogue, id: &str, epoch: u64, status: Status, at: UnixMillis) {
    let check = check_of(id, "tcp");
    catalogue.ran(&check, epoch, (status, "said"), at).unwrap();
}

#[test]
fn thresholds_apply_to_the_first_results_after_a_restart() {
    let mut before = catalogue();
    passing(&mut before, patient("a", "s", 3));
    passing(&mut before, patient("other", "s", 3));
    let down = passing(&mut before, patient("down", "s", 1));
    ran(&mut before, "down", down, Status::Critical, "down").unwrap();
    register(&mut before, patient("new", "s", 3), START.0);
    let owners = ["a", "other", "down", "new"].map(own);
    let (mut after, effects) = restarted(&before, &owners);
    let epoch = |id: &str| epoch_of(&effects, id);
    let mut say = |id: &str, status| {
        ran_at(&mut after, id, epoch(id), status, LATER);
        after.entry(&key(id)).unwrap().status
    };
    for expected in [Status::Passing, Status::Passing, Status::Critical] {
        assert_eq!(say("a", Status::Critical), expected);
    }
    for expected in [Status::Critical, Status::Passing] {
        assert_eq!(say("down", Status::Passing), expected);
    }
    // One that never had a result takes its first at once.
    assert_eq!(say("new", Status::Passing), Status::Passing);
}

#[test]
fn failing_checks_leave_no_service_empty_during_the_grace_period() {
    let mut before = catalogue();
    for id in ["a", "b"] {
        passing(&mut before, instance(id, "s"));
    }
    let (mut after, effects) = restarted(&before, &["a", "b"].map(own));
    let epoch = |id: &str| epoch_of(&effects, id);
    let passing = |catalogue: &Catalogue| catalogue.snapshot("s").counts().passing;
    for _ in 0..2 {
        for id in ["a", "b"] {
            ran_at(&mut after, id, epoch(id), Status::Critical, LATER);
        }
        // It is the last that is kept.
        assert_eq!(passing(&after), 1);
        assert_eq!(status(&after, "b"), PASSING);
    }
    let over = LATER.after(Bounds::default().grace);
    ran_at(&mut after, "b", epoch("b"), Status::Critical, over);
    assert_eq!(passing(&after), 0);
}

#[test]
fn a_check_that_was_not_believed_runs_again_when_the_grace_period_ends() {
    let mut before = catalogue();
    passing(&mut before, instance("a", "s"));
    let (mut after, effects) = restarted(&before, &[own("a")]);
    let epoch = epoch_of(&effects, "a");
    ran_at(&mut after, "a", epoch, Status::Critical, LATER);
    let over = LATER.after(Bounds::default().grace);
    let hurry = Polling::Hurry(check_of("a", "tcp"));
    assert_eq!(after.sweep(over, 7).polling, [hurry]);
    ran_at(&mut after, "a", epoch, Status::Critical, over);
    assert_eq!(status(&after, "a"), critical("said"));
}

#[test]
fn heartbeats_that_all_stay_away_are_held_back_like_a_mass_expiry() {
    let mut before = catalogue();
    let ids: Vec<_> = (0..20).map(|n| format!("i{n:02}")).collect();
    for (stream, id) in (0..).zip(&ids) {
        register(&mut before, standing(id, "s"), START.0);
        before.heartbeat(&key(id), stream, START).unwrap();
    }
    let owners: Vec<_> = ids.iter().map(|id| own(id)).collect();
    let (mut after, _) = restarted(&before, &owners);
    let over = LATER.after(Bounds::default().grace);
    after.sweep(over, 7);
    let passing = |catalogue: &Catalogue| catalogue.snapshot("s").counts().passing;
    let held = |catalogue: &Catalogue, now| {
        let guard = catalogue.services(None, 1, now).0[0].guard;
        guard.map_or(0, |guard| guard.held)
    };
    assert_eq!((passing(&after), held(&after, over)), (17, 17));
    // Who comes back is held no longer.
    let back = ids.iter().filter(|id| status(&after, id) == PASSING);
    let back: Vec<_> = back.skip(1).cloned().collect();
    for (stream, id) in (100..).zip(&back) {
        after.heartbeat(&key(id), stream, over).unwrap();
    }
    assert_eq!(held(&after, over), 1);
    let next = over.after(guard::WINDOW);
    after.sweep(next, 7);
    assert_eq!((passing(&after), held(&after, next)), (16, 0));
}

#[test]
fn who_registers_anew_has_no_heartbeat_to_bring_back() {
    let mut before = catalogue();
    register(&mut before, standing("a", "s"), START.0);
    before.heartbeat(&key("a"), 1, START).unwrap();
    let (mut after, _) = restarted(&before, &[own("a")]);
    after.deregister(&key("a"), LATER).unwrap();
    register(&mut after, standing("a", "s"), LATER.0);
    after.sweep(LATER.after(Bounds::default().grace), 7);
    assert_eq!(status(&after, "a"), PASSING);
}

#[test]
fn a_failing_check_of_a_node_leaves_no_service_empty_either() {
    let mut before = catalogue();
    let node = Node {
        name: HOME.to_owned(),
        checks: vec![Arc::new(definition("tcp", tcp()))],
        ..Node::default()
    };
    let owner = Owner::Node(HOME.to_owned());
    let check = CheckRef {
        owner: owner.clone(),
        check_id: "tcp".to_owned(),
    };
    let epoch = epoch(&before.register_node(node, START).unwrap());
    let fine = (Status::Passing, "");
    before.ran(&check, epoch, fine, START).unwrap();
    for id in ["a", "b"] {
        register(&mut before, standing(id, "s"), START.0);
    }
    let (mut after, effects) = restarted(&before, &[owner, own("a"), own("b")]);
    let mut fails = |at| {
        let Polling::Start(target) = &effects.polling[0] else {
            panic!("{:?}", effects.polling)
        };
        let down = (Status::Critical, "down");
        after.ran(&check, target.epoch, down, at).unwrap();
        after.snapshot("s").counts().passing
    };
    assert_eq!(fails(LATER), 2);
    assert_eq!(fails(LATER.after(Bounds::default().grace)), 0);
}
