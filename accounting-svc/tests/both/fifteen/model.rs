//! A small ledger in memory, right as it stands, and wrong in one way with each mutant: it shows
//! that the checks see what they are for, and nothing else.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard},
};

use sha2::{Digest as _, Sha256};
use tokio::task::yield_now;

use super::ledger::{Accounts, Answer, Entry, Move, Proof, Step};

/// What is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mutant {
    AddsUpAllCurrenciesTogether,
    MarksWhatIsReversedByEditingIt,
    ReadsTheLastHashBeforeLocking,
    TellsDuplicatesNotApart,
    LooksForTheIdBeforeLocking,
    LosesWhatIsBeyondItsBuffer,
    ReadsAccountsOneAfterTheOther,
    LetsAnAccountsLastLegWin,
    ChecksTheLimitBeforeLocking,
    RoundsTheSmallestUnitAway,
    TakesAnyCurrency,
    ReversesInTheSameDirection,
    VoidsWithoutWritingIt,
    HandsOutPlacesInPairs,
    RemembersAnIdButNotItsRefusal,
}

/// Callers of one account at once whose changes the buffer of
/// [`Mutant::LosesWhatIsBeyondItsBuffer`] holds.
const BUFFER: u32 = 256;

#[derive(Debug, Clone)]
pub(super) struct Model {
    inner: Arc<Mutex<Inner>>,
    mutant: Option<Mutant>,
}

#[derive(Debug, Default)]
struct Inner {
    accounts: Accounts,
    limited: BTreeMap<String, bool>,
    journal: Vec<Entry>,
    hashes: Vec<Vec<u8>>,
    ids: HashMap<String, Answer>,
    callers: HashMap<String, u32>,
}

/// What a step comes to: a new entry, or a change of this one.
enum Plan {
    Add(Entry),
    Settle { index: usize, posted: Vec<i64> },
}

