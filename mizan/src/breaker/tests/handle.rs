//! Permits, refusals and their statuses.

use std::time::{Duration, Instant};

use tonic::{Code, Status};

use super::super::*;
use crate::status;

const SECOND: Duration = Duration::from_secs(1);

fn open(config: Config) -> (Breaker, Instant) {
    let now = Instant::now();
    let breaker = Breaker::beginning("invoice", config, now);
    for _ in 0..3 {
        breaker.admit(now).unwrap().record(Outcome::Failure, now);
    }
    (breaker, now)
}

#[test]
fn an_open_breaker_says_why_and_when() {
    let (breaker, now) = open(Config::gobreaker());
    let open = breaker.admit(now + 10 * SECOND).unwrap_err();
    assert_eq!(open.refusal(), Refusal::Open);
    let status = Status::from(open);
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.message(), "the circuit breaker of invoice is open");
    assert_eq!(status::reason(&status).as_deref(), Some("BREAKER_OPEN"));
    assert_eq!(status::retry_after(&status), Some(20 * SECOND));
}

#[test]
fn a_dropped_probe_gives_its_slot_back() {
    let one_probe = Config {
        probes_max: 1,
        ..Config::gobreaker()
    };
    let (breaker, now) = open(one_probe);
    let later = now + 31 * SECOND;
    drop(breaker.admit(later).unwrap());
    breaker
        .admit(later)
        .unwrap()
        .record(Outcome::Success, later);
    assert_eq!(breaker.phase(later), Phase::Closed);
}

#[test]
fn it_can_be_asked_without_being_changed() {
    let (breaker, now) = open(Config::gobreaker());
    let later = now + 31 * SECOND;
    assert!(!breaker.might_admit(now + 30 * SECOND));
    assert!(breaker.might_admit(later));
    assert!(!breaker.might_admit(now), "still open for who is early");
    let probes: Vec<_> = (0..3).map(|_| breaker.admit(later).unwrap()).collect();
    assert!(!breaker.might_admit(later));
    drop(probes);
    assert!(breaker.might_admit(later));
    breaker.force_open(later);
    assert!(!breaker.might_admit(later + 1_000_000 * SECOND));
    breaker.force_closed(later);
    assert!(breaker.might_admit(later));
}

#[test]
fn a_call_is_timed_from_its_admission() {
    let slow = Slow {
        threshold: SECOND,
        percent: 100,
        requests_min: 2,
    };
    let config = Config {
        slow: Some(slow),
        ..Config::gobreaker()
    };
    let now = Instant::now();
    let breaker = Breaker::beginning("invoice", config, now);
    let permits = [breaker.admit(now).unwrap(), breaker.admit(now).unwrap()];
    for permit in permits {
        permit.record(Outcome::Success, now + 2 * SECOND);
    }
    assert_eq!(breaker.phase(now + 2 * SECOND), Phase::Open);
}

#[test]
fn clones_are_one_breaker() {
    let now = Instant::now();
    let breaker = Breaker::beginning("invoice", Config::gobreaker(), now);
    let clone = breaker.clone();
    breaker.force_open(now);
    assert!(clone.admit(now).is_err());
    assert_eq!(clone.name(), "invoice");
}

#[test]
fn a_permit_outlives_its_breaker() {
    let now = Instant::now();
    let breaker = Breaker::beginning("invoice", Config::gobreaker(), now);
    let permit = breaker.admit_owned(now).unwrap();
    drop(breaker);
    permit.record(Outcome::Failure, now);
}

/// A lane tells tickets by 19 bits only; the whole one must match too.
#[test]
fn a_late_success_is_ignored_however_many_intervals_later() {
    let start = Instant::now();
    let interval = Duration::from_micros(1);
    let config = Config {
        interval,
        ..Config::gobreaker()
    };
    let breaker = Breaker::beginning("invoice", config, start);
    let late = breaker.admit(start).unwrap();
    let mut now = start;
    for _ in 0..1 << 19 {
        now += 2 * interval;
        assert_eq!(breaker.phase(now), Phase::Closed);
    }
    late.record(Outcome::Success, now);
    assert_eq!(breaker.counts(), Counts::default());
}
