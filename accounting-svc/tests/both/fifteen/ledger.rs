//! What the workload asks of a ledger and sees of it: the service, or the model.

use std::collections::BTreeMap;

use mizan_contracts::{accounting::v1::*, r#type::v1::Money};

use super::model::Model;
use crate::{Client, gbp, pence, reason, sides};

/// One movement: an account, its side, and how many smallest units of which currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Move {
    pub(super) account: String,
    pub(super) debit: bool,
    pub(super) minor: i64,
    pub(super) currency: &'static str,
}

impl Move {
    pub(super) fn exchanged(&self) -> Self {
        Self {
            debit: !self.debit,
            ..self.clone()
        }
    }
}

/// What is asked by one request id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Record(Vec<Move>),
    Pend(Vec<Move>),
    /// Posts half of each leg.
    PostHalf(String),
    Void(String),
    Reverse(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Done { sequence: i64, replayed: bool },
    Refused(String),
}

/// A transaction as it is read back. `posted` is what counts of each leg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) sequence: i64,
    pub(super) reference: String,
    pub(super) record_time: i128,
    pub(super) legs: Vec<Move>,
    pub(super) pending: bool,
    pub(super) posted: Vec<i64>,
    pub(super) reverses: String,
}

/// Currency; debits, credits, pending debits, pending credits.
pub(super) type Accounts = BTreeMap<String, (&'static str, [i64; 4])>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    pub(super) accounts: Accounts,
    pub(super) journal: Vec<Entry>,
}

/// What a check of the hash chain says of its first entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proof {
    pub(super) valid: bool,
    pub(super) entries: i64,
    pub(super) hash: Vec<u8>,
}

#[derive(Debug, Clone)]
pub(super) enum Ledger {
    Service(Client),
    Model(Model),
}

fn currency(code: &str) -> &'static str {
    match code {
        "GBP" => "GBP",
        "USD" => "USD",
        other => panic!("{other}"),
    }
}

fn money(minor: i64, code: &str) -> Option<Money> {
    Some(Money {
        currency_code: code.to_owned(),
        ..gbp(minor)
    })
}

impl Ledger {
    pub(super) async fn create(&self, id: &str, code: &'static str, limited: bool) {
        let mut client = match self {
            Self::Model(model) => return model.create(id, code, limited),
            Self::Service(client) => client.clone(),
        };
        let limit = if limited {
            AccountLimit::DebitsMustNotExceedCredits
        } else {
            AccountLimit::Unspecified
        };
        let request = CreateAccountRequest {
            request_id: id.to_owned(),
            account_id: id.to_owned(),
            display_name: id.to_owned(),
            r#type: AccountType::Liability.into(),
            currency_code: code.to_owned(),
            limit: limit.into(),
            ..CreateAccountRequest::default()
        };
        client.create_account(request).await.unwrap();
    }

    pub(super) async fn ask(&self, id: &str, step: &Step) -> Answer {
        let mut client = match self {
            Self::Model(model) => return model.ask(id, step).await,
            Self::Service(client) => client.clone(),
        };
        let request_id = id.to_owned();
        let asked = match step {
            Step::Record(legs) | Step::Pend(legs) => {
                let leg = |leg: &Move| Leg {
                    account_id: leg.account.clone(),
                    side: if leg.debit { Side::Debit } else { Side::Credit }.into(),
                    amount: money(leg.minor, leg.currency),
                };
                let request = RecordTransactionRequest {
                    request_id,
                    legs: legs.iter().map(leg).collect(),
                    reference: format!("about {id}"),
                    pending: matches!(step, Step::Pend(_)),
                    ..RecordTransactionRequest::default()
                };
                client.record_transaction(request).await
            }
            Step::PostHalf(target) => {
                let request = GetTransactionRequest {
                    transaction_id: target.clone(),
                };
                let pending = client.get_transaction(request).await.unwrap().into_inner();
                let half = |leg: &Leg| gbp(pence(leg.amount.as_ref()) / 2);
                let request = PostTransactionRequest {
                    request_id,
                    transaction_id: target.clone(),
                    amounts: pending.legs.iter().map(half).collect(),
                };
                client.post_transaction(request).await
            }
            Step::Void(target) => {
                let request = VoidTransactionRequest {
                    request_id,
                    transaction_id: target.clone(),
                };
                client.void_transaction(request).await
            }
            Step::Reverse(target) => {
                let request = ReverseTransactionRequest {
                    request_id,
                    transaction_id: target.clone(),
                    reference: format!("about {id}"),
                    ..ReverseTransactionRequest::default()
                };
                client.reverse_transaction(request).await
            }
        };
        match asked {
            Ok(answer) => Answer::Done {
                replayed: answer.metadata().get("mizan-replayed").is_some(),
                sequence: answer.into_inner().sequence,
            },
            Err(status) => Answer::Refused(reason(&status)),
        }
    }

