//! Instances that are bound to a connection.

use super::*;

#[test]
fn only_the_last_heartbeat_stream_counts() {
    let mut catalogue = catalogue();
    let first = passing(&mut catalogue, instance("a", "s"));
    let effects = catalogue.heartbeat(&key("a"), 1, START).unwrap();
    assert_eq!(effects.stale, [own("a")]);
    // A heartbeat is not written down, but that there are any is.
    assert!(
        catalogue
            .heartbeat(&key("a"), 1, START)
            .unwrap()
            .stale
            .is_empty()
    );
    catalogue.heartbeat(&key("a"), 2, START).unwrap();
    assert!(catalogue.heartbeat_ended(&key("a"), 1, START).is_none());
    assert_eq!(status(&catalogue, "a"), PASSING);
    let effects = catalogue.heartbeat_ended(&key("a"), 2, START).unwrap();
    assert_eq!(status(&catalogue, "a"), critical("heartbeat lost"));
    // A check that was under way when the heartbeat broke is not believed; a new one is.
    assert!(ran(&mut catalogue, "a", first, Status::Passing, "").is_none());
    ran(&mut catalogue, "a", epoch(&effects), Status::Passing, "").unwrap();
    assert_eq!(status(&catalogue, "a"), PASSING);
}

#[test]
fn after_a_lost_heartbeat_the_reason_of_a_failing_check_is_told() {
    let mut catalogue = catalogue();
    passing(&mut catalogue, instance("a", "s"));
    catalogue.heartbeat(&key("a"), 1, START).unwrap();
    let lost = catalogue.heartbeat_ended(&key("a"), 1, START).unwrap();
    let epoch = epoch(&lost);
    let failed = ran(&mut catalogue, "a", epoch, Status::Critical, "refused");
    assert!(wakes(&failed.unwrap()));
    assert_eq!(status(&catalogue, "a"), critical("refused"));
    // From then on other words for the same are output alone.
    let failed = ran(&mut catalogue, "a", epoch, Status::Critical, "timed out");
    assert!(!wakes(&failed.unwrap()));
    assert_eq!(status(&catalogue, "a"), critical("refused"));
}

#[test]
fn a_stream_that_outlives_its_registration_says_nothing_of_the_next() {
    let mut catalogue = catalogue();
    passing(&mut catalogue, instance("a", "s"));
    catalogue.heartbeat(&key("a"), 1, START).unwrap();
    catalogue.deregister(&key("a"), START).unwrap();
    assert!(catalogue.heartbeat(&key("a"), 1, START).is_none());
    passing(&mut catalogue, instance("a", "s"));
    assert!(catalogue.heartbeat_ended(&key("a"), 1, START).is_none());
    assert_eq!(status(&catalogue, "a"), PASSING);
}

#[test]
fn a_standing_instance_comes_back_with_its_heartbeat_or_by_registering() {
    let mut catalogue = catalogue();
    register(&mut catalogue, standing("a", "s"), 1);
    for stream in [1, 2] {
        catalogue.heartbeat(&key("a"), stream, START).unwrap();
        assert_eq!(status(&catalogue, "a"), PASSING);
        catalogue.heartbeat_ended(&key("a"), stream, START).unwrap();
        assert_eq!(status(&catalogue, "a"), critical("heartbeat lost"));
    }
    register(&mut catalogue, standing("a", "s"), 2);
    assert_eq!(status(&catalogue, "a"), PASSING);
}
