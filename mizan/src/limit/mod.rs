//! Limits: at most so many calls a second, and at most so many at a time.
//!
//! *Problem.* A callee should be asked no faster than it can answer. Where its capacity is known, a
//! rate says it; where it is not, what the callee does under load tells.
//!
//! *What it does.* [`Limiter`] is a token bucket by the rules of `golang.org/x/time/rate`: a call
//! waits for its token; one whose wait would outlast its deadline is refused at once and takes no
//! token; one that is dropped while it waits gives its token back. [`adaptive`] bounds the calls
//! under way, and finds the bound itself. They answer different questions, so a channel may have
//! neither, either or both.
//!
//! *What it does not do.* It bounds what one client asks; the server sheds what all ask together.
//!
//! *Where it sits.* Inside retry, since a retry is a call too; outside the breaker, so that a
//! refused call says nothing about the callee. The rate comes first: a call that waits for a token
//! is not under way.

pub mod adaptive;
mod limiter;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod properties;
mod rate;
mod state;

pub use adaptive::ConcurrencyLimit;
pub use limiter::{Limiter, Reservation};
pub use rate::Rate;
pub use state::NEVER;
