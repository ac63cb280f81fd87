//! The gRPC face: requests in, answers and refusals out. The one folder here that knows tonic.
//! `refuse.rs` lists the codes and reasons.

mod answer;
mod content;
mod read;
mod refuse;

use std::time::SystemTime;

use mizan::{
    request::{PageToken, id, micros},
    status::{Violations, invalid, refused_field},
};
use mizan_contracts::accounting::v1::{self as pb, accounting_service_server::AccountingService};
use prost::Message as _;
use tonic::{Code, Request, Response, Status, async_trait, metadata::MetadataValue};

use self::{
    answer::Unreadable,
    refuse::{damaged, no_account, unavailable},
};
use crate::{
    domain::{self, Action, Answer, Command, Micros, Outcome},
    store::{Ledger, Order},
};

/// The response metadata of an answer to a request that was done earlier.
pub const REPLAYED: &str = "mizan-replayed";

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

    /// Does one request.
    async fn execute(
        &self,
        request_id: &str,
        body: Vec<u8>,
        action: Action,
    ) -> Result<Outcome, Status> {
        let request = domain::Request {
            request_id: request_id.to_owned(),
            body: body.into(),
            action,
        };
        let command = Command {
            now: now(),
            requests: vec![request],
            atomic: false,
        };
        let outcomes = self.ledger.execute(command).await.map_err(unavailable)?;
        let only = outcomes.into_iter().next();
        only.ok_or_else(|| Status::internal("no outcome"))
    }

    /// Does one request about an account.
    async fn about_account(
        &self,
        request_id: &str,
        body: Vec<u8>,
        action: Action,
    ) -> Result<Response<pb::Account>, Status> {
        let call = action.call();
        let outcome = self.execute(request_id, body.clone(), action).await?;
        let (answer, replayed) = refuse::done(outcome, call, &body)?;
        match answer {
            Answer::Account(record) => answered(answer::account(&record), replayed),
            Answer::Transaction(_) => Err(Status::internal("not an account")),
        }
    }

    /// Does one request about a transaction.
    async fn about_transaction(
        &self,
        request_id: &str,
        body: Vec<u8>,
        action: Action,
    ) -> Result<Response<pb::Transaction>, Status> {
        let call = action.call();
        let outcome = self.execute(request_id, body.clone(), action).await?;
        let (answer, replayed) = refuse::done(outcome, call, &body)?;
        match answer {
            Answer::Transaction(record) => answered(answer::transaction(&record, now()), replayed),
            Answer::Account(_) => Err(Status::internal("not a transaction")),
        }
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
        let new = read::account(&request, &mut violations);
        violations.check()?;
        let new = new.ok_or_else(|| invalid("account_id", "is not usable"))?;
        let action = Action::CreateAccount(new);
        self.about_account(&request.request_id, request.encode_to_vec(), action)
            .await
    }

    async fn get_account(
        &self,
        request: Request<pb::GetAccountRequest>,
    ) -> Result<Response<pb::Account>, Status> {
        let account_id = asked("account_id", request.into_inner().account_id)?;
        let saved = self.ledger.account(account_id).await.map_err(unavailable)?;
        let saved = saved.ok_or_else(no_account)?;
        answered(answer::account(&saved.record), false)
    }

    async fn list_accounts(
        &self,
        request: Request<pb::ListAccountsRequest>,
    ) -> Result<Response<pb::ListAccountsResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let filters = read::shown(&pb::ListAccountsRequest {
            page_size: 0,
            page_token: String::new(),
            ..request.clone()
        });
        let filters = [filters.as_str()];
        let tokens = PageToken::of("mizan.accounting.v1.ListAccounts", &filters);
        let filter = read::account_filter(&request, &tokens, &mut violations);
        violations.check()?;
        let page = self.ledger.accounts(filter).await.map_err(unavailable)?;
        let last = page.accounts.last().filter(|_| page.more);
        let next_page_token = last.map(|last| tokens.write(last.key)).unwrap_or_default();
        let accounts = page.accounts.iter().map(|a| answer::account(&a.record));
        let accounts = accounts.collect::<Result<_, _>>();
        answered(
            accounts.map(|accounts| pb::ListAccountsResponse {
                accounts,
                next_page_token,
            }),
            false,
        )
    }

    async fn close_account(
        &self,
        request: Request<pb::CloseAccountRequest>,
    ) -> Result<Response<pb::Account>, Status> {
        let request = request.into_inner();
        let body = request.encode_to_vec();
        two_ids(&request.request_id, "account_id", &request.account_id)?;
        let action = Action::CloseAccount(request.account_id);
        self.about_account(&request.request_id, body, action).await
    }

    async fn reopen_account(
        &self,
        request: Request<pb::ReopenAccountRequest>,
    ) -> Result<Response<pb::Account>, Status> {
        let request = request.into_inner();
        let body = request.encode_to_vec();
        two_ids(&request.request_id, "account_id", &request.account_id)?;
        let action = Action::ReopenAccount(request.account_id);
        self.about_account(&request.request_id, body, action).await
    }

    async fn record_transaction(
        &self,
        request: Request<pb::RecordTransactionRequest>,
    ) -> Result<Response<pb::Transaction>, Status> {
        let request = request.into_inner();
        let new = read::transaction(&request, "")?;
        let body = request.encode_to_vec();
        self.about_transaction(&request.request_id, body, Action::Record(new))
            .await
    }

    async fn batch_record_transactions(
        &self,
        request: Request<pb::BatchRecordTransactionsRequest>,
    ) -> Result<Response<pb::BatchRecordTransactionsResponse>, Status> {
        let request = request.into_inner();
        if !read::BATCH.contains(&request.requests.len()) {
            return Err(invalid("requests", "must be 1 to 1000"));
        }
        if request.encoded_len() > read::BATCH_BYTES_MAX {
            return Err(invalid("requests", "must be at most 3840 KiB together"));
        }
        let mut requests = Vec::with_capacity(request.requests.len());
        for (index, one) in request.requests.iter().enumerate() {
            let new = read::transaction(one, &format!("requests[{index}]."))?;
            requests.push(domain::Request {
                request_id: one.request_id.clone(),
                body: one.encode_to_vec().into(),
                action: Action::Record(new),
            });
        }
        let bodies: Vec<_> = requests.iter().map(|one| one.body.clone()).collect();
        let command = Command {
            now: now(),
            requests,
            atomic: request.atomic,
        };
        let outcomes = self.ledger.execute(command).await.map_err(unavailable)?;
        let now = now();
        let results = outcomes.into_iter().zip(bodies).enumerate();
        let results =
            results.map(|(index, (outcome, body))| refuse::result(index, outcome, &body, now));
        let results = results.collect::<Result<_, _>>()?;
        Ok(Response::new(pb::BatchRecordTransactionsResponse {
            results,
        }))
    }

    async fn post_transaction(
        &self,
        request: Request<pb::PostTransactionRequest>,
    ) -> Result<Response<pb::Transaction>, Status> {
        let request = request.into_inner();
        let body = request.encode_to_vec();
        let action = read::post(&request)?;
        self.about_transaction(&request.request_id, body, action)
            .await
    }

    async fn void_transaction(
        &self,
        request: Request<pb::VoidTransactionRequest>,
    ) -> Result<Response<pb::Transaction>, Status> {
        let request = request.into_inner();
        let body = request.encode_to_vec();
        let (field, target) = ("transaction_id", &request.transaction_id);
        two_ids(&request.request_id, field, target)?;
        let action = Action::Void(request.transaction_id);
        self.about_transaction(&request.request_id, body, action)
            .await
    }

    async fn reverse_transaction(
        &self,
        request: Request<pb::ReverseTransactionRequest>,
    ) -> Result<Response<pb::Transaction>, Status> {
        let request = request.into_inner();
        let action = read::reverse(&request)?;
        let body = request.encode_to_vec();
        self.about_transaction(&request.request_id, body, action)
            .await
    }

    async fn get_transaction(
        &self,
        request: Request<pb::GetTransactionRequest>,
    ) -> Result<Response<pb::Transaction>, Status> {
        let field = "transaction_id";
        let transaction_id = asked(field, request.into_inner().transaction_id)?;
        let saved = self.ledger.transaction(transaction_id, now()).await;
        let (saved, time) = saved.map_err(unavailable)?.ok_or_else(|| {
            let reason = domain::Reason::TransactionNotFound.as_str();
            refused_field(Code::NotFound, reason, field, "names no transaction")
        })?;
        answered(answer::transaction(&saved, time), false)
    }

    async fn list_transactions(
        &self,
        request: Request<pb::ListTransactionsRequest>,
    ) -> Result<Response<pb::ListTransactionsResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let filters = read::shown(&pb::ListTransactionsRequest {
            page_size: 0,
            page_token: String::new(),
            ..request.clone()
        });
        let filters = [filters.as_str()];
        let tokens = PageToken::of("mizan.accounting.v1.ListTransactions", &filters);
        let filter = read::filter(&request, &tokens, now(), &mut violations);
        violations.check()?;
        let page = self.ledger.transactions(filter).await;
        let page = page.map_err(unavailable)?;
        let last = page.transactions.last().filter(|_| page.more);
        let next = last.map(|last| tokens.write(last.sequence));
        let transactions = page.transactions.iter();
        let transactions = transactions.map(|t| answer::transaction(t, page.time));
        let transactions = transactions.collect::<Result<_, _>>();
        answered(
            transactions.map(|transactions| pb::ListTransactionsResponse {
                transactions,
                next_page_token: next.unwrap_or_default(),
            }),
            false,
        )
    }

    async fn get_balance(
        &self,
        request: Request<pb::GetBalanceRequest>,
    ) -> Result<Response<pb::Balance>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let as_of = read::as_of(&request, now(), &mut violations);
        violations.check()?;
        let saved = self.ledger.balance(request.account_id, as_of).await;
        let saved = saved.map_err(unavailable)?.ok_or_else(no_account)?;
        answered(answer::balance(&saved), false)
    }

    async fn get_trial_balance(
        &self,
        request: Request<pb::GetTrialBalanceRequest>,
    ) -> Result<Response<pb::TrialBalance>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let tokens = PageToken::of("mizan.accounting.v1.GetTrialBalance", &[]);
        let (after, limit) = read::trial_page(&request, &tokens, &mut violations);
        violations.check()?;
        let trial = self.ledger.trial(after, limit, now()).await;
        answered(
            answer::trial_balance(&trial.map_err(unavailable)?, &tokens),
            false,
        )
    }

    async fn verify_journal(
        &self,
        request: Request<pb::VerifyJournalRequest>,
    ) -> Result<Response<pb::VerifyJournalResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let (after, limit) = read::verification(&request, &mut violations);
        violations.check()?;
        let verified = self.ledger.verify(after, limit, content::of).await;
        Ok(Response::new(answer::verified(
            verified.map_err(unavailable)?,
        )))
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

/// The id of a request and the one that it is about, well-formed.
fn two_ids(request_id: &str, field: &str, value: &str) -> Result<(), Status> {
    let mut violations = Violations::new();
    id("request_id", request_id, &mut violations);
    id(field, value, &mut violations);
    violations.check()
}

fn answered<T>(answer: Result<T, Unreadable>, replayed: bool) -> Result<Response<T>, Status> {
    let mut response = answer
        .map(Response::new)
        .map_err(|unreadable| damaged(&unreadable))?;
    if replayed {
        let yes = MetadataValue::from_static("true");
        response.metadata_mut().insert(REPLAYED, yes);
    }
    Ok(response)
}

/// The order of a list by its name.
fn order(order_by: &str) -> Option<Order> {
    let words: Vec<&str> = order_by.split_whitespace().collect();
    match words.as_slice() {
        [] | ["sequence"] | ["sequence", "asc"] => Some(Order::Ascending),
        ["sequence", "desc"] => Some(Order::Descending),
        _ => None,
    }
}
