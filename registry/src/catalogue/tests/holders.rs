//! Whose an instance is.

use super::*;

const OLD: Option<&str> = Some("old");
const NEW: Option<&str> = Some("new");

fn at(id: &str, port: u16) -> Instance {
    Instance {
        port,
        ..standing(id, "s")
    }
}

fn come(catalogue: &mut Catalogue, instance: Instance, life: Option<&str>) -> Effects {
    catalogue.register_as(instance, life, START).unwrap().1
}

fn beats(catalogue: &mut Catalogue, stream: StreamId, life: Option<&str>) -> Beat {
    catalogue.beat(&key("a"), (stream, life), START)
}

fn port(catalogue: &Catalogue) -> Option<u16> {
    let passing = catalogue.snapshot("s");
    let mut passing = passing.entries(View::Passing);
    passing.next().map(|entry| entry.instance.port)
}

/// The old process beats on stream 1; the new one, elsewhere, took its id and beats on stream 2.
fn taken_over() -> Catalogue {
    let mut catalogue = catalogue();
    come(&mut catalogue, at("a", 1), OLD);
    assert!(matches!(beats(&mut catalogue, 1, OLD), Beat::Counts(_)));
    let effects = come(&mut catalogue, at("a", 2), NEW);
    assert_eq!(effects.told, [1].into());
    let [takeover] = &effects.takeovers[..] else {
        panic!("{:?}", effects.takeovers);
    };
    let ports = (takeover.before.port, takeover.after.port);
    assert_eq!((&takeover.key, ports), (&key("a"), (1, 2)));
    assert!(matches!(beats(&mut catalogue, 2, NEW), Beat::Counts(_)));
    catalogue
}

#[test]
fn the_old_one_cannot_remove_what_the_new_one_has() {
    let mut catalogue = taken_over();
    let left = catalogue.deregister_as(&key("a"), OLD, START);
    assert!(matches!(left, Removal::Held), "{left:?}");
    assert_eq!(port(&catalogue), Some(2));
    assert!(catalogue.heartbeat_ended(&key("a"), 1, START).is_none());
    assert_eq!(port(&catalogue), Some(2));
    let left = catalogue.deregister_as(&key("a"), NEW, START);
    assert!(
        matches!(left, Removal::Done { beating: true, .. }),
        "{left:?}"
    );
    // People who steer have no life.
    come(&mut catalogue, at("a", 2), NEW);
    let left = catalogue.deregister_as(&key("a"), None, START);
    assert!(
        matches!(left, Removal::Done { beating: false, .. }),
        "{left:?}"
    );
    let left = catalogue.deregister_as(&key("a"), NEW, START);
    assert!(matches!(left, Removal::Unknown), "{left:?}");
}

#[test]
fn the_survivor_has_it_back_when_the_new_one_is_gone() {
    let mut catalogue = taken_over();
    for _ in 0..3 {
        assert!(matches!(beats(&mut catalogue, 1, OLD), Beat::Superseded));
    }
    assert_eq!(port(&catalogue), Some(2));
    let gone = catalogue.heartbeat_ended(&key("a"), 2, START).unwrap();
    assert_eq!(gone.told, [1].into());
    assert_eq!(port(&catalogue), None);
    assert!(matches!(beats(&mut catalogue, 1, OLD), Beat::Unknown));
    let effects = come(&mut catalogue, at("a", 1), OLD);
    // From a process that is gone, nobody is robbed.
    assert_eq!(effects.takeovers, []);
    assert_eq!(port(&catalogue), Some(1));
    assert!(matches!(beats(&mut catalogue, 1, OLD), Beat::Counts(_)));
    let entry = catalogue.entry(&key("a")).unwrap();
    assert_eq!((entry.takeovers, entry.takeover_time), (1, Some(START)));
}

#[test]
fn who_waits_is_told_when_the_new_one_is_removed_too() {
    let mut catalogue = taken_over();
    assert!(matches!(beats(&mut catalogue, 1, OLD), Beat::Superseded));
    let Removal::Done { effects, .. } = catalogue.deregister_as(&key("a"), NEW, START) else {
        panic!("not removed");
    };
    assert_eq!(effects.told, [1, 2].into());
    assert!(matches!(beats(&mut catalogue, 1, OLD), Beat::Unknown));
}

