//! The ways in: gRPC, and Consul's HTTP API.

pub(crate) mod consul;
mod convert;
pub(crate) mod encoded;
pub(crate) mod grpc;
mod heartbeat;
mod page;
mod request;
mod streams;
mod watch;

pub(crate) use grpc::{HEARTBEATS_MAX, WATCHES_MAX};
