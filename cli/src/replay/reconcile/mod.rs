//! Files, payments and ledger, held against each other: row by row, by supplier, and in total.
//!
//! Pure: what was read is given to [`Reconciler`] piece by piece, the ledger before the payments.
//! What stands in the ledger belongs to a payment that was accepted before, so a transaction whose
//! payment is not among those read after it has none.

mod difference;
mod entry;
mod judge;
mod sums;

use std::collections::HashMap;

use mizan_contracts::{accounting::v1::Transaction, payment::v1::Payment};

pub(crate) use self::{
    difference::{Difference, Kind},
    sums::{SupplierSums, ThreeSums},
};
use self::{entry::Entry, judge::Judge};
use super::expected::Rows;

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Reconciliation {
    /// The rows that are to be paid: each transaction number once.
    pub(crate) rows: u64,
    /// Their payments that are completed, and what should not be there besides.
    pub(crate) payments: u64,
    /// Likewise in the ledger.
    pub(crate) transactions: u64,
    /// By currency code.
    pub(crate) totals: Vec<ThreeSums>,
    /// By supplier and currency, in the order of their names.
    pub(crate) suppliers: Vec<SupplierSums>,
    /// In the order of the rows; what belongs to none comes last.
    pub(crate) differences: Vec<Difference>,
    /// What belongs to no row and claims to belong to none.
    pub(crate) other_payments: u64,
    pub(crate) other_transactions: u64,
    /// A sum that does not fit.
    pub(crate) overflow: bool,
}

/// Takes what the ledger and the payments hold.
#[derive(Debug)]
pub(crate) struct Reconciler<'a> {
    rows: &'a Rows,
    /// Whatever belongs to no row is a difference.
    nothing_else: bool,
    /// By the id of the payment that each says it is of.
    entries: HashMap<String, Vec<Entry>>,
    /// Of other payments; those whose payment does not come are orphans.
    unclaimed: HashMap<String, Vec<Entry>>,
    payments: HashMap<String, Payment>,
    /// Payments of other ids with the transaction number of a row.
    doubles: Vec<Payment>,
    strangers: Vec<Payment>,
    other_payments: u64,
    other_transactions: u64,
}

impl<'a> Reconciler<'a> {
    /// For these rows. With `nothing_else`, whatever belongs to no row is a difference too.
    pub(crate) fn new(rows: &'a Rows, nothing_else: bool) -> Self {
        Self {
            rows,
            nothing_else,
            entries: HashMap::new(),
            unclaimed: HashMap::new(),
            payments: HashMap::new(),
            doubles: Vec::new(),
            strangers: Vec::new(),
            other_payments: 0,
            other_transactions: 0,
        }
    }

    /// Takes a transaction of the ledger.
    pub(crate) fn transaction(&mut self, transaction: Transaction) {
        let payment_id = transaction.reference.clone();
        let of_a_payment = transaction.metadata.contains_key(entry::INVOICE_ID);
        if self.rows.has_id(&payment_id) {
            let all = self.entries.entry(payment_id).or_default();
            all.push(Entry::from(transaction));
        } else if of_a_payment || self.nothing_else {
            let all = self.unclaimed.entry(payment_id).or_default();
            all.push(Entry::from(transaction));
        } else {
            self.other_transactions += 1;
        }
    }

    /// Takes a payment. Every transaction must have been taken before.
    pub(crate) fn payment(&mut self, payment: Payment) {
        if self.rows.has_id(&payment.payment_id) {
            self.payments.insert(payment.payment_id.clone(), payment);
            return;
        }
        let double =
            payment.refunded_payment_id.is_empty() && self.rows.has_reference(&payment.reference);
        if double {
            self.doubles.push(payment);
        } else if self.nothing_else {
            self.strangers.push(payment);
        } else {
            self.other_payments += 1;
            if let Some(entries) = self.unclaimed.remove(&payment.payment_id) {
                self.other_transactions += u64::try_from(entries.len()).unwrap_or(u64::MAX);
            }
        }
    }

    /// Judges all of it.
    pub(crate) fn finish(mut self) -> Reconciliation {
        let mut judge = Judge::default();
        for row in &self.rows.rows {
            let payment = self.payments.remove(&row.payment_id);
            let entries = self.entries.remove(&row.payment_id).unwrap_or_default();
            judge.row(row, payment.as_ref(), &entries);
        }
        for payment in self.doubles.iter().chain(&self.strangers) {
            let entries = self
                .unclaimed
                .remove(&payment.payment_id)
                .unwrap_or_default();
            judge.extra_payment(payment, &entries);
        }
        let mut orphans: Vec<Entry> = self.unclaimed.into_values().flatten().collect();
        orphans.sort_by(|one, other| one.transaction_id.cmp(&other.transaction_id));
        for orphan in &orphans {
            judge.orphan(orphan);
        }
        Reconciliation {
            other_payments: self.other_payments,
            other_transactions: self.other_transactions,
            ..judge.finish()
        }
    }
}

#[cfg(test)]
mod tests;
