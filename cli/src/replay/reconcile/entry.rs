//! A ledger transaction, as far as it matters here.

use mizan_contracts::{
    accounting::v1::{Side, Transaction, TransactionState},
    payment::v1::Payment,
    r#type::v1::Money as Wire,
};
use money::Money;

use crate::replay::expected::Supplier;

/// The keys that the payment service puts into a transaction's metadata.
pub(super) const INVOICE_ID: &str = "mizan.invoice_id";
const COUNTERPARTY: &str = "mizan.counterparty";
const COUNTERPARTY_ID: &str = "mizan.counterparty_id";

/// A transaction.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) transaction_id: String,
    /// The payment that it says it is of.
    pub(super) payment_id: String,
    pub(super) supplier: Supplier,
    /// Why it moves no money: it is pending or voided, or was taken back. Empty if it does.
    pub(super) fallen: String,
    /// Account, whether it is debited, amount. An amount that breaks the contract is none.
    legs: Vec<(String, bool, Option<Money>)>,
}

impl From<Transaction> for Entry {
    fn from(transaction: Transaction) -> Self {
        let fallen = match transaction.state() {
            TransactionState::Posted if transaction.reversed_by_transaction_id.is_empty() => {
                String::new()
            }
            TransactionState::Posted => {
                format!("reversed by {}", transaction.reversed_by_transaction_id)
            }
            other => other.as_str_name().to_owned(),
        };
        let mut metadata = transaction.metadata;
        let mut take = |key: &str| metadata.remove(key).unwrap_or_default();
        let supplier = Supplier {
            name: take(COUNTERPARTY),
            id: take(COUNTERPARTY_ID),
        };
        // What was posted of a pending one counts, not what was pending.
        let mut posted = transaction.posted_amounts.into_iter();
        let legs = transaction.legs.into_iter().map(|leg| {
            let debit = leg.side() == Side::Debit;
            let amount = posted.next().or(leg.amount);
            (leg.account_id, debit, Wire::read(amount.as_ref()).ok())
        });
        Self {
            legs: legs.collect(),
            transaction_id: transaction.transaction_id,
            payment_id: transaction.reference,
            supplier,
            fallen,
        }
    }
}

impl Entry {
    /// The money that went out by a payment's accounts, below zero for money that came back; none
    /// unless what left the cash account went to the expense account and nowhere else.
    pub(super) fn paid(&self, payment: &Payment) -> Option<Money> {
        let [
            (one, one_debit, one_amount),
            (other, other_debit, other_amount),
        ] = &*self.legs
        else {
            return None;
        };
        let amount = one_amount.filter(|amount| *other_amount == Some(*amount))?;
        let (debited, credited) = match (one_debit, other_debit) {
            (true, false) => (one, other),
            (false, true) => (other, one),
            _ => return None,
        };
        let (expense, cash) = (&payment.expense_account_id, &payment.cash_account_id);
        if (debited, credited) == (expense, cash) {
            Some(amount)
        } else if (debited, credited) == (cash, expense) {
            amount.checked_neg().ok()
        } else {
            None
        }
    }

    /// The sum of its debits, if they are of one currency; what a transaction that no payment
    /// explains comes to.
    pub(super) fn debits(&self) -> Option<Money> {
        let mut debits = self.legs.iter().filter(|(_, debit, _)| *debit);
        let first = debits.next()?.2?;
        debits.try_fold(first, |sum, (_, _, amount)| {
            sum.checked_add((*amount)?).ok()
        })
    }

    /// The legs as a person reads them.
    pub(super) fn shown(&self) -> String {
        let legs = self.legs.iter().map(|(account, debit, amount)| {
            let side = if *debit { "debit" } else { "credit" };
            let amount = amount.map_or_else(|| "?".to_owned(), |amount| amount.to_string());
            format!("{side} {account} {amount}")
        });
        legs.collect::<Vec<_>>().join(", ")
    }
}
