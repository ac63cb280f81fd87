//! The differential test: what `golang.org/x/time/rate` did, replayed step by step.
//!
//! `oracle/rate` makes the record, and its README says how one reads. Delays agree to the
//! nanosecond and tokens to the last bit.

use std::time::{Duration, Instant};

use super::{
    NEVER, Rate,
    state::{Bucket, Refusal, Reservation},
};

const RECORD: &str = include_str!("../../tests/golden/rate.txt");

/// One limiter, its clock, and the reservations it made, until they are cancelled.
struct Program {
    bucket: Bucket,
    now: Instant,
    made: Vec<Option<Reservation>>,
}

/// What a replay did.
#[derive(Debug, Default, PartialEq)]
struct Tally {
    programs: u32,
    steps: u32,
    /// Steps with an outcome that was compared besides the tokens.
    outcomes: u32,
    /// Cancellations in which Go gives back more than was taken, and ours does not.
    parted: u32,
}

impl Program {
    fn start(fields: &[&str]) -> Self {
        // Room for a clock that goes back.
        let now = Instant::now() + Duration::from_secs(365 * 86_400);
        let rate = Rate::per_second(float(fields[0]), fields[1].parse().unwrap()).unwrap();
        Self {
            bucket: Bucket::new(rate, now),
            now,
            made: Vec::new(),
        }
    }

    fn pass(&mut self, nanos: &str) {
        let nanos: i64 = nanos.parse().unwrap();
        let time = Duration::from_nanos(nanos.unsigned_abs());
        self.now = if nanos < 0 {
            self.now - time
        } else {
            self.now + time
        };
    }

    /// Does a step and answers its outcome, as the record writes it.
    fn step(&mut self, what: &str, of: &[&str]) -> Option<String> {
        let now = self.now;
        match what {
            "a" => Some(u8::from(self.bucket.allow(now, of[0].parse().unwrap())).to_string()),
            "r" => Some(self.reserve(of[0].parse().unwrap())),
            "c" | "x" => {
                let index: usize = of[0].parse().unwrap();
                let reservation = self.made[index].take().unwrap();
                self.bucket.cancel(now, reservation);
                None
            }
            "l" => {
                let burst = self.bucket.rate().burst();
                let rate = Rate::per_second(float(of[0]), burst).unwrap();
                self.bucket.set_rate(now, rate);
                None
            }
            "b" => {
                let rate = self.bucket.rate().with_burst(of[0].parse().unwrap());
                self.bucket.set_rate(now, rate);
                None
            }
            "w" => Some(self.wait(of)),
            "t" => None,
            other => panic!("no such step: {other}"),
        }
    }

    fn reserve(&mut self, n: u32) -> String {
        match self.bucket.reserve(self.now, n, NEVER) {
            Ok(reservation) => {
                let delay = reservation.delay(self.now);
                self.made.push(Some(reservation));
                delay.as_nanos().to_string()
            }
            Err(_) => "-".to_owned(),
        }
    }

    /// What the limiter's shell does, without the clock: waits, or gives up and cancels.
    fn wait(&mut self, of: &[&str]) -> String {
        let limit = of[1].parse::<i64>().ok();
        let deadline = limit.map(|nanos| {
            let time = Duration::from_nanos(nanos.unsigned_abs());
            if nanos < 0 {
                self.now - time
            } else {
                self.now + time
            }
        });
        let patience = of[2].parse().map_or(NEVER, Duration::from_nanos);
        match self.bucket.wait(self.now, of[0].parse().unwrap(), deadline) {
            Err(Refusal::ExceedsBurst) => "burst".to_owned(),
            Err(Refusal::DeadlinePassed) => "over".to_owned(),
            Err(Refusal::TooLate(_)) => "late".to_owned(),
            Ok(reservation) => {
                let delay = reservation.delay(self.now);
                if delay <= patience {
                    self.now += delay;
                    return delay.as_nanos().to_string();
                }
                self.now += patience;
                self.bucket.cancel(self.now, reservation);
                format!("g{}", patience.as_nanos())
            }
        }
    }
}

/// A float from the hexadecimal of its bits, whose zeros at the end were left out.
fn float(text: &str) -> f64 {
    f64::from_bits(u64::from_str_radix(&format!("{text:0<16}"), 16).unwrap())
}

fn replay(record: &str) -> Tally {
    let mut tally = Tally::default();
    let mut program = None;
    for (number, line) in record.lines().enumerate() {
        let at = number + 1;
        let fields: Vec<&str> = line.split(' ').collect();
        if fields[0] == "p" {
            program = Some(Program::start(&fields[1..]));
            tally.programs += 1;
            continue;
        }
        let program = program.as_mut().expect("a program begins the record");
        let [what, pause, of @ .., tokens] = fields.as_slice() else {
            panic!("line {at}: {line}");
        };
        program.pass(pause);
        if let Some(outcome) = program.step(what, of) {
            assert_eq!(Some(&outcome.as_str()), of.last(), "line {at}: {line}");
            tally.outcomes += 1;
        }
        let (ours, theirs) = (program.bucket.tokens(program.now), float(tokens));
        if *what == "x" {
            assert!(ours <= theirs, "line {at}: {ours} tokens, {line}");
            tally.parted += 1;
        } else {
            assert_eq!(
                ours.to_bits(),
                theirs.to_bits(),
                "line {at}: {ours} tokens, {line}"
            );
        }
        tally.steps += 1;
    }
    tally
}

#[test]
fn it_agrees_with_the_limiter_of_go() {
    let expected = Tally {
        programs: 1_400,
        steps: 24_949,
        outcomes: 16_481,
        parted: 62,
    };
    assert_eq!(replay(RECORD), expected);
}
