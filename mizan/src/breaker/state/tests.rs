//! Examples of every rule, and properties over random programs.

use proptest::prelude::*;

use super::{
    super::{Slow, Trip},
    Outcome::*,
    *,
};

const SECOND: Duration = Duration::from_secs(1);

fn start_with(config: Config) -> (State, Instant) {
    let now = Instant::now();
    (State::new(config.validate().unwrap(), now), now)
}

fn start() -> (State, Instant) {
    start_with(Config::gobreaker())
}

fn record(state: &mut State, ticket: Ticket, outcome: Outcome, now: Instant) {
    state.record(ticket, outcome, Duration::ZERO, now);
}

fn call(state: &mut State, outcome: Outcome, now: Instant) {
    let ticket = state.admit(now).unwrap();
    record(state, ticket, outcome, now);
}

fn open(state: &mut State, now: Instant) {
    for _ in 0..3 {
        call(state, Failure, now);
    }
    assert_eq!(state.phase(), Phase::Open);
}

#[test]
fn two_failures_are_noise_and_three_open() {
    let (mut state, now) = start();
    call(&mut state, Failure, now);
    call(&mut state, Failure, now);
    assert_eq!(state.phase(), Phase::Closed);
    call(&mut state, Failure, now);
    let refused = state.admit(now).unwrap_err();
    assert_eq!(
        (refused.refusal, refused.retry_after),
        (Refusal::Open, 30 * SECOND)
    );
}

#[test]
fn fewer_than_sixty_percent_do_not_open() {
    let (mut state, now) = start();
    for outcome in [Success, Success, Failure, Failure] {
        call(&mut state, outcome, now);
    }
    assert_eq!(state.phase(), Phase::Closed);
    call(&mut state, Failure, now);
    assert_eq!(state.phase(), Phase::Open, "3 of 5");
}

#[test]
fn excluded_calls_are_no_part_of_the_share() {
    let (mut state, now) = start();
    for outcome in [Excluded, Excluded, Excluded, Failure, Failure] {
        call(&mut state, outcome, now);
    }
    assert_eq!(state.phase(), Phase::Closed, "2 are noise");
    call(&mut state, Failure, now);
    assert_eq!(state.phase(), Phase::Open, "3 of 3, not of 6");
}

#[test]
fn what_asks_to_be_called_later_opens_nothing_but_fails_a_probe() {
    let (mut state, now) = start();
    for _ in 0..100 {
        call(&mut state, Limited, now);
    }
    assert_eq!(state.phase(), Phase::Closed);
    assert_eq!(state.counts().valid_requests(), 0);
    open(&mut state, now);
    let later = now + 31 * SECOND;
    call(&mut state, Limited, later);
    assert_eq!(state.phase(), Phase::Open);
}

#[test]
fn the_default_wants_twenty_calls_and_half_of_them_failed() {
    let (mut state, now) = start_with(Config::default());
    for _ in 0..19 {
        call(&mut state, Failure, now);
    }
    assert_eq!(
        state.phase(),
        Phase::Closed,
        "three, or nineteen, are no evidence"
    );
    call(&mut state, Failure, now);
    assert_eq!(state.phase(), Phase::Open);
    let (mut state, now) = start_with(Config::default());
    for _ in 0..50 {
        call(&mut state, Success, now);
        call(&mut state, Success, now);
        call(&mut state, Failure, now);
    }
    assert_eq!(state.phase(), Phase::Closed, "a third");
}

#[test]
fn gobreakers_default_opens_on_the_sixth_in_a_row() {
    let (mut state, now) = start_with(Config::gobreaker_defaults());
    for _ in 0..5 {
        call(&mut state, Failure, now);
    }
    call(&mut state, Success, now);
    for _ in 0..5 {
        call(&mut state, Failure, now);
    }
    assert_eq!(state.phase(), Phase::Closed);
    call(&mut state, Failure, now);
    assert_eq!(state.phase(), Phase::Open);
    let end = now + 60 * SECOND;
    assert!(state.admit(end).is_err());
    assert!(state.admit(end + SECOND / 1000).is_ok());
}

#[test]
fn either_rule_opens() {
    let config = || Config {
        trip: Trip::Either {
            requests_min: 10,
            failure_percent: 50,
            consecutive_failures: 2,
        },
        ..Config::gobreaker()
    };
    let (mut state, now) = start_with(config());
    call(&mut state, Failure, now);
    call(&mut state, Failure, now);
    assert_eq!(state.phase(), Phase::Open, "in a row");
    let (mut state, now) = start_with(config());
    for _ in 0..5 {
        call(&mut state, Success, now);
        call(&mut state, Failure, now);
    }
    assert_eq!(state.phase(), Phase::Open, "5 of 10");
}

