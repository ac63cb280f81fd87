//! How a payment moves: the saga's state machine.
//!
//! ```text
//!              document           ledger (pivot)       settle
//!  ┌──────────┐ done  ┌──────────┐ done  ┌──────────┐ done  ┌───────────┐
//!  │ accepted │ ────► │ invoiced │ ────► │ recorded │ ────► │ completed │
//!  └──────────┘       └──────────┘       └──────────┘       └───────────┘
//!       │ │ refused after  │ refused, or never left for too long, or cancelled
//!       │ │ it may be made ▼
//!       │ │          ┌──────────────┐ void done ┌─────────────┐
//!       │ └────────► │ compensating │ ────────► │ compensated │
//!       │            └──────────────┘           └─────────────┘
//!       │ refused or cancelled, and nothing can have been made
//!       ▼                             what cannot go on, from any unfinished state
//!  ┌──────────┐                       ┌─────────────────┐
//!  │  failed  │                       │ needs attention │ ──► back, by a person's retry
//!  └──────────┘                       └─────────────────┘
//! ```
//!
//! A step whose outcome is not known moves nothing: it is repeated with the same id until it is.
//! After the pivot there is no way back; before it, only a definite refusal, or the certainty that
//! the ledger never got the request, leads to compensation. Attempts are bounded up to the pivot:
//! settling after it and voiding are never given up for anything but a definite refusal.

use super::{AttemptEnd, Error, Intent, Journal, State, Step};

/// Why a payment was refused, or why it could not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) step: String,
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// How an attempt at a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    Done,
    /// Refused for good: asking again gives the same answer.
    Refused {
        error: Error,
        /// Whether the step may have left something that has to be undone.
        left_something: bool,
    },
    /// Certainly not done.
    NotExecuted(Error),
    /// It may have been done.
    Unknown(Error),
    /// The step's id stands for another request: what was done by it is not known.
    Conflicting(Error),
}

/// How long is tried.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    /// So many attempts at a step before or at the pivot, then the payment is parked.
    pub(crate) attempts_max: u32,
    /// For so long a ledger that certainly got nothing is waited for, then the payment is undone.
    pub(crate) ledger_wait_micros: i64,
}

/// A payment as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Payment {
    pub(crate) intent: Intent,
    pub(crate) state: State,
    /// Why it was refused.
    pub(crate) failure: Option<Failure>,
    /// Where it was parked, and why. Set in [`State::NeedsAttention`] alone.
    pub(crate) parked: Option<(State, Failure)>,
    pub(crate) journal: Journal,
    /// Moves with every change: who holds an older one may not write.
    pub(crate) version: i64,
    pub(crate) create_micros: i64,
    pub(crate) update_micros: i64,
}

impl Payment {
    /// A payment that is accepted. Its first step is begun with it.
    pub(crate) fn accepted(intent: Intent, now: i64) -> Self {
        let mut payment = Self {
            intent,
            state: State::Accepted,
            failure: None,
            parked: None,
            journal: Journal::default(),
            version: 1,
            create_micros: now,
            update_micros: now,
        };
        payment.begin(now);
        payment
    }

    /// The state that says what may be concluded: where it was parked, if it was.
    pub(crate) fn stands(&self) -> State {
        self.parked.as_ref().map_or(self.state, |(state, _)| *state)
    }

    /// Whether the attempt that is to be made next is noted already.
    pub(crate) fn is_begun(&self) -> bool {
        let record = self.state.step().and_then(|step| self.journal.step(step));
        record
            .and_then(|record| record.recent.last())
            .is_some_and(|attempt| attempt.end.is_none())
    }

    /// Notes an attempt at the step that is next. Durable before its first call goes out.
    pub(crate) fn begin(&mut self, now: i64) {
        if let Some(step) = self.state.step() {
            self.journal.begin(step, now);
        }
    }

