//! The hash chain: each entry of the journal is tied to all that come before it.
//!
//! The hash of an entry is SHA-256 over the hash of the entry before it and over every column of
//! the entry and of its legs, each with its length or in a fixed width. Accounts have a chain of
//! their own.

use std::sync::Arc;

use money::Currency;
use sha2::{Digest as _, Sha256};

use crate::domain::{Kind, Micros, Side};

/// A hash of the chain.
pub type Hash = [u8; 32];

/// What the first entry is tied to.
pub const GENESIS: Hash = [0; 32];

/// An entry of the journal, as it is in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The place in the journal, from 1, without gaps.
    pub sequence: i64,
    /// What it does.
    pub kind: Kind,
    /// The request that did it. Of the first three kinds, the transaction's id.
    pub request_id: String,
    /// The sequence of the transaction, or the key of the account, that it is about.
    pub target: Option<i64>,
    /// The caller's reference.
    pub reference: String,
    /// When it happened.
    pub effective_time: Micros,
    /// When it was recorded; never before the entry that precedes it.
    pub record_time: Micros,
    /// When it expires.
    pub expire_time: Option<Micros>,
    /// The request.
    pub body: Arc<[u8]>,
    /// What moves.
    pub legs: Vec<KeyedLeg>,
    /// The hash of the chain up to here.
    pub hash: Hash,
}

/// A leg by the database's own number of its account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyedLeg {
    /// The place among the legs of the transaction, from 0. A post leaves those out of which it
    /// posts nothing.
    pub position: i64,
    /// The account's number.
    pub account_key: i64,
    /// Which side of it.
    pub side: Side,
    /// In which currency.
    pub currency: Currency,
    /// How many smallest units.
    pub minor: i64,
}

/// An account's row, as the chain of accounts sees it.
#[derive(Debug, Clone, Copy)]
pub struct AccountRow<'a> {
    /// The database's own number, from 1, without gaps.
    pub account_key: i64,
    /// The id.
    pub account_id: &'a str,
    /// The number of its type.
    pub account_type: i64,
    /// The code of its currency.
    pub currency: &'a str,
    /// The number of its limit.
    pub limit: i64,
    /// When it was created.
    pub create_time: Micros,
    /// The request that created it.
    pub request_id: &'a str,
    /// Its canonical encoding.
    pub body: &'a [u8],
}

struct Fields(Sha256);

impl Fields {
    fn new(tag: &str, before: &Hash) -> Self {
        Self(Sha256::new().chain_update(tag).chain_update(before))
    }

    fn number(&mut self, number: i64) {
        self.0.update(number.to_be_bytes());
    }

    fn optional(&mut self, number: Option<i64>) {
        self.0.update([u8::from(number.is_some())]);
        self.number(number.unwrap_or(0));
    }

    fn bytes(&mut self, bytes: &[u8]) {
        // A length in memory fits 64 bits on every machine there is.
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    fn finish(self) -> Hash {
        self.0.finalize().into()
    }
}

impl Entry {
    /// Its hash, when `before` is the hash of the entry before it.
    #[must_use]
    pub fn hash_after(&self, before: &Hash) -> Hash {
        let mut fields = Fields::new("mizan.entry.1", before);
        fields.number(self.sequence);
        fields.number(self.kind.number());
        fields.bytes(self.request_id.as_bytes());
        fields.optional(self.target);
        fields.bytes(self.reference.as_bytes());
        fields.number(self.effective_time);
        fields.number(self.record_time);
        fields.optional(self.expire_time);
        fields.bytes(&self.body);
        for leg in &self.legs {
            fields.number(leg.position);
            fields.number(leg.account_key);
            fields.number(leg.side.number());
            fields.bytes(leg.currency.code().as_bytes());
            fields.number(leg.minor);
        }
        fields.finish()
    }
}

impl AccountRow<'_> {
    /// Its hash, when `before` is the hash of the account before it.
    #[must_use]
    pub fn hash_after(&self, before: &Hash) -> Hash {
        let mut fields = Fields::new("mizan.account.1", before);
        fields.number(self.account_key);
        fields.bytes(self.account_id.as_bytes());
        fields.number(self.account_type);
        fields.bytes(self.currency.as_bytes());
        fields.number(self.limit);
        fields.number(self.create_time);
        fields.bytes(self.request_id.as_bytes());
        fields.bytes(self.body);
        fields.finish()
    }
}

