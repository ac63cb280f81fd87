//! The registry over real sockets: what instances and clients of it see.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod api;
mod checks;
mod consul;
mod damping;
mod discovery;
mod heartbeats;
mod holders;
mod http;
mod lost;
mod metrics;
mod refusals;
mod restarts;
mod support;
mod target;
mod tls;
