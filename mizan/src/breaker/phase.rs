//! The words of a breaker: its phases, how a call went, why one was refused.

use std::{fmt, sync::Arc, time::Instant};

/// What a breaker does with calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Calls pass and are counted.
    Closed,
    /// Calls are refused.
    Open,
    /// A few calls pass, to find out.
    HalfOpen,
    /// Calls are refused until somebody says otherwise.
    ForcedOpen,
    /// Calls pass and are counted, and nothing opens it until somebody says otherwise.
    ForcedClosed,
}

impl Phase {
    /// A number for metrics: closed 0, half-open 1, open 2, as gobreaker has them; forced open 3,
    /// forced closed 4.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen => 1,
            Self::Open => 2,
            Self::ForcedOpen => 3,
            Self::ForcedClosed => 4,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
            Self::ForcedOpen => "forced open",
            Self::ForcedClosed => "forced closed",
        })
    }
}

/// A breaker changed its phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The breaker's name.
    pub breaker: Arc<str>,
    /// The phase it left.
    pub from: Phase,
    /// The phase it entered.
    pub to: Phase,
    /// When, by the clock of the call that caused or noticed it.
    pub at: Instant,
}

/// How a call went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The callee answered.
    Success,
    /// The callee failed.
    Failure,
    /// Says nothing about the callee; its slot is free again.
    Excluded,
    /// The callee is well and asks to be called later. No failure: a breaker that opened by it would
    /// turn a callee's rate into silence. But half-open it is one, for a probe is to show that calls
    /// pass again.
    Limited,
}

/// Why a breaker refused a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// It is open.
    Open,
    /// It is half-open, and its probes are under way.
    Probing,
    /// Somebody forced it open.
    Forced,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_has_a_number_and_a_name() {
        let told = [
            Phase::Closed,
            Phase::HalfOpen,
            Phase::Open,
            Phase::ForcedOpen,
            Phase::ForcedClosed,
        ]
        .map(|phase| (phase.number(), phase.to_string()));
        let names = [
            "closed",
            "half-open",
            "open",
            "forced open",
            "forced closed",
        ];
        for (index, ((number, name), expected)) in told.into_iter().zip(names).enumerate() {
            assert_eq!((usize::from(number), name.as_str()), (index, expected));
        }
    }
}
