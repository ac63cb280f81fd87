//! What time alone brings.

use super::*;
use crate::catalogue::guard;

const TTL: Duration = Duration::from_secs(10);

fn ttl(id: &str) -> Instance {
    checked(id, "s", &[definition("ttl", CheckKind::Ttl { ttl: TTL })])
}

fn report(catalogue: &mut Catalogue, id: &str, now: UnixMillis) -> Effects {
    let fine = (Status::Passing, "fine");
    catalogue.report(&check_of(id, "ttl"), fine, now).unwrap()
}

/// Sweeps every 100 ms up to `until`; returns the time.
fn sweep(
    catalogue: &mut Catalogue,
    from: UnixMillis,
    until: Duration,
) -> (UnixMillis, Vec<Effects>) {
    let mut effects = Vec::new();
    let mut now = from;
    while now < from.after(until) {
        now = now.after(SWEEP);
        effects.push(catalogue.sweep(now, 7));
    }
    (now, effects)
}

#[test]
fn a_report_counts_for_its_time_and_says_what_it_last_said() {
    let mut catalogue = catalogue();
    register(&mut catalogue, ttl("a"), START.0);
    assert_eq!(status(&catalogue, "a"), critical("not checked yet"));
    report(&mut catalogue, "a", START);
    let (now, _) = sweep(&mut catalogue, START, TTL / 2);
    assert_eq!(status(&catalogue, "a"), PASSING);
    let again = report(&mut catalogue, "a", now);
    assert!(again.snapshots.is_empty() && again.stale.is_empty());
    let (now, _) = sweep(&mut catalogue, now, TTL - SWEEP);
    assert_eq!(status(&catalogue, "a"), PASSING);
    sweep(&mut catalogue, now, SWEEP);
    let expired = "TTL expired (last output before timeout follows): fine";
    assert_eq!(status(&catalogue, "a"), critical(expired));
}

#[test]
fn a_report_that_never_came_expires_too() {
    let mut catalogue = catalogue();
    let initial = CheckDefinition {
        initial: Some(Status::Passing),
        ..definition("ttl", CheckKind::Ttl { ttl: TTL })
    };
    register(&mut catalogue, checked("a", "s", &[initial]), START.0);
    assert_eq!(status(&catalogue, "a"), PASSING);
    sweep(&mut catalogue, START, TTL);
    assert_eq!(status(&catalogue, "a"), critical("TTL expired"));
}

#[test]
fn a_registry_that_stood_still_gives_the_time_back() {
    let mut catalogue = catalogue();
    register(&mut catalogue, ttl("a"), START.0);
    report(&mut catalogue, "a", START);
    let (now, _) = sweep(&mut catalogue, START, Duration::from_secs(1));
    let woken = now.after(TTL * 3);
    catalogue.sweep(woken, 7);
    assert_eq!(status(&catalogue, "a"), PASSING);
    sweep(&mut catalogue, woken, TTL);
    assert_eq!(status(&catalogue, "a").0, Status::Critical);
}

fn reaped(id: &str, after: Duration) -> Instance {
    let check = CheckDefinition {
        deregister_critical_after: Some(after),
        ..definition("tcp", tcp())
    };
    checked(id, "s", &[check])
}

#[test]
fn a_dead_instance_is_removed_after_its_time_without_a_floor() {
    let mut catalogue = catalogue();
    let after = Duration::from_millis(300);
    let epoch = epoch(&register(&mut catalogue, reaped("a", after), START.0));
    ran(&mut catalogue, "a", epoch, Status::Passing, "").unwrap();
    let (now, _) = sweep(&mut catalogue, START, Duration::from_secs(60));
    let down = (Status::Critical, "down");
    catalogue
        .ran(&check_of("a", "tcp"), epoch, down, now)
        .unwrap();
    let (now, _) = sweep(&mut catalogue, now, after - SWEEP);
    assert_eq!(catalogue.snapshot("s").len(), 1);
    let (_, effects) = sweep(&mut catalogue, now, SWEEP);
    assert_eq!(effects[0].reaped.len(), 1);
    assert_eq!(effects[0].polling, [Polling::Stop(check_of("a", "tcp"))]);
    assert!(effects[0].stale.contains(&own("a")));
    assert!(catalogue.snapshot("s").is_empty());
}

