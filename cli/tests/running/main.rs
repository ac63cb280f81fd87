//! Commands against a registry and services that run in this process.
#![allow(clippy::unwrap_used, reason = "tests")]

mod looking;
mod payments;
mod reconciling;
mod stuck;
mod world;