/// Numbers that stand for words in the database and in the chain: never renumbered.
pub trait Numbered: Sized {
    /// The number.
    fn number(self) -> i64;
    /// What it stands for.
    fn from_number(number: i64) -> Option<Self>;
}

macro_rules! numbered {
    ($type:ty { $($variant:ident = $number:literal),+ $(,)? }) => {
        impl Numbered for $type {
            fn number(self) -> i64 {
                match self {
                    $(Self::$variant => $number,)+
                }
            }

            fn from_number(number: i64) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

numbered!(Kind { Record = 1, Pend = 2, Reverse = 3, Post = 4, Void = 5, Close = 6, Reopen = 7 });
numbered!(Side { Debit = 1, Credit = 2 });
numbered!(crate::domain::AccountType { Asset = 1, Liability = 2, Equity = 3, Income = 4, Expense = 5 });
numbered!(crate::domain::Limit { None = 0, DebitsWithinCredits = 1, CreditsWithinDebits = 2 });
numbered!(crate::domain::Call {
    CreateAccount = 1,
    CloseAccount = 2,
    ReopenAccount = 3,
    Record = 4,
    Post = 5,
    Void = 6,
    Reverse = 7,
});

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        let leg = |account_key, side| KeyedLeg {
            position: account_key - 1,
            account_key,
            side,
            currency: "GBP".parse().unwrap(),
            minor: 100,
        };
        Entry {
            sequence: 7,
            kind: Kind::Pend,
            request_id: "t".into(),
            target: None,
            reference: "r".into(),
            effective_time: 1,
            record_time: 2,
            expire_time: Some(3),
            body: vec![1, 2].into(),
            legs: vec![leg(1, Side::Debit), leg(2, Side::Credit)],
            hash: GENESIS,
        }
    }

    #[test]
    fn every_column_is_in_the_hash() {
        let changes: [fn(&mut Entry); 15] = [
            |e| e.sequence += 1,
            |e| e.kind = Kind::Record,
            |e| e.request_id.push('x'),
            |e| e.target = Some(0),
            |e| e.reference.push('x'),
            |e| e.effective_time += 1,
            |e| e.record_time += 1,
            |e| e.expire_time = None,
            |e| e.body = vec![1, 3].into(),
            |e| e.legs[0].position = 2,
            |e| e.legs[0].account_key = 3,
            |e| e.legs[0].side = Side::Credit,
            |e| e.legs[0].currency = "USD".parse().unwrap(),
            |e| e.legs[0].minor += 1,
            |e| e.legs.swap(0, 1),
        ];
        let whole = entry().hash_after(&GENESIS);
        assert_eq!(whole, entry().hash_after(&GENESIS));
        assert_ne!(
            whole,
            entry().hash_after(&[1; 32]),
            "tied to what is before"
        );
        for (index, change) in changes.into_iter().enumerate() {
            let mut other = entry();
            change(&mut other);
            assert_ne!(whole, other.hash_after(&GENESIS), "change {index}");
        }
    }

    #[test]
    fn one_field_does_not_run_into_the_next() {
        let mut one = entry();
        (one.request_id, one.reference) = ("ab".into(), "c".into());
        let mut other = entry();
        (other.request_id, other.reference) = ("a".into(), "bc".into());
        assert_ne!(one.hash_after(&GENESIS), other.hash_after(&GENESIS));
    }
}
