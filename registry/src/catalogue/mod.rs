//! Who is out there and who is healthy: the registry's decisions, without I/O and without a clock.
//!
//! [`Catalogue`] takes registrations, check results and heartbeats together with the time they
//! happened, and answers with [`Effects`]: what to publish and what to poll. It knows nothing of
//! tasks, sockets or contracts.

mod effects;
mod instance;
pub(crate) mod limits;
mod snapshot;
mod state;
#[cfg(test)]
mod tests;
mod validate;

pub(crate) use effects::{Bounds, Effects, Full, Polling, StreamId, Summary, Target};
pub(crate) use instance::{Check, CheckKind, Entry, Instance, Status, UnixMillis};
pub(crate) use snapshot::{Snapshot, View};
pub(crate) use state::Catalogue;
pub(crate) use validate::{Candidate, CandidateCheck, Violation, check_instance_id, check_service};
