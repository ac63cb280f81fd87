//! What went wrong elsewhere, and in tests of this registry by hand.

use super::*;

const LATER: UnixMillis = UnixMillis(60_000);

/// A restart at this time, by the machine's clock.
fn restarted_at(before: &Catalogue, owners: &[Owner], now: UnixMillis) -> (Catalogue, Effects) {
    let kept = owners.iter().filter_map(|owner| before.stored(owner));
    let mut after = Catalogue::new(before.indexes().newest + 1, Bounds::default());
    let effects = after.restore(kept.collect(), now);
    (after, effects)
}

fn begun(effects: &Effects, id: &str) -> Target {
    let mut begun = effects.polling.iter().filter_map(|polling| match polling {
        Polling::Start(target) if target.check.owner == own(id) => Some(target.clone()),
        _ => None,
    });
    begun.next_back().expect("nothing runs anew")
}

fn says(catalogue: &mut Catalogue, target: &Target, status: Status, at: UnixMillis) {
    let said = (status, "said");
    catalogue
        .ran(&target.check, target.epoch, said, at)
        .unwrap();
}

#[test]
fn the_grace_after_a_restart_holds_though_the_clock_was_set_back_an_hour() {
    let hour = 3_600_000;
    let mut before = catalogue();
    for now in [START.0 + hour, START.0 + 2 * hour] {
        let epoch = epoch(&register(&mut before, instance("a", "s"), now));
        let passed = (Status::Passing, "open");
        before
            .ran(&check_of("a", "tcp"), epoch, passed, UnixMillis(now))
            .unwrap();
        before.deregister(&key("b"), UnixMillis(now));
        let (mut after, effects) = restarted_at(&before, &[own("a")], START);
        let run = begun(&effects, "a");
        says(&mut after, &run, Status::Critical, START);
        assert_eq!(status(&after, "a"), PASSING);
        let over = START.after(Bounds::default().grace);
        says(&mut after, &run, Status::Critical, over);
        assert_eq!(status(&after, "a"), critical("said"));
        before.deregister(&key("a"), UnixMillis(now)).unwrap();
    }
}

#[test]
fn who_first_passed_after_the_restart_turns_critical_within_the_grace() {
    let mut before = catalogue();
    let epoch = passing(&mut before, instance("a", "s"));
    ran(&mut before, "a", epoch, Status::Critical, "down").unwrap();
    let (mut after, effects) = restarted_at(&before, &[own("a")], LATER);
    let run = begun(&effects, "a");
    says(&mut after, &run, Status::Passing, LATER);
    assert_eq!(status(&after, "a"), PASSING);
    says(&mut after, &run, Status::Critical, LATER.after(SWEEP));
    assert_eq!(status(&after, "a"), critical("said"));
    // And so does one that is registered only then.
    let new = self::epoch(&register(&mut after, instance("new", "t"), LATER.0));
    for (status, expected) in [
        (Status::Passing, Status::Passing),
        (Status::Critical, Status::Critical),
    ] {
        let said = (status, "");
        after
            .ran(&check_of("new", "tcp"), new, said, LATER)
            .unwrap();
        assert_eq!(after.entry(&key("new")).unwrap().status, expected);
    }
}

#[test]
fn what_wakes_and_what_then_does_not_wakes_together() {
    let snapshot = |revision| Arc::new(Snapshot::empty("s", revision));
    let mut effects = Effects::default();
    effects.publish(snapshot(1), true);
    effects.publish(snapshot(2), false);
    assert_eq!(effects.snapshots, [(snapshot(2), true)]);
    let mut effects = Effects::default();
    effects.publish(snapshot(1), false);
    effects.publish(snapshot(2), true);
    effects.publish(snapshot(3), false);
    assert_eq!(effects.snapshots, [(snapshot(3), true)]);
}

