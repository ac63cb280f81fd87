//! Running checks: asking instances how they are.
//!
//! Each check that is run has one task, so its runs never overlap. The first run is at once;
//! the second comes after a random part of the interval, so that a fleet that registered together
//! is not polled together for ever. A bound on checks that begin together keeps a mass
//! registration from opening thousands of connections at once.
//!
//! What the registry itself lacks (files, memory, ports, somebody who answers about names) is no
//! evidence: such a run has no result, and changes nothing.

mod basic;
mod bounded;
mod grpc;
mod http;
mod names;
mod networks;
mod outcome;
mod poll;
mod probe;
mod reason;
mod reference;
mod stage;
mod tls;

pub(crate) use networks::{Forbidden, Networks};
pub(crate) use outcome::{Outcome, Trouble};
pub(crate) use poll::{KEPT_SHARE, Polled, Poller, files_of_checks};
pub use tls::NoRoots;
pub(crate) use tls::begin as begin_tls;
