//! Metrics: what channels and servers count, and how it is shown.
//!
//! *Problem.* A client that retries, breaks and balances hides what goes wrong; somebody must be
//! able to see it.
//!
//! *What it does.* Counts calls, attempts, connections and decisions under the names that gRPC's
//! own libraries use ([`names`](super::names)), for each channel by method and status, with atomic
//! additions alone on the path of a call; and shows them in the formats of Prometheus. What is so
//! at the moment (breakers, instances, the age of discovery) is asked when somebody looks.
//!
//! *What it does not do.* It pushes nothing anywhere and installs nothing global: a
//! [`Registry`] is a value.

mod cells;
mod client;
mod encode;
mod framing;
mod histogram;
mod method;
mod methods;
mod registry;
mod server;
mod text;

pub(crate) use client::{ClientMetrics, Detection, Gauges, Observe, Phase, Unenforced};
pub(crate) use framing::{MessageBytes, message_bytes};
pub(crate) use method::{MethodMetrics, Retried, ServerMethod};
pub use registry::{Format, Registry};
pub(crate) use server::ServerMetrics;
#[cfg(feature = "server")]
pub(crate) use server::{Carried, Carries};

/// The name of a status, as gRPC writes it: "OK", "UNAVAILABLE".
pub(crate) fn status_name(code: tonic::Code) -> &'static str {
    cells::name(cells::index(code))
}

/// The same by its number.
pub(super) fn name_of(status: usize) -> &'static str {
    cells::name(status)
}