#[test]
fn a_check_that_names_its_target_keeps_what_it_said_when_its_owner_moves() {
    let http = CheckKind::Http {
        url: "http://10.9.9.9/health".to_owned(),
        method: "GET".to_owned(),
        headers: Vec::new(),
        body: String::new(),
        follow_redirects: true,
    };
    let grpc = CheckKind::Grpc {
        target: Some("10.9.9.9:1".to_owned()),
        service: String::new(),
    };
    let named = CheckKind::Tcp {
        target: Some("10.9.9.9:1".to_owned()),
    };
    for (kind, kept) in [(http, true), (grpc, true), (named, true), (tcp(), false)] {
        let mut catalogue = catalogue();
        let here = checked("a", "s", &[definition("tcp", kind)]);
        passing(&mut catalogue, here.clone());
        for moved in [
            Instance {
                port: 81,
                ..here.clone()
            },
            Instance {
                address: "10.0.0.2".to_owned(),
                port: 81,
                ..here.clone()
            },
        ] {
            let effects = register(&mut catalogue, moved.clone(), LATER.0);
            let entry = catalogue.entry(&key("a")).unwrap();
            assert_eq!(entry.status == Status::Passing, kept, "{here:?}");
            assert_eq!(entry.instance.port, 81);
            // It runs anew all the same, and knows where its owner is.
            let target = begun(&effects, "a");
            assert_eq!((target.address, target.port), (moved.address, 81));
        }
    }
}

#[test]
fn maintenance_outlives_the_removal_of_a_dead_instance_and_a_restart() {
    let after = Duration::from_secs(1);
    let check = CheckDefinition {
        deregister_critical_after: Some(after),
        ..definition("tcp", tcp())
    };
    let one = || checked("a", "s", std::slice::from_ref(&check));
    let home = Owner::Node(HOME.to_owned());
    let gone = |catalogue: &mut Catalogue| {
        register(catalogue, one(), START.0);
        let out = Some("new disk".to_owned());
        catalogue.set_maintenance(&own("a"), out, START).unwrap();
        catalogue.sweep(START, 7);
        let effects = catalogue.sweep(START.after(after), 7);
        assert_eq!(effects.reaped.len(), 1);
        assert!(effects.stale.contains(&home));
    };
    let mut catalogue = catalogue();
    gone(&mut catalogue);
    register(&mut catalogue, one(), LATER.0);
    assert_eq!(
        status(&catalogue, "a"),
        (Status::Maintenance, "new disk".to_owned())
    );
    assert!(catalogue.set_maintenance(&own("a"), None, LATER).is_some());
    assert_eq!(status(&catalogue, "a").0, Status::Critical);
    catalogue.deregister(&key("a"), LATER).unwrap();

    gone(&mut catalogue);
    let (mut restarted, _) = restarted_at(&catalogue, std::slice::from_ref(&home), LATER);
    register(&mut restarted, one(), LATER.0);
    assert_eq!(status(&restarted, "a").0, Status::Maintenance);

    // It is put back while it is not there.
    assert!(catalogue.set_maintenance(&own("a"), None, LATER).is_some());
    assert!(catalogue.set_maintenance(&own("a"), None, LATER).is_none());
    assert!(catalogue.node(HOME).is_none());
    register(&mut catalogue, one(), LATER.0);
    assert_eq!(status(&catalogue, "a").0, Status::Critical);
}

#[test]
fn ten_thousand_that_return_at_once_after_ten_minutes_are_told_once_each() {
    let count: u64 = 10_000;
    let mut catalogue = catalogue();
    for n in 0..count {
        let id = n.to_string();
        register(
            &mut catalogue,
            standing(&id, &format!("s{}", n % 100)),
            START.0,
        );
        catalogue.heartbeat(&key(&id), n, START).unwrap();
    }
    for n in 0..count {
        catalogue
            .heartbeat_ended(&key(&n.to_string()), n, START)
            .unwrap();
    }
    let back = START.after(Duration::from_secs(600));
    let swept = catalogue.sweep(back, 7);
    assert!(swept.reaped.is_empty() && swept.stale.is_empty());
    let before = catalogue.indexes().newest;
    for n in 0..count {
        let id = n.to_string();
        let again = register(
            &mut catalogue,
            standing(&id, &format!("s{}", n % 100)),
            back.0,
        );
        let beat = catalogue.heartbeat(&key(&id), count + n, back).unwrap();
        assert!(again.snapshots.len() + beat.snapshots.len() <= 2);
    }
    // One change each, nothing that waits for its time, and all of them are there.
    assert_eq!(catalogue.indexes().newest - before, count);
    assert!(catalogue.timers.len() <= usize::try_from(count).unwrap());
    let census = catalogue.census(back);
    assert_eq!(
        census.instances[&Status::Passing],
        usize::try_from(count).unwrap()
    );
}
