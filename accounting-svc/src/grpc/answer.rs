//! What is recorded, as messages.

use mizan::request::{PageToken, timestamp};
use mizan_contracts::{accounting::v1 as pb, r#type::v1 as pb_type};
use money::Money;
use prost::{DecodeError, Message as _};

use crate::{
    domain::{AccountRecord, Kind, Leg, Micros, Side, State, TransactionRecord},
    store::{CurrencyTotal, SavedBalance, Trial, Verified},
};

/// The most bytes of balances in an answer, so that it stays within the 4 MiB that clients accept
/// by default.
const BALANCES_BYTES_MAX: usize = 3 << 20;

/// A record that cannot be shown: the store is damaged, or written by a version that allowed more.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    /// A request that cannot be decoded.
    #[error("a saved request cannot be decoded")]
    Request(#[from] DecodeError),
    /// A sum that does not fit the message.
    #[error("a sum cannot be shown")]
    Sum(#[from] money::Error),
}

pub(super) fn account(record: &AccountRecord) -> Result<pb::Account, Unreadable> {
    let request = pb::CreateAccountRequest::decode(&*record.body)?;
    Ok(pb::Account {
        account_id: request.account_id,
        display_name: request.display_name,
        r#type: request.r#type,
        currency_code: request.currency_code,
        metadata: request.metadata,
        create_time: Some(timestamp(record.create_time)),
        limit: request.limit,
        closed: record.closed,
    })
}

/// A transaction as it stands at `time`.
pub(super) fn transaction(
    record: &TransactionRecord,
    time: Micros,
) -> Result<pb::Transaction, Unreadable> {
    let record_time = timestamp(record.record_time);
    let common = pb::Transaction {
        transaction_id: record.transaction_id.clone(),
        sequence: record.sequence,
        record_time: Some(record_time),
        state: state(record.state(time)).into(),
        expire_time: record.expire_time.map(timestamp),
        settle_time: record.settlement.as_ref().map(|s| timestamp(s.record_time)),
        reverses_transaction_id: record.reverses.clone().unwrap_or_default(),
        reversed_by_transaction_id: record.reversed_by.clone().unwrap_or_default(),
        ..pb::Transaction::default()
    };
    if record.kind == Kind::Reverse {
        let request = pb::ReverseTransactionRequest::decode(&*record.body)?;
        let legs = record.legs.iter().map(leg);
        return Ok(pb::Transaction {
            legs: legs.collect::<Result<_, _>>()?,
            description: request.description,
            reference: request.reference,
            metadata: request.metadata,
            effective_time: Some(request.effective_time.unwrap_or(record_time)),
            ..common
        });
    }
    let request = pb::RecordTransactionRequest::decode(&*record.body)?;
    Ok(pb::Transaction {
        posted_amounts: posted_in_part(record)?,
        legs: request.legs,
        description: request.description,
        reference: request.reference,
        metadata: request.metadata,
        effective_time: Some(request.effective_time.unwrap_or(record_time)),
        ..common
    })
}

/// How much of each leg was posted, unless that is all of it.
fn posted_in_part(record: &TransactionRecord) -> Result<Vec<pb_type::Money>, money::Error> {
    let posted = record.settlement.as_ref().and_then(|s| s.posted.as_deref());
    let posted = posted.unwrap_or_default();
    let whole = record
        .legs
        .iter()
        .map(Leg::amount)
        .eq(posted.iter().copied());
    let shown = if whole { &[] } else { posted };
    shown.iter().map(|m| pb_type::Money::try_from(*m)).collect()
}

fn leg(leg: &Leg) -> Result<pb::Leg, money::Error> {
    let side = match leg.side() {
        Side::Debit => pb::Side::Debit,
        Side::Credit => pb::Side::Credit,
    };
    Ok(pb::Leg {
        account_id: leg.account_id().to_owned(),
        side: side.into(),
        amount: money(leg.amount())?,
    })
}

const fn state(state: State) -> pb::TransactionState {
    match state {
        State::Posted => pb::TransactionState::Posted,
        State::Pending => pb::TransactionState::Pending,
        State::Voided => pb::TransactionState::Voided,
        State::Expired => pb::TransactionState::Expired,
    }
}

pub(super) fn balance(saved: &SavedBalance) -> Result<pb::Balance, Unreadable> {
    let (posted, pending) = (&saved.counters.posted, &saved.counters.pending);
    let balance = saved.account_type.balance(posted)?;
    Ok(pb::Balance {
        account_id: saved.account_id.clone(),
        debits: money(posted.debits)?,
        credits: money(posted.credits)?,
        balance: money(balance)?,
        pending_debits: money(pending.debits)?,
        pending_credits: money(pending.credits)?,
    })
}

/// As many balances as a message holds.
pub(super) fn trial_balance(
    trial: &Trial,
    tokens: &PageToken<'_>,
) -> Result<pb::TrialBalance, Unreadable> {
    let mut balances = Vec::with_capacity(trial.balances.len());
    let mut bytes = 0;
    for saved in &trial.balances {
        let balance = balance(saved)?;
        // Its tag and its length come to at most 8 bytes.
        bytes += balance.encoded_len() + 8;
        if bytes > BALANCES_BYTES_MAX {
            break;
        }
        balances.push(balance);
    }
    let shown = balances.len();
    let more = trial.more || shown < trial.balances.len();
    let last = trial.balances[..shown].last().filter(|_| more);
    Ok(pb::TrialBalance {
        next_page_token: last.map(|last| tokens.write(last.key)).unwrap_or_default(),
        balances,
        totals: trial.totals.iter().map(total).collect::<Result<_, _>>()?,
        transactions: trial.transactions,
    })
}

fn total(total: &CurrencyTotal) -> Result<pb::CurrencyTotal, Unreadable> {
    let (posted, pending) = (&total.counters.posted, &total.counters.pending);
    Ok(pb::CurrencyTotal {
        debits: money(posted.debits)?,
        credits: money(posted.credits)?,
        difference: money(total.difference)?,
        pending_debits: money(pending.debits)?,
        pending_credits: money(pending.credits)?,
    })
}

pub(super) fn verified(verified: Verified) -> pb::VerifyJournalResponse {
    let faults = verified.faults.into_iter().map(|fault| pb::JournalFault {
        sequence: fault.sequence,
        part: fault.part.as_str().to_owned(),
        account_id: fault.account_id,
        description: fault.description,
    });
    let faults: Vec<_> = faults.collect();
    pb::VerifyJournalResponse {
        valid: faults.is_empty(),
        verified_sequence: verified.sequence,
        complete: verified.complete,
        faults,
        hash: verified.hash.to_vec(),
    }
}

fn money(amount: Money) -> Result<Option<pb_type::Money>, money::Error> {
    pb_type::Money::try_from(amount).map(Some)
}
