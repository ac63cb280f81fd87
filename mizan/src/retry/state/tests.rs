//! What must hold whatever happens: every short course of a call, and many long ones.

use proptest::prelude::*;

use super::*;
use crate::retry::{Codes, HedgingPolicy};

const FATAL: Code = Code::InvalidArgument;
const DELAY: Duration = Duration::from_millis(10);

fn ends() -> [End; 9] {
    let pushed_back = |code, pushback| End::Failed { code, pushback };
    [
        End::Answered,
        failure(Code::Unavailable),
        failure(FATAL),
        pushed_back(Code::Unavailable, Pushback::Stop),
        pushed_back(Code::Unavailable, Pushback::After(DELAY / 2)),
        End::NeverSent,
        End::RefusedUnseen,
        End::NoInstance,
        End::Declined,
    ]
}

fn retry(attempts_max: u32) -> Policy {
    Policy::Retry(RetryPolicy {
        attempts_max,
        backoff_initial: DELAY,
        ..RetryPolicy::default()
    })
}

fn hedge(attempts_max: u32, delay: Duration) -> Policy {
    Policy::Hedge(HedgingPolicy {
        attempts_max,
        delay,
        ..HedgingPolicy::default()
    })
}

/// A call with everything that is checked about it.
#[derive(Debug, Clone)]
struct Course {
    attempts: Attempts,
    max: u32,
    deadline: Option<Instant>,
    now: Instant,
    affordable: bool,
    sendable: bool,
    under_way: Vec<u32>,
    counted: u32,
    transparent: u32,
    may_be_resent: u32,
    refusals: u32,
    told_to_stop: bool,
    done: Option<Verdict>,
    wakes_at: Option<Instant>,
}

impl Course {
    fn begin(policy: Policy, deadline: Option<Duration>, now: Instant) -> Self {
        let deadline = deadline.map(|limit| now + limit);
        let (attempts, first) = Attempts::begin(&policy, deadline, now);
        assert_eq!((first.id, first.previous, first.kind), (0, 0, Kind::First));
        let mut course = Self {
            attempts,
            max: policy.attempts_max(),
            deadline,
            now,
            affordable: true,
            sendable: true,
            under_way: vec![0],
            counted: 1,
            transparent: 0,
            may_be_resent: 0,
            refusals: 0,
            told_to_stop: false,
            done: None,
            wakes_at: None,
        };
        course.proceed();
        course
    }

    fn given(&self) -> Given {
        Given {
            now: self.now,
            jitter: u32::MAX / 2,
            affordable: self.affordable,
            sendable: self.sendable,
        }
    }

    fn end(&mut self, index: usize, end: End) {
        let id = self.under_way.remove(index);
        match end {
            End::NeverSent => self.may_be_resent += 1,
            End::RefusedUnseen => {
                self.refusals += 1;
                self.may_be_resent += u32::from(self.refusals == 1);
            }
            End::Declined => self.told_to_stop = true,
            End::Failed { pushback, .. } => self.told_to_stop |= pushback == Pushback::Stop,
            End::Answered | End::TimedOut | End::NoInstance => {}
        }
        self.attempts.ended(id, end, self.given());
        if end == End::Answered && self.done.is_none() {
            assert!(self.attempts.keeps(id), "the first answer is the call's");
            self.proceed();
            assert_eq!(self.done.map(|verdict| verdict.attempt), Some(id));
        } else {
            self.proceed();
        }
    }

    fn wait(&mut self) {
        if let Some(at) = self.wakes_at {
            self.now = self.now.max(at);
            self.proceed();
        }
    }

    fn proceed(&mut self) {
        self.wakes_at = None;
        for _ in 0..100 {
            match self.attempts.next(self.given()) {
                Next::Start(attempt) => self.started(attempt),
                Next::WaitUntil(at) => {
                    assert!(at > self.now && self.done.is_none());
                    assert!(self.deadline.is_none_or(|d| at < d), "nobody waits in vain");
                    self.wakes_at = Some(at);
                    return;
                }
                Next::Wait => {
                    assert!(!self.under_way.is_empty(), "nothing to wait for");
                    return;
                }
                Next::Done(verdict) => {
                    assert!(self.done.is_none_or(|done| done == verdict));
                    assert!(!self.under_way.contains(&verdict.attempt));
                    self.done = Some(verdict);
                    return;
                }
            }
        }
        panic!("it starts attempts for ever");
    }

    fn started(&mut self, attempt: Attempt) {
        assert!(self.done.is_none(), "a call that is over starts nothing");
        assert!(self.sendable, "what cannot be sent is not");
        assert!(
            self.deadline.is_none_or(|deadline| self.now < deadline),
            "nothing is sent after the deadline"
        );
        if attempt.kind == Kind::Transparent {
            self.transparent += 1;
            assert!(self.transparent <= self.may_be_resent);
        } else {
            assert_eq!(attempt.previous, self.counted);
            self.counted += 1;
            assert!(self.counted <= self.max, "no more attempts than allowed");
            assert!(!self.told_to_stop, "stop means stop");
            assert!(attempt.kind != Kind::Hedge || self.affordable);
        }
        assert_eq!(attempt.id, self.counted + self.transparent - 1);
        self.under_way.push(attempt.id);
    }
}

