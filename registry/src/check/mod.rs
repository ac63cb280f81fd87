//! Polling: asking instances how they are.
//!
//! Each polled instance has one task, so its checks never overlap. The first check runs at once;
//! the second comes after a random part of the interval, so that a fleet that registered together
//! is not polled together for ever. A bound on checks under way keeps a mass registration from
//! opening thousands of connections at once.

mod grpc;
mod poll;
mod probe;
mod reason;

pub(crate) use poll::{Polled, Poller};
