//! Retry: trying again what failed for a moment, and no more than helps.
//!
//! *Problem.* A restarting instance fails a few calls, a slow one delays them; a struggling service
//! must not be hit twice as hard for it.
//!
//! *What it does.* gRFC A6. By a [`RetryPolicy`]: a few attempts with growing, jittered pauses,
//! only for statuses that promise to be worth it. By a [`HedgingPolicy`]: copies of a call beside
//! each other, and the first good answer wins. Both only while the channel's [`Throttling`] allows,
//! and as the callee's `grpc-retry-pushback-ms` says. A call is committed once a response began, or
//! once its request is too large to be kept: from there on it belongs to one attempt. A response is
//! held back for a moment before that: one that breaks off while the caller has nothing of it counts
//! as none, where A6 commits with the headers.
//!
//! *What costs nothing.* A request that never left is sent to another instance until the deadline
//! (after eight in a row with pauses); one that a server's HTTP/2 library refused, once. Neither
//! counts as an attempt, nor against the throttle. When there is no instance at all, an attempt is
//! used up, so that a call to nobody fails fast, but no token.
//!
//! *Retries of retries.* A failure that was retried here carries `grpc-retry-pushback-ms: -1`. A
//! handler that returns it stops its own caller, so that three hops of three attempts are not 27.
//!
//! *Where it sits.* Inside the deadline, which all attempts share; outside limiter and breaker,
//! which see every attempt.
//!
//! Where A6 leaves a choice: a pushback that names a time does not make a status worth retrying
//! that the policy does not list (as gRPC in C++ and Go, unlike Java); a pause that would end after
//! the deadline is not begun, and the failure is returned at once; a hedge that the throttle
//! suppressed is not made up for later (as in Java).

mod backoff;
mod drive;
mod policy;
mod pushback;
mod replay;
mod state;
mod throttle;

pub(crate) use backoff::spread;
pub use backoff::{NotANumber, Thousandths};
pub(crate) use drive::{Ended, Terms, drive};
pub use policy::{
    ATTEMPTS_CAP, Codes, HedgingPolicy, InvalidPolicy, Policy, RetryPolicy, Throttling,
};
pub(crate) use pushback::{Pushback, asked_pause, mark_exhausted, mark_exhausted_headers};
pub(crate) use replay::{Memory, Replay};
pub(crate) use state::{Attempt, End, Kind, Tally};
pub(crate) use throttle::Throttle;
