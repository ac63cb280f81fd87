//! The channel and the server, over real sockets.
#![allow(clippy::unwrap_used, reason = "tests")]

mod breaking;
mod calling;
mod draining;
mod instances;
mod serving;
mod support;
