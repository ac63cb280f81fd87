//! The books: the part of what is recorded that some commands touch, and what they make of it.
//!
//! The store loads that part ([`Needs`] says which), [`Books::apply`] decides, and the store saves
//! what changed ([`Books::finish`]). Nothing here knows a database, so every back-end has the same
//! rules.

mod changes;
mod needs;
mod record;
mod settle;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use money::Currency;

pub use self::{
    changes::{Changes, Finished, NewAccountRow, Remembered, RememberedRefusal},
    needs::Needs,
};
use crate::domain::{
    AccountRecord, AccountType, Action, Answer, Call, Command, Counters, Hash, Kind, Limit, Micros,
    NewAccount, Outcome, Reason, Refusal, Request, TransactionRecord,
};

/// The ends of the two chains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The last place in the journal; 0 before the first.
    pub sequence: i64,
    /// The books' own time: that at which anything was decided last.
    pub record_time: Micros,
    /// How many transactions there are.
    pub transactions: i64,
    /// The hash of the last entry.
    pub hash: Hash,
    /// How many accounts there are, which is the last one's key.
    pub accounts: i64,
    /// The hash of the last account.
    pub accounts_hash: Hash,
}

impl Head {
    /// Before anything.
    pub const EMPTY: Self = Self {
        sequence: 0,
        record_time: Micros::MIN,
        transactions: 0,
        hash: crate::domain::GENESIS,
        accounts: 0,
        accounts_hash: crate::domain::GENESIS,
    };
}

/// What is recorded about one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// The database's own number of it.
    pub key: i64,
    /// On which side it grows.
    pub account_type: AccountType,
    /// The one currency it is kept in.
    pub currency: Currency,
    /// What it must never come to.
    pub limit: Limit,
    /// What went through it.
    pub counters: Counters,
    /// How it was created, and whether it is closed.
    pub record: AccountRecord,
}

/// What a request id was used for before, but for those of transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Earlier {
    /// For a request that was done.
    Done(Arc<[u8]>),
    /// For one that was refused, by this call.
    Refused(Call, Arc<[u8]>, Refusal),
}

/// The part of the books that some commands touch, or all of them.
#[derive(Debug, Clone)]
pub struct Books {
    time: Micros,
    head: Head,
    accounts: HashMap<String, Holding>,
    /// One per currency. Every account of a currency has turned over at most this, so what fits
    /// here fits everywhere.
    totals: BTreeMap<Currency, Counters>,
    transactions: HashMap<String, Arc<TransactionRecord>>,
    earlier: HashMap<(Call, String), Earlier>,
    changes: Changes,
    /// Why nothing may be saved: what was loaded cannot be so.
    contradiction: Option<&'static str>,
    /// While an atomic batch runs: the counters before each change of them.
    undo: Option<Vec<(String, Counters)>>,
}

impl Books {
    /// Books that end at `head`, for commands of which the latest clock says `now`. All of them are
    /// recorded at one time, which never goes back.
    #[must_use]
    pub fn new(head: Head, now: Micros) -> Self {
        Self {
            time: head.record_time.max(now),
            head,
            accounts: HashMap::new(),
            totals: BTreeMap::new(),
            transactions: HashMap::new(),
            earlier: HashMap::new(),
            changes: Changes::default(),
            contradiction: None,
            undo: None,
        }
    }

    /// The time at which everything is decided.
    #[must_use]
    pub const fn time(&self) -> Micros {
        self.time
    }

    /// Puts in what is recorded about an account.
    pub fn put_account(&mut self, account_id: impl Into<String>, holding: Holding) {
        self.accounts.insert(account_id.into(), holding);
    }

    /// Puts in what all accounts of a currency have turned over.
    pub fn put_total(&mut self, currency: Currency, total: Counters) {
        self.totals.insert(currency, total);
    }

    /// Puts in a transaction.
    pub fn put_transaction(&mut self, transaction: TransactionRecord) {
        let id = transaction.transaction_id.clone();
        self.transactions.insert(id, Arc::new(transaction));
    }

    /// Puts in what a request id was used for before.
    pub fn put_earlier(&mut self, call: Call, request_id: impl Into<String>, earlier: Earlier) {
        self.earlier
            .insert((call.space(), request_id.into()), earlier);
    }

    /// Whether an account was put in.
    #[must_use]
    pub fn has_account(&self, account_id: &str) -> bool {
        self.accounts.contains_key(account_id)
    }

    /// The accounts.
    pub fn accounts(&self) -> impl Iterator<Item = (&str, &Holding)> {
        self.accounts.iter().map(|(id, holding)| (&**id, holding))
    }

