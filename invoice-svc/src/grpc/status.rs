//! The one place where errors of the store become statuses.

use std::time::Duration;

use mizan::{
    request::first_difference,
    status::{refused, refused_field, retry_later},
};
use prost::Message;
use tonic::{Code, Status};

use crate::{
    domain::{Error as Undone, Refusal},
    store::Error,
};

/// When to try again after the store could not be used: long enough for another process's
/// transaction to end.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// The status of an error in answer to a mutation, whose request is the message `name`.
pub(super) fn of_mutation(error: Error, name: &str, request: &impl Message) -> Status {
    match error {
        Error::Refused(Undone::RequestIdReused(first)) => {
            let name = format!("mizan.invoice.v1.{name}");
            let field = first_difference(&name, &first, &request.encode_to_vec());
            reused(
                field.as_deref().unwrap_or("request_id"),
                "differs from the first request with this request_id",
            )
        }
        other => of(other),
    }
}

/// The status of an error.
pub(super) fn of(error: Error) -> Status {
    match error {
        Error::Unavailable(damaged) if damaged.is_damage() => {
            let cause = std::error::Error::source(&damaged).map(ToString::to_string);
            tracing::error!(cause, "store damaged");
            let message = "the store holds a record that cannot be read";
            refused(Code::DataLoss, "STORE_DAMAGED", message)
        }
        Error::Unavailable(unavailable) => {
            let cause = std::error::Error::source(&unavailable).map(ToString::to_string);
            tracing::error!(cause, "store unavailable");
            let message = unavailable.to_string();
            retry_later(Code::Unavailable, "STORE_UNAVAILABLE", message, STORE_RETRY)
        }
        Error::Refused(Undone::Refused(refusal)) => by_state(refusal),
        Error::Refused(Undone::NotFound) => refused_field(
            Code::NotFound,
            "INVOICE_NOT_FOUND",
            "invoice_id",
            "is not the id of an invoice",
        ),
        Error::Refused(Undone::EtagMismatch) => refused_field(
            Code::Aborted,
            "ETAG_MISMATCH",
            "etag",
            "is not the invoice's current one",
        ),
        Error::Refused(Undone::RequestIdReused(_) | Undone::IdTaken) => {
            reused("request_id", "is an invoice's id already")
        }
    }
}

fn reused(field: &str, description: &str) -> Status {
    refused_field(Code::AlreadyExists, "REQUEST_ID_REUSED", field, description)
}

fn by_state(refusal: Refusal) -> Status {
    let (code, reason) = (Code::FailedPrecondition, refusal.reason());
    match refusal.field() {
        Some(field) => refused_field(code, reason, field, &format!("is refused: {refusal}")),
        None => refused(code, reason, refusal.to_string()),
    }
}
