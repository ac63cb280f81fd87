//! The gRPC face: requests in, answers and refusals out. The one file here that knows tonic.
//!
//! | code | reason | when |
//! |---|---|---|
//! | INVALID_ARGUMENT | `INVALID_REQUEST` | a field breaks its limits; consumes no id |
//! | INVALID_ARGUMENT | `UNBALANCED` | a currency's debits and credits differ; consumes no id |
//! | ALREADY_EXISTS | `REQUEST_ID_REUSED` | the id was used with another body |
//! | ALREADY_EXISTS | `ACCOUNT_EXISTS` | the account's id is taken; remembered |
//! | FAILED_PRECONDITION | `ACCOUNT_NOT_FOUND` | a leg names no account; remembered |
//! | FAILED_PRECONDITION | `CURRENCY_MISMATCH` | a leg is not in its account's currency; remembered |
//! | FAILED_PRECONDITION | `BALANCE_OVERFLOW` | the sums of a currency would not fit; remembered |
//! | NOT_FOUND | `ACCOUNT_NOT_FOUND`, `TRANSACTION_NOT_FOUND` | no such id |
//! | UNAVAILABLE | `STORE_UNAVAILABLE` | the file cannot be read or written; try again |
//! | DATA_LOSS | `STORE_DAMAGED` | a record in the file makes no sense |

mod answer;
mod read;

use std::time::{Duration, SystemTime};

use mizan::{
    process::chain,
    request::{PageToken, first_difference, id, micros},
    status::{Violations, invalid, refused, refused_field, retry_later},
};
use mizan_contracts::accounting::v1::{self as pb, accounting_service_server::AccountingService};
use prost::Message;
use store::Unavailable;
use tonic::{Code, Request, Response, Status, async_trait};

use self::answer::Unreadable;
use crate::{
    domain::{InvalidTransaction, Reason, Refusal},
    store::{Ledger, Micros, Outcome},
};

/// When to try again after the file could not be read or written.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// The service's calls, on one ledger.
#[derive(Debug, Clone)]
pub struct Api {
    ledger: Ledger,
}

impl Api {
    /// Serves this ledger.
    #[must_use]
    pub const fn new(ledger: Ledger) -> Self {
        Self { ledger }
    }
}

#[async_trait]
impl AccountingService for Api {
    async fn create_account(
        &self,
        request: Request<pb::CreateAccountRequest>,
    ) -> Result<Response<pb::Account>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let new = read::account(&request, now(), &mut violations);
        violations.check()?;
        let new = new.ok_or_else(|| invalid("account_id", "is not usable"))?;
        let outcome = self.ledger.create_account(new).await;
        let create_time = done(outcome, "CreateAccountRequest", &request)?;
        Ok(Response::new(answer::account(request, create_time)))
    }

    async fn get_account(
        &self,
        request: Request<pb::GetAccountRequest>,
    ) -> Result<Response<pb::Account>, Status> {
        let account_id = asked("account_id", request.into_inner().account_id)?;
        let saved = self.ledger.account(account_id).await.map_err(unavailable)?;
        let saved = saved.ok_or_else(no_account)?;
        answered(answer::saved_account(&saved))
    }

    async fn record_transaction(
        &self,
        request: Request<pb::RecordTransactionRequest>,
    ) -> Result<Response<pb::Transaction>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let effective_time = read::transaction_fields(&request, &mut violations);
        let legs = read::legs(&request.legs, &mut violations);
        violations.check()?;
        let new = read::transaction(&request, legs, effective_time, now());
        let outcome = self.ledger.record(new.map_err(not_a_transaction)?).await;
        let receipt = done(outcome, "RecordTransactionRequest", &request)?;
        Ok(Response::new(answer::transaction(request, receipt)))
    }

    async fn get_transaction(
        &self,
        request: Request<pb::GetTransactionRequest>,
    ) -> Result<Response<pb::Transaction>, Status> {
        let field = "transaction_id";
        let transaction_id = asked(field, request.into_inner().transaction_id)?;
        let saved = self.ledger.transaction(transaction_id).await;
        let saved = saved.map_err(unavailable)?.ok_or_else(|| {
            let reason = "TRANSACTION_NOT_FOUND";
            refused_field(Code::NotFound, reason, field, "names no transaction")
        })?;
        answered(answer::saved_transaction(&saved))
    }

    async fn list_transactions(
        &self,
        request: Request<pb::ListTransactionsRequest>,
    ) -> Result<Response<pb::ListTransactionsResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let filters = [request.account_id.as_str(), &request.reference];
        let tokens = PageToken::of("mizan.accounting.v1.ListTransactions", &filters);
        let filter = read::filter(&request, &tokens, &mut violations);
        violations.check()?;
        let page = self.ledger.transactions(filter).await;
        let page = page.map_err(unavailable)?;
        let last = page.transactions.last().filter(|_| page.more);
        let next = last.map(|last| tokens.write(last.receipt.sequence));
        let transactions = page.transactions.iter().map(answer::saved_transaction);
        answered(transactions.collect::<Result<_, _>>().map(|transactions| {
            pb::ListTransactionsResponse {
                transactions,
                next_page_token: next.unwrap_or_default(),
            }
        }))
    }

    async fn get_balance(
        &self,
        request: Request<pb::GetBalanceRequest>,
    ) -> Result<Response<pb::Balance>, Status> {
        let account_id = asked("account_id", request.into_inner().account_id)?;
        let saved = self.ledger.balance(account_id).await.map_err(unavailable)?;
        answered(answer::balance(saved.ok_or_else(no_account)?))
    }

    async fn get_trial_balance(
        &self,
        _request: Request<pb::GetTrialBalanceRequest>,
    ) -> Result<Response<pb::TrialBalance>, Status> {
        let trial = self.ledger.trial().await.map_err(unavailable)?;
        answered(answer::trial_balance(trial))
    }

    async fn list_accounts(
        &self,
        _request: Request<pb::ListAccountsRequest>,
    ) -> Result<Response<pb::ListAccountsResponse>, Status> {
        Err(Status::unimplemented("not served yet"))
    }

    async fn close_account(
        &self,
        _request: Request<pb::CloseAccountRequest>,
    ) -> Result<Response<pb::Account>, Status> {
        Err(Status::unimplemented("not served yet"))
    }

    async fn reopen_account(
        &self,
        _request: Request<pb::ReopenAccountRequest>,
    ) -> Result<Response<pb::Account>, Status> {
        Err(Status::unimplemented("not served yet"))
    }

    async fn batch_record_transactions(
        &self,
        _request: Request<pb::BatchRecordTransactionsRequest>,
    ) -> Result<Response<pb::BatchRecordTransactionsResponse>, Status> {
        Err(Status::unimplemented("not served yet"))
    }

    async fn post_transaction(
        &self,
        _request: Request<pb::PostTransactionRequest>,
    ) -> Result<Response<pb::Transaction>, Status> {
        Err(Status::unimplemented("not served yet"))
    }

    async fn void_transaction(
        &self,
        _request: Request<pb::VoidTransactionRequest>,
    ) -> Result<Response<pb::Transaction>, Status> {
        Err(Status::unimplemented("not served yet"))
    }

    async fn reverse_transaction(
        &self,
        _request: Request<pb::ReverseTransactionRequest>,
    ) -> Result<Response<pb::Transaction>, Status> {
        Err(Status::unimplemented("not served yet"))
    }

    async fn verify_journal(
        &self,
        _request: Request<pb::VerifyJournalRequest>,
    ) -> Result<Response<pb::VerifyJournalResponse>, Status> {
        Err(Status::unimplemented("not served yet"))
    }
}

