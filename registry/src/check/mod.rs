//! Running checks: asking instances how they are.
//!
//! Each check that is run has one task, so its runs never overlap. The first run is at once;
//! the second comes after a random part of the interval, so that a fleet that registered together
//! is not polled together for ever. A bound on checks that begin together keeps a mass
//! registration from opening thousands of connections at once.

mod basic;
mod grpc;
mod http;
mod networks;
mod outcome;
mod poll;
mod probe;
mod reason;
mod tls;

pub(crate) use networks::Networks;
pub(crate) use outcome::Outcome;
pub(crate) use poll::{Polled, Poller};
