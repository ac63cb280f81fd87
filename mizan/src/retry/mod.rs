//! Retry: trying again what failed for a moment, and no more than helps.
//!
//! *Problem.* A restarting instance fails a few calls; a struggling service must not be hit twice
//! as hard for it.
//!
//! *What it does.* By gRFC A6: a few attempts with growing, jittered pauses, only for statuses that
//! promise to be worth it, only while the budget lasts (every failure that a
//! server saw costs a token, every success gives a tenth back, and at half or below there are no
//! retries), and as the callee's
//! `grpc-retry-pushback-ms` says. A call is committed once a response began: from there on it
//! belongs to the caller. A request that no server saw is sent to another instance without any of
//! this, and when there is none, tried again after the pause at no cost to the budget.
//!
//! *Where it sits.* Inside the deadline, which all attempts share; outside limiter and breaker,
//! which see every attempt.

mod state;

use std::time::Duration;

use http::HeaderMap;
use tonic::Code;

pub(crate) use state::{Budget, Schedule, spread};
pub use state::{InvalidPolicy, Policy};

/// The callee's say in when to retry.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// What a callee asked for with the trailer `grpc-retry-pushback-ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushback {
    /// Nothing.
    None,
    /// Try again after exactly this long.
    After(Duration),
    /// Do not try again.
    Stop,
}

impl Pushback {
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        let Some(value) = headers.get(PUSHBACK) else {
            return Self::None;
        };
        // Negative or unreadable means stop.
        let millis = value
            .to_str()
            .ok()
            .and_then(|text| text.parse::<i32>().ok());
        match millis.and_then(|millis| u64::try_from(millis).ok()) {
            Some(millis) => Self::After(Duration::from_millis(millis)),
            None => Self::Stop,
        }
    }
}

/// How often a request that no server saw is sent elsewhere at once, before it counts as an
/// attempt: bounds a loop over instances that all refuse.
pub(crate) const RESENDS_MAX: u32 = 8;

/// Whether a policy retries a status.
pub(crate) fn retries(policy: &Policy, code: Code) -> bool {
    policy.codes.contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushback_has_both_meanings() {
        let read = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(PUSHBACK, value.parse().unwrap());
            Pushback::read(&headers)
        };
        assert_eq!(Pushback::read(&HeaderMap::new()), Pushback::None);
        assert_eq!(read("250"), Pushback::After(Duration::from_millis(250)));
        assert_eq!(read("-1"), Pushback::Stop);
        assert_eq!(read("soon"), Pushback::Stop);
    }
}
