//! Payments through real servers in one process: registry, invoicing, accounting, payment.
#![allow(clippy::unwrap_used, reason = "tests")]

mod asking;
mod failing;
mod paying;
mod refunding;
mod watching;
mod world;
