//! The fifteen, each a pure function of what was seen. Why not is the error.

use std::collections::{BTreeMap, HashMap};

use super::{
    ledger::{Answer, Entry, Move, Step},
    workload::{Call, History},
};

type Check = Result<(), String>;

fn that(holds: bool, otherwise: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(otherwise()) }
}

fn done(call: &Call) -> Option<i64> {
    match call.answer {
        Answer::Done { sequence, .. } => Some(sequence),
        Answer::Refused(_) => None,
    }
}

fn all_done<'a>(calls: impl Iterator<Item = &'a Call>) -> Check {
    for call in calls {
        that(done(call).is_some(), || format!("{call:?}"))?;
    }
    Ok(())
}

fn refused_for(call: &Call, reason: &str) -> Check {
    let expected = Answer::Refused(reason.to_owned());
    that(call.answer == expected, || format!("{call:?}"))
}

fn of_id<'a>(history: &'a History, id: &'a str) -> impl Iterator<Item = &'a Entry> {
    let entries = history.state.journal.iter();
    entries.filter(move |entry| entry.id == id)
}

fn legs(step: &Step) -> &[Move] {
    match step {
        Step::Record(legs) | Step::Pend(legs) => legs,
        _ => &[],
    }
}

/// Per currency, debits less credits.
fn sums(legs: &[Move]) -> BTreeMap<&'static str, i64> {
    let mut sums = BTreeMap::new();
    for leg in legs {
        let signed = if leg.debit { leg.minor } else { -leg.minor };
        *sums.entry(leg.currency).or_default() += signed;
    }
    sums
}

/// What balances is recorded, what does not is refused, and all that is recorded balances.
pub(super) fn balanced_per_currency(history: &History) -> Check {
    for call in history.of("01-good") {
        that(done(call).is_some(), || format!("{call:?}"))?;
    }
    for call in history.of("01-bad") {
        refused_for(call, "UNBALANCED")?;
    }
    for entry in &history.state.journal {
        let even = sums(&entry.legs).values().all(|sum| *sum == 0);
        that(even, || format!("{entry:?}"))?;
    }
    Ok(())
}

/// What the journal said once it says for ever, first; and what was acknowledged is in it.
pub(super) fn append_only(history: &History) -> Check {
    let said = |entry: &Entry| {
        let Entry {
            id,
            sequence,
            reference,
            record_time,
            legs,
            ..
        } = entry.clone();
        (id, sequence, reference, record_time, legs)
    };
    for (journal, ..) in &history.kept {
        that(journal.len() <= history.state.journal.len(), || {
            "the journal is shorter".to_owned()
        })?;
        for (then, now) in journal.iter().zip(&history.state.journal) {
            that(said(then) == said(now), || format!("{then:?} is {now:?}"))?;
        }
    }
    all_done(history.of("02"))?;
    for call in history.of("02") {
        let there = of_id(history, &call.id)
            .any(|entry| Some(entry.sequence) == done(call) && entry.legs == legs(&call.step));
        that(there, || format!("{call:?}"))?;
    }
    Ok(())
}

/// The chain verifies at every time, and what it came to once it comes to for ever.
pub(super) fn hash_chain(history: &History) -> Check {
    that(history.proof.valid, || format!("{:?}", history.proof))?;
    let mut before = Vec::new();
    for (_, then, now) in &history.kept {
        that(then.valid && then == now, || format!("{then:?} is {now:?}"))?;
        that(then.hash != before, || format!("the same hash: {then:?}"))?;
        before.clone_from(&then.hash);
    }
    Ok(())
}

/// The same id again gets the first outcome, is told so, and does nothing.
pub(super) fn duplicate_is_reported(history: &History) -> Check {
    let mut first: HashMap<&str, i64> = HashMap::new();
    let mut moved = 0;
    for call in history.of("04") {
        let known = first.get(&*call.id).copied();
        let expected = Answer::Done {
            sequence: known.or(done(call)).unwrap_or_default(),
            replayed: known.is_some(),
        };
        that(call.answer == expected, || format!("{call:?}"))?;
        if known.is_none() {
            moved += legs(&call.step)[0].minor;
            first.insert(&call.id, done(call).unwrap_or_default());
        }
    }
    let holds = [history.counters("04-a"), history.counters("04-b")];
    let expected = [[moved, 0, 0, 0], [0, moved, 0, 0]];
    that(holds == expected, || format!("{holds:?}, not {expected:?}"))
}

/// Of 64 at once with one id, one is applied, and all are told that one.
pub(super) fn one_of_many_duplicates(history: &History) -> Check {
    all_done(history.of("05"))?;
    let entries: Vec<&Entry> = of_id(history, "05-same").collect();
    that(entries.len() == 1, || format!("{} applied", entries.len()))?;
    for call in history.of("05") {
        let same = done(call) == Some(entries[0].sequence);
        that(same, || format!("{call:?}"))?;
    }
    let minor = entries[0].legs[0].minor;
    let holds = history.counters("05-a");
    that(holds == [minor, 0, 0, 0], || format!("{holds:?}"))
}

/// 500 credits at once to one account add up exactly.
pub(super) fn hot_account(history: &History) -> Check {
    all_done(history.of("06"))?;
    let asked: i64 = history.of("06").map(|c| legs(&c.step)[0].minor).sum();
    let holds = history.counters("06-hot");
    that(holds == [0, asked, 0, 0], || {
        format!("{holds:?}, not {asked}")
    })
}

/// Every read of the eight accounts adds up to what they were given, while they are written.
pub(super) fn conservation(history: &History) -> Check {
    all_done(history.of("07"))?;
    for read in history.reads.iter().chain([&history.state.accounts]) {
        let held = (0..8).map(|n| read[&format!("07-{n}")].1);
        let sum: i64 = held.map(|[debits, credits, ..]| credits - debits).sum();
        that(sum == 800, || format!("a read of {sum}"))?;
    }
    Ok(())
}

