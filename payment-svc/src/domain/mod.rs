//! What a payment is. Pure: no clock, no I/O.

mod intent;
mod payment;

pub(crate) use intent::{Direction, Intent};
pub(crate) use payment::{Failure, Outcome, Payment, State, Step, Stuck};
