//! Recording: new transactions, reversals, and the entries that close accounts.

use std::{collections::BTreeMap, sync::Arc};

use money::Currency;

use crate::domain::{
    About, Answer, Books, Call, Counters, Entry, GENESIS, KeyedLeg, Kind, Leg, Limit, Micros,
    NewTransaction, Reason, Refusal, Request, Stage, State, TransactionRecord, books::Earlier,
};

impl Books {
    pub(super) fn record(
        &mut self,
        request: &Request,
        new: &NewTransaction,
    ) -> Result<Answer, Refusal> {
        let (kind, stage) = match new.hold {
            Some(_) => (Kind::Pend, Stage::Pending),
            None => (Kind::Record, Stage::Posted),
        };
        let legs = new.transaction.legs();
        self.move_legs(legs, stage)?;
        let timeout = new.hold.and_then(|hold| hold.timeout);
        let expire_time = timeout.map(|timeout| self.time.saturating_add(timeout));
        let record = self.add_transaction(request, kind, legs.to_vec(), &new.about, expire_time);
        if kind == Kind::Pend {
            self.changes.held.push((record.sequence, expire_time));
        }
        Ok(Answer::Transaction(record))
    }

    /// Takes a posted transaction back: its legs with the sides exchanged.
    pub(super) fn reverse(
        &mut self,
        request: &Request,
        transaction_id: &str,
        about: &About,
    ) -> Result<Answer, Refusal> {
        let original = self.transaction(transaction_id)?.clone();
        match original.state(self.time) {
            State::Posted => {}
            other => return Err(Refusal::stands(other)),
        }
        if original.reversed_by.is_some() {
            let (reason, words) = (Reason::TransactionReversed, "was reversed before");
            return Err(Refusal::of(reason, "transaction_id", words));
        }
        let exchanged = original
            .posted_legs()
            .filter_map(|leg| Leg::new(leg.account_id(), leg.side().opposite(), leg.amount()).ok());
        let legs: Vec<Leg> = exchanged.collect();
        self.move_legs(&legs, Stage::Posted)?;
        let mut record = self.add_transaction(request, Kind::Reverse, legs, about, None);
        Arc::make_mut(&mut record).reverses = Some(transaction_id.to_owned());
        let id = request.request_id.clone();
        self.transactions.insert(id.clone(), record.clone());
        if let Some(entry) = self.changes.entries.last_mut() {
            entry.target = Some(original.sequence);
        }
        if let Some(original) = self.transactions.get_mut(transaction_id) {
            Arc::make_mut(original).reversed_by = Some(id);
        }
        Ok(Answer::Transaction(record))
    }

    pub(super) fn transaction(
        &self,
        transaction_id: &str,
    ) -> Result<&Arc<TransactionRecord>, Refusal> {
        self.transactions.get(transaction_id).ok_or_else(|| {
            let (reason, words) = (Reason::TransactionNotFound, "names no transaction");
            Refusal::of(reason, "transaction_id", words)
        })
    }

    /// Adds legs to the counters, all of them or, with the refusal that comes first, none.
    fn move_legs(&mut self, legs: &[Leg], stage: Stage) -> Result<(), Refusal> {
        self.check_accounts(legs)?;
        let totals = self.add_totals(legs, stage)?;
        let counters = self.add_counters(legs, stage)?;
        for (currency, total) in totals {
            self.totals.insert(currency, total);
            self.changes.totals.insert(currency, ());
        }
        for (account_id, after) in counters {
            self.set_counters(account_id, after);
        }
        Ok(())
    }

    pub(super) fn set_counters(&mut self, account_id: &str, after: Counters) {
        if let Some(holding) = self.accounts.get_mut(account_id) {
            if let Some(undo) = &mut self.undo {
                undo.push((account_id.to_owned(), holding.counters));
            }
            holding.counters = after;
            if !self.changes.touched.contains(account_id) {
                self.changes.touched.insert(account_id.to_owned());
            }
        }
    }

    /// One reason after the other, each over all legs: the order of precedence.
    fn check_accounts(&self, legs: &[Leg]) -> Result<(), Refusal> {
        for (index, leg) in legs.iter().enumerate() {
            if !self.accounts.contains_key(leg.account_id()) {
                let words = format!("names no account: {}", leg.account_id());
                let reason = Reason::AccountNotFound;
                return Err(Refusal::leg(reason, index, "account_id", words));
            }
        }
        let found = |leg: &Leg| self.accounts.get(leg.account_id());
        for (index, leg) in legs.iter().enumerate() {
            if found(leg).is_some_and(|holding| holding.record.closed) {
                let words = format!("names an account that is closed: {}", leg.account_id());
                let reason = Reason::AccountClosed;
                return Err(Refusal::leg(reason, index, "account_id", words));
            }
        }
        for (index, leg) in legs.iter().enumerate() {
            let currency = leg.amount().currency();
            if let Some(holding) = found(leg)
                && holding.currency != currency
            {
                let (id, kept) = (leg.account_id(), holding.currency);
                return Err(Refusal::leg(
                    Reason::CurrencyMismatch,
                    index,
                    "amount.currency_code",
                    format!("is {currency}, but account {id} is kept in {kept}"),
                ));
            }
        }
        Ok(())
    }