impl Model {
    pub(super) fn new(mutant: Option<Mutant>) -> Self {
        Self {
            inner: Arc::default(),
            mutant,
        }
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub(super) fn create(&self, id: &str, code: &'static str, limited: bool) {
        let mut inner = self.lock();
        inner.accounts.insert(id.to_owned(), (code, [0; 4]));
        inner.limited.insert(id.to_owned(), limited);
    }

    /// Callers wait for each other twice, as they do at a database: what a mutant does at the wrong
    /// time, others do in between.
    pub(super) async fn ask(&self, id: &str, step: &Step) -> Answer {
        let touched: Vec<String> = match step {
            Step::Record(legs) => legs.iter().map(|leg| leg.account.clone()).collect(),
            _ => Vec::new(),
        };
        for account in &touched {
            *self.lock().callers.entry(account.clone()).or_default() += 1;
        }
        yield_now().await;
        let (known, decided, last) = {
            let inner = self.lock();
            let last = inner.hashes.last().cloned().unwrap_or_default();
            (inner.ids.get(id).cloned(), self.decide(&inner, step), last)
        };
        yield_now().await;
        let mut inner = self.lock();
        let known = match self.is(Mutant::LooksForTheIdBeforeLocking) {
            true => known,
            false => inner.ids.get(id).cloned(),
        };
        let decided = match self.is(Mutant::ChecksTheLimitBeforeLocking) {
            true => decided,
            false => self.decide(&inner, step),
        };
        let answer = known.map_or_else(
            || self.execute(&mut inner, id, decided, last),
            |first| self.again(first),
        );
        for account in &touched {
            *inner.callers.entry(account.clone()).or_default() -= 1;
        }
        answer
    }

    fn again(&self, first: Answer) -> Answer {
        match first {
            Answer::Done { sequence, .. } => Answer::Done {
                sequence,
                replayed: !self.is(Mutant::TellsDuplicatesNotApart),
            },
            Answer::Refused(_) if self.is(Mutant::RemembersAnIdButNotItsRefusal) => Answer::Done {
                sequence: 0,
                replayed: true,
            },
            refused @ Answer::Refused(_) => refused,
        }
    }

    fn execute(
        &self,
        inner: &mut Inner,
        id: &str,
        decided: Result<Plan, &'static str>,
        last: Vec<u8>,
    ) -> Answer {
        let answer = match decided {
            Err(reason) => Answer::Refused(reason.to_owned()),
            Ok(Plan::Add(mut entry)) => {
                let place = inner.journal.len();
                let sequence = match self.is(Mutant::HandsOutPlacesInPairs) {
                    true => (place ^ 1) + 1,
                    false => place + 1,
                };
                entry.sequence = i64::try_from(sequence).unwrap();
                entry.id = id.to_owned();
                entry.reference = format!("about {id}");
                entry.record_time = i128::try_from(place).unwrap();
                let before = match self.is(Mutant::ReadsTheLastHashBeforeLocking) {
                    true => last,
                    false => inner.hashes.last().cloned().unwrap_or_default(),
                };
                inner.hashes.push(hash(&before, &entry));
                self.count(inner, &entry);
                if self.is(Mutant::MarksWhatIsReversedByEditingIt) {
                    let original = inner.journal.iter_mut().find(|e| e.id == entry.reverses);
                    if let Some(original) = original {
                        original.reference = "reversed".to_owned();
                    }
                }
                let sequence = entry.sequence;
                inner.journal.push(entry);
                Answer::Done {
                    sequence,
                    replayed: false,
                }
            }
            Ok(Plan::Settle { index, posted }) => {
                let entry = inner.journal[index].clone();
                for (leg, part) in entry.legs.iter().zip(&posted) {
                    let counters = &mut inner.accounts.get_mut(&leg.account).unwrap().1;
                    counters[2 + side(leg)] -= leg.minor;
                    counters[side(leg)] += part;
                }
                let voided = posted.iter().all(|part| *part == 0);
                if !(voided && self.is(Mutant::VoidsWithoutWritingIt)) {
                    inner.journal[index].pending = false;
                    inner.journal[index].posted = posted;
                }
                Answer::Done {
                    sequence: entry.sequence,
                    replayed: false,
                }
            }
        };
        inner.ids.insert(id.to_owned(), answer.clone());
        answer
    }

    /// Adds the entry to the counters of its accounts.
    fn count(&self, inner: &mut Inner, entry: &Entry) {
        let offset = if entry.pending { 2 } else { 0 };
        let before = inner.accounts.clone();
        for leg in &entry.legs {
            let callers = inner.callers.get(&leg.account).copied().unwrap_or_default();
            if self.is(Mutant::LosesWhatIsBeyondItsBuffer) && callers > BUFFER {
                continue;
            }
            if self.is(Mutant::RoundsTheSmallestUnitAway) && leg.minor == 1 {
                continue;
            }
            let counters = &mut inner.accounts.get_mut(&leg.account).unwrap().1;
            if self.is(Mutant::LetsAnAccountsLastLegWin) {
                *counters = before[&leg.account].1;
            }
            counters[offset + side(leg)] += leg.minor;
        }
    }

    fn decide(&self, inner: &Inner, step: &Step) -> Result<Plan, &'static str> {
        let add = |legs: &[Move], pending: bool, reverses: &str| {
            Plan::Add(Entry {
                id: String::new(),
                sequence: 0,
                reference: String::new(),
                record_time: 0,
                legs: legs.to_vec(),
                pending,
                posted: legs
                    .iter()
                    .map(|leg| if pending { 0 } else { leg.minor })
                    .collect(),
                reverses: reverses.to_owned(),
            })
        };
        let find = |id: &str| {
            let index = inner.journal.iter().position(|entry| entry.id == id);
            index.ok_or("TRANSACTION_NOT_FOUND")
        };
        let pending = |id: &str| match find(id) {
            Ok(index) if !inner.journal[index].pending => Err("TRANSACTION_NOT_PENDING"),
            found => found,
        };
        match step {
            Step::Record(legs) | Step::Pend(legs) => {
                self.check(inner, legs)?;
                Ok(add(legs, matches!(step, Step::Pend(_)), ""))
            }
            Step::PostHalf(target) => {
                let index = pending(target)?;
                let legs = inner.journal[index].legs.iter();
                let posted = legs.map(|leg| leg.minor / 2).collect();
                Ok(Plan::Settle { index, posted })
            }
            Step::Void(target) => {
                let index = pending(target)?;
                let posted = vec![0; inner.journal[index].legs.len()];
                Ok(Plan::Settle { index, posted })
            }
            Step::Reverse(target) => {
                let original = &inner.journal[find(target)?];
                if inner.journal.iter().any(|entry| entry.reverses == *target) {
                    return Err("TRANSACTION_REVERSED");
                }
                let legs: Vec<Move> = match self.is(Mutant::ReversesInTheSameDirection) {
                    true => original.legs.clone(),
                    false => original.legs.iter().map(Move::exchanged).collect(),
                };
                Ok(add(&legs, false, target))
            }
        }
    }

