//! Writes payments as messages, and what went wrong as statuses.

use std::time::Duration;

use mizan::{request::timestamp, status};
use mizan_contracts::{payment::v1 as wire, r#type::v1 as types};
use tonic::{Code, Status};

use crate::{
    domain::{self, Direction, Failure, Intent, Payment, RefundRefusal, StepRecord},
    store::Error,
};

/// When a caller may try again after the store was unavailable.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// The payment without its steps.
pub(crate) fn payment(payment: Payment) -> Result<wire::Payment, Status> {
    let amount = types::Money::try_from(payment.intent.amount)
        .map_err(|e| Status::internal(format!("amount {e}")))?;
    let standing = payment.stands();
    let Payment {
        intent,
        state,
        failure,
        parked,
        create_micros,
        update_micros,
        ..
    } = payment;
    let invoice_id = if standing.has_document() {
        intent.document_id()
    } else {
        String::new()
    };
    let transaction_id = if standing.has_transaction() {
        intent.transaction_id()
    } else {
        String::new()
    };
    let direction = match intent.direction {
        Direction::Outgoing => wire::Direction::Outgoing,
        Direction::Refund => wire::Direction::Refund,
    };
    let (parked_state, attention) = parked.unzip();
    Ok(wire::Payment {
        expense_account_id: intent.expense_account(),
        cash_account_id: intent.cash_account(),
        payment_id: intent.id,
        state: state as i32,
        amount: Some(amount),
        direction: direction.into(),
        counterparty: Some(wire::Counterparty {
            counterparty_id: intent.counterparty_id,
            name: intent.counterparty_name,
        }),
        description: intent.description,
        reference: intent.reference,
        metadata: intent.metadata,
        effective_time: Some(timestamp(intent.effective_micros.unwrap_or(create_micros))),
        invoice_id,
        transaction_id,
        failure: failure.map(written),
        create_time: Some(timestamp(create_micros)),
        update_time: Some(timestamp(update_micros)),
        parked_state: parked_state.map_or(0, |state| state as i32),
        attention: attention.map(written),
        refunded_payment_id: intent.refund_of.unwrap_or_default(),
        steps: Vec::new(),
    })
}

/// The payment with all that was done for it.
pub(crate) fn payment_with_steps(mut payment: Payment) -> Result<wire::Payment, Status> {
    let records = std::mem::take(&mut payment.journal.steps);
    let steps = records
        .into_iter()
        .map(|record| step(&payment.intent, record))
        .collect();
    Ok(wire::Payment {
        steps,
        ..self::payment(payment)?
    })
}

fn step(intent: &Intent, record: StepRecord) -> wire::Step {
    let attempts = record.recent.into_iter().map(|attempt| wire::Attempt {
        number: count(attempt.number),
        begin_time: Some(timestamp(attempt.begun_micros)),
        end_time: attempt.ended_micros.map(timestamp),
        outcome: attempt.end.map_or(0, |end| end as i32),
        error: attempt.error.map(told),
    });
    wire::Step {
        name: intent.step_name(record.step).to_owned(),
        state: record.state as i32,
        attempts: count(record.attempts),
        begin_time: Some(timestamp(record.begun_micros)),
        end_time: record.ended_micros.map(timestamp),
        last_error: record.last_error.map(told),
        recent_attempts: attempts.collect(),
    }
}

fn count(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// The code by its gRPC name: "DeadlineExceeded" becomes "DEADLINE_EXCEEDED".
fn told(error: domain::Error) -> wire::StepError {
    let mut code = String::new();
    for (place, letter) in error.code.chars().enumerate() {
        if letter.is_uppercase() && place > 0 {
            code.push('_');
        }
        code.extend(letter.to_uppercase());
    }
    wire::StepError {
        code,
        reason: error.reason,
        message: error.message,
    }
}

fn written(failure: Failure) -> wire::Failure {
    wire::Failure {
        step: failure.step,
        reason: failure.reason,
        message: failure.message,
    }
}

/// UNAVAILABLE for a store that cannot be used now; the cause goes to the log, once, here.
#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function in map_err"
)]
pub(crate) fn store_error(error: Error) -> Status {
    tracing::error!(error = %mizan::process::chain(&error), "store");
    match error {
        Error::Unavailable(_) => status::retry_later(
            Code::Unavailable,
            "STORE_UNAVAILABLE",
            "the payments' store cannot be used now; ask again with the same request_id",
            STORE_RETRY,
        ),
        Error::Damaged(_) => status::refused(Code::DataLoss, "STORE_DAMAGED", error.to_string()),
    }
}

