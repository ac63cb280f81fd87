//! What was done for a payment: each step with its attempts, and what people decided.
//!
//! It is written together with the payment's state: an attempt before its calls go out, its end as
//! soon as it is known. So whoever finds a payment knows whether a step may have been executed.

use super::Step;

/// The latest attempts that are kept of each step, beside their number.
const RECENT_MAX: usize = 16;

/// The latest decisions of people that are kept. A request id that is forgotten would be taken for
/// a new one; nobody decides so often about one payment.
const STEERINGS_MAX: usize = 256;

/// What was done, in the order it was begun.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Journal {
    pub(crate) steps: Vec<StepRecord>,
    pub(crate) steerings: Vec<Steering>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StepRecord {
    pub(crate) step: Step,
    pub(crate) state: StepState,
    pub(crate) attempts: u32,
    /// Attempts since it was begun or, by a person, begun again: what is bounded.
    pub(crate) round: u32,
    /// Attempts that may have been executed: on their way, lost with their worker, or of unknown
    /// end. While there are any, the step may not be taken for not done.
    pub(crate) open: u32,
    pub(crate) begun_micros: i64,
    /// When this round began: from then on waiting is counted.
    pub(crate) round_micros: i64,
    pub(crate) ended_micros: Option<i64>,
    pub(crate) last_error: Option<Error>,
    pub(crate) recent: Vec<Attempt>,
}

/// Where a step stands. The numbers are the contract's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StepState {
    Running = 1,
    Done = 2,
    Refused = 3,
}

/// One try of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) number: u32,
    pub(crate) begun_micros: i64,
    pub(crate) ended_micros: Option<i64>,
    pub(crate) end: Option<AttemptEnd>,
    pub(crate) error: Option<Error>,
}

/// How an attempt ended. The numbers are the contract's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AttemptEnd {
    Done = 1,
    Refused = 2,
    NotExecuted = 3,
    Unknown = 4,
}

/// What a step was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Error {
    /// The gRPC code's name: "UNAVAILABLE".
    pub(crate) code: String,
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// What a person decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Steering {
    pub(crate) request_id: String,
    /// The verb: "cancel" or "retry".
    pub(crate) verb: String,
    pub(crate) reason: String,
    pub(crate) micros: i64,
}

impl Journal {
    /// The record of a payment whose past is not known: the step may have been executed.
    pub(crate) fn unknown_past(step: Step, now: i64) -> Self {
        let mut journal = Self::default();
        journal.begin(step, now);
        journal
    }

    pub(crate) fn step(&self, step: Step) -> Option<&StepRecord> {
        self.steps.iter().find(|record| record.step == step)
    }

    fn step_mut(&mut self, step: Step, now: i64) -> &mut StepRecord {
        let known = self.steps.iter().position(|record| record.step == step);
        let place = known.unwrap_or(self.steps.len());
        if known.is_none() {
            self.steps.push(StepRecord::new(step, now));
        }
        &mut self.steps[place]
    }

    /// Whether a step may have been executed.
    pub(crate) fn is_exposed(&self, step: Step) -> bool {
        self.step(step).is_some_and(|record| record.open > 0)
    }

    /// Whether attempts beside the latest may have been executed, or may yet be.
    pub(crate) fn others_are_open(&self, step: Step) -> bool {
        self.step(step).is_some_and(|record| record.open > 1)
    }

    /// An attempt is about to be made.
    pub(crate) fn begin(&mut self, step: Step, now: i64) {
        let record = self.step_mut(step, now);
        record.attempts = record.attempts.saturating_add(1);
        record.round = record.round.saturating_add(1);
        record.open = record.open.saturating_add(1);
        if record.recent.len() == RECENT_MAX {
            record.recent.remove(0);
        }
        record.recent.push(Attempt {
            number: record.attempts,
            begun_micros: now,
            ended_micros: None,
            end: None,
            error: None,
        });
    }

    /// The latest attempt ended.
    pub(crate) fn end(&mut self, step: Step, end: AttemptEnd, error: Option<&Error>, now: i64) {
        let record = self.step_mut(step, now);
        if let Some(attempt) = record.recent.last_mut() {
            attempt.ended_micros = Some(now);
            attempt.end = Some(end);
            attempt.error = error.cloned();
        }
        if error.is_some() {
            record.last_error = error.cloned();
        }
        match end {
            AttemptEnd::NotExecuted => record.open = record.open.saturating_sub(1),
            AttemptEnd::Unknown => {}
            AttemptEnd::Done => record.settle(StepState::Done, now),
            AttemptEnd::Refused => record.settle(StepState::Refused, now),
        }
    }

