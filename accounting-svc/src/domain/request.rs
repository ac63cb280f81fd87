//! What is asked of the books, and what they answer.

use std::sync::Arc;

use money::{Currency, Money};

use crate::domain::{AccountType, Leg, Limit, Refusal, Transaction};

/// A moment, in microseconds since 1970; also a length of time.
pub type Micros = i64;

/// One call that changes something.
#[derive(Debug, Clone)]
pub struct Command {
    /// The caller's clock; the books' own time never goes back.
    pub now: Micros,
    /// What is asked: more than one is a batch.
    pub requests: Vec<Request>,
    /// Whether all are done or none is.
    pub atomic: bool,
}

/// One request, which its id makes idempotent.
#[derive(Debug, Clone)]
pub struct Request {
    /// The caller's id of the request.
    pub request_id: String,
    /// The request in its canonical encoding: the record itself.
    pub body: Arc<[u8]>,
    /// What it asks.
    pub action: Action,
}

/// What a request asks.
#[derive(Debug, Clone)]
pub enum Action {
    /// Create an account.
    CreateAccount(NewAccount),
    /// Close this account.
    CloseAccount(String),
    /// Open this account again.
    ReopenAccount(String),
    /// Record a transaction.
    Record(NewTransaction),
    /// Post a pending transaction: all of it, or so much of each leg.
    Post {
        /// Which one.
        transaction_id: String,
        /// How much of each leg, in their order; none means all.
        amounts: Option<Vec<Money>>,
    },
    /// Release this pending transaction.
    Void(String),
    /// Take a posted transaction back.
    Reverse {
        /// Which one.
        transaction_id: String,
        /// What is said about the new one.
        about: About,
    },
}

/// An account to create.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// Its id.
    pub account_id: String,
    /// On which side it grows.
    pub account_type: AccountType,
    /// The one currency it is kept in.
    pub currency: Currency,
    /// What it must never come to.
    pub limit: Limit,
}

/// A transaction to record.
#[derive(Debug, Clone)]
pub struct NewTransaction {
    /// What moves.
    pub transaction: Transaction,
    /// What is said about it.
    pub about: About,
    /// Whether and for how long it is pending.
    pub hold: Option<Hold>,
}

/// What is said about a transaction, for searching.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// The caller's own reference; may be empty.
    pub reference: String,
    /// When it happened, if the caller says.
    pub effective_time: Option<Micros>,
    /// Free pairs.
    pub metadata: Vec<(String, String)>,
}

/// How long something is pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// Above zero; none means until it is posted or voided.
    pub timeout: Option<Micros>,
}

/// The calls that change something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Call {
    /// CreateAccount.
    CreateAccount,
    /// CloseAccount.
    CloseAccount,
    /// ReopenAccount.
    ReopenAccount,
    /// RecordTransaction, alone or in a batch.
    Record,
    /// PostTransaction.
    Post,
    /// VoidTransaction.
    Void,
    /// ReverseTransaction.
    Reverse,
}

impl Call {
    /// Each call has request ids of its own, but those that record transactions share theirs: the
    /// ids become the transactions'.
    #[must_use]
    pub const fn space(self) -> Self {
        match self {
            Self::Reverse => Self::Record,
            own => own,
        }
    }
}

impl Action {
    /// The call that asks it.
    #[must_use]
    pub const fn call(&self) -> Call {
        match self {
            Self::CreateAccount(_) => Call::CreateAccount,
            Self::CloseAccount(_) => Call::CloseAccount,
            Self::ReopenAccount(_) => Call::ReopenAccount,
            Self::Record(_) => Call::Record,
            Self::Post { .. } => Call::Post,
            Self::Void(_) => Call::Void,
            Self::Reverse { .. } => Call::Reverse,
        }
    }
}

/// What became of a request, now or when its id was first used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done {
        /// What it made or changed, as it is now.
        answer: Answer,
        /// Whether that was earlier.
        replayed: bool,
    },
    /// The books refused it.
    Refused(Refusal),
    /// The id was used before, by this call with this body.
    Reused(Call, Arc<[u8]>),
    /// It is of an atomic batch of which another one was refused; it was not executed.
    Linked,
}

/// What a request made or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// An account.
    Account(AccountRecord),
    /// A transaction.
    Transaction(Arc<TransactionRecord>),
}

/// An account as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRecord {
    /// When it was created.
    pub create_time: Micros,
    /// The request that created it.
    pub body: Arc<[u8]>,
    /// Whether nothing is recorded on it any more.
    pub closed: bool,
}

/// What an entry of the journal does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Records a transaction that is posted at once.
    Record,
    /// Records a pending transaction.
    Pend,
    /// Records a transaction that takes another one back.
    Reverse,
    /// Posts a pending transaction.
    Post,
    /// Voids a pending transaction.
    Void,
    /// Closes an account.
    Close,
    /// Opens an account again.
    Reopen,
}

/// Where a transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It counts for good.
    Posted,
    /// It is set aside.
    Pending,
    /// It was released.
    Voided,
    /// Its time ran out.
    Expired,
}

/// A transaction as it is recorded, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionRecord {
    /// The id.
    pub transaction_id: String,
    /// The place in the journal.
    pub sequence: i64,
    /// [`Kind::Record`], [`Kind::Pend`] or [`Kind::Reverse`].
    pub kind: Kind,
    /// What moves.
    pub legs: Vec<Leg>,
    /// When it happened.
    pub effective_time: Micros,
    /// When it was recorded.
    pub record_time: Micros,
    /// When it expires, if it is pending until then.
    pub expire_time: Option<Micros>,
    /// The request that recorded it.
    pub body: Arc<[u8]>,
    /// How it was posted or voided, if it was pending and was.
    pub settlement: Option<Settlement>,
    /// The id of the transaction that it takes back.
    pub reverses: Option<String>,
    /// The id of the transaction that takes it back.
    pub reversed_by: Option<String>,
}

/// How a pending transaction ended, if not by time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// When.
    pub record_time: Micros,
    /// How much of each leg was posted, in their order; none if it was voided.
    pub posted: Option<Vec<Money>>,
}

impl TransactionRecord {
    /// Where it stands at `time`.
    #[must_use]
    pub fn state(&self, time: Micros) -> State {
        match (&self.kind, &self.settlement) {
            (Kind::Pend, Some(settlement)) if settlement.posted.is_some() => State::Posted,
            (Kind::Pend, Some(_)) => State::Voided,
            (Kind::Pend, None) if self.expire_time.is_some_and(|t| t <= time) => State::Expired,
            (Kind::Pend, None) => State::Pending,
            _ => State::Posted,
        }
    }

    /// What of it counts for good: its legs, or the parts of them that were posted.
    pub fn posted_legs(&self) -> impl Iterator<Item = Leg> {
        let parts = self.settlement.as_ref().and_then(|s| s.posted.as_deref());
        self.legs.iter().enumerate().filter_map(move |(i, leg)| {
            let amount = parts.map_or(Some(leg.amount()), |p| p.get(i).copied())?;
            Leg::new(leg.account_id(), leg.side(), amount).ok()
        })
    }
}
