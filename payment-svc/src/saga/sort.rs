//! Sorts the answer of a call: refused for good, certainly not done, or not known.

use mizan::status;
use tonic::{Code, Status};

use crate::domain::{Ended, Error, Step};

/// Reasons by which a request certainly was not executed: it never left this process, or was turned
/// away unread.
const NOT_EXECUTED: [&str; 6] = [
    "BREAKER_OPEN",
    "CONCURRENCY_LIMITED",
    "NO_INSTANCES",
    "NOT_SENT",
    "OVERLOADED",
    "RATE_LIMITED",
];

/// How a step ended one of whose calls was answered with this. `left_something`: a call of it
/// before had an effect.
pub(super) fn ended(step: Step, left_something: bool, status: &Status) -> Ended {
    let error = Error {
        code: format!("{:?}", status.code()),
        reason: status::reason(status).unwrap_or_else(|| format!("{:?}", status.code())),
        message: status.message().to_owned(),
    };
    let reason = error.reason.as_str();
    // What compensation wants is so already, by whomever.
    if step == Step::Void && reason == "INVOICE_VOIDED" {
        return Ended::Done;
    }
    // Somebody used our id with another body, perhaps we in another version: what was done then is
    // not known, so nothing may be concluded, least of all that money did not move.
    if reason == "REQUEST_ID_REUSED" {
        return Ended::Conflicting(error);
    }
    if is_final(status.code()) {
        return Ended::Refused {
            error,
            left_something,
        };
    }
    // Without a call before it, or this would not be certain of the step as a whole.
    if NOT_EXECUTED.contains(&reason) && !left_something {
        return Ended::NotExecuted(error);
    }
    Ended::Unknown(error)
}

/// Whether asking again would give the same answer.
fn is_final(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::OutOfRange
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_what_never_left_is_certainly_not_done() {
        for (reason, certain) in [
            ("BREAKER_OPEN", true),
            ("RATE_LIMITED", true),
            ("OVERLOADED", true),
            ("CONNECTION_LOST", false),
            ("DEADLINE_EXCEEDED", false),
            ("STORE_UNAVAILABLE", false),
            ("PANICKED", false),
        ] {
            let status = status::retry_later(Code::Unavailable, reason, "", Duration::from_secs(1));
            let not_executed = matches!(ended(Step::Ledger, false, &status), Ended::NotExecuted(_));
            assert_eq!(not_executed, certain, "{reason}");
            assert!(
                matches!(ended(Step::Document, true, &status), Ended::Unknown(_)),
                "a call before it had an effect"
            );
        }
    }

    #[test]
    fn a_reused_id_is_no_refusal() {
        let reused = status::refused(Code::AlreadyExists, "REQUEST_ID_REUSED", "");
        assert!(matches!(
            ended(Step::Ledger, false, &reused),
            Ended::Conflicting(_)
        ));
    }

    #[test]
    fn an_invoice_that_is_void_already_is_compensated() {
        let void = status::refused(Code::FailedPrecondition, "INVOICE_VOIDED", "");
        assert_eq!(ended(Step::Void, false, &void), Ended::Done);
        assert!(matches!(
            ended(Step::Document, false, &void),
            Ended::Refused { .. }
        ));
    }
}
