//! Where a payment stands, and what has to be done there.

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
    NeedsAttention = 8,
}

/// What has to be done next. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// Make the document: an invoice, or the credit note of a refund. Undone by [`Step::Void`].
    Document = 1,
    /// Record the ledger transaction: the pivot. Before it everything can be undone, after it
    /// nothing.
    Ledger = 2,
    /// Mark the document as settled: repeated until done.
    Settle = 3,
    /// Void the document: repeated until done.
    Void = 4,
}

impl State {
    pub(crate) const ALL: [Self; 8] = [
        Self::Accepted,
        Self::Invoiced,
        Self::Recorded,
        Self::Completed,
        Self::Compensating,
        Self::Compensated,
        Self::Failed,
        Self::NeedsAttention,
    ];

    /// Those that something has to be done in.
    pub(crate) const UNFINISHED: [Self; 4] = [
        Self::Accepted,
        Self::Invoiced,
        Self::Recorded,
        Self::Compensating,
    ];

    pub(crate) fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as i64 == number)
    }

    /// What has to be done; nothing in a final state, and nothing in one that waits for a person.
    pub(crate) const fn step(self) -> Option<Step> {
        match self {
            Self::Accepted => Some(Step::Document),
            Self::Invoiced => Some(Step::Ledger),
            Self::Recorded => Some(Step::Settle),
            Self::Compensating => Some(Step::Void),
            Self::Completed | Self::Compensated | Self::Failed | Self::NeedsAttention => None,
        }
    }

    /// Never left again.
    pub(crate) const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Compensated | Self::Failed)
    }

    /// Whether nobody has to do anything for it now: it is final, or a person must act.
    pub(crate) const fn is_at_rest(self) -> bool {
        self.step().is_none()
    }

    /// Whether there is a document that a caller may look up.
    pub(crate) const fn has_document(self) -> bool {
        !matches!(self, Self::Accepted | Self::Failed)
    }

    /// Whether the money has moved.
    pub(crate) const fn has_transaction(self) -> bool {
        matches!(self, Self::Recorded | Self::Completed)
    }

    /// Whether a refund in this state takes from what may be refunded yet.
    pub(crate) const fn takes(self) -> bool {
        !matches!(self, Self::Compensated | Self::Failed)
    }
}

impl Step {
    pub(crate) const ALL: [Self; 4] = [Self::Document, Self::Ledger, Self::Settle, Self::Void];

    pub(crate) fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|step| *step as i32 == number)
    }

    /// Whether it is given up, for a person to look at, after so many attempts without an answer.
    /// Not what follows from what is decided: money that moved is settled, and what did not move is
    /// voided, however long that takes.
    pub(crate) const fn is_bounded(self) -> bool {
        matches!(self, Self::Document | Self::Ledger)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_contracts() {
        use mizan_contracts::payment::v1::PaymentState;
        for state in State::ALL {
            let number = state as i32;
            let name = PaymentState::try_from(number).unwrap().as_str_name();
            let name = name.trim_start_matches("PAYMENT_STATE_").replace('_', "");
            assert_eq!(name, format!("{state:?}").to_uppercase());
            assert_eq!(State::from_number(i64::from(number)), Some(state));
        }
        assert_eq!(State::from_number(0), None);
        for step in Step::ALL {
            assert_eq!(Step::from_number(step as i32), Some(step));
        }
    }

    #[test]
    fn unfinished_are_those_with_a_step() {
        let with_a_step: Vec<_> = State::ALL
            .into_iter()
            .filter(|s| s.step().is_some())
            .collect();
        assert_eq!(with_a_step, State::UNFINISHED);
    }
}
