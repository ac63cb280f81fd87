//! Writes payments as messages, and what went wrong as statuses.

use std::time::Duration;

use mizan::{request::timestamp, status};
use mizan_contracts::{payment::v1 as wire, r#type::v1 as types};
use tonic::{Code, Status};

use crate::{
    domain::{Direction, Payment},
    saga,
    store::Error,
};

/// When a caller may try again after the store was unavailable.
const STORE_RETRY: Duration = Duration::from_secs(1);

pub(crate) fn payment(payment: Payment) -> Result<wire::Payment, Status> {
    let Payment {
        intent,
        state,
        failure,
        create_micros,
        update_micros,
        ..
    } = payment;
    let amount = types::Money::try_from(intent.amount)
        .map_err(|e| Status::internal(format!("amount {e}")))?;
    let invoice_id = if state.has_invoice() {
        saga::invoice_id(&intent)
    } else {
        String::new()
    };
    let transaction_id = if state.has_transaction() {
        saga::transaction_id(&intent)
    } else {
        String::new()
    };
    let direction = match intent.direction {
        Direction::Outgoing => wire::Direction::Outgoing,
        Direction::Refund => wire::Direction::Refund,
    };
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
        failure: failure.map(|failure| wire::Failure {
            step: failure.step,
            reason: failure.reason,
            message: failure.message,
        }),
        create_time: Some(timestamp(create_micros)),
        update_time: Some(timestamp(update_micros)),
        ..wire::Payment::default()
    })
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
            "the payments' store cannot be used now; nothing was kept",
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

/// A payment that was accepted and cannot go on for now: the trouble of its step, in the words of
/// a caller who may ask again.
pub(crate) fn unfinished(trouble: &Status) -> Status {
    let reason = status::reason(trouble).unwrap_or_else(|| "PAYMENT_UNFINISHED".to_owned());
    let message = format!(
        "the payment is accepted and goes on by itself, ask again with the same request_id: {}",
        trouble.message()
    );
    let after = status::retry_after(trouble).unwrap_or(Duration::from_millis(500));
    status::retry_later(Code::Unavailable, &reason, message, after)
}
