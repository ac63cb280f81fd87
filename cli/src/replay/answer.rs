//! What the payment service's answer means for a row.

use std::time::Duration;

use mizan::status;
use mizan_contracts::payment::v1::{Payment, PaymentState};
use prost_types::Timestamp;
use tonic::{Code, Status};

/// A server's time that can be compared: seconds and nanoseconds.
pub(crate) type Instant = (i64, i32);

/// What to do after an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict<T> {
    /// It is done.
    Done(T),
    /// It will never be done.
    Refused(String),
    /// The end is not known yet: ask again, the same, not before `after`.
    Again { why: String, after: Duration },
}

/// Judges an answer of ProcessPayment. When it is done: when the payment was accepted.
pub(crate) fn judge_payment(answer: Result<Payment, Status>) -> Verdict<Option<Instant>> {
    let payment = match answer {
        Ok(payment) => payment,
        Err(status) => return judge_status(&status),
    };
    match payment.state() {
        PaymentState::Completed => Verdict::Done(payment.create_time.as_ref().map(instant)),
        PaymentState::Compensated | PaymentState::Failed => {
            let failure = payment.failure.unwrap_or_default();
            Verdict::Refused(format!(
                "{} refused: {}: {}",
                failure.step, failure.reason, failure.message
            ))
        }
        PaymentState::NeedsAttention => {
            let attention = payment.attention.unwrap_or_default();
            Verdict::Refused(format!(
                "parked at {}: {}: {}",
                attention.step, attention.reason, attention.message
            ))
        }
        state @ (PaymentState::Unspecified
        | PaymentState::Accepted
        | PaymentState::Invoiced
        | PaymentState::Recorded
        | PaymentState::Compensating) => Verdict::Again {
            why: format!("the payment is {}", state.as_str_name()),
            after: Duration::ZERO,
        },
    }
}

/// Judges the answer of a call that only reads.
pub(crate) fn judge_read<T>(answer: Result<T, Status>) -> Verdict<T> {
    answer.map_or_else(|status| judge_status(&status), Verdict::Done)
}

fn judge_status<T>(status: &Status) -> Verdict<T> {
    let said = describe(status);
    match status.code() {
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::ResourceExhausted
        | Code::Unknown
        | Code::Internal
        | Code::Cancelled => Verdict::Again {
            why: said,
            after: status::retry_after(status).unwrap_or_default(),
        },
        _ => Verdict::Refused(said),
    }
}

/// A status in one line: its stable reason, else its code, and its message.
pub(crate) fn describe(status: &Status) -> String {
    let reason = status::reason(status).unwrap_or_else(|| format!("{:?}", status.code()));
    match status.message() {
        "" => reason,
        message => format!("{reason}: {message}"),
    }
}

/// A timestamp that can be compared.
pub(crate) fn instant(time: &Timestamp) -> Instant {
    (time.seconds, time.nanos)
}

#[cfg(test)]
mod tests {
    use mizan_contracts::payment::v1::Failure;

    use super::*;

    fn in_state(state: PaymentState) -> Verdict<Option<Instant>> {
        judge_payment(Ok(Payment {
            state: state.into(),
            failure: Some(Failure {
                step: "ledger".to_owned(),
                reason: "ACCOUNT_NOT_FOUND".to_owned(),
                message: "no such account".to_owned(),
            }),
            create_time: Some(Timestamp {
                seconds: 7,
                nanos: 5,
            }),
            ..Payment::default()
        }))
    }

    #[test]
    fn only_final_states_end_a_row() {
        assert_eq!(
            in_state(PaymentState::Completed),
            Verdict::Done(Some((7, 5)))
        );
        for state in [PaymentState::Compensated, PaymentState::Failed] {
            assert_eq!(
                in_state(state),
                Verdict::Refused("ledger refused: ACCOUNT_NOT_FOUND: no such account".to_owned())
            );
        }
        for state in [
            PaymentState::Unspecified,
            PaymentState::Accepted,
            PaymentState::Invoiced,
            PaymentState::Recorded,
            PaymentState::Compensating,
        ] {
            assert!(
                matches!(in_state(state), Verdict::Again { .. }),
                "{state:?}"
            );
        }
    }

    #[test]
    fn only_an_unknown_end_is_asked_again() {
        for code in [
            Code::Unavailable,
            Code::DeadlineExceeded,
            Code::Aborted,
            Code::ResourceExhausted,
            Code::Unknown,
            Code::Internal,
            Code::Cancelled,
        ] {
            let verdict = judge_payment(Err(Status::new(code, "down")));
            assert!(matches!(verdict, Verdict::Again { .. }), "{code:?}");
        }
        for code in [
            Code::AlreadyExists,
            Code::FailedPrecondition,
            Code::Unimplemented,
        ] {
            let verdict = judge_payment(Err(Status::new(code, "no")));
            assert_eq!(verdict, Verdict::Refused(format!("{code:?}: no")));
        }
    }

    #[test]
    fn a_refusal_names_its_reason_and_its_field() {
        let refused = status::invalid("amount", "is too large");
        assert_eq!(
            judge_payment(Err(refused)),
            Verdict::Refused("INVALID_REQUEST: amount is too large".to_owned())
        );
    }

    #[test]
    fn the_service_says_when_to_ask_again() {
        let after = Duration::from_secs(3);
        let busy = status::retry_later(Code::Unavailable, "BREAKER_OPEN", "open", after);
        assert_eq!(
            judge_payment(Err(busy)),
            Verdict::Again {
                why: "BREAKER_OPEN: open".to_owned(),
                after
            }
        );
    }
}