    /// The transactions.
    pub fn transactions(&self) -> impl Iterator<Item = &TransactionRecord> {
        self.transactions.values().map(|t| &**t)
    }

    /// What each currency has turned over, by code.
    pub fn totals(&self) -> impl Iterator<Item = (Currency, &Counters)> {
        self.totals.iter().map(|(code, total)| (*code, total))
    }

    /// Does a command; one outcome for each of its requests.
    pub fn apply(&mut self, command: &Command) -> Vec<Outcome> {
        if command.atomic {
            self.apply_atomic(&command.requests)
        } else {
            let requests = command.requests.iter();
            requests.map(|request| self.apply_one(request)).collect()
        }
    }

    fn apply_one(&mut self, request: &Request) -> Outcome {
        if let Some(earlier) = self.earlier(request) {
            return earlier;
        }
        match self.act(request) {
            Ok(answer) => Outcome::Done {
                answer,
                replayed: false,
            },
            Err(refusal) => {
                self.remember(request, refusal.clone());
                Outcome::Refused(refusal)
            }
        }
    }

    /// All, or none and the one that was refused. One that was refused before comes first: it is
    /// why the batch was refused then, and is so for ever.
    fn apply_atomic(&mut self, requests: &[Request]) -> Vec<Outcome> {
        let refused = |outcome: &Outcome| !matches!(outcome, Outcome::Done { .. });
        let failed_before = requests.iter().enumerate().find_map(|(index, request)| {
            let earlier = self.earlier(request)?;
            refused(&earlier).then_some((index, earlier))
        });
        let (failed, outcome) = match failed_before {
            Some(failed) => failed,
            None => match self.try_all(requests) {
                Ok(outcomes) => return outcomes,
                Err((index, Some(refusal))) => {
                    if let Some(request) = requests.get(index) {
                        self.remember(request, refusal.clone());
                    }
                    (index, Outcome::Refused(refusal))
                }
                // The same id twice in one batch, with two bodies.
                Err((index, None)) => match requests.get(index).and_then(|r| self.earlier(r)) {
                    Some(earlier) if refused(&earlier) => (index, earlier),
                    _ => {
                        let request = &requests[index];
                        let reused = Outcome::Reused(request.action.call(), request.body.clone());
                        (index, reused)
                    }
                },
            },
        };
        let mut outcomes = vec![Outcome::Linked; requests.len()];
        if let Some(place) = outcomes.get_mut(failed) {
            *place = outcome;
        }
        outcomes
    }

    /// Does them all, or undoes what was done and says which one failed.
    fn try_all(&mut self, requests: &[Request]) -> Result<Vec<Outcome>, (usize, Option<Refusal>)> {
        let (head, totals) = (self.head, self.totals.clone());
        let mark = self.changes.mark();
        self.undo = Some(Vec::new());
        let mut outcomes = Vec::with_capacity(requests.len());
        let mut failed = None;
        for (index, request) in requests.iter().enumerate() {
            match self.earlier(request) {
                Some(done @ Outcome::Done { .. }) => outcomes.push(done),
                Some(_) => failed = Some((index, None)),
                None => match self.act(request) {
                    Ok(answer) => outcomes.push(Outcome::Done {
                        answer,
                        replayed: false,
                    }),
                    Err(refusal) => failed = Some((index, Some(refusal))),
                },
            }
            if failed.is_some() {
                break;
            }
        }
        let undo = self.undo.take().unwrap_or_default();
        let Some(failed) = failed else {
            return Ok(outcomes);
        };
        for (account_id, counters) in undo.into_iter().rev() {
            if let Some(holding) = self.accounts.get_mut(&account_id) {
                holding.counters = counters;
            }
        }
        (self.head, self.totals) = (head, totals);
        for entry in self.changes.rewind(mark) {
            self.transactions.remove(&entry.request_id);
        }
        Err(failed)
    }

    /// What became of the request's id before, if it was used.
    fn earlier(&self, request: &Request) -> Option<Outcome> {
        let call = request.action.call();
        if call.space() == Call::Record
            && let Some(recorded) = self.transactions.get(&request.request_id)
        {
            let first = match recorded.kind {
                Kind::Reverse => Call::Reverse,
                _ => Call::Record,
            };
            return Some(if first == call && recorded.body == request.body {
                replayed(Answer::Transaction(recorded.clone()))
            } else {
                Outcome::Reused(first, recorded.body.clone())
            });
        }
        let key = (call.space(), request.request_id.clone());
        match self.earlier.get(&key)? {
            Earlier::Done(first) if *first == request.body => self.subject(&request.action),
            Earlier::Done(first) => Some(Outcome::Reused(call, first.clone())),
            Earlier::Refused(by, first, refusal) if *by == call && *first == request.body => {
                Some(Outcome::Refused(refusal.clone()))
            }
            Earlier::Refused(by, first, _) => Some(Outcome::Reused(*by, first.clone())),
        }
    }

