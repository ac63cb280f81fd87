//! Logs and trace context: what a call carries from hop to hop, and how lines are written.

mod logs;
mod trace;

pub(crate) use logs::init;
pub use trace::TraceContext;
