//! What is recorded, as messages.

use mizan::request::timestamp;
use mizan_contracts::{accounting::v1 as pb, r#type::v1 as pb_type};
use money::Money;
use prost::{DecodeError, Message as _};

use crate::{
    domain::{self, CurrencyTotal, Turnover},
    store::{Micros, Receipt, SavedAccount, SavedBalance, SavedTransaction, Trial},
};

/// A record that cannot be shown: the file is damaged, or written by a version that allowed more.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    /// A request that cannot be decoded.
    #[error("a saved request cannot be decoded")]
    Request(#[from] DecodeError),
    /// A sum that does not fit the message.
    #[error("a sum cannot be shown")]
    Sum(#[from] money::Error),
}

pub(super) fn account(request: pb::CreateAccountRequest, create_time: Micros) -> pb::Account {
    pb::Account {
        account_id: request.account_id,
        display_name: request.display_name,
        r#type: request.r#type,
        currency_code: request.currency_code,
        metadata: request.metadata,
        create_time: Some(timestamp(create_time)),
        limit: request.limit,
        closed: false,
    }
}

pub(super) fn saved_account(saved: &SavedAccount) -> Result<pb::Account, Unreadable> {
    let request = pb::CreateAccountRequest::decode(&*saved.body)?;
    Ok(account(request, saved.create_time))
}

pub(super) fn transaction(
    request: pb::RecordTransactionRequest,
    receipt: Receipt,
) -> pb::Transaction {
    let record_time = timestamp(receipt.record_time);
    pb::Transaction {
        transaction_id: request.request_id,
        sequence: receipt.sequence,
        legs: request.legs,
        description: request.description,
        reference: request.reference,
        metadata: request.metadata,
        effective_time: Some(request.effective_time.unwrap_or(record_time)),
        record_time: Some(record_time),
        ..pb::Transaction::default()
    }
}

pub(super) fn saved_transaction(saved: &SavedTransaction) -> Result<pb::Transaction, Unreadable> {
    let request = pb::RecordTransactionRequest::decode(&*saved.body)?;
    Ok(transaction(request, saved.receipt))
}

pub(super) fn balance(saved: SavedBalance) -> Result<pb::Balance, Unreadable> {
    let Turnover { debits, credits } = saved.turnover;
    let balance = saved.account_type.balance(&saved.turnover)?;
    Ok(pb::Balance {
        account_id: saved.account_id,
        debits: money(debits)?,
        credits: money(credits)?,
        balance: money(balance)?,
        ..pb::Balance::default()
    })
}

pub(super) fn trial_balance(trial: Trial) -> Result<pb::TrialBalance, Unreadable> {
    let totals = domain::totals(trial.balances.iter().map(|b| &b.turnover))?;
    let balances = trial.balances.into_iter().map(balance);
    Ok(pb::TrialBalance {
        balances: balances.collect::<Result<_, _>>()?,
        totals: totals.into_values().map(total).collect::<Result<_, _>>()?,
        transactions: trial.transactions,
        ..pb::TrialBalance::default()
    })
}

fn total(total: CurrencyTotal) -> Result<pb::CurrencyTotal, Unreadable> {
    Ok(pb::CurrencyTotal {
        debits: money(total.turnover.debits)?,
        credits: money(total.turnover.credits)?,
        difference: money(total.difference)?,
        ..pb::CurrencyTotal::default()
    })
}

fn money(amount: Money) -> Result<Option<pb_type::Money>, money::Error> {
    pb_type::Money::try_from(amount).map(Some)
}
