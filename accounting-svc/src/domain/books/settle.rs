//! Settling what is pending: posting, voiding, and the time that runs out.

use std::sync::Arc;

use money::Money;

use crate::domain::{
    Answer, Books, Call, Counters, Entry, GENESIS, Kind, Leg, Reason, Refusal, Request, Settlement,
    Stage, State, Transaction, TransactionRecord, books::Earlier,
};

impl Books {
    /// Releases what has expired, before anything is decided: these pending transactions are to be
    /// put in as well, with the accounts on their legs.
    pub fn expire(&mut self, transaction_ids: &[String]) {
        for id in transaction_ids {
            let Some(due) = self.transactions.get(id).cloned() else {
                continue;
            };
            if due.state(self.time) == State::Expired {
                self.release(&due);
            }
        }
    }

    pub(super) fn post(
        &mut self,
        request: &Request,
        transaction_id: &str,
        amounts: Option<&[Money]>,
    ) -> Result<Answer, Refusal> {
        let pending = self.pending(transaction_id)?;
        let all = || pending.legs.iter().map(Leg::amount).collect();
        let amounts: Vec<Money> = amounts.map_or_else(all, <[Money]>::to_vec);
        check_amounts(&pending, &amounts)?;
        self.release(&pending);
        let parts: Vec<(usize, Leg)> = (pending.legs.iter().zip(&amounts).enumerate())
            .filter_map(|(place, (leg, amount))| {
                let part = Leg::new(leg.account_id(), leg.side(), *amount).ok()?;
                Some((place, part))
            })
            .collect();
        for (_, leg) in &parts {
            let amount = leg.amount();
            // So much was pending, and what is pending can always be posted.
            self.count(leg, |counters| {
                counters.plus(Stage::Posted, leg.side(), amount)
            });
        }
        Ok(self.settle(request, Kind::Post, &pending, &parts, Some(amounts)))
    }

    pub(super) fn void(
        &mut self,
        request: &Request,
        transaction_id: &str,
    ) -> Result<Answer, Refusal> {
        let pending = self.pending(transaction_id)?;
        self.release(&pending);
        Ok(self.settle(request, Kind::Void, &pending, &[], None))
    }

    /// The transaction, if it is pending.
    fn pending(&self, transaction_id: &str) -> Result<Arc<TransactionRecord>, Refusal> {
        let found = self.transaction(transaction_id)?;
        if found.kind != Kind::Pend {
            let (reason, words) = (Reason::TransactionNotPending, "was not recorded as pending");
            return Err(Refusal::of(reason, "transaction_id", words));
        }
        match found.state(self.time) {
            State::Pending => Ok(found.clone()),
            other => Err(Refusal::stands(other)),
        }
    }

    /// Takes what is pending off the counters.
    fn release(&mut self, pending: &TransactionRecord) {
        for leg in &pending.legs {
            // It was added when it was recorded.
            self.count(leg, |counters| counters.release(leg.side(), leg.amount()));
        }
        self.changes.released.push(pending.sequence);
    }

    /// Changes what the leg's account and its currency have turned over, by what cannot fail while
    /// they hold what the journal adds up to.
    fn count(&mut self, leg: &Leg, change: impl Fn(Counters) -> Result<Counters, money::Error>) {
        let account = self.accounts.get(leg.account_id());
        let account = account.and_then(|holding| change(holding.counters).ok());
        let total = self.totals.get(&leg.amount().currency());
        let total = total.and_then(|total| change(*total).ok());
        let (Some(account), Some(total)) = (account, total) else {
            self.contradiction = Some("counters that do not hold what is pending");
            return;
        };
        self.set_counters(leg.account_id(), account);
        self.totals.insert(leg.amount().currency(), total);
        self.changes.totals.insert(leg.amount().currency(), ());
    }

    fn settle(
        &mut self,
        request: &Request,
        kind: Kind,
        pending: &TransactionRecord,
        parts: &[(usize, Leg)],
        posted: Option<Vec<Money>>,
    ) -> Answer {
        let call = match kind {
            Kind::Post => Call::Post,
            _ => Call::Void,
        };
        self.add_entry(Entry {
            sequence: 0,
            kind,
            request_id: request.request_id.clone(),
            target: Some(pending.sequence),
            reference: String::new(),
            effective_time: pending.effective_time,
            record_time: self.time,
            expire_time: None,
            body: request.body.clone(),
            legs: self.keyed(parts.iter().map(|(place, leg)| (*place, leg))),
            hash: GENESIS,
        });
        let done = Earlier::Done(request.body.clone());
        self.put_earlier(call, request.request_id.clone(), done);
        let mut settled = pending.clone();
        settled.settlement = Some(Settlement {
            record_time: self.time,
            posted,
        });
        let settled = Arc::new(settled);
        let id = settled.transaction_id.clone();
        self.transactions.insert(id, settled.clone());
        Answer::Transaction(settled)
    }
}

/// Whether so much of each leg can be posted.
fn check_amounts(pending: &TransactionRecord, amounts: &[Money]) -> Result<(), Refusal> {
    let mismatch = |field: &str, words: &str| {
        let reason = Reason::AmountsMismatch;
        Err(Refusal::of(reason, field, words))
    };
    if amounts.len() != pending.legs.len() {
        let words = format!("must be one for each of the {} legs", pending.legs.len());
        return mismatch("amounts", &words);
    }
    let pairs = || pending.legs.iter().zip(amounts).enumerate();
    for (index, (leg, amount)) in pairs() {
        if amount.currency() != leg.amount().currency() {
            let words = format!("is not in the leg's currency, {}", leg.amount().currency());
            return mismatch(&format!("amounts[{index}]"), &words);
        }
    }
    let parts = pairs()
        .filter_map(|(_, (leg, amount))| Leg::new(leg.account_id(), leg.side(), *amount).ok());
    if let Err(invalid) = Transaction::new(parts.collect()) {
        return mismatch("amounts", &invalid.to_string());
    }
    for (index, (leg, amount)) in pairs() {
        if amount.minor() > leg.amount().minor() {
            let words = format!("is more than the leg's {}", leg.amount());
            let field = format!("amounts[{index}]");
            return Err(Refusal::of(Reason::ExceedsPending, &field, words));
        }
    }
    Ok(())
}
