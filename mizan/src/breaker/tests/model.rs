//! One thread on the shell, the same calls on the pure machine: they agree at every step.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::{
    state::{State, Ticket},
    *,
};

#[derive(Debug, Clone)]
enum Step {
    Admit,
    Record(prop::sample::Index, Outcome),
    Drop(prop::sample::Index),
    Wait(Duration),
    Phase,
    Counts,
    ForceOpen,
    ForceClosed,
    Automatic,
}

fn millis(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(|tenths| Duration::from_millis(tenths * 100))
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![
        6 => Just(Outcome::Success),
        3 => Just(Outcome::Failure),
        1 => Just(Outcome::Excluded),
    ];
    prop_oneof![
        30 => Just(Step::Admit),
        30 => (any::<prop::sample::Index>(), outcome).prop_map(|(i, o)| Step::Record(i, o)),
        3 => any::<prop::sample::Index>().prop_map(Step::Drop),
        10 => millis(0..12).prop_map(Step::Wait),
        1 => Just(Step::Wait(Duration::from_nanos(1))),
        2 => Just(Step::Phase),
        2 => Just(Step::Counts),
        1 => prop_oneof![Just(Step::ForceOpen), Just(Step::ForceClosed), Just(Step::Automatic)],
        1 => Just(Step::Automatic),
    ]
}

fn config() -> impl Strategy<Value = Config> {
    let trip = prop_oneof![
        (1_u32..6, 1_u32..=100).prop_map(|(requests_min, failure_percent)| Trip::Ratio {
            requests_min,
            failure_percent
        }),
        (1_u32..6).prop_map(Trip::ConsecutiveFailures),
        Just(Trip::ConsecutiveFailures(u32::MAX)),
    ];
    let slow = (millis(0..5), 1_u32..=100, 1_u32..5).prop_map(|(threshold, percent, min)| Slow {
        threshold,
        percent,
        requests_min: min,
    });
    (
        trip,
        millis(1..30),
        prop::option::of(millis(1..10)),
        millis(1..20),
        1_u32..4,
        prop::option::of(millis(1..10)),
        prop::option::weighted(0.3, slow),
    )
        .prop_map(
            |(trip, interval, bucket_period, open_for, probes_max, probe_timeout, slow)| Config {
                trip,
                interval,
                bucket_period,
                open_for,
                probes_max,
                probe_timeout,
                slow,
                ..Config::gobreaker()
            },
        )
}

/// Both, and the calls under way on both.
struct Pair {
    model: State,
    breaker: Breaker,
    calls: Vec<(Ticket, OwnedPermit, Instant)>,
    now: Instant,
}

impl Pair {
    fn new(config: Config) -> Self {
        let now = Instant::now();
        Self {
            model: State::new(config.clone(), now),
            breaker: Breaker::beginning("model", config, now),
            calls: Vec::new(),
            now,
        }
    }

    fn take(&mut self, index: &prop::sample::Index) -> Option<(Ticket, OwnedPermit, Instant)> {
        let some = !self.calls.is_empty();
        some.then(|| self.calls.remove(index.index(self.calls.len())))
    }

    fn run(&mut self, step: Step) -> Result<(), TestCaseError> {
        let now = self.now;
        match step {
            Step::Admit => {
                let before = self.breaker.might_admit(now);
                match (self.model.admit(now), self.breaker.admit_owned(now)) {
                    (Ok(ticket), Ok(permit)) => {
                        prop_assert!(before);
                        self.calls.push((ticket, permit, now));
                    }
                    (Err(model), Err(shell)) => {
                        prop_assert_eq!(model.refusal, shell.refusal());
                        prop_assert_eq!(model.retry_after, shell.retry_after());
                        prop_assert!(!self.breaker.might_admit(now));
                    }
                    (model, shell) => prop_assert!(false, "{model:?} {shell:?}"),
                }
            }
            Step::Record(index, outcome) => {
                if let Some((ticket, permit, admitted)) = self.take(&index) {
                    self.model.record(ticket, outcome, now - admitted, now);
                    permit.record(outcome, now);
                }
            }
            Step::Drop(index) => {
                if let Some((ticket, permit, _)) = self.take(&index) {
                    self.model.exclude(ticket);
                    drop(permit);
                }
            }
            Step::Wait(time) => self.now += time,
            Step::Phase => {
                self.model.look(now);
                prop_assert_eq!(self.model.phase(), self.breaker.phase(now));
            }
            Step::Counts => prop_assert_eq!(self.model.counts(), self.breaker.counts()),
            Step::ForceOpen => {
                self.model.force(Phase::ForcedOpen, now);
                self.breaker.force_open(now);
            }
            Step::ForceClosed => {
                self.model.force(Phase::ForcedClosed, now);
                self.breaker.force_closed(now);
            }
            Step::Automatic => {
                self.model.automatic(now);
                self.breaker.automatic(now);
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Counts are compared only where the program asks, since asking folds the lanes: so their
    /// contents pile up between, as they do in use.
    #[test]
    fn the_shell_does_what_the_machine_does(
        config in config(),
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let mut pair = Pair::new(config.validate().unwrap());
        for step in steps {
            pair.run(step)?;
        }
        prop_assert_eq!(pair.model.counts(), pair.breaker.counts());
        pair.model.look(pair.now);
        prop_assert_eq!(pair.model.phase(), pair.breaker.phase(pair.now));
        prop_assert_eq!(pair.model.counts(), pair.breaker.counts());
    }
}
