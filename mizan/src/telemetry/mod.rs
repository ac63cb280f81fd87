//! What can be seen from outside: logs, spans and trace context, metrics, and snapshots of a
//! channel.

#[cfg(feature = "server")]
mod logs;
pub mod metrics;
pub mod names;
mod spans;
mod stats;
mod trace;

#[cfg(feature = "server")]
pub(crate) use logs::init;
pub(crate) use spans::{attempt, ended, recv, sent, within};
pub use stats::ChannelStats;
pub use trace::TraceContext;
pub(crate) use trace::unindexed;
