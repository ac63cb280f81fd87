//! Who is out there and who is healthy: the registry's decisions, without I/O and without a clock.
//!
//! [`Catalogue`] takes registrations, check results, reports and heartbeats together with the time
//! they happened, and answers with [`Effects`]: what to publish, to run and to store. It knows
//! nothing of tasks, sockets, files or contracts.
//!
//! ```text
//!   register, report, heartbeat, sweep ──► Record (Check, Flap) ── render ──► Entry ──► Snapshot
//!                                          what nobody is told      what is answered, by service
//! ```
//!
//! A service's revision moves exactly when its answer does: see [`Snapshot`].

mod answer;
mod census;
mod check;
mod check_rules;
mod checks_of_owner;
mod definition;
mod effects;
mod entry;
mod flap;
mod guard;
mod holder;
mod life;
pub(crate) mod limits;
mod node;
mod pairs;
mod restore;
mod snapshot;
mod state;
mod status;
mod sweep;
#[cfg(test)]
mod tests;
mod validate;

pub(crate) use census::Census;
pub(crate) use check::{CheckView, NOT_CHECKED};
pub(crate) use definition::{
    CheckDefinition, CheckKind, Instance, Key, Locality, NamedPort, Node, Owner, Tls, UnixMillis,
};
pub(crate) use effects::{
    Bounds, CheckRef, Effects, Full, Indexes, NotAdded, NotReported, Polling, Stored, StreamId,
    Summary, Target,
};
pub(crate) use entry::{Entry, NodeView};
pub(crate) use guard::Holding;
pub(crate) use holder::{Beat, Before, Held, NotRegistered, Removal, Takeover};
pub(crate) use pairs::Pairs;
pub(crate) use snapshot::{Counts, Form, Snapshot, View};
pub(crate) use state::Catalogue;
pub(crate) use status::Status;
pub(crate) use sweep::SWEEP;
pub(crate) use validate::{
    Candidate, CandidateCheck, Naming, Violation, check_address, check_id_lookup,
    check_instance_id, check_lookup, check_metadata, validate_checks, validate_node,
};