pub(crate) fn not_found() -> Status {
    status::refused_field(
        Code::NotFound,
        "PAYMENT_NOT_FOUND",
        "payment_id",
        "is not the id of a payment",
    )
}

pub(crate) fn reused(field: &str) -> Status {
    let description = "differs from the request that this request_id was first used for";
    status::refused_field(Code::AlreadyExists, "REQUEST_ID_REUSED", field, description)
}

pub(crate) fn refund_refused(refusal: &RefundRefusal) -> Status {
    let refused = |reason, field, description: &str| {
        status::refused_field(Code::FailedPrecondition, reason, field, description)
    };
    match refusal {
        RefundRefusal::NotFound => not_found(),
        RefundRefusal::NotRefundable => {
            refused("PAYMENT_NOT_REFUNDABLE", "payment_id", "is a refund itself")
        }
        RefundRefusal::NotCompleted(state) => refused(
            "PAYMENT_NOT_REFUNDABLE",
            "payment_id",
            &format!(
                "is {}, and only a completed payment is paid back",
                word(*state)
            ),
        ),
        RefundRefusal::Currency => refused(
            "CURRENCY_MISMATCH",
            "amount",
            "is not in the payment's currency",
        ),
        RefundRefusal::TooLarge { left } => refused(
            "REFUND_TOO_LARGE",
            "amount",
            &format!("is more than is left to refund: {left}"),
        ),
    }
}

/// A state as the contract and the command line spell it, without the prefix of its enum.
fn word(state: domain::State) -> &'static str {
    let state = wire::PaymentState::try_from(state as i32).unwrap_or_default();
    state.as_str_name().trim_start_matches("PAYMENT_STATE_")
}

pub(crate) fn not_cancellable(payment: &Payment) -> Status {
    let state = word(payment.state);
    status::refused_field(
        Code::FailedPrecondition,
        "PAYMENT_NOT_CANCELLABLE",
        "payment_id",
        &format!("is {state}: the ledger has it, or may have it, or it is ended"),
    )
}

pub(crate) fn not_parked(payment: &Payment) -> Status {
    let state = word(payment.state);
    status::refused_field(
        Code::FailedPrecondition,
        "PAYMENT_NOT_PARKED",
        "payment_id",
        &format!("is {state}, not parked"),
    )
}

/// A payment that was accepted and cannot go on for now: the trouble of its step, in the words of
/// a caller who may ask again.
pub(crate) fn unfinished(trouble: &Status) -> Status {
    let reason = status::reason(trouble).unwrap_or_else(|| "PAYMENT_UNFINISHED".to_owned());
    let message = format!(
        "the payment is accepted and goes on by itself, ask again with the same request_id: {}",
        trouble.message()
    );
    let after = status::retry_after(trouble).unwrap_or(Duration::from_millis(500));
    let code = match trouble.code() {
        Code::ResourceExhausted => Code::ResourceExhausted,
        _ => Code::Unavailable,
    };
    status::retry_later(code, &reason, message, after)
}

/// The end of a watch whose instance stops before the payment is final.
pub(crate) fn watch_again() -> Status {
    status::retry_later(
        Code::Unavailable,
        "PAYMENT_UNFINISHED",
        "this instance stops; the payment goes on, watch it again",
        Duration::from_millis(100),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_told_as_the_contract_spells_them() {
        assert_eq!(word(domain::State::NeedsAttention), "NEEDS_ATTENTION");
    }

    #[test]
    fn codes_are_told_by_their_names() {
        let error = |code: Code| domain::Error {
            code: format!("{code:?}"),
            reason: String::new(),
            message: String::new(),
        };
        assert_eq!(told(error(Code::Unavailable)).code, "UNAVAILABLE");
        assert_eq!(
            told(error(Code::DeadlineExceeded)).code,
            "DEADLINE_EXCEEDED"
        );
    }
}
