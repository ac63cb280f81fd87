//! The breaker as its callers see it.

mod callbacks;
mod handle;
mod model;
mod oracle;
mod threads;
