//! Refusals, as statuses.
//!
//! | code | reason | when |
//! |---|---|---|
//! | INVALID_ARGUMENT | `INVALID_REQUEST` | a field breaks its limits; consumes no id |
//! | INVALID_ARGUMENT | `UNBALANCED` | a currency's debits and credits differ; consumes no id |
//! | ALREADY_EXISTS | `REQUEST_ID_REUSED` | the id was used with another body |
//! | ALREADY_EXISTS | `ACCOUNT_EXISTS` | the account's id is taken; remembered |
//! | FAILED_PRECONDITION | all others of [`Reason`] | the books refuse it; remembered |
//! | NOT_FOUND | `ACCOUNT_NOT_FOUND`, `TRANSACTION_NOT_FOUND` | the id that is asked for, or to be closed, posted, voided, reversed |
//! | UNAVAILABLE | `STORE_UNAVAILABLE` | the store cannot be read or written; try again |
//! | DATA_LOSS | `STORE_DAMAGED` | a record makes no sense |

use std::time::Duration;

use mizan::{
    process::chain,
    request::first_difference,
    status::{invalid, refused, refused_field, retry_later},
};
use mizan_contracts::accounting::v1 as pb;
use prost::Message;
use store::Unavailable;
use tonic::{Code, Status};

use super::answer::{self, Unreadable};
use crate::domain::{Answer, Call, InvalidTransaction, Micros, Outcome, Reason, Refusal};

/// When to try again after the store could not be read or written.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// The reason of what was not executed because of another one of its atomic batch.
const LINKED_FAILED: &str = "LINKED_FAILED";

/// What was done for a request with this body, and whether that was earlier; or why not.
pub(super) fn done(outcome: Outcome, call: Call, body: &[u8]) -> Result<(Answer, bool), Status> {
    match outcome {
        Outcome::Done { answer, replayed } => Ok((answer, replayed)),
        Outcome::Refused(refusal) => Err(books_refuse(&refusal)),
        Outcome::Reused(first_call, first) => {
            let field = differing(first_call, &first, call, body)?;
            Err(refused_field(
                Code::AlreadyExists,
                "REQUEST_ID_REUSED",
                &field,
                REUSED,
            ))
        }
        Outcome::Linked => Err(Status::internal("not of a batch")),
    }
}

const REUSED: &str = "differs from the first request with this request_id";

/// The first field in which a request differs from the first one with its id.
fn differing(first_call: Call, first: &[u8], call: Call, body: &[u8]) -> Result<String, Status> {
    if first_call != call {
        return Ok("request_id".to_owned());
    }
    let decodes = match call {
        Call::CreateAccount => readable::<pb::CreateAccountRequest>(first),
        Call::CloseAccount => readable::<pb::CloseAccountRequest>(first),
        Call::ReopenAccount => readable::<pb::ReopenAccountRequest>(first),
        Call::Record => readable::<pb::RecordTransactionRequest>(first),
        Call::Post => readable::<pb::PostTransactionRequest>(first),
        Call::Void => readable::<pb::VoidTransactionRequest>(first),
        Call::Reverse => readable::<pb::ReverseTransactionRequest>(first),
    };
    decodes.map_err(|unreadable| damaged(&unreadable))?;
    let name = match call {
        Call::CreateAccount => "CreateAccountRequest",
        Call::CloseAccount => "CloseAccountRequest",
        Call::ReopenAccount => "ReopenAccountRequest",
        Call::Record => "RecordTransactionRequest",
        Call::Post => "PostTransactionRequest",
        Call::Void => "VoidTransactionRequest",
        Call::Reverse => "ReverseTransactionRequest",
    };
    let field = first_difference(&format!("mizan.accounting.v1.{name}"), first, body);
    Ok(field.unwrap_or_else(|| "request_id".to_owned()))
}

fn readable<R: Message + Default>(body: &[u8]) -> Result<(), Unreadable> {
    R::decode(body).map(drop).map_err(Unreadable::from)
}

/// How the request at `index` of a batch ended.
pub(super) fn result(
    index: usize,
    outcome: Outcome,
    body: &[u8],
    now: Micros,
) -> Result<pb::RecordTransactionResult, Status> {
    use pb::record_transaction_result::Outcome as Ended;
    let within = |field: &str| format!("requests[{index}].{field}");
    let refused = |reason: &str, field: &str, description: &str| {
        Ended::Refusal(pb::Refusal {
            reason: reason.to_owned(),
            field: within(field),
            description: description.to_owned(),
        })
    };
    let ended = match outcome {
        Outcome::Done { answer, .. } => match answer {
            Answer::Transaction(record) => {
                let transaction = answer::transaction(&record, now);
                Ended::Transaction(transaction.map_err(|unreadable| damaged(&unreadable))?)
            }
            Answer::Account(_) => return Err(Status::internal("not a transaction")),
        },
        Outcome::Refused(refusal) => refused(
            refusal.reason.as_str(),
            &refusal.field,
            &refusal.description,
        ),
        Outcome::Reused(first_call, first) => {
            let field = differing(first_call, &first, Call::Record, body)?;
            refused("REQUEST_ID_REUSED", &field, REUSED)
        }
        Outcome::Linked => {
            let words = "was not executed: another one of the atomic batch was refused";
            refused(LINKED_FAILED, "request_id", words)
        }
    };
    Ok(pb::RecordTransactionResult {
        outcome: Some(ended),
    })
}

/// `prefix` leads to the transaction within the request.
pub(super) fn not_a_transaction(invalid_transaction: InvalidTransaction, prefix: &str) -> Status {
    let description = invalid_transaction.to_string();
    let field = format!("{prefix}legs");
    match invalid_transaction {
        InvalidTransaction::Unbalanced { .. } => {
            refused_field(Code::InvalidArgument, "UNBALANCED", &field, &description)
        }
        InvalidTransaction::TooFew | InvalidTransaction::TooLarge(_) => {
            invalid(&field, &description)
        }
    }
}

fn books_refuse(refusal: &Refusal) -> Status {
    let code = match refusal.reason {
        Reason::AccountExists => Code::AlreadyExists,
        Reason::TransactionNotFound => Code::NotFound,
        // What the request itself is about, and not a leg of it.
        Reason::AccountNotFound if refusal.field == "account_id" => Code::NotFound,
        _ => Code::FailedPrecondition,
    };
    let reason = refusal.reason.as_str();
    refused_field(code, reason, &refusal.field, &refusal.description)
}

pub(super) fn no_account() -> Status {
    let reason = Reason::AccountNotFound.as_str();
    refused_field(Code::NotFound, reason, "account_id", "names no account")
}

pub(super) fn unavailable(unavailable: Unavailable) -> Status {
    if unavailable.is_damage() {
        return damaged(&unavailable);
    }
    tracing::error!(cause = %chain(&unavailable), "ledger not reached");
    retry_later(
        Code::Unavailable,
        "STORE_UNAVAILABLE",
        "the ledger cannot be reached now",
        STORE_RETRY,
    )
}

pub(super) fn damaged(unreadable: &(dyn std::error::Error + 'static)) -> Status {
    tracing::error!(cause = %chain(unreadable), "ledger damaged");
    let message = "the ledger holds a record that cannot be read";
    refused(Code::DataLoss, "STORE_DAMAGED", message)
}