    /// A person says that a step is to be tried again.
    pub(crate) fn new_round(&mut self, step: Step, now: i64) {
        let record = self.step_mut(step, now);
        record.state = StepState::Running;
        record.ended_micros = None;
        record.round = 0;
        record.round_micros = now;
    }

    pub(crate) fn steering(&self, request_id: &str) -> Option<&Steering> {
        self.steerings.iter().find(|s| s.request_id == request_id)
    }

    pub(crate) fn note(&mut self, steering: Steering) {
        if self.steerings.len() == STEERINGS_MAX {
            self.steerings.remove(0);
        }
        self.steerings.push(steering);
    }
}

impl StepRecord {
    fn new(step: Step, now: i64) -> Self {
        Self {
            step,
            state: StepState::Running,
            attempts: 0,
            round: 0,
            open: 0,
            begun_micros: now,
            round_micros: now,
            ended_micros: None,
            last_error: None,
            recent: Vec::new(),
        }
    }

    /// The end is known, and with it that of every attempt before: they were the same request.
    fn settle(&mut self, state: StepState, now: i64) {
        self.state = state;
        self.open = 0;
        self.ended_micros = Some(now);
    }
}

impl StepState {
    pub(crate) fn from_number(number: i32) -> Option<Self> {
        [Self::Running, Self::Done, Self::Refused]
            .into_iter()
            .find(|state| *state as i32 == number)
    }
}

impl AttemptEnd {
    pub(crate) fn from_number(number: i32) -> Option<Self> {
        [Self::Done, Self::Refused, Self::NotExecuted, Self::Unknown]
            .into_iter()
            .find(|end| *end as i32 == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error() -> Error {
        Error {
            code: "UNAVAILABLE".to_owned(),
            reason: "AWAY".to_owned(),
            message: String::new(),
        }
    }

    #[test]
    fn an_attempt_that_never_left_exposes_nothing_and_one_of_unknown_end_does() {
        let mut journal = Journal::default();
        journal.begin(Step::Ledger, 1);
        assert!(journal.is_exposed(Step::Ledger), "it is on its way");
        journal.end(Step::Ledger, AttemptEnd::NotExecuted, Some(&error()), 2);
        assert!(!journal.is_exposed(Step::Ledger));
        journal.begin(Step::Ledger, 3);
        journal.end(Step::Ledger, AttemptEnd::Unknown, Some(&error()), 4);
        journal.begin(Step::Ledger, 5);
        journal.end(Step::Ledger, AttemptEnd::NotExecuted, Some(&error()), 6);
        assert!(
            journal.is_exposed(Step::Ledger),
            "the second may have been executed, whatever became of the third"
        );
        journal.begin(Step::Ledger, 7);
        journal.end(Step::Ledger, AttemptEnd::Done, None, 8);
        let record = journal.step(Step::Ledger).unwrap();
        assert_eq!((record.attempts, record.open), (4, 0));
        assert_eq!(record.ended_micros, Some(8));
        assert!(record.last_error.is_some(), "what went wrong is kept");
    }

    #[test]
    fn an_attempt_that_was_lost_with_its_worker_stays_open() {
        let mut journal = Journal::default();
        journal.begin(Step::Ledger, 1);
        journal.begin(Step::Ledger, 2);
        journal.end(Step::Ledger, AttemptEnd::NotExecuted, Some(&error()), 3);
        assert!(journal.is_exposed(Step::Ledger));
    }

    #[test]
    fn only_the_latest_attempts_are_kept() {
        let mut journal = Journal::default();
        for now in 0..100 {
            journal.begin(Step::Void, now);
            journal.end(Step::Void, AttemptEnd::Unknown, Some(&error()), now);
        }
        let record = journal.step(Step::Void).unwrap();
        assert_eq!((record.attempts, record.recent.len()), (100, RECENT_MAX));
        assert_eq!(record.recent[0].number, 85);
    }
}
