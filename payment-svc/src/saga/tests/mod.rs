//! The saga with everything that it touches made to fail.
//!
//! The peers are fakes that keep the contract: ids are idempotent, refusals remembered, a void
//! before its create is a tombstone. They are in memory, so that thousands of runs take seconds; the
//! real services are in `tests/payments`, and `contract.rs` holds the fakes against them.

mod contract;
mod crash_points;
mod faulty;
mod matrix;
mod matrix_more;
mod matrix_undo;
mod people;
mod rig;
mod world;

/// For the tests of the store.
pub(crate) mod testing {
    pub(crate) use super::rig::{encoded, payment, refund};
}
