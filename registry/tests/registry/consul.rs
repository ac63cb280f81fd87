//! Consul's HTTP API as its clients speak it.

mod blocking;
mod catalog;
mod checks;
pub(crate) mod client;
mod filters;
mod parity;
mod peers;
mod reading;
mod refusals;
mod restart;
mod services;