    fn check(&self, inner: &Inner, legs: &[Move]) -> Result<(), &'static str> {
        let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
        for leg in legs {
            let signed = if leg.debit { leg.minor } else { -leg.minor };
            let key = match self.is(Mutant::AddsUpAllCurrenciesTogether) {
                true => "",
                false => leg.currency,
            };
            *sums.entry(key).or_default() += signed;
        }
        if sums.values().any(|sum| *sum != 0) {
            return Err("UNBALANCED");
        }
        for leg in legs {
            let (code, _) = inner
                .accounts
                .get(&leg.account)
                .ok_or("ACCOUNT_NOT_FOUND")?;
            if *code != leg.currency && !self.is(Mutant::TakesAnyCurrency) {
                return Err("CURRENCY_MISMATCH");
            }
        }
        for leg in legs.iter().filter(|leg| inner.limited[&leg.account]) {
            let own = legs.iter().filter(|other| other.account == leg.account);
            let [mut debits, mut credits, pending, _] = inner.accounts[&leg.account].1;
            for leg in own {
                *if leg.debit { &mut debits } else { &mut credits } += leg.minor;
            }
            if debits + pending > credits {
                return Err("DEBITS_EXCEED_CREDITS");
            }
        }
        Ok(())
    }

    pub(super) async fn accounts(&self) -> Accounts {
        if !self.is(Mutant::ReadsAccountsOneAfterTheOther) {
            return self.lock().accounts.clone();
        }
        let ids: Vec<String> = self.lock().accounts.keys().cloned().collect();
        let mut all = Accounts::new();
        // The newest first: those that are being written to.
        for id in ids.into_iter().rev() {
            yield_now().await;
            let one = self.lock().accounts[&id];
            all.insert(id, one);
        }
        all
    }

    pub(super) fn journal(&self) -> Vec<Entry> {
        self.lock().journal.clone()
    }

    pub(super) fn proof(&self, first: Option<i64>) -> Proof {
        let inner = self.lock();
        let all = inner.journal.len();
        let count = first.map_or(all, |n| all.min(usize::try_from(n).unwrap()));
        let (mut before, mut valid) = (Vec::new(), true);
        for (entry, kept) in inner.journal.iter().zip(&inner.hashes).take(count) {
            valid &= hash(&before, entry) == *kept;
            before.clone_from(kept);
        }
        Proof {
            valid,
            entries: i64::try_from(count).unwrap(),
            hash: before,
        }
    }
}

fn side(leg: &Move) -> usize {
    usize::from(!leg.debit)
}

/// Over what makes an entry what it is.
fn hash(before: &[u8], entry: &Entry) -> Vec<u8> {
    let mut hash = Sha256::new();
    hash.update(before);
    hash.update(format!("{} {} {:?}", entry.sequence, entry.id, entry.legs));
    hash.finalize().to_vec()
}