/// Every course of up to `depth` events.
fn explore(course: &Course, depth: u32) -> u64 {
    if depth == 0 || course.done.is_some() {
        return 1;
    }
    let mut courses = 0;
    for index in 0..course.under_way.len() {
        for end in ends() {
            let mut next = course.clone();
            next.end(index, end);
            courses += explore(&next, depth - 1);
        }
    }
    if course.wakes_at.is_some() {
        let mut next = course.clone();
        next.wait();
        courses += explore(&next, depth - 1);
    }
    courses
}

#[test]
fn every_short_course_keeps_the_rules() {
    let now = Instant::now();
    let mut courses = 0;
    for deadline in [None, Some(DELAY * 2), Some(Duration::ZERO)] {
        for (affordable, sendable) in [(true, true), (false, true), (true, false)] {
            for (policy, depth) in [
                (Policy::Never, 6),
                (retry(2), 6),
                (retry(3), 6),
                (hedge(2, DELAY), 5),
                (hedge(3, DELAY), 5),
                (hedge(3, Duration::ZERO), 4),
            ] {
                let mut course = Course::begin(policy, deadline, now);
                course.affordable = affordable;
                course.sendable = sendable;
                courses += explore(&course, depth);
            }
        }
    }
    assert!(courses > 100_000, "only {courses} were tried");
}

#[derive(Debug, Clone)]
enum Event {
    End(usize, usize),
    TimeOut(usize),
    Wait,
    Pass(u64),
    Afford(bool),
    Overflow,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (any::<usize>(), 1..ends().len()).prop_map(|(which, end)| Event::End(which, end)),
        1 => any::<usize>().prop_map(|which| Event::End(which, 0)),
        1 => any::<usize>().prop_map(Event::TimeOut),
        4 => Just(Event::Wait),
        2 => (0_u64..50).prop_map(Event::Pass),
        1 => any::<bool>().prop_map(Event::Afford),
        1 => Just(Event::Overflow),
    ]
}