#[test]
fn between_its_registration_and_its_first_beat_a_process_is_not_robbed() {
    let mut catalogue = catalogue();
    come(&mut catalogue, at("a", 1), OLD);
    beats(&mut catalogue, 1, OLD);
    come(&mut catalogue, at("a", 2), NEW);
    assert!(matches!(beats(&mut catalogue, 1, OLD), Beat::Superseded));
    let later = START.after(limits::GRACE);
    let beat = catalogue.beat(&key("a"), (1, OLD), later);
    assert!(matches!(beat, Beat::Unknown), "{beat:?}");
}

#[test]
fn a_service_does_not_vanish_under_the_id_of_another() {
    let mut catalogue = catalogue();
    come(&mut catalogue, at("a", 1), OLD);
    beats(&mut catalogue, 1, OLD);
    let other = Instance {
        service: "other".to_owned(),
        ..at("a", 2)
    };
    let refused = catalogue.register_as(other.clone(), NEW, START);
    let said = refused.unwrap_err().to_string();
    assert!(said.contains("a process of s at 10.0.0.1:1"), "{said}");
    assert_eq!(port(&catalogue), Some(1));
    // Once it is gone, the id is free.
    catalogue.heartbeat_ended(&key("a"), 1, START).unwrap();
    let (entry, _) = catalogue.register_as(other, NEW, START).unwrap();
    assert_eq!(entry.instance.service, "other");
    assert!(catalogue.snapshot("s").is_empty());
}

#[test]
fn a_registration_that_comes_late_does_not_undo_a_newer_one() {
    let mut catalogue = taken_over();
    // What the old process sent before, held up on the way.
    for port in [1, 3] {
        let late = catalogue.register_as(at("a", port), OLD, START);
        let said = late.unwrap_err().to_string();
        assert!(said.contains("at 10.0.0.1:2"), "{said}");
    }
    assert_eq!(port(&catalogue), Some(2));
    assert!(matches!(beats(&mut catalogue, 2, NEW), Beat::Counts(_)));
    // A third is newer than both; once that is gone, whoever comes has it.
    come(&mut catalogue, at("a", 4), Some("third"));
    beats(&mut catalogue, 3, Some("third"));
    for late in [OLD, NEW] {
        assert!(catalogue.register_as(at("a", 2), late, START).is_err());
    }
    catalogue.heartbeat_ended(&key("a"), 3, START).unwrap();
    come(&mut catalogue, at("a", 1), OLD);
    assert_eq!(port(&catalogue), Some(1));
    assert!(matches!(beats(&mut catalogue, 1, OLD), Beat::Counts(_)));
    // Its own, once more.
    come(&mut catalogue, at("a", 1), OLD);
    assert!(
        catalogue
            .register_as(at("a", 4), Some("third"), START)
            .is_err()
    );
}

#[test]
fn what_the_one_before_was_found_to_be_is_not_said_of_the_next() {
    let mut catalogue = catalogue();
    let first = come(&mut catalogue, instance("a", "s"), OLD);
    let running = epoch(&first);
    let second = come(&mut catalogue, instance("a", "s"), NEW);
    assert_ne!(epoch(&second), running);
    let late = catalogue.ran(&check_of("a", "tcp"), running, (Status::Passing, ""), START);
    assert!(late.is_none());
    // The same process once more changes nothing.
    let again = come(&mut catalogue, instance("a", "s"), NEW);
    assert!(again.stale.is_empty() && again.snapshots.is_empty());
}

/// What a registration in nobody's name may say of an instance of `s` at port 1.
fn said_elsewhere() -> [Instance; 4] {
    let moved = Instance {
        address: "10.0.0.9".to_owned(),
        ..at("a", 1)
    };
    let other = Instance {
        service: "other".to_owned(),
        ..at("a", 1)
    };
    let nowhere = Instance {
        address: String::new(),
        port: 0,
        ..other.clone()
    };
    [at("a", 2), moved, other, nowhere]
}

#[test]
fn registering_in_nobodys_name_where_it_is_takes_nothing_and_elsewhere_is_refused() {
    let mut catalogue = catalogue();
    come(&mut catalogue, at("a", 1), OLD);
    // Alive though it did not beat yet, and then since it beats.
    for beating in [false, true] {
        if beating {
            beats(&mut catalogue, 1, OLD);
        }
        let tagged = Instance {
            tags: vec![format!("{beating}")],
            ..at("a", 1)
        };
        assert_eq!(come(&mut catalogue, tagged, None).told, [].into());
        for elsewhere in said_elsewhere() {
            let said = format!("{elsewhere:?}");
            assert!(catalogue.admits(&elsewhere, None, START).is_err(), "{said}");
            let refused = catalogue.register_as(elsewhere, None, START);
            let why = refused.unwrap_err().to_string();
            assert!(why.contains("a process of s at 10.0.0.1:1"), "{said}");
        }
        assert_eq!(port(&catalogue), Some(1));
        assert!(catalogue.snapshot("other").is_empty());
    }
    assert!(matches!(beats(&mut catalogue, 1, OLD), Beat::Counts(_)));
}

