//! What the tests of the whole need: the `mizan` binary, and a running `mizan up`.
#![allow(
    clippy::unwrap_used,
    reason = "only tests use it, and they are to fail where they stand"
)]

pub mod attack;
mod binary;
mod chaos;
mod lines;
mod up;

pub use binary::mizan;
pub use chaos::Chaos;
pub use lines::Lines;
pub use rustix::process::{Pid, Signal, kill_process};
pub use up::{Up, pid, report};