#[test]
fn counts_are_cleared_every_interval_strictly_after_its_end() {
    let (mut state, now) = start();
    call(&mut state, Failure, now);
    call(&mut state, Failure, now);
    call(&mut state, Success, now + 10 * SECOND);
    assert_eq!(state.counts().requests, 3, "at the end, still the old one");
    call(&mut state, Failure, now + 10 * SECOND + SECOND / 10);
    assert_eq!(state.counts().requests, 1);
    assert_eq!(state.phase(), Phase::Closed);
}

#[test]
fn a_rolling_window_forgets_bucket_by_bucket() {
    let (mut state, now) = start_with(Config {
        bucket_period: Some(SECOND),
        ..Config::gobreaker()
    });
    for second in 0..12 {
        call(&mut state, Success, now + second * SECOND);
    }
    assert_eq!(state.counts().requests, 10);
    assert_eq!(state.counts().consecutive_successes, 10);
    let spanning = state.admit(now + 12 * SECOND).unwrap();
    record(&mut state, spanning, Failure, now + 22 * SECOND);
    assert_eq!(state.counts(), Counts::default(), "its bucket has left");
}

#[test]
fn half_open_admits_its_probes_and_no_more() {
    let (mut state, now) = start();
    open(&mut state, now);
    assert!(state.admit(now + 30 * SECOND).is_err(), "still open");
    let later = now + 31 * SECOND;
    let probes: Vec<_> = (0..3).map(|_| state.admit(later).unwrap()).collect();
    record(&mut state, probes[0], Success, later);
    let refused = state.admit(later).unwrap_err();
    assert_eq!(refused.refusal, Refusal::Probing, "admitted ones count");
    record(&mut state, probes[1], Success, later);
    record(&mut state, probes[2], Success, later);
    assert_eq!(state.phase(), Phase::Closed);
}

#[test]
fn one_failed_probe_reopens() {
    let (mut state, now) = start();
    open(&mut state, now);
    let later = now + 31 * SECOND;
    call(&mut state, Failure, later);
    assert_eq!(state.phase(), Phase::Open);
    assert_eq!(state.counts(), Counts::default());
    assert!(state.admit(later + 30 * SECOND).is_err());
}

#[test]
fn probes_that_do_not_report_are_not_waited_for_for_ever() {
    let (mut state, now) = start();
    open(&mut state, now);
    let begun = now + 31 * SECOND;
    let early: Vec<_> = (0..3).map(|_| state.admit(begun).unwrap()).collect();
    assert!(state.admit(begun + 30 * SECOND).is_err());
    let later = begun + 31 * SECOND;
    let late: Vec<_> = (0..3).map(|_| state.admit(later).unwrap()).collect();
    assert!(state.admit(later).is_err(), "as many again, and no more");
    record(&mut state, early[0], Excluded, later);
    assert!(state.admit(later).is_err(), "its slot was free already");
    record(&mut state, early[1], Success, later);
    record(&mut state, late[0], Success, later);
    record(&mut state, early[2], Success, later);
    assert_eq!(state.phase(), Phase::Closed, "early ones still count");
}

#[test]
fn a_late_result_of_an_earlier_phase_is_ignored() {
    let (mut state, now) = start();
    let late = state.admit(now).unwrap();
    call(&mut state, Failure, now);
    call(&mut state, Failure, now);
    assert_eq!(state.phase(), Phase::Open, "2 of 3");
    record(&mut state, late, Success, now + SECOND);
    assert_eq!(state.phase(), Phase::Open, "a late success does not close");
    let later = now + 31 * SECOND;
    record(&mut state, late, Failure, later);
    assert_eq!(state.phase(), Phase::HalfOpen, "but it lets time pass");
}

#[test]
fn an_excluded_probe_frees_its_slot_and_the_others_are_still_waited_for() {
    let timeout = 5 * SECOND;
    let (mut state, now) = start_with(Config {
        probes_max: 2,
        probe_timeout: Some(timeout),
        ..Config::gobreaker()
    });
    open(&mut state, now);
    let now = now + 31 * SECOND;
    let slow = state.admit(now).unwrap();
    let dropped = state.admit(now).unwrap();
    assert!(state.admit(now).is_err(), "full");
    state.exclude(dropped);
    // It is not full any more, so the time that a full one waits does not run.
    let later = now + timeout + SECOND;
    let third = state.admit(later).unwrap();
    assert!(state.admit(later).is_err(), "one slot was free, not two");
    record(&mut state, slow, Success, later);
    record(&mut state, third, Success, later);
    assert_eq!(state.phase(), Phase::Closed);
}

#[test]
fn an_excluded_probe_frees_its_slot() {
    let (mut state, now) = start();
    open(&mut state, now);
    let later = now + 31 * SECOND;
    for _ in 0..10 {
        call(&mut state, Excluded, later);
        let dropped = state.admit(later).unwrap();
        state.exclude(dropped);
    }
    assert_eq!(state.phase(), Phase::HalfOpen);
    assert_eq!(state.counts().exclusions, 20);
}

fn slow_config() -> Config {
    Config {
        slow: Some(Slow {
            threshold: SECOND,
            percent: 50,
            requests_min: 4,
        }),
        ..Config::gobreaker()
    }
}