#[test]
fn an_instance_that_recovers_in_time_stays() {
    let mut catalogue = catalogue();
    let epoch = epoch(&register(&mut catalogue, reaped("a", TTL), START.0));
    let (now, _) = sweep(&mut catalogue, START, TTL / 2);
    ran(&mut catalogue, "a", epoch, Status::Passing, "").unwrap();
    let (now, _) = sweep(&mut catalogue, now, TTL);
    let down = (Status::Critical, "down");
    catalogue
        .ran(&check_of("a", "tcp"), epoch, down, now)
        .unwrap();
    let (now, _) = sweep(&mut catalogue, now, TTL - SWEEP);
    assert_eq!(catalogue.snapshot("s").len(), 1);
    sweep(&mut catalogue, now, SWEEP);
    assert!(catalogue.snapshot("s").is_empty());
}

#[test]
fn a_mass_expiry_is_held_back_and_lets_go_by_itself() {
    let mut catalogue = catalogue();
    let ids: Vec<_> = (0..40).map(|n| format!("i{n:02}")).collect();
    for id in &ids {
        register(&mut catalogue, ttl(id), START.0);
        report(&mut catalogue, id, START);
    }
    let count = |catalogue: &Catalogue| catalogue.snapshot("s").counts().passing;
    let (now, _) = sweep(&mut catalogue, START, TTL);
    assert_eq!(count(&catalogue), 40 - 6);
    let holding = |catalogue: &Catalogue, now| catalogue.services(None, 1, now).0[0].guard;
    assert_eq!(holding(&catalogue, now).unwrap().held, 34);
    let (now, _) = sweep(&mut catalogue, now, guard::WINDOW);
    assert_eq!(count(&catalogue), 40 - 12);
    // The network is back, and everybody reports.
    for id in &ids {
        report(&mut catalogue, id, now);
    }
    assert_eq!(count(&catalogue), 40);
    let (now, _) = sweep(&mut catalogue, now, TTL / 2);
    for id in &ids {
        report(&mut catalogue, id, now);
    }
    let (now, _) = sweep(&mut catalogue, now, TTL - SWEEP);
    for id in &ids {
        report(&mut catalogue, id, now);
    }
    let (now, _) = sweep(&mut catalogue, now, TTL - SWEEP);
    assert_eq!((count(&catalogue), holding(&catalogue, now)), (40, None));
    assert!(catalogue.guards.is_empty());
}

#[test]
fn whatever_is_held_back_is_told_though_it_went_silent_one_by_one() {
    let mut catalogue = catalogue();
    let mut now = START;
    for n in 0..20 {
        let id = format!("i{n:02}");
        register(&mut catalogue, ttl(&id), START.0);
        report(&mut catalogue, &id, now);
        now = now.after(SWEEP);
    }
    let (now, _) = sweep(&mut catalogue, now, TTL);
    let holding = |catalogue: &Catalogue, now| catalogue.services(None, 1, now).0[0].guard;
    assert_eq!(holding(&catalogue, now).unwrap().held, 20 - 3);
    assert_eq!(catalogue.census(now).held, 20 - 3);
    // Who reports again is held no longer.
    report(&mut catalogue, "i19", now);
    assert_eq!(catalogue.snapshot("s").counts().passing, 20 - 3);
    assert_eq!(holding(&catalogue, now).unwrap().held, 20 - 4);
    assert_eq!(catalogue.census(now).held, 20 - 4);
}

#[test]
fn in_the_end_the_guard_keeps_nobody() {
    let mut catalogue = catalogue();
    for n in 0..12 {
        register(&mut catalogue, reaped(&format!("i{n}"), TTL), START.0);
    }
    sweep(&mut catalogue, START, TTL + guard::WINDOW * 12);
    assert!(catalogue.snapshot("s").is_empty());
}