    /// What the request is about, as it is now.
    fn subject(&self, action: &Action) -> Option<Outcome> {
        let answer = match action {
            Action::CreateAccount(NewAccount { account_id, .. })
            | Action::CloseAccount(account_id)
            | Action::ReopenAccount(account_id) => {
                Answer::Account(self.accounts.get(account_id)?.record.clone())
            }
            Action::Post { transaction_id, .. } | Action::Void(transaction_id) => {
                Answer::Transaction(self.transactions.get(transaction_id)?.clone())
            }
            Action::Record(_) | Action::Reverse { .. } => return None,
        };
        Some(replayed(answer))
    }

    fn act(&mut self, request: &Request) -> Result<Answer, Refusal> {
        match &request.action {
            Action::CreateAccount(new) => self.create(request, new),
            Action::CloseAccount(account_id) => self.close(request, account_id),
            Action::ReopenAccount(account_id) => self.reopen(request, account_id),
            Action::Record(new) => self.record(request, new),
            Action::Post {
                transaction_id,
                amounts,
            } => self.post(request, transaction_id, amounts.as_deref()),
            Action::Void(transaction_id) => self.void(request, transaction_id),
            Action::Reverse {
                transaction_id,
                about,
            } => self.reverse(request, transaction_id, about),
        }
    }

    fn remember(&mut self, request: &Request, refusal: Refusal) {
        let call = request.action.call();
        let body = request.body.clone();
        let earlier = Earlier::Refused(call, body.clone(), refusal.clone());
        self.put_earlier(call, request.request_id.clone(), earlier);
        self.changes.refusals.push(RememberedRefusal {
            call,
            request_id: request.request_id.clone(),
            body,
            refusal,
            record_time: self.time,
        });
    }

    fn create(&mut self, request: &Request, new: &NewAccount) -> Result<Answer, Refusal> {
        if self.accounts.contains_key(&new.account_id) {
            let words = "is taken by another account";
            return Err(Refusal::of(Reason::AccountExists, "account_id", words));
        }
        self.head.accounts += 1;
        let record = AccountRecord {
            create_time: self.time,
            body: request.body.clone(),
            closed: false,
        };
        let holding = Holding {
            key: self.head.accounts,
            account_type: new.account_type,
            currency: new.currency,
            limit: new.limit,
            counters: Counters::zero(new.currency),
            record: record.clone(),
        };
        self.changes.accounts.push(NewAccountRow {
            key: holding.key,
            new: new.clone(),
            create_time: self.time,
            request_id: request.request_id.clone(),
            body: request.body.clone(),
            hash: crate::domain::GENESIS,
        });
        self.put_account(new.account_id.clone(), holding);
        let done = Earlier::Done(request.body.clone());
        self.put_earlier(Call::CreateAccount, request.request_id.clone(), done);
        Ok(Answer::Account(record))
    }

    fn close(&mut self, request: &Request, account_id: &str) -> Result<Answer, Refusal> {
        let holding = self.account(account_id)?;
        if holding.record.closed {
            let words = "names an account that is closed";
            return Err(Refusal::of(Reason::AccountClosed, "account_id", words));
        }
        if !holding.counters.is_settled() {
            let words = "names an account that has something pending";
            return Err(Refusal::of(Reason::AccountHasPending, "account_id", words));
        }
        Ok(self.set_closed(request, account_id, true))
    }

    fn reopen(&mut self, request: &Request, account_id: &str) -> Result<Answer, Refusal> {
        if !self.account(account_id)?.record.closed {
            let words = "names an account that is open";
            return Err(Refusal::of(Reason::AccountNotClosed, "account_id", words));
        }
        Ok(self.set_closed(request, account_id, false))
    }

    fn account(&self, account_id: &str) -> Result<&Holding, Refusal> {
        self.accounts.get(account_id).ok_or_else(|| {
            let words = "names no account";
            Refusal::of(Reason::AccountNotFound, "account_id", words)
        })
    }
}

const fn replayed(answer: Answer) -> Outcome {
    Outcome::Done {
        answer,
        replayed: true,
    }
}

#[cfg(test)]
mod tests;
