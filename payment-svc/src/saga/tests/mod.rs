//! The saga with everything that it touches made to fail.
//!
//! The peers are fakes that keep the contract: ids are idempotent, refusals remembered, a void
//! before its create is a tombstone. They are in memory, so that thousands of runs take seconds; the
//! real services are in `tests/payments`.

mod crash_points;
mod matrix;
mod matrix_more;
mod rig;
mod world;
