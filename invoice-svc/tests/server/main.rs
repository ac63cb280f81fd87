//! The service over the wire, in this process: every call, every refusal.
#![allow(clippy::unwrap_used, reason = "tests")]

mod harness;
mod idempotency;
mod lifecycle;
mod listing;
mod refusals;
mod shared_file;
mod storage;
mod validation;
