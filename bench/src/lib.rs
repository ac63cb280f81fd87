//! The channel beside its peers, measured in one run.
//!
//! A shared machine changes speed from minute to minute, so an absolute figure says little. What is
//! compared here takes turns, round by round, and what is reported is the median of the rounds and
//! the median of the ratios within each round.
//!
//! - [`channel`]: calls a second and latency of whole unary calls, client and servers in processes
//!   of their own.
//! - [`decisions`]: what one decision costs (breaker, limiter, pick), without a call.
//! - [`registries`]: the registry beside etcd and r-nacos, and by itself.
//! - [`rolling`]: whether callers notice that all instances are replaced.
//! - [`books`]: ledger transactions a second, durable, beside plain SQL.
//! - [`payments`]: whole payments a second, durable, beside the same with a commit a call.
//! - [`soak`]: whether anything is left of millions of calls that end badly or early.
//! - [`allocations`]: how often a call or a decision allocates; a program of its own, since the
//!   counting allocator slows everything else down.

pub mod allocations;
pub mod books;
pub mod channel;
pub mod contender;
pub mod decisions;
pub mod echo;
pub mod gathered;
pub mod load;
pub mod machine;
pub mod payments;
pub mod processes;
pub mod registries;
pub mod rolling;
pub mod services;
pub mod soak;
pub mod sql;
pub mod stats;
pub mod table;
pub mod usage;
pub mod work;

/// What goes wrong with a measurement: nothing that the caller could mend, so a text is enough.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