    /// All accounts at one moment.
    pub(super) async fn accounts(&self) -> Accounts {
        let mut client = match self {
            Self::Model(model) => return model.accounts().await,
            Self::Service(client) => client.clone(),
        };
        let trial = client.get_trial_balance(GetTrialBalanceRequest::default());
        let balances = trial.await.unwrap().into_inner().balances;
        let one = |b: Balance| {
            let code = b.balance.as_ref().map_or("", |m| &m.currency_code);
            (b.account_id.clone(), (currency(code), sides(&b)))
        };
        balances.into_iter().map(one).collect()
    }

    /// The whole journal, in its order.
    pub(super) async fn journal(&self) -> Vec<Entry> {
        let mut client = match self {
            Self::Model(model) => return model.journal(),
            Self::Service(client) => client.clone(),
        };
        let mut all = Vec::new();
        let mut list = ListTransactionsRequest {
            page_size: 1000,
            ..ListTransactionsRequest::default()
        };
        loop {
            let page = client.list_transactions(list.clone()).await.unwrap();
            let page = page.into_inner();
            all.extend(page.transactions.into_iter().map(entry));
            if page.next_page_token.is_empty() {
                return all;
            }
            list.page_token = page.next_page_token;
        }
    }

    pub(super) async fn state(&self) -> State {
        State {
            accounts: self.accounts().await,
            journal: self.journal().await,
        }
    }

    /// Of the first so many entries, or of all of them.
    pub(super) async fn proof(&self, first: Option<i64>) -> Proof {
        let mut client = match self {
            Self::Model(model) => return model.proof(first),
            Self::Service(client) => client.clone(),
        };
        let request = VerifyJournalRequest {
            after_sequence: 0,
            max_entries: i32::try_from(first.unwrap_or(20_000)).unwrap(),
        };
        let found = client.verify_journal(request).await.unwrap().into_inner();
        assert!(found.complete || first.is_some(), "a longer journal");
        Proof {
            valid: found.valid,
            entries: found.verified_sequence,
            hash: found.hash,
        }
    }
}

fn entry(transaction: Transaction) -> Entry {
    let leg = |leg: &Leg| Move {
        account: leg.account_id.clone(),
        debit: leg.side() == Side::Debit,
        minor: pence(leg.amount.as_ref()),
        currency: currency(leg.amount.as_ref().map_or("", |m| &m.currency_code)),
    };
    let legs: Vec<Move> = transaction.legs.iter().map(leg).collect();
    let state = transaction.state();
    let posted = match state {
        TransactionState::Posted if transaction.posted_amounts.is_empty() => {
            legs.iter().map(|leg| leg.minor).collect()
        }
        TransactionState::Posted => {
            let amounts = transaction.posted_amounts.iter();
            amounts.map(|m| pence(Some(m))).collect()
        }
        _ => vec![0; legs.len()],
    };
    let time = transaction.record_time.unwrap_or_default();
    Entry {
        id: transaction.transaction_id,
        sequence: transaction.sequence,
        reference: transaction.reference,
        record_time: i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos),
        legs,
        pending: state == TransactionState::Pending,
        posted,
        reverses: transaction.reverses_transaction_id,
    }
}
