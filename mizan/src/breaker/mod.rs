//! Circuit breaker: stop calling what keeps failing, and find out by a few calls when it is back.
//!
//! *Problem.* Calls to a dead service cost the caller its deadline and the service its recovery.
//!
//! *What it does.* Follows the rules of sony/gobreaker v2: closed → open when enough calls of an
//! interval, fixed or rolling, failed; open refuses at once; after a while half-open admits a few
//! probes, which close it again or reopen it. A result that belongs to an earlier phase or interval
//! is ignored. Replayed against the original: see `mizan/oracle`.
//!
//! *Beyond gobreaker.* Slow calls may open it ([`Slow`]); it can be forced open or closed by hand;
//! there is one for the service, for each instance or for each method ([`Scope`]).
//!
//! *Differences from gobreaker, on purpose.*
//!
//! | gobreaker | here | why |
//! |---|---|---|
//! | a call that never reports keeps its slot, and half-open may be stuck for ever | a dropped [`Permit`] counts as excluded and frees its slot | futures are dropped all the time |
//! | half-open waits for its probes without a limit | after [`Config::probe_timeout`] it admits as many again; earlier ones still count | a probe may be a stream without an end |
//! | callbacks, and what judges an error, run under the lock and must not use the breaker | they run after it is released, in the order of the changes | no deadlock |
//! | `done` may be called twice and counts twice | recording consumes the permit | one call, one result |
//! | counters of 32 bits, which wrap | of 64 bits, which do not | |
//! | settings out of range are taken as defaults | refused by [`Config::validate`] | a typing error should not become 60 s |
//! | 6th failure in a row; counts for ever; open 60 s; 1 probe; one for the service | half of at least 20 calls in 10 s; open 30 s; 3 probes; one for each instance | a row of six is rare in a service half of which is ill, and three calls are no evidence; what its page shows is [`Config::gobreaker`], its defaults are [`Config::gobreaker_defaults`] |
//! | a share must leave out excluded calls by itself | [`Trip::Ratio`] does | excluded means excluded |
//! | a panic counts as a failure | as a dropped call | it was the caller's |
//! | a result always lets time pass | all but that of a dropped call, which has no clock | the next call notices |
//!
//! *Where it sits.* Inside retry, so that every attempt asks; outside the instances, so that one
//! service has one breaker, unless each instance is to have its own.
//!
//! *What it costs.* A call that is admitted and succeeds takes no lock and writes nothing that
//! another thread writes too; see `shell.rs`.
//!
//! ```
//! use std::time::Instant;
//! use mizan::breaker::{Breaker, Config, Outcome};
//!
//! let breaker = Breaker::new("invoice", Config::default());
//! let permit = breaker.admit(Instant::now())?;
//! // ... the call ...
//! permit.record(Outcome::Success, Instant::now());
//! assert_eq!(breaker.counts().successes, 1);
//! # Ok::<(), mizan::breaker::Open>(())
//! ```

mod config;
mod counts;
mod handle;
mod lanes;
mod phase;
mod set;
mod shell;
mod state;
#[cfg(test)]
mod tests;

use tonic::Code;

pub use config::{Config, InvalidConfig, OnStateChange, Scope, Slow, Trip};
pub use counts::Counts;
pub use handle::{Breaker, Open, OwnedPermit, Permit};
pub use phase::{Outcome, Phase, Refusal, Transition};
pub use set::Breakers;

/// How a status counts: a callee's trouble is a failure; a caller's own mistake is not, since the
/// callee did answer; a cancelled call says nothing.
#[must_use]
pub fn outcome_of(code: Code) -> Outcome {
    match code {
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Internal
        | Code::Unknown
        | Code::DataLoss
        | Code::ResourceExhausted => Outcome::Failure,
        Code::Cancelled => Outcome::Excluded,
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Unauthenticated => Outcome::Success,
    }
}