    /// Moves to where the end of an attempt leads, and begins what is next.
    pub(crate) fn conclude(&mut self, ended: &Ended, policy: &Policy, now: i64) {
        let Some(step) = self.state.step() else {
            return;
        };
        match ended {
            Ended::Done => {
                self.journal.end(step, AttemptEnd::Done, None, now);
                self.state = match step {
                    Step::Document => State::Invoiced,
                    Step::Ledger => State::Recorded,
                    Step::Settle => State::Completed,
                    Step::Void => State::Compensated,
                };
                self.begin(now);
            }
            Ended::Refused {
                error,
                left_something,
            } => {
                let others = self.journal.others_are_open(step);
                self.journal
                    .end(step, AttemptEnd::Refused, Some(error), now);
                match step {
                    // Invoicing does not remember what it refused: an attempt that is still on its
                    // way might be taken when it arrives, so it is fenced by a void.
                    Step::Document if !left_something && !others => self.fail(step, error),
                    Step::Document | Step::Ledger => self.compensate(step, error, now),
                    // Money has moved, or the document is no longer ours to void: no machine
                    // knows what is right now.
                    Step::Settle | Step::Void => self.park(step, error),
                }
            }
            Ended::NotExecuted(error) => {
                self.journal
                    .end(step, AttemptEnd::NotExecuted, Some(error), now);
                self.again(step, error, policy, now);
            }
            Ended::Unknown(error) => {
                self.journal
                    .end(step, AttemptEnd::Unknown, Some(error), now);
                self.again(step, error, policy, now);
            }
            Ended::Conflicting(error) => {
                self.journal
                    .end(step, AttemptEnd::Unknown, Some(error), now);
                self.park(step, error);
            }
        }
    }

    /// The attempt brought nothing definite: the step is repeated, unless that has lasted too long.
    /// What the money's way is decided on already, settling and voiding, is repeated for ever.
    fn again(&mut self, step: Step, error: &Error, policy: &Policy, now: i64) {
        let Some(record) = self.journal.step(step) else {
            return;
        };
        let waited = now.saturating_sub(record.round_micros);
        if step == Step::Ledger && record.open == 0 && waited >= policy.ledger_wait_micros {
            self.compensate(step, error, now);
        } else if step.is_bounded() && record.round >= policy.attempts_max {
            self.park(step, error);
        }
    }

    /// Cancels, while the ledger certainly has nothing. Says whether it could.
    pub(crate) fn cancel(&mut self, reason: &str, now: i64) -> bool {
        let standing = self.stands();
        if !matches!(standing, State::Accepted | State::Invoiced)
            || self.journal.is_exposed(Step::Ledger)
        {
            return false;
        }
        let nothing_made = standing == State::Accepted && !self.journal.is_exposed(Step::Document);
        self.parked = None;
        self.failure = Some(Failure {
            step: "cancel".to_owned(),
            reason: "CANCELLED".to_owned(),
            message: reason.to_owned(),
        });
        if nothing_made {
            self.state = State::Failed;
        } else {
            self.state = State::Compensating;
            self.begin(now);
        }
        true
    }

    /// Lets a parked payment go on. Says whether it was parked.
    pub(crate) fn retry(&mut self, now: i64) -> bool {
        let Some((state, _)) = self.parked.take() else {
            return false;
        };
        self.state = state;
        if let Some(step) = state.step() {
            self.journal.new_round(step, now);
            self.journal.begin(step, now);
        }
        true
    }

    fn fail(&mut self, step: Step, error: &Error) {
        self.failure = Some(self.failed(step, error));
        self.state = State::Failed;
    }

    fn compensate(&mut self, step: Step, error: &Error, now: i64) {
        self.failure = Some(self.failed(step, error));
        self.state = State::Compensating;
        self.begin(now);
    }

    fn park(&mut self, step: Step, error: &Error) {
        self.parked = Some((self.state, self.failed(step, error)));
        self.state = State::NeedsAttention;
    }

