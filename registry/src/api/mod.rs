//! The ways in: today gRPC.

mod convert;
pub(crate) mod grpc;
mod heartbeat;
mod page;
mod request;
mod watch;