#[test]
fn few_instances_are_not_guarded() {
    let mut catalogue = catalogue();
    for n in 0..4 {
        register(&mut catalogue, reaped(&format!("i{n}"), TTL), START.0);
    }
    sweep(&mut catalogue, START, TTL);
    assert!(catalogue.snapshot("s").is_empty());
}

/// Lets an instance fall and stand up again until it flaps; answers when.
fn flaps(catalogue: &mut Catalogue, id: &str, epoch: u64) -> UnixMillis {
    turns(catalogue, id, epoch, &[Status::Critical, Status::Passing])
}

/// Lets an instance go through these as often as falls make it flap; answers when.
fn turns(catalogue: &mut Catalogue, id: &str, epoch: u64, results: &[Status]) -> UnixMillis {
    let mut now = START;
    for _ in 0..flap::FALLS {
        for &result in results {
            now = now.after(Duration::from_secs(5));
            let said = (result, "why");
            catalogue
                .ran(&check_of(id, "tcp"), epoch, said, now)
                .unwrap();
        }
    }
    now
}

#[test]
fn an_instance_that_flaps_is_held_as_warning_until_it_stands() {
    let mut catalogue = catalogue();
    passing(&mut catalogue, instance("b", "s"));
    let epoch = passing(&mut catalogue, instance("a", "s"));
    let now = flaps(&mut catalogue, "a", epoch);
    let entry = catalogue.entry(&key("a")).unwrap();
    assert_eq!((entry.status, entry.flapping), (Status::Warning, true));
    assert_eq!(entry.checks[0].status, Status::Passing);
    let (now, _) = sweep(&mut catalogue, now, flap::HOLD - SWEEP);
    assert_eq!(status(&catalogue, "a").0, Status::Warning);
    let (_, effects) = sweep(&mut catalogue, now, SWEEP);
    assert!(wakes(&effects[0]));
    let entry = catalogue.entry(&key("a")).unwrap();
    assert_eq!((entry.status, entry.flapping), (Status::Passing, false));
}

#[test]
fn to_leave_those_that_pass_is_a_fall_whatever_comes_after() {
    use Status::{Critical, Passing, Warning};
    for (results, flapping) in [
        (&[Warning, Passing][..], true),
        (&[Warning, Critical, Passing], true),
        // It passes only once, and falls only once.
        (&[Critical, Warning], false),
    ] {
        let mut catalogue = catalogue();
        passing(&mut catalogue, instance("b", "s"));
        let epoch = passing(&mut catalogue, instance("a", "s"));
        let now = turns(&mut catalogue, "a", epoch, results);
        let check = check_of("a", "tcp");
        catalogue.ran(&check, epoch, (Passing, ""), now).unwrap();
        let entry = catalogue.entry(&key("a")).unwrap();
        assert_eq!(entry.flapping, flapping, "{results:?}");
    }
}

#[test]
fn an_instance_that_flaps_is_handed_out_when_it_is_the_only_one() {
    let mut catalogue = catalogue();
    let alone = passing(&mut catalogue, instance("a", "s"));
    flaps(&mut catalogue, "a", alone);
    let entry = catalogue.entry(&key("a")).unwrap();
    assert_eq!((entry.status, entry.flapping), (Status::Passing, false));
}

#[test]
fn the_last_that_falls_or_goes_lets_those_go_that_are_held() {
    for goes in [false, true] {
        let mut catalogue = catalogue();
        let other = passing(&mut catalogue, instance("b", "s"));
        let epoch = passing(&mut catalogue, instance("a", "s"));
        let now = flaps(&mut catalogue, "a", epoch);
        assert_eq!(status(&catalogue, "a").0, Status::Warning);
        if goes {
            catalogue.deregister(&key("b"), now).unwrap();
        } else {
            let said = (Status::Critical, "why");
            catalogue
                .ran(&check_of("b", "tcp"), other, said, now)
                .unwrap();
        }
        let entry = catalogue.entry(&key("a")).unwrap();
        assert_eq!((entry.status, entry.flapping), (Status::Passing, false));
    }
}

use crate::catalogue::flap;
