//! What a payment is and how it moves: no I/O, no clock.

mod command;
mod intent;
mod journal;
mod payment;
mod refund;
mod set;
mod state;

pub(crate) use command::{
    Accept, Accepted, Body, Command, Outcome, RefundAsked, Saved, Steer, Steered, Verb,
};
pub(crate) use intent::{Direction, Intent};
pub(crate) use journal::{Attempt, AttemptEnd, Error, Journal, Steering, StepRecord, StepState};
pub(crate) use payment::{Ended, Failure, Payment, Policy};
pub(crate) use refund::RefundRefusal;
pub(crate) use set::{Change, Refused, Row, Set, decide};
pub(crate) use state::{State, Step};
