//! Where a payment stands: the saga's state machine.
//!
//! ```text
//!              invoice            ledger (pivot)       mark paid
//!  ┌──────────┐ done  ┌──────────┐ done  ┌──────────┐ done  ┌───────────┐
//!  │ accepted │ ────► │ invoiced │ ────► │ recorded │ ────► │ completed │
//!  └──────────┘       └──────────┘       └──────────┘       └───────────┘
//!       │ │ refused after  │ refused
//!       │ │ it was made    ▼
//!       │ │          ┌──────────────┐ void done ┌─────────────┐
//!       │ └────────► │ compensating │ ────────► │ compensated │
//!       │ refused    └──────────────┘           └─────────────┘
//!       ▼
//!  ┌──────────┐
//!  │  failed  │
//!  └──────────┘
//! ```
//!
//! A step whose outcome is not known moves nothing: it is repeated with the same id until it is.
//! After the pivot there is no way back; before it, only a definite refusal leads to compensation.

/// Where a payment stands. The numbers are stored and sent; see `PaymentState` in the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum State {
    Accepted = 1,
    Invoiced = 2,
    Recorded = 3,
    Completed = 4,
    Compensating = 5,
    Compensated = 6,
    Failed = 7,
}

/// What has to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Create the invoice and finalize it. Undone by [`Step::VoidInvoice`].
    Invoice,
    /// Record the ledger transaction: the pivot.
    Ledger,
    /// Mark the invoice paid: repeated until done.
    MarkPaid,
    /// Void the invoice: repeated until done.
    VoidInvoice,
}

/// How a step ended, when that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// Refused for good: asking again gives the same answer.
    Refused {
        failure: Failure,
        /// Whether the step may have left something that has to be undone.
        left_something: bool,
    },
}

/// Why a payment was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) step: String,
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// A step that must succeed in the end was refused for good: nothing moves, a person must look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stuck(pub(crate) Failure);

/// A payment as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Payment {
    pub(crate) intent: super::Intent,
    pub(crate) state: State,
    pub(crate) failure: Option<Failure>,
    /// Moves with every change: who holds an older one may not write.
    pub(crate) version: i64,
    pub(crate) create_micros: i64,
    pub(crate) update_micros: i64,
}

impl State {
    pub(crate) const ALL: [Self; 7] = [
        Self::Accepted,
        Self::Invoiced,
        Self::Recorded,
        Self::Completed,
        Self::Compensating,
        Self::Compensated,
        Self::Failed,
    ];

    pub(crate) fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as i64 == number)
    }

    /// What has to be done next; nothing in a final state.
    pub(crate) const fn step(self) -> Option<Step> {
        match self {
            Self::Accepted => Some(Step::Invoice),
            Self::Invoiced => Some(Step::Ledger),
            Self::Recorded => Some(Step::MarkPaid),
            Self::Compensating => Some(Step::VoidInvoice),
            Self::Completed | Self::Compensated | Self::Failed => None,
        }
    }

    pub(crate) const fn is_final(self) -> bool {
        self.step().is_none()
    }

    /// Whether there is an invoice that a caller may look up.
    pub(crate) const fn has_invoice(self) -> bool {
        !matches!(self, Self::Accepted | Self::Failed)
    }

    /// Whether the money has moved.
    pub(crate) const fn has_transaction(self) -> bool {
        matches!(self, Self::Recorded | Self::Completed)
    }
}

impl Step {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Invoice => "invoice",
            Self::Ledger => "ledger",
            Self::MarkPaid => "mark_paid",
            Self::VoidInvoice => "void_invoice",
        }
    }
}

