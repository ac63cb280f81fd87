//! What can be seen from outside: logs, spans and trace context, metrics, and snapshots of a
//! channel.

mod logs;
#[allow(dead_code, unused_imports, reason = "the channel's part is called by its stack")]
pub mod metrics;
pub mod names;
#[allow(dead_code, reason = "the channel's part is called by its stack")]
mod spans;
#[allow(dead_code, reason = "the channel's part is called by its stack")]
mod stats;
mod trace;

pub(crate) use logs::init;
#[allow(unused_imports, reason = "the channel's part is called by its stack")]
pub(crate) use spans::{attempt, ended, recv, sent};
pub use stats::{ChannelStats, InstanceStats};
pub use trace::TraceContext;