/// What an account holds is what the journal's legs on it add up to.
pub(super) fn balance_is_projection(history: &History) -> Check {
    all_done(history.of("08"))?;
    for account in (0..6).map(|n| format!("08-{n}")) {
        let mut expected = [0; 4];
        for entry in &history.state.journal {
            let own = entry.legs.iter().filter(|leg| leg.account == account);
            own.for_each(|leg| expected[usize::from(!leg.debit)] += leg.minor);
        }
        let holds = history.counters(&account);
        that(holds == expected, || {
            format!("{account}: {holds:?}, not {expected:?}")
        })?;
    }
    Ok(())
}

/// Of twenty that drain an account with enough for seven, seven do, and it is never overdrawn.
pub(super) fn overdraft_guard(history: &History) -> Check {
    let drains = || history.of("09-drain");
    let accepted = drains().filter(|call| done(call).is_some()).count();
    that(accepted == 7, || format!("{accepted} accepted"))?;
    for call in drains().filter(|call| done(call).is_none()) {
        refused_for(call, "DEBITS_EXCEED_CREDITS")?;
    }
    let [debits, credits, ..] = history.counters("09-purse");
    that(debits <= credits, || format!("{debits} of {credits}"))
}

/// A thousand moves of the smallest unit move a thousand.
pub(super) fn smallest_units(history: &History) -> Check {
    all_done(history.of("10"))?;
    let holds = [history.counters("10-a"), history.counters("10-b")];
    let expected = [[1_000, 0, 0, 0], [0, 1_000, 0, 0]];
    that(holds == expected, || format!("{holds:?}"))
}

/// No leg is in another currency than its account.
pub(super) fn no_currency_mixing(history: &History) -> Check {
    all_done(history.of("11-good"))?;
    for call in history.of("11-bad") {
        refused_for(call, "CURRENCY_MISMATCH")?;
    }
    for leg in history.state.journal.iter().flat_map(|entry| &entry.legs) {
        let (kept, _) = history.state.accounts[&leg.account];
        that(kept == leg.currency, || format!("{leg:?}"))?;
    }
    Ok(())
}

/// A reversal is a new transaction with the sides exchanged, once; the first stays.
pub(super) fn reversal_is_compensation(history: &History) -> Check {
    for n in 0..10 {
        let [id, once] = [format!("12-{n}"), format!("12-once-{n}")];
        let asked = history.of("12").find(|call| call.id == id);
        let asked = asked.map_or(&[] as &[Move], |call| legs(&call.step));
        let exchanged: Vec<Move> = asked.iter().map(Move::exchanged).collect();
        let original = of_id(history, &id).any(|entry| entry.legs == asked);
        let reversal =
            of_id(history, &once).any(|entry| entry.legs == exchanged && entry.reverses == id);
        that(original && reversal, || format!("{id} is not compensated"))?;
    }
    for call in history.of("12-twice") {
        refused_for(call, "TRANSACTION_REVERSED")?;
    }
    let [debits, credits, ..] = history.counters("12-a");
    that(debits == credits, || {
        format!("{debits} and {credits} are left")
    })
}

/// Accounts rebuilt from the journal are the accounts; and another instance sees the same.
pub(super) fn rebuilds_from_log(history: &History) -> Check {
    all_done(history.of("13"))?;
    let mut rebuilt: BTreeMap<&str, [i64; 4]> = BTreeMap::new();
    for entry in &history.state.journal {
        for (leg, posted) in entry.legs.iter().zip(&entry.posted) {
            let counters = rebuilt.entry(&leg.account).or_default();
            counters[usize::from(!leg.debit)] += posted;
            if entry.pending {
                counters[2 + usize::from(!leg.debit)] += leg.minor;
            }
        }
    }
    for account in ["13-a", "13-b"] {
        let (holds, rebuilt) = (history.counters(account), rebuilt[account]);
        that(holds == rebuilt, || {
            format!("{account}: {holds:?}, not {rebuilt:?}")
        })?;
    }
    that(history.state == history.other, || {
        "another instance sees other books".to_owned()
    })
}

/// Places only go up on each account; times too; and a call that came after another has a later one.
pub(super) fn sequence_is_monotonic(history: &History) -> Check {
    all_done(history.of("14"))?;
    let mut last: HashMap<&str, (i64, i128)> = HashMap::new();
    for entry in &history.state.journal {
        let place = (entry.sequence, entry.record_time);
        for leg in &entry.legs {
            let before = last.get(&*leg.account).copied();
            let goes_up = before.is_none_or(|(sequence, time)| {
                // An account may be on several legs of one entry.
                (sequence < place.0 || before == Some(place)) && time <= place.1
            });
            that(goes_up, || format!("{entry:?} after {before:?}"))?;
        }
        last.extend(entry.legs.iter().map(|leg| (&*leg.account, place)));
    }
    let calls: Vec<&Call> = history.of("14").collect();
    for earlier in &calls {
        for later in calls.iter().filter(|later| earlier.ended < later.began) {
            that(done(earlier) < done(later), || {
                format!("{later:?} is before {earlier:?}")
            })?;
        }
    }
    Ok(())
}

/// What was refused stays so by its id, for everybody, and nothing of it is applied.
pub(super) fn refused_is_never_applied(history: &History) -> Check {
    for call in history.of("15-same") {
        refused_for(call, "DEBITS_EXCEED_CREDITS")?;
    }
    let applied = of_id(history, "15-same").count();
    that(applied == 0, || format!("{applied} applied"))?;
    let [debits, ..] = history.counters("15-purse");
    that(debits == 0, || format!("{debits} were taken"))
}