fn policy() -> impl Strategy<Value = Policy> {
    prop_oneof![
        1 => Just(Policy::Never),
        4 => (2_u32..=5).prop_map(retry),
        4 => (2_u32..=5, 0_u64..30).prop_map(|(max, delay)| hedge(max, Duration::from_millis(delay))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn long_courses_keep_the_rules(
        policy in policy(),
        deadline in prop::option::of(0_u64..300),
        events in prop::collection::vec(event(), 0..60),
    ) {
        let deadline = deadline.map(Duration::from_millis);
        let begun = Instant::now();
        let mut course = Course::begin(policy, deadline, begun);
        for event in events {
            let flights = course.under_way.len();
            match event {
                Event::End(which, end) if flights > 0 => course.end(which % flights, ends()[end]),
                Event::TimeOut(which) if flights > 0 => course.end(which % flights, End::TimedOut),
                Event::End(..) | Event::TimeOut(_) => {}
                Event::Wait => course.wait(),
                Event::Pass(millis) => course.now += Duration::from_millis(millis),
                Event::Afford(affordable) => course.affordable = affordable,
                Event::Overflow => course.sendable = false,
            }
        }
        let tally = course.attempts.tally();
        prop_assert_eq!(tally.retries + tally.hedges + 1, course.counted);
        prop_assert_eq!(tally.transparent, course.transparent);
        prop_assert!(tally.paused <= course.now - begun);
        // Once every attempt under way failed, so has the call.
        course.sendable = false;
        course.proceed();
        while course.done.is_none() {
            prop_assert!(!course.under_way.is_empty());
            course.end(0, failure(FATAL));
        }
    }
}

#[test]
fn a_request_that_never_left_is_sent_again_until_the_deadline() {
    let minute = Duration::from_secs(60);
    for policy in [Policy::Never, retry(2), hedge(2, minute)] {
        let mut course = Course::begin(policy, Some(minute), Instant::now());
        let begun = course.now;
        for _ in 0..RESENDS_AT_ONCE {
            course.end(0, End::NeverSent);
            assert_eq!((course.now, course.under_way.len()), (begun, 1));
        }
        course.end(0, End::NeverSent);
        assert_eq!(course.wakes_at, Some(begun + Duration::from_millis(100)));
        while course.done.is_none() {
            course.wait();
            course.end(0, End::NeverSent);
        }
        assert_eq!(course.counted, 1, "none of them counts");
        assert!(course.transparent > 60, "{}", course.transparent);
        assert!(course.now > begun + minute - Duration::from_secs(2));
    }
}

#[test]
fn each_request_that_never_left_is_sent_again_once() {
    let now = Instant::now();
    let mut course = Course::begin(hedge(3, Duration::ZERO), None, now);
    assert_eq!(course.under_way.len(), 3);
    // All at once, so that several wait to be sent again at the same time.
    for sent in 1..=3 {
        course
            .attempts
            .ended(sent - 1, End::NeverSent, course.given());
    }
    let mut again = 0;
    while let Next::Start(attempt) = course.attempts.next(course.given()) {
        assert_eq!(attempt.kind, Kind::Transparent);
        again += 1;
        assert!(again <= 3, "more than there were");
    }
    assert_eq!(again, 3);
}

#[test]
fn a_refusal_by_the_servers_library_is_mended_once_and_then_counts() {
    let now = Instant::now();
    let mut course = Course::begin(retry(2), None, now);
    assert!(!course.attempts.is_charged(End::RefusedUnseen));
    course.end(0, End::RefusedUnseen);
    assert_eq!((course.transparent, course.counted), (1, 1));
    assert!(course.attempts.is_charged(End::RefusedUnseen));
    course.end(0, End::RefusedUnseen);
    assert_eq!(course.wakes_at, Some(now + DELAY));
    course.wait();
    course.end(0, End::RefusedUnseen);
    let done = course.done.unwrap();
    assert_eq!((done.attempt, done.exhausted), (2, true));
}

#[test]
fn what_is_charged_is_what_reached_the_callee_and_may_be_mended() {
    let (attempts, _) = Attempts::begin(&retry(3), None, Instant::now());
    let fatal_and_stop = End::Failed {
        code: FATAL,
        pushback: Pushback::Stop,
    };
    for charged in [failure(Code::Unavailable), fatal_and_stop, End::TimedOut] {
        assert!(attempts.is_charged(charged), "{charged:?}");
    }
    for free in [
        End::Answered,
        failure(FATAL),
        End::NeverSent,
        End::RefusedUnseen,
        End::NoInstance,
        End::Declined,
    ] {
        assert!(!attempts.is_charged(free), "{free:?}");
    }
}

#[test]
fn an_attempt_ends_by_its_own_limit_or_by_the_calls() {
    let now = Instant::now();
    let limited = |millis: u64| {
        Policy::Retry(RetryPolicy {
            attempt_timeout: Some(Duration::from_millis(millis)),
            ..RetryPolicy::default()
        })
    };
    let deadline = Some(now + Duration::from_millis(50));
    let (_, own) = Attempts::begin(&limited(20), deadline, now);
    assert_eq!(own.until(now), (Some(now + DELAY * 2), true));
    let waited = now + DELAY;
    assert_eq!(own.until(waited), (Some(now + DELAY * 3), true));
    assert_eq!(own.until(now + DELAY * 4), (deadline, false));
    let (_, calls) = Attempts::begin(&limited(50), deadline, now);
    assert_eq!(calls.until(now), (deadline, false));
    let (_, alone) = Attempts::begin(&limited(20), None, now);
    assert_eq!(alone.until(now), (Some(now + DELAY * 2), true));
    let (_, none) = Attempts::begin(&retry(2), None, now);
    assert_eq!(none.until(now), (None, false));
}

#[test]
fn only_what_was_tried_again_or_held_back_stops_the_callers_above() {
    let exhausted = |policy, ends: &[End], affordable| {
        let mut course = Course::begin(policy, None, Instant::now());
        course.affordable = affordable;
        for end in ends {
            course.wait();
            course.end(0, *end);
        }
        course.done.unwrap().exhausted
    };
    let unavailable = failure(Code::Unavailable);
    assert!(exhausted(retry(2), &[unavailable, unavailable], true));
    assert!(exhausted(
        retry(2),
        &[End::NoInstance, End::NoInstance],
        true
    ));
    assert!(exhausted(retry(2), &[unavailable], false), "throttled");
    assert!(!exhausted(Policy::Never, &[unavailable], true));
    assert!(!exhausted(retry(2), &[failure(FATAL)], true));
    assert!(!exhausted(retry(2), &[unavailable, failure(FATAL)], true));
    assert!(!exhausted(retry(2), &[End::Declined], true));
}

#[test]
fn a_hedge_that_finds_nobody_does_not_hide_what_a_callee_said() {
    let mut course = Course::begin(hedge(2, Duration::ZERO), None, Instant::now());
    assert_eq!(course.under_way, [0, 1]);
    course.end(0, failure(Code::Unavailable));
    course.end(0, End::NoInstance);
    assert_eq!(course.done.unwrap().attempt, 0);
    let all = Codes::of(&[Code::Unavailable]);
    assert_eq!(hedge(2, DELAY).codes(), all);
}
