//! What some commands changed, for the store to save.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use money::Currency;

use crate::domain::{
    AccountRow, Books, Call, Counters, Entry, Hash, Head, Holding, Limit, Micros, NewAccount,
    Refusal, Side, chain::Numbered as _,
};

/// What changed. Rows to add are complete; counters are as they are now.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// New accounts, in the order of their keys.
    pub accounts: Vec<NewAccountRow>,
    /// New entries of the journal, in order.
    pub entries: Vec<Entry>,
    /// The metadata of new transactions: sequence, key, value.
    pub labels: Vec<(i64, String, String)>,
    /// Refusals to remember.
    pub refusals: Vec<RememberedRefusal>,
    /// Transactions that are pending from now on, and until when.
    pub held: Vec<(i64, Option<Micros>)>,
    /// Transactions that are no longer pending.
    pub released: Vec<i64>,
    /// Accounts that existed before and are not as they were.
    pub touched: BTreeSet<String>,
    /// Currencies whose totals are not as they were.
    pub totals: BTreeMap<Currency, ()>,
}

/// An account to add.
#[derive(Debug, Clone)]
pub struct NewAccountRow {
    /// Its number.
    pub key: i64,
    /// What was asked.
    pub new: NewAccount,
    /// When.
    pub create_time: Micros,
    /// The request.
    pub request_id: String,
    /// Its canonical encoding.
    pub body: Arc<[u8]>,
    /// The hash of the chain of accounts up to here.
    pub hash: Hash,
}

/// A refusal to keep.
#[derive(Debug, Clone)]
pub struct RememberedRefusal {
    /// The call.
    pub call: Call,
    /// The request.
    pub request_id: String,
    /// Its canonical encoding.
    pub body: Arc<[u8]>,
    /// What it was told.
    pub refusal: Refusal,
    /// When.
    pub record_time: Micros,
}

/// Where the changes of an atomic batch begin.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    entries: usize,
    labels: usize,
    held: usize,
}

impl Changes {
    pub(super) const fn mark(&self) -> Mark {
        Mark {
            entries: self.entries.len(),
            labels: self.labels.len(),
            held: self.held.len(),
        }
    }

    /// Forgets what came after the mark, and gives back the entries.
    pub(super) fn rewind(&mut self, mark: Mark) -> Vec<Entry> {
        self.labels.truncate(mark.labels);
        self.held.truncate(mark.held);
        self.entries.split_off(mark.entries)
    }

    /// Whether there is nothing to save. What has only been released is not: it will be again, and
    /// would move the books' time without anything to show for it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty() && self.entries.is_empty() && self.refusals.is_empty()
    }
}

/// Books after their commands: what to save.
#[derive(Debug)]
pub struct Finished {
    /// The ends of the chains before.
    pub before: Head,
    /// The ends of the chains now.
    pub head: Head,
    /// What changed.
    pub changes: Changes,
    /// What they were loaded from contradicts itself: nothing may be saved.
    pub contradiction: Option<&'static str>,
    accounts: std::collections::HashMap<String, Holding>,
    totals: BTreeMap<Currency, Counters>,
}

impl Finished {
    /// The accounts that existed before and changed.
    pub fn touched(&self) -> impl Iterator<Item = &Holding> {
        let fresh = self.before.accounts;
        let ids = self.changes.touched.iter();
        ids.filter_map(|id| self.accounts.get(id))
            .filter(move |holding| holding.key <= fresh)
    }

    /// What a new account has turned over already.
    #[must_use]
    pub fn holding(&self, account_id: &str) -> Option<&Holding> {
        self.accounts.get(account_id)
    }

    /// The totals that changed.
    pub fn totals(&self) -> impl Iterator<Item = (Currency, &Counters)> {
        let codes = self.changes.totals.keys();
        codes.filter_map(|code| Some((*code, self.totals.get(code)?)))
    }
}

/// The accounts, as a group left them: what the next one need not load. It is that of the file as
/// long as nobody else writes to it.
#[derive(Debug, Default)]
pub struct Remembered(std::collections::HashMap<String, Holding>);

impl Remembered {
    /// The most accounts in it, some hundred bytes each; beyond that it begins anew.
    const MOST: usize = 50_000;
}

impl Finished {
    /// What the next group need not load.
    #[must_use]
    pub fn remembered(self) -> Remembered {
        let unsaved = self.changes.is_empty() && !self.changes.released.is_empty();
        if unsaved || self.accounts.len() > Remembered::MOST {
            return Remembered::default();
        }
        Remembered(self.accounts)
    }
}

impl Books {
    /// Puts in the accounts that are known from the group before.
    pub fn put_remembered(&mut self, remembered: Remembered) {
        self.accounts = remembered.0;
    }

    /// Ties what was recorded into the chains, and hands it over.
    #[must_use]
    pub fn finish(mut self, before: Head) -> Finished {
        let mut head = self.head;
        head.hash = before.hash;
        for entry in &mut self.changes.entries {
            entry.hash = entry.hash_after(&head.hash);
            head.hash = entry.hash;
        }
        // Also by what leaves no entry: what was refused or released at this time is not judged by
        // an earlier one again, whatever clock the next caller has.
        if !self.changes.is_empty() {
            head.record_time = self.time;
        }
        head.accounts_hash = before.accounts_hash;
        for row in &mut self.changes.accounts {
            row.hash = row.row().hash_after(&head.accounts_hash);
            head.accounts_hash = row.hash;
        }
        Finished {
            before,
            head,
            changes: self.changes,
            contradiction: self.contradiction,
            accounts: self.accounts,
            totals: self.totals,
        }
    }
}

impl NewAccountRow {
    /// As the chain sees it.
    #[must_use]
    pub fn row(&self) -> AccountRow<'_> {
        AccountRow {
            account_key: self.key,
            account_id: &self.new.account_id,
            account_type: self.new.account_type.number(),
            currency: self.new.currency.code(),
            limit: self.new.limit.number(),
            create_time: self.create_time,
            request_id: &self.request_id,
            body: &self.body,
        }
    }
}

impl Holding {
    /// What a row of it holds: debits, credits, pending debits, pending credits. Nothing when one
    /// does not fit, which [`Books`] never lets it come to.
    #[must_use]
    pub fn row(&self) -> Option<[i64; 4]> {
        self.counters.row()
    }

    /// Whether it has a limit.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.limit != Limit::None
    }
}

impl Counters {
    /// As numbers: debits, credits, pending debits, pending credits.
    #[must_use]
    pub fn row(&self) -> Option<[i64; 4]> {
        let minor = |part: &crate::domain::Turnover, side| part.side(side).minor().try_into().ok();
        Some([
            minor(&self.posted, Side::Debit)?,
            minor(&self.posted, Side::Credit)?,
            minor(&self.pending, Side::Debit)?,
            minor(&self.pending, Side::Credit)?,
        ])
    }

    /// From numbers, in the same order.
    #[must_use]
    pub fn of_row(currency: Currency, numbers: [i64; 4]) -> Self {
        let [debits, credits, pending_debits, pending_credits] =
            numbers.map(|minor| money::Money::from_minor(minor.into(), currency));
        Self {
            posted: crate::domain::Turnover { debits, credits },
            pending: crate::domain::Turnover {
                debits: pending_debits,
                credits: pending_credits,
            },
        }
    }
}