fn call_for(state: &mut State, took: Duration, now: Instant) {
    let ticket = state.admit(now).unwrap();
    state.record(ticket, Success, took, now + took);
}

#[test]
fn too_many_slow_calls_open_and_a_slow_probe_reopens() {
    let (mut state, now) = start_with(slow_config());
    for took in [SECOND, SECOND, 2 * SECOND] {
        call_for(&mut state, took, now);
    }
    assert_eq!(state.counts().slow, 1, "at the threshold is not slow");
    call_for(&mut state, 2 * SECOND, now);
    assert_eq!(state.phase(), Phase::Open, "2 of 4");
    let later = now + 40 * SECOND;
    call_for(&mut state, SECOND, later);
    assert_eq!(state.phase(), Phase::HalfOpen);
    call_for(&mut state, 2 * SECOND, later);
    assert_eq!(state.phase(), Phase::Open);
}

#[test]
fn a_forced_breaker_stays_so_until_it_is_automatic() {
    let (mut state, now) = start();
    state.force(Phase::ForcedOpen, now);
    let refused = state.admit(now + 1_000 * SECOND).unwrap_err();
    assert_eq!(refused.refusal, Refusal::Forced);
    state.automatic(now);
    assert_eq!(state.phase(), Phase::Closed);
    state.force(Phase::ForcedClosed, now);
    for _ in 0..10 {
        call(&mut state, Failure, now);
    }
    assert_eq!(state.phase(), Phase::ForcedClosed);
    assert_eq!(state.counts().failures, 10, "it goes on counting");
    state.automatic(now);
    assert_eq!(state.counts(), Counts::default());
    open(&mut state, now);
    state.automatic(now);
    assert_eq!(state.phase(), Phase::Open, "it was not forced");
}

#[test]
fn endless_periods_never_end() {
    let (mut state, now) = start_with(Config {
        interval: Duration::MAX,
        open_for: Duration::MAX,
        probe_timeout: Some(Duration::MAX),
        ..Config::gobreaker()
    });
    open(&mut state, now);
    assert!(state.admit(now + 1_000_000 * SECOND).is_err());
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    prop_oneof![Just(Success), Just(Failure), Just(Excluded)]
}

proptest! {
    /// Whatever happens, an open breaker admits nothing before its time, a half-open one at most
    /// its probes a round, and waiting long enough always lets a call through.
    #[test]
    fn the_limits_hold(
        steps in prop::collection::vec((0_u8..5, 0_u64..20, outcomes()), 1..200),
        bucket in prop::option::of(1_u64..12),
    ) {
        let config = Config { bucket_period: bucket.map(Duration::from_secs), ..slow_config() };
        let (mut state, mut now) = start_with(config);
        let mut under_way: Vec<(Ticket, Instant)> = Vec::new();
        for (step, seconds, outcome) in steps {
            let phase = state.phase();
            match step {
                0 | 1 => {
                    let open_until = state.expiry;
                    match state.admit(now) {
                        Ok(ticket) => {
                            under_way.push((ticket, now));
                            prop_assert!(phase != Phase::Open || open_until.unwrap() < now);
                        }
                        Err(_) => prop_assert!(state.phase() != Phase::Closed),
                    }
                }
                2 => now += Duration::from_secs(seconds),
                _ => if let Some((ticket, admitted)) = under_way.pop() {
                    state.record(ticket, outcome, now - admitted, now);
                },
            }
            prop_assert!(state.probes <= 3);
            let counts = state.counts();
            let told = counts.successes + counts.failures + counts.exclusions;
            prop_assert!(told <= counts.requests);
            prop_assert!(counts.consecutive_successes == 0 || counts.consecutive_failures == 0);
        }
        prop_assert!(state.admit(now + 31 * SECOND).is_ok());
    }

    /// The gate tells the truth: until its end, and at it, looking changes nothing.
    #[test]
    fn until_the_gate_ends_nothing_happens(
        steps in prop::collection::vec((0_u64..9_000, outcomes()), 1..50),
        bucket in prop::option::of(1_000_u64..12_000),
    ) {
        let bucket_period = bucket.map(Duration::from_millis);
        let (mut state, mut now) = start_with(Config { bucket_period, ..Config::gobreaker() });
        for (millis, outcome) in steps {
            now += Duration::from_millis(millis);
            if let Ok(ticket) = state.admit(now) {
                record(&mut state, ticket, outcome, now);
            }
            let (gate, end) = state.gate();
            let Some(end) = end else { continue };
            let before = (state.ticket(), state.phase());
            state.look(end);
            prop_assert_eq!(before, (state.ticket(), state.phase()));
            prop_assert_eq!(state.gate(), (gate, Some(end)));
            let nanosecond = Duration::from_nanos(1);
            state.look(end + nanosecond);
            prop_assert!(before != (state.ticket(), state.phase()));
            now = end + nanosecond;
        }
    }
}
