//! Several threads on one breaker: nothing is lost, and no limit is exceeded.

use std::{
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use super::super::*;

const THREADS: usize = 4;
const CALLS: u64 = 5_000;

fn never_trips() -> Config {
    Config {
        trip: Trip::ConsecutiveFailures(u32::MAX),
        interval: Duration::MAX,
        ..Config::gobreaker()
    }
}

/// Each thread makes its calls, every `one_in`th of which fails and the next of which is dropped.
fn hammer(breaker: &Breaker, now: Instant, one_in: u64) {
    let barrier = Barrier::new(THREADS);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                barrier.wait();
                for call in 0..CALLS {
                    let permit = breaker.admit(now).unwrap();
                    match call % one_in {
                        0 => permit.record(Outcome::Failure, now),
                        1 => drop(permit),
                        _ => permit.record(Outcome::Success, now),
                    }
                }
            });
        }
    });
}

#[test]
fn totals_add_up() {
    for (one_in, bucket_period) in [
        (100, None),
        (CALLS, None),
        (100, Some(Duration::from_secs(1))),
    ] {
        let config = Config {
            interval: Duration::from_secs(100),
            bucket_period,
            ..never_trips()
        };
        let now = Instant::now();
        let breaker = Breaker::beginning("invoice", config, now);
        hammer(&breaker, now, one_in);
        let counts = breaker.counts();
        let all = THREADS as u64 * CALLS;
        let rare = all / one_in;
        assert_eq!(counts.requests, all);
        assert_eq!((counts.failures, counts.exclusions), (rare, rare));
        assert_eq!(counts.successes, all - 2 * rare);
    }
}

#[test]
fn reading_the_counts_meanwhile_loses_none_and_sees_no_success_without_its_call() {
    let now = Instant::now();
    let breaker = Breaker::beginning("invoice", never_trips(), now);
    thread::scope(|scope| {
        let hammering = scope.spawn(|| hammer(&breaker, now, 500));
        let mut last = 0;
        while !hammering.is_finished() {
            let counts = breaker.counts();
            let told = counts.successes + counts.failures + counts.exclusions;
            assert!(told <= counts.requests && counts.requests <= told + THREADS as u64);
            assert!(last <= counts.requests);
            last = counts.requests;
        }
    });
    assert_eq!(breaker.counts().requests, THREADS as u64 * CALLS);
}

/// Time that passes between threads: intervals end while others admit and report, and what they
/// report late is not counted in the next one.
#[test]
fn an_interval_that_ends_meanwhile_keeps_no_success_of_the_one_before() {
    let base = Instant::now();
    let config = Config {
        interval: Duration::from_micros(50),
        ..never_trips()
    };
    let breaker = Breaker::beginning("invoice", config, base);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for step in 0..CALLS {
                    let now = base + Duration::from_micros(step);
                    let permit = breaker.admit(now).unwrap();
                    permit.record(Outcome::Success, now + Duration::from_micros(step % 3 * 20));
                }
            });
        }
        for _ in 0..1_000 {
            let counts = breaker.counts();
            assert!(counts.successes <= counts.requests);
        }
    });
}

#[test]
fn half_open_admits_its_probes_whoever_asks() {
    for round in 0..200_u32 {
        let now = Instant::now();
        let breaker = Breaker::beginning("invoice", Config::gobreaker(), now);
        for _ in 0..3 {
            breaker.admit(now).unwrap().record(Outcome::Failure, now);
        }
        let later = now + Duration::from_secs(31);
        let barrier = Barrier::new(THREADS);
        let ask = || {
            barrier.wait();
            let asked = (0..10).map(|_| breaker.admit(later).ok());
            asked.flatten().collect::<Vec<_>>()
        };
        let probes: Vec<_> = thread::scope(|scope| {
            let asking: Vec<_> = (0..THREADS).map(|_| scope.spawn(ask)).collect();
            asking.into_iter().flat_map(|t| t.join().unwrap()).collect()
        });
        assert_eq!(probes.len(), 3, "round {round}");
        for probe in probes {
            probe.record(Outcome::Success, later);
        }
        assert_eq!(breaker.phase(later), Phase::Closed);
    }
}
