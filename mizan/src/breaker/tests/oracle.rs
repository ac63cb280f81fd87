//! Replays what sony/gobreaker v2 did in random programs (`mizan/oracle`), on the machine and on the
//! breaker made of it, and compares every answer, every count and every change.

use std::{
    collections::VecDeque,
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::super::{
    state::{State, Ticket},
    *,
};

const TRACES: &str = include_str!("../../../tests/golden/gobreaker.txt");

/// The settings of a program, zeros as gobreaker takes them (rule G2).
fn settings(line: &str) -> Config {
    let numbers: Vec<u32> = line.split(' ').skip(1).map(number).collect();
    let &[
        max_requests,
        interval,
        bucket,
        timeout,
        min,
        percent,
        in_a_row,
    ] = &numbers[..]
    else {
        panic!("settings: {line}");
    };
    let millis = |number: u32| Duration::from_millis(number.into());
    let given = |number: u32| (number > 0).then(|| millis(number));
    let trip = match (min, in_a_row) {
        (0, _) => Trip::ConsecutiveFailures(in_a_row),
        (_, 0) => Trip::Ratio {
            requests_min: min,
            failure_percent: percent,
        },
        _ => Trip::Either {
            requests_min: min,
            failure_percent: percent,
            consecutive_failures: in_a_row,
        },
    };
    let original = Config::gobreaker_defaults();
    Config {
        trip,
        interval: given(interval).unwrap_or(original.interval),
        // Without an interval there is nothing to roll.
        bucket_period: given(bucket).filter(|_| interval > 0),
        open_for: given(timeout).unwrap_or(original.open_for),
        probes_max: max_requests.max(original.probes_max),
        ..original
    }
    .validate()
    .unwrap()
}

fn number<T: FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

type Changes = Arc<Mutex<VecDeque<(Phase, Phase)>>>;

struct Replay {
    machine: State,
    breaker: Breaker,
    calls: Vec<(Ticket, OwnedPermit)>,
    now: Instant,
    expected: Counts,
    changes: Changes,
}

impl Replay {
    fn new(config: Config) -> Self {
        let now = Instant::now();
        let changes = Changes::default();
        let into = changes.clone();
        let callback = OnStateChange::new(move |c| into.lock().push_back((c.from, c.to)));
        let config = Config {
            on_state_change: Some(callback),
            ..config
        };
        Self {
            machine: State::new(config.clone(), now),
            breaker: Breaker::beginning("oracle", config, now),
            calls: Vec::new(),
            now,
            expected: Counts::default(),
            changes,
        }
    }

    fn step(&mut self, line: &str) {
        let mut words = line.split(' ');
        let (step, argument) = words.next().unwrap().split_at(1);
        let before = self.machine.phase();
        self.act(step, argument);
        let mut changed = None;
        for word in words {
            match word.split_once('>') {
                Some((from, to)) => changed = Some((number::<u8>(from), number::<u8>(to))),
                None => self.expect(word),
            }
        }
        assert_eq!(self.machine.counts(), self.expected);
        assert_eq!(self.breaker.counts(), self.expected);
        let after = self.machine.phase();
        let by_number = |(from, to): (Phase, Phase)| (from.number(), to.number());
        assert_eq!(
            (before != after).then(|| by_number((before, after))),
            changed
        );
        assert_eq!(self.changes.lock().pop_front().map(by_number), changed);
        assert!(self.changes.lock().is_empty());
    }

    fn act(&mut self, step: &str, argument: &str) {
        let now = self.now;
        match step {
            "a" => self.calls.push((
                self.machine.admit(now).unwrap(),
                self.breaker.admit_owned(now).unwrap(),
            )),
            "o" => self.refused(Refusal::Open),
            "m" => self.refused(Refusal::Probing),
            "t" => self.now += Duration::from_micros(number(argument)),
            "s" => {
                self.machine.look(now);
                assert_eq!(self.machine.phase().number(), number::<u8>(argument));
                assert_eq!(self.breaker.phase(now), self.machine.phase());
            }
            done => {
                let outcome = match done {
                    "k" => Outcome::Success,
                    "f" => Outcome::Failure,
                    "x" => Outcome::Excluded,
                    _ => panic!("step: {done}"),
                };
                let (ticket, permit) = self.calls.remove(number(argument));
                self.machine.record(ticket, outcome, Duration::ZERO, now);
                permit.record(outcome, now);
            }
        }
    }

    fn refused(&mut self, why: Refusal) {
        let machine = self.machine.admit(self.now).unwrap_err();
        let breaker = self.breaker.admit(self.now).unwrap_err();
        assert_eq!((machine.refusal, breaker.refusal()), (why, why));
    }

    fn expect(&mut self, word: &str) {
        let (name, value) = word.split_at(1);
        let counts = &mut self.expected;
        let count = match name {
            "R" => &mut counts.requests,
            "S" => &mut counts.successes,
            "F" => &mut counts.failures,
            "X" => &mut counts.exclusions,
            "s" => &mut counts.consecutive_successes,
            "f" => &mut counts.consecutive_failures,
            _ => panic!("count: {word}"),
        };
        *count = number(value);
    }
}

/// Says where a program went wrong.
struct Place<'a>(usize, &'a str);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("gobreaker.txt, line {}: {}", self.0, self.1);
        }
    }
}

#[test]
fn every_step_of_gobreaker_is_ours() {
    let (mut programs, mut steps) = (0, 0);
    let mut replay = None;
    for (index, line) in TRACES.lines().enumerate() {
        let _place = Place(index + 1, line);
        if line.starts_with('p') {
            replay = Some(Replay::new(settings(line)));
            programs += 1;
        } else {
            replay.as_mut().unwrap().step(line);
            steps += 1;
        }
    }
    println!("{programs} programs of gobreaker, {steps} steps: all agree");
    assert!(programs >= 1_000 && steps >= 50_000);
}
