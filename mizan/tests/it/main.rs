//! The channel and the server, over real sockets.
#![allow(clippy::unwrap_used, reason = "tests")]

mod answers;
mod blame;
mod breaking;
mod calling;
mod defects;
mod draining;
mod ends;
mod following;
mod handlers;
mod hurrying;
mod instances;
mod layers;
mod log;
mod peers;
mod registering;
mod retrying;
mod serving;
mod settings;
mod strangers;
mod streaming;
mod support;
mod tree;
mod wire;
