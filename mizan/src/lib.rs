//! gRPC services that stay up, without a mesh: one client [`Channel`] that discovers, balances,
//! retries, limits and breaks; one [`Server`] that registers, answers health and reflection, sheds
//! and drains.
//!
//! The channel and the server know no business word; of Mizan's contracts they see only the
//! registry's. Defaults are documented where they are defined, each with its reason.
//!
//! What decides (breaker, limiter, retry, rotation) is a pure state machine in a file named
//! `state.rs`, with time and randomness passed in; what waits and sends is around it.
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | (none) | | the [`Channel`] over a fixed list or discovery of one's own |
//! | `registry` | ✓ | discovery by a Mizan registry, and its contract |
//! | `dns` | | discovery by DNS |
//! | `server` | ✓ | the `Server`, its flags, its process, and helpers for handlers |
#![cfg_attr(
    not(feature = "server"),
    allow(
        dead_code,
        unused_imports,
        reason = "what client and server share is used whole by both"
    )
)]

#[cfg(feature = "server")]
pub mod args;
pub mod balance;
pub mod breaker;
pub mod channel;
pub mod connection;
mod context;
mod deadline;
pub mod discover;
pub mod limit;
#[cfg(feature = "server")]
pub mod process;
mod received;
#[cfg(feature = "server")]
pub mod request;
pub mod retry;
#[cfg(feature = "server")]
pub mod server;
pub mod service_config;
pub mod status;
pub mod telemetry;

pub use channel::{Channel, ChannelBuilder, InvalidChannel};
pub use connection::{ConnectError, Connection};
pub use context::CallContext;
#[cfg(feature = "server")]
pub use server::Server;