    /// The totals of the currencies touched, with the legs added.
    fn add_totals(
        &self,
        legs: &[Leg],
        stage: Stage,
    ) -> Result<BTreeMap<Currency, Counters>, Refusal> {
        let mut totals = BTreeMap::new();
        for (index, leg) in legs.iter().enumerate() {
            let currency = leg.amount().currency();
            let total = totals.entry(currency).or_insert_with(|| {
                let recorded = self.totals.get(&currency).copied();
                recorded.unwrap_or_else(|| Counters::zero(currency))
            });
            *total = total
                .plus(stage, leg.side(), leg.amount())
                .map_err(|_| overflow(index, currency))?;
        }
        Ok(totals)
    }

    /// The counters of the accounts touched, with the legs added, if they stay within their limits.
    fn add_counters<'a>(
        &self,
        legs: &'a [Leg],
        stage: Stage,
    ) -> Result<BTreeMap<&'a str, Counters>, Refusal> {
        let mut counters = BTreeMap::new();
        let mut limited = false;
        for (index, leg) in legs.iter().enumerate() {
            let Some(holding) = self.accounts.get(leg.account_id()) else {
                continue;
            };
            limited |= holding.limit != Limit::None;
            let sums = counters.entry(leg.account_id()).or_insert(holding.counters);
            // Within the total's, which was checked before.
            *sums = sums
                .plus(stage, leg.side(), leg.amount())
                .map_err(|_| overflow(index, leg.amount().currency()))?;
        }
        // The whole transaction is what counts, in whichever order its legs are.
        let breaks = |leg: &&Leg, limit: Limit| {
            let holding = self.accounts.get(leg.account_id());
            holding.is_some_and(|holding| {
                holding.limit == limit
                    && counters
                        .get(leg.account_id())
                        .is_some_and(|sums| !sums.within(limit))
            })
        };
        if limited {
            for limit in [Limit::DebitsWithinCredits, Limit::CreditsWithinDebits] {
                if let Some(index) = legs.iter().position(|leg| breaks(&leg, limit)) {
                    return Err(Refusal::limit(index, legs[index].account_id(), limit));
                }
            }
        }
        Ok(counters)
    }

    fn add_transaction(
        &mut self,
        request: &Request,
        kind: Kind,
        legs: Vec<Leg>,
        about: &About,
        expire_time: Option<Micros>,
    ) -> Arc<TransactionRecord> {
        let keyed = self.keyed(legs.iter().enumerate());
        let effective_time = about.effective_time.unwrap_or(self.time);
        let sequence = self.add_entry(Entry {
            sequence: 0,
            kind,
            request_id: request.request_id.clone(),
            target: None,
            reference: about.reference.clone(),
            effective_time,
            record_time: self.time,
            expire_time,
            body: request.body.clone(),
            legs: keyed,
            hash: GENESIS,
        });
        self.head.transactions += 1;
        for (key, value) in &about.metadata {
            let label = (sequence, key.clone(), value.clone());
            self.changes.labels.push(label);
        }
        let record = Arc::new(TransactionRecord {
            transaction_id: request.request_id.clone(),
            sequence,
            kind,
            legs,
            effective_time,
            record_time: self.time,
            expire_time,
            body: request.body.clone(),
            settlement: None,
            reverses: None,
            reversed_by: None,
        });
        let id = request.request_id.clone();
        self.transactions.insert(id, record.clone());
        record
    }

    /// Legs with their places, by their accounts' numbers, with amounts that fit a column.
    pub(super) fn keyed<'a>(&self, legs: impl Iterator<Item = (usize, &'a Leg)>) -> Vec<KeyedLeg> {
        let keyed = |(position, leg): (usize, &Leg)| {
            Some(KeyedLeg {
                position: position.try_into().ok()?,
                account_key: self.accounts.get(leg.account_id())?.key,
                side: leg.side(),
                currency: leg.amount().currency(),
                minor: leg.amount().minor().try_into().ok()?,
            })
        };
        legs.filter_map(keyed).collect()
    }

    /// Gives the entry its place, and returns it.
    pub(super) fn add_entry(&mut self, entry: Entry) -> i64 {
        self.head.sequence += 1;
        let sequence = self.head.sequence;
        self.changes.entries.push(Entry { sequence, ..entry });
        sequence
    }

    pub(super) fn set_closed(
        &mut self,
        request: &Request,
        account_id: &str,
        closed: bool,
    ) -> Answer {
        let (kind, call) = if closed {
            (Kind::Close, Call::CloseAccount)
        } else {
            (Kind::Reopen, Call::ReopenAccount)
        };
        let target = self.accounts.get(account_id).map(|holding| holding.key);
        self.add_entry(Entry {
            sequence: 0,
            kind,
            request_id: request.request_id.clone(),
            target,
            reference: String::new(),
            effective_time: self.time,
            record_time: self.time,
            expire_time: None,
            body: request.body.clone(),
            legs: Vec::new(),
            hash: GENESIS,
        });
        let done = Earlier::Done(request.body.clone());
        self.put_earlier(call, request.request_id.clone(), done);
        self.changes.touched.insert(account_id.to_owned());
        let record = self.accounts.get_mut(account_id).map(|holding| {
            holding.record.closed = closed;
            holding.record.clone()
        });
        // The caller has found the account.
        Answer::Account(record.unwrap_or_else(|| crate::domain::AccountRecord {
            create_time: self.time,
            body: Arc::default(),
            closed,
        }))
    }
}

fn overflow(index: usize, currency: Currency) -> Refusal {
    let words = format!("would make the sums of {currency} too large to hold");
    Refusal::leg(Reason::BalanceOverflow, index, "amount", words)
}