#[test]
fn what_is_left_out_in_nobodys_name_is_no_other_place() {
    let mut catalogue = catalogue();
    come(&mut catalogue, at("a", 1), OLD);
    beats(&mut catalogue, 1, OLD);
    for (address, port) in [("", 1), ("10.0.0.1", 0), ("", 0)] {
        let partly = Instance {
            address: address.to_owned(),
            ..at("a", port)
        };
        let effects = come(&mut catalogue, partly, None);
        assert!(effects.told.is_empty() && effects.takeovers.is_empty());
        let held = catalogue.held(&key("a")).unwrap();
        assert_eq!(*held.instance, at("a", 1), "{address}:{port}");
        assert_eq!(held.life.as_deref(), OLD);
    }
    assert!(matches!(beats(&mut catalogue, 1, OLD), Beat::Counts(_)));
}

#[test]
fn what_a_process_had_that_is_gone_is_anybodys() {
    for elsewhere in said_elsewhere() {
        let mut catalogue = catalogue();
        come(&mut catalogue, at("a", 1), OLD);
        beats(&mut catalogue, 1, OLD);
        catalogue.heartbeat_ended(&key("a"), 1, START).unwrap();
        // Somebody's word for it is not its own.
        come(&mut catalogue, at("a", 1), None);
        let effects = come(&mut catalogue, elsewhere.clone(), None);
        assert_eq!(effects.takeovers, []);
        assert_eq!(*catalogue.held(&key("a")).unwrap().instance, elsewhere);
    }
    // It registered, and never beat.
    let mut catalogue = catalogue();
    come(&mut catalogue, at("a", 1), OLD);
    let later = START.after(limits::GRACE);
    assert!(catalogue.register_as(at("a", 2), None, later).is_ok());
}

#[test]
fn what_beat_before_a_restart_of_the_registry_is_not_taken_in_nobodys_name_before_its_time() {
    let stored = taken_over().stored(&own("a")).unwrap();
    let mut after = Catalogue::new(1_000_000, Bounds::default());
    after.restore(vec![stored], START);
    assert!(after.register_as(at("a", 9), None, START).is_err());
    let later = START.after(limits::GRACE);
    assert!(after.register_as(at("a", 9), None, later).is_ok());
}

#[test]
fn what_a_process_took_and_is_taken_back_is_as_it_was() {
    for life in [None, OLD] {
        let mut catalogue = catalogue();
        come(&mut catalogue, at("a", 1), life);
        let before = catalogue.held(&key("a")).unwrap();
        come(&mut catalogue, at("a", 2), NEW);
        beats(&mut catalogue, 2, NEW);
        let effects = catalogue.put_back(before, START).unwrap();
        assert_eq!(effects.told, [2].into());
        let held = catalogue.held(&key("a")).unwrap();
        assert_eq!((&*held.instance, held.life.as_deref()), (&at("a", 1), life));
    }
}

#[test]
fn earlier_clients_that_name_no_life_are_as_they_were() {
    let mut catalogue = catalogue();
    come(&mut catalogue, at("a", 1), None);
    assert!(matches!(beats(&mut catalogue, 1, None), Beat::Counts(_)));
    assert_eq!(come(&mut catalogue, at("a", 2), None).takeovers, []);
    assert!(matches!(beats(&mut catalogue, 1, None), Beat::Counts(_)));
    let left = catalogue.deregister_as(&key("a"), None, START);
    assert!(
        matches!(left, Removal::Done { beating: true, .. }),
        "{left:?}"
    );
}

#[test]
fn whose_it_is_is_kept_over_a_restart_of_the_registry() {
    let mut before = taken_over();
    let stored = before.stored(&own("a")).unwrap();
    let mut after = Catalogue::new(1_000_000, Bounds::default());
    after.restore(vec![stored], START);
    let left = after.deregister_as(&key("a"), OLD, START);
    assert!(matches!(left, Removal::Held), "{left:?}");
    assert!(matches!(
        after.beat(&key("a"), (7, NEW), START),
        Beat::Counts(_)
    ));
    let left = after.deregister_as(&key("a"), NEW, START);
    assert!(
        matches!(left, Removal::Done { beating: true, .. }),
        "{left:?}"
    );
    drop(before.deregister(&key("a"), START));
}