    fn failed(&self, step: Step, error: &Error) -> Failure {
        Failure {
            step: self.intent.step_name(step).to_owned(),
            reason: error.reason.clone(),
            message: error.message.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::intent::tests::intent;

    const POLICY: Policy = Policy {
        attempts_max: 5,
        ledger_wait_micros: 100,
    };

    fn error() -> Error {
        Error {
            code: "UNAVAILABLE".to_owned(),
            reason: "AWAY".to_owned(),
            message: String::new(),
        }
    }

    fn refused(left_something: bool) -> Ended {
        Ended::Refused {
            error: error(),
            left_something,
        }
    }

    fn lost() -> Ended {
        Ended::Unknown(error())
    }

    fn never_left() -> Ended {
        Ended::NotExecuted(error())
    }

    /// The state after these ends, one micro apart.
    fn after(ends: &[Ended]) -> Payment {
        let mut payment = Payment::accepted(intent("p"), 0);
        for (now, end) in (1..).zip(ends) {
            if !payment.is_begun() {
                payment.begin(now);
            }
            payment.conclude(end, &POLICY, now);
        }
        payment
    }

    #[test]
    fn every_step_and_end_leads_where_the_picture_says() {
        use Ended::Done;
        let state = |ends: &[Ended]| after(ends).state;
        assert_eq!(state(&[Done]), State::Invoiced);
        assert_eq!(state(&[Done, Done]), State::Recorded);
        assert_eq!(state(&[Done, Done, Done]), State::Completed);
        assert_eq!(state(&[refused(false)]), State::Failed);
        assert_eq!(state(&[refused(true)]), State::Compensating);
        assert_eq!(state(&[Done, refused(false)]), State::Compensating);
        assert_eq!(state(&[Done, refused(false), Done]), State::Compensated);
        assert_eq!(
            state(&[Done, Done, refused(true)]),
            State::NeedsAttention,
            "the money has moved: there is no way back"
        );
        assert_eq!(
            state(&[Done, refused(true), refused(true)]),
            State::NeedsAttention
        );
    }

    #[test]
    fn a_refusal_fails_a_payment_only_when_no_other_attempt_is_on_its_way() {
        assert_eq!(after(&[never_left(), refused(false)]).state, State::Failed);
        let fenced = after(&[lost(), refused(false)]);
        assert_eq!(fenced.state, State::Compensating);
        assert_eq!(fenced.failure.unwrap().step, "invoice");
    }

    #[test]
    fn an_unknown_end_moves_nothing_until_the_attempts_are_used_up() {
        for end in [lost(), never_left()] {
            let almost = after(&vec![end.clone(); 4]);
            assert_eq!(almost.state, State::Accepted);
            let parked = after(&vec![end; 5]);
            assert_eq!(parked.state, State::NeedsAttention);
            assert_eq!(parked.stands(), State::Accepted);
            assert_eq!(parked.parked.unwrap().1.reason, "AWAY");
        }
    }

    #[test]
    fn a_ledger_that_certainly_got_nothing_is_waited_for_and_then_undone() {
        let mut payment = after(&[Ended::Done]);
        payment.conclude(&never_left(), &POLICY, 50);
        assert_eq!(payment.state, State::Invoiced);
        payment.begin(51);
        payment.conclude(&never_left(), &POLICY, 200);
        assert_eq!(payment.state, State::Compensating);
        assert_eq!(payment.failure.unwrap().step, "ledger");
    }

    #[test]
    fn a_ledger_that_may_have_it_is_never_given_up() {
        let mut payment = after(&[Ended::Done, lost()]);
        payment.begin(51);
        payment.conclude(&never_left(), &POLICY, 1_000_000);
        assert_eq!(payment.state, State::Invoiced);
        assert!(!payment.cancel("", 1_000_001));
    }

    #[test]
    fn compensation_is_never_given_up() {
        let mut ends = vec![Ended::Done, refused(false)];
        ends.extend(vec![lost(); 100]);
        ends.push(Ended::Done);
        let payment = after(&ends);
        assert_eq!(payment.state, State::Compensated);
        assert_eq!(payment.failure.unwrap().step, "ledger");
    }

    #[test]
    fn settling_is_never_given_up_but_for_a_refusal() {
        for end in [lost(), never_left()] {
            let mut ends = vec![Ended::Done, Ended::Done];
            ends.extend(vec![end; 100]);
            assert_eq!(after(&ends).state, State::Recorded);
            let mut done = ends.clone();
            done.push(Ended::Done);
            assert_eq!(after(&done).state, State::Completed);
            ends.push(refused(true));
            let parked = after(&ends);
            assert_eq!(parked.state, State::NeedsAttention);
            assert_eq!(parked.stands(), State::Recorded);
        }
    }

    #[test]
    fn cancelling_is_possible_while_the_ledger_cannot_have_it() {
        let mut fresh = after(&[]);
        assert!(fresh.cancel("changed my mind", 9));
        assert_eq!(
            fresh.state,
            State::Compensating,
            "the first attempt may have made something"
        );
        let mut nothing = after(&[never_left()]);
        assert!(nothing.cancel("", 9));
        assert_eq!(nothing.state, State::Failed);
        let mut on_its_way = after(&[Ended::Done]);
        assert!(!on_its_way.cancel("", 9));
        let mut waiting = after(&[Ended::Done, never_left()]);
        assert!(waiting.cancel("", 9));
        assert_eq!(waiting.failure.unwrap().reason, "CANCELLED");
        let mut recorded = after(&[Ended::Done, Ended::Done]);
        assert!(!recorded.cancel("", 9));
    }

    #[test]
    fn a_parked_payment_goes_on_where_it_was_and_has_all_its_attempts_again() {
        let mut payment = after(&vec![lost(); 5]);
        assert!(payment.retry(10));
        assert_eq!(payment.state, State::Accepted);
        assert!(payment.is_begun());
        payment.conclude(&lost(), &POLICY, 11);
        assert_eq!(payment.state, State::Accepted);
        assert!(!payment.retry(12), "it is not parked any more");
    }

    #[derive(Debug, Clone)]
    enum Event {
        End(u8),
        Cancel,
        Retry,
        /// The worker died: what it had begun is never concluded by it.
        Lost,
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let event = prop_oneof![
            8 => (0_u8..6).prop_map(Event::End),
            1 => Just(Event::Cancel),
            1 => Just(Event::Retry),
            1 => Just(Event::Lost),
        ];
        prop::collection::vec(event, 0..40)
    }

    proptest! {
        /// Whatever the services answer, whoever dies, whatever people decide: final states are
        /// never left; compensation begins only when the ledger cannot have the transaction; the
        /// money never moves back.
        #[test]
        fn nothing_is_undone_that_may_have_moved_money(events in events()) {
            let mut payment = Payment::accepted(intent("p"), 0);
            // Whether the ledger may have it, as an observer of all requests knows.
            let mut may_have_moved = false;
            for (now, event) in (1..).zip(events) {
                let before = payment.clone();
                match event {
                    Event::Cancel => { payment.cancel("", now); }
                    Event::Retry => { payment.retry(now); }
                    Event::Lost if payment.state.step().is_some() => {
                        may_have_moved |= payment.state == State::Invoiced && payment.is_begun();
                        payment.begin(now);
                    }
                    Event::Lost => {}
                    Event::End(end) => {
                        if payment.state.step().is_some() && !payment.is_begun() {
                            payment.begin(now);
                        }
                        let at_ledger = payment.state == State::Invoiced;
                        let end = match end {
                            // A ledger that has it does not refuse it.
                            0 if !(at_ledger && may_have_moved) => refused(false),
                            1 if !(at_ledger && may_have_moved) => refused(true),
                            2 => never_left(),
                            3 => lost(),
                            _ => Ended::Done,
                        };
                        may_have_moved |= at_ledger && matches!(end, Ended::Done | Ended::Unknown(_));
                        payment.conclude(&end, &POLICY, now);
                    }
                }
                prop_assert!(!before.state.is_final() || payment == before, "a final state was left");
                let undone = matches!(payment.stands(), State::Compensating | State::Compensated | State::Failed);
                prop_assert!(!(undone && may_have_moved), "undone though it may have moved: {before:?}");
                prop_assert!(!before.stands().has_transaction() || payment.stands().has_transaction());
                prop_assert_eq!(payment.parked.is_some(), payment.state == State::NeedsAttention);
            }
        }
    }
}