/// The service's one clock.
fn now() -> Micros {
    micros(SystemTime::now())
}

/// The id that a call asks for, well-formed.
fn asked(field: &str, value: String) -> Result<String, Status> {
    let mut violations = Violations::new();
    id(field, &value, &mut violations);
    violations.check().map(|()| value)
}

/// What was done for `request`, which is the message `name`, or why not.
fn done<T, R: Message + Default>(
    outcome: Result<Outcome<T>, Unavailable>,
    name: &str,
    request: &R,
) -> Result<T, Status> {
    match outcome.map_err(unavailable)? {
        Outcome::Done(done) => Ok(done),
        Outcome::Refused(refusal) => Err(books_refuse(&refusal)),
        Outcome::Reused(first) => {
            R::decode(&*first).map_err(|cause| damaged(&cause.into()))?;
            let name = format!("mizan.accounting.v1.{name}");
            let field = first_difference(&name, &first, &request.encode_to_vec());
            Err(refused_field(
                Code::AlreadyExists,
                "REQUEST_ID_REUSED",
                field.as_deref().unwrap_or("request_id"),
                "differs from the first request with this request_id",
            ))
        }
    }
}

fn answered<T>(answer: Result<T, Unreadable>) -> Result<Response<T>, Status> {
    answer
        .map(Response::new)
        .map_err(|unreadable| damaged(&unreadable))
}

fn not_a_transaction(invalid_transaction: InvalidTransaction) -> Status {
    let description = invalid_transaction.to_string();
    match invalid_transaction {
        InvalidTransaction::Unbalanced { .. } => {
            refused_field(Code::InvalidArgument, "UNBALANCED", "legs", &description)
        }
        InvalidTransaction::TooFew | InvalidTransaction::TooLarge(_) => {
            invalid("legs", &description)
        }
    }
}

fn books_refuse(refusal: &Refusal) -> Status {
    let code = match refusal.reason {
        Reason::AccountExists => Code::AlreadyExists,
        Reason::AccountNotFound | Reason::CurrencyMismatch | Reason::BalanceOverflow => {
            Code::FailedPrecondition
        }
    };
    let reason = refusal.reason.as_str();
    refused_field(code, reason, &refusal.field, &refusal.description)
}

fn no_account() -> Status {
    let reason = Reason::AccountNotFound.as_str();
    refused_field(Code::NotFound, reason, "account_id", "names no account")
}

fn unavailable(unavailable: Unavailable) -> Status {
    tracing::error!(cause = %chain(&unavailable), "ledger not reached");
    retry_later(
        Code::Unavailable,
        "STORE_UNAVAILABLE",
        "the ledger cannot be reached now",
        STORE_RETRY,
    )
}

fn damaged(unreadable: &Unreadable) -> Status {
    tracing::error!(cause = %chain(unreadable), "ledger damaged");
    let message = "the ledger holds a record that cannot be read";
    refused(Code::DataLoss, "STORE_DAMAGED", message)
}
