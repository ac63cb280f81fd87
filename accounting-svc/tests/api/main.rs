//! The service as callers see it: real servers on port 0, real connections, a real file.
#![allow(clippy::unwrap_used, reason = "tests")]

mod accounts;
mod balances;
mod idempotency;
mod lists;
mod requests;
mod service;
mod shared_file;
mod transactions;