impl Payment {
    /// The payment after its next step ended.
    pub(crate) fn after(self, outcome: Outcome) -> Result<Self, Stuck> {
        let (state, failure) = match (self.state.step(), outcome) {
            // Final: nothing was asked for, so nothing changes.
            (None, _) => (self.state, None),
            (Some(Step::Invoice), Outcome::Done) => (State::Invoiced, None),
            (Some(Step::Ledger), Outcome::Done) => (State::Recorded, None),
            (Some(Step::MarkPaid), Outcome::Done) => (State::Completed, None),
            (Some(Step::VoidInvoice), Outcome::Done) => (State::Compensated, None),
            (
                Some(Step::Invoice),
                Outcome::Refused {
                    failure,
                    left_something,
                },
            ) => {
                let state = if left_something {
                    State::Compensating
                } else {
                    State::Failed
                };
                (state, Some(failure))
            }
            (Some(Step::Ledger), Outcome::Refused { failure, .. }) => {
                (State::Compensating, Some(failure))
            }
            (Some(Step::MarkPaid | Step::VoidInvoice), Outcome::Refused { failure, .. }) => {
                return Err(Stuck(failure));
            }
        };
        Ok(Self {
            state,
            failure: failure.or(self.failure),
            ..self
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{Direction, Intent};

    fn payment(state: State) -> Payment {
        Payment {
            intent: Intent {
                id: "p".to_owned(),
                amount: money::Money::from_minor(1, "GBP".parse().unwrap()),
                direction: Direction::Outgoing,
                counterparty_id: String::new(),
                counterparty_name: "n".to_owned(),
                description: String::new(),
                reference: String::new(),
                metadata: std::collections::BTreeMap::new(),
                expense_account: String::new(),
                cash_account: String::new(),
                effective_micros: None,
            },
            state,
            failure: None,
            version: 1,
            create_micros: 0,
            update_micros: 0,
        }
    }

    fn refused(left_something: bool) -> Outcome {
        let word = || "W".to_owned();
        let failure = Failure {
            step: word(),
            reason: word(),
            message: word(),
        };
        Outcome::Refused {
            failure,
            left_something,
        }
    }

    fn after(state: State, outcome: Outcome) -> Result<State, Stuck> {
        payment(state).after(outcome).map(|p| p.state)
    }

    #[test]
    fn every_step_and_outcome_leads_where_the_picture_says() {
        use State::*;
        assert_eq!(after(Accepted, Outcome::Done), Ok(Invoiced));
        assert_eq!(after(Invoiced, Outcome::Done), Ok(Recorded));
        assert_eq!(after(Recorded, Outcome::Done), Ok(Completed));
        assert_eq!(after(Compensating, Outcome::Done), Ok(Compensated));
        assert_eq!(after(Accepted, refused(false)), Ok(Failed));
        assert_eq!(after(Accepted, refused(true)), Ok(Compensating));
        assert_eq!(after(Invoiced, refused(false)), Ok(Compensating));
        assert!(
            after(Recorded, refused(true)).is_err(),
            "the money has moved: there is no way back"
        );
        assert!(after(Compensating, refused(true)).is_err());
    }

    #[test]
    fn the_failure_is_kept_through_compensation() {
        let compensating = payment(State::Invoiced).after(refused(false)).unwrap();
        let done = compensating.clone().after(Outcome::Done).unwrap();
        assert!(done.failure.is_some());
        assert_eq!(done.failure, compensating.failure);
    }

    #[test]
    fn numbers_are_the_contracts() {
        use mizan_contracts::payment::v1::PaymentState;
        for state in State::ALL {
            let number = state as i32;
            let name = PaymentState::try_from(number).unwrap().as_str_name();
            assert_eq!(
                name,
                format!("PAYMENT_STATE_{}", format!("{state:?}").to_uppercase())
            );
            assert_eq!(State::from_number(i64::from(number)), Some(state));
        }
        assert_eq!(State::from_number(0), None);
    }

    proptest! {
        /// Whatever the services answer: final states are never left, the money never moves after
        /// a refusal, and never moves back.
        #[test]
        fn money_moves_at_most_once_and_never_after_a_refusal(outcomes in prop::collection::vec(0_u8..3, 0..20)) {
            let mut now = payment(State::Accepted);
            let mut moved = false;
            for outcome in outcomes {
                let outcome = match outcome {
                    0 => Outcome::Done,
                    other => refused(other == 1),
                };
                let before = now.clone();
                now = now.after(outcome).unwrap_or_else(|_| before.clone());
                prop_assert!(!before.state.is_final() || now == before);
                prop_assert!(!moved || now.state.has_transaction(), "moved back");
                moved = now.state.has_transaction();
                prop_assert!(!(moved && now.failure.is_some()));
            }
        }
    }
}
