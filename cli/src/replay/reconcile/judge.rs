//! What differs between a row, its payment and its transaction.

use mizan_contracts::{
    payment::v1::{Direction, Payment, PaymentState},
    r#type::v1::Money as Wire,
};
use money::Money;

use super::{
    Difference, Kind, Reconciliation,
    entry::Entry,
    sums::{Book, Sums},
};
use crate::replay::expected::{Expected, Supplier};

/// Judges piece by piece.
#[derive(Debug, Default)]
pub(super) struct Judge {
    sums: Sums,
    differences: Vec<Difference>,
    rows: u64,
    payments: u64,
    transactions: u64,
}

impl Judge {
    /// A row, its payment, and all transactions that say they are of that payment.
    pub(super) fn row(&mut self, row: &Expected, payment: Option<&Payment>, entries: &[Entry]) {
        self.rows += 1;
        self.sums.add(Book::Files, &row.supplier, row.amount);
        let blank = of_row(row);
        let Some(payment) = payment else {
            self.differ(Difference {
                kind: Kind::PaymentMissing,
                files: row.amount.to_string(),
                ..blank.clone()
            });
            for entry in entries {
                self.extra_transaction(entry, None, &blank);
            }
            return;
        };
        let state = payment.state();
        if state == PaymentState::Completed {
            self.paid(row, payment, &blank);
        } else {
            self.differ(Difference {
                kind: Kind::PaymentNotCompleted,
                files: row.amount.to_string(),
                payments: unfinished(payment),
                ..blank.clone()
            });
        }
        self.recorded(Some(row), payment, entries, &blank);
    }

    /// A completed payment of a row.
    fn paid(&mut self, row: &Expected, payment: &Payment, blank: &Difference) {
        let (paid, supplier) = (amount(payment), supplier(payment));
        self.payments += 1;
        if let Some(paid) = paid {
            self.sums.add(Book::Payments, &supplier, paid);
        }
        if paid != Some(row.amount) {
            self.differ(Difference {
                kind: Kind::PaymentAmount,
                files: row.amount.to_string(),
                payments: shown(paid),
                ..blank.clone()
            });
        }
        if supplier != row.supplier {
            self.differ(Difference {
                kind: Kind::PaymentSupplier,
                files: named(&row.supplier),
                payments: named(&supplier),
                ..blank.clone()
            });
        }
    }

    /// The transactions of a payment, held against the row, or against the payment if it has none.
    fn recorded(
        &mut self,
        row: Option<&Expected>,
        payment: &Payment,
        entries: &[Entry],
        blank: &Difference,
    ) {
        let wanted = row.map_or_else(|| amount(payment), |row| Some(row.amount));
        let supplier = row.map_or_else(|| supplier(payment), |row| row.supplier.clone());
        let own = |entry: &&Entry| entry.transaction_id == payment.transaction_id;
        if payment.state() == PaymentState::Completed && !entries.iter().any(|e| own(&e)) {
            self.differ(Difference {
                kind: Kind::TransactionMissing,
                transaction_id: payment.transaction_id.clone(),
                payments: shown(amount(payment)),
                ..blank.clone()
            });
        }
        for entry in entries {
            if !own(&entry) {
                self.extra_transaction(entry, Some(payment), blank);
                continue;
            }
            let blank = Difference {
                transaction_id: entry.transaction_id.clone(),
                ..blank.clone()
            };
            if !entry.fallen.is_empty() {
                self.differ(Difference {
                    kind: Kind::TransactionNotStanding,
                    payments: shown(amount(payment)),
                    ledger: entry.fallen.clone(),
                    ..blank
                });
                continue;
            }
            self.transactions += 1;
            let paid = entry.paid(payment);
            if let Some(paid) = paid.or_else(|| entry.debits()) {
                self.sums.add(Book::Ledger, &entry.supplier, paid);
            }
            if paid != wanted {
                self.differ(Difference {
                    kind: Kind::TransactionAmount,
                    files: row.map(|row| row.amount.to_string()).unwrap_or_default(),
                    payments: shown(amount(payment)),
                    ledger: paid.map_or_else(|| entry.shown(), |paid| paid.to_string()),
                    ..blank.clone()
                });
            }
            if entry.supplier != supplier {
                self.differ(Difference {
                    kind: Kind::TransactionSupplier,
                    files: row.map(|row| named(&row.supplier)).unwrap_or_default(),
                    payments: named(&self::supplier(payment)),
                    ledger: named(&entry.supplier),
                    ..blank
                });
            }
        }
    }

    /// A payment that no row asks for, and its transactions. One that is not completed moved
    /// nothing that the ledger does not show.
    pub(super) fn extra_payment(&mut self, payment: &Payment, entries: &[Entry]) {
        let blank = Difference {
            reference: payment.reference.clone(),
            payment_id: payment.payment_id.clone(),
            ..blank(Kind::PaymentExtra)
        };
        if payment.state() == PaymentState::Completed {
            self.payments += 1;
            if let Some(paid) = amount(payment) {
                self.sums.add(Book::Payments, &supplier(payment), paid);
            }
            self.differ(Difference {
                payments: shown(amount(payment)),
                ..blank.clone()
            });
        } else if !is_undone(payment.state()) {
            self.differ(Difference {
                payments: unfinished(payment),
                ..blank.clone()
            });
        }
        self.recorded(None, payment, entries, &blank);
    }

    /// A transaction whose payment does not exist.
    pub(super) fn orphan(&mut self, entry: &Entry) {
        let blank = Difference {
            payment_id: entry.payment_id.clone(),
            ..blank(Kind::TransactionExtra)
        };
        self.extra_transaction(entry, None, &blank);
    }

    /// A transaction that is not its payment's, or has none. One that moves no money is none.
    fn extra_transaction(&mut self, entry: &Entry, payment: Option<&Payment>, blank: &Difference) {
        if !entry.fallen.is_empty() {
            return;
        }
        self.transactions += 1;
        let paid = payment
            .and_then(|payment| entry.paid(payment))
            .or_else(|| entry.debits());
        if let Some(paid) = paid {
            self.sums.add(Book::Ledger, &entry.supplier, paid);
        }
        self.differ(Difference {
            kind: Kind::TransactionExtra,
            transaction_id: entry.transaction_id.clone(),
            payments: payment.map(unfinished).unwrap_or_default(),
            ledger: format!("{} ({})", entry.shown(), named(&entry.supplier)),
            ..blank.clone()
        });
    }

    fn differ(&mut self, difference: Difference) {
        self.differences.push(difference);
    }

    pub(super) fn finish(self) -> Reconciliation {
        let overflow = self.sums.overflow;
        let (totals, suppliers) = self.sums.finish();
        Reconciliation {
            rows: self.rows,
            payments: self.payments,
            transactions: self.transactions,
            totals,
            suppliers,
            differences: self.differences,
            overflow,
            ..Reconciliation::default()
        }
    }
}

fn blank(kind: Kind) -> Difference {
    Difference {
        kind,
        place: None,
        reference: String::new(),
        payment_id: String::new(),
        transaction_id: String::new(),
        files: String::new(),
        payments: String::new(),
        ledger: String::new(),
    }
}

fn of_row(row: &Expected) -> Difference {
    Difference {
        place: Some(row.place),
        reference: row.reference.clone(),
        payment_id: row.payment_id.clone(),
        ..blank(Kind::PaymentMissing)
    }
}

/// What a payment pays; below zero for a refund. None if its amount breaks the contract.
fn amount(payment: &Payment) -> Option<Money> {
    let amount = Wire::read(payment.amount.as_ref()).ok()?;
    match payment.direction() {
        Direction::Refund => amount.checked_neg().ok(),
        Direction::Outgoing | Direction::Unspecified => Some(amount),
    }
}

fn supplier(payment: &Payment) -> Supplier {
    let counterparty = payment.counterparty.clone().unwrap_or_default();
    Supplier {
        name: counterparty.name,
        id: counterparty.counterparty_id,
    }
}

/// Where a payment stands, and why.
fn unfinished(payment: &Payment) -> String {
    let state = payment.state().as_str_name();
    let state = state.strip_prefix("PAYMENT_STATE_").unwrap_or(state);
    match payment.attention.as_ref().or(payment.failure.as_ref()) {
        Some(why) => format!("{state}, {}: {}", why.step, why.reason),
        None => state.to_owned(),
    }
}

fn is_undone(state: PaymentState) -> bool {
    matches!(state, PaymentState::Compensated | PaymentState::Failed)
}

fn shown(amount: Option<Money>) -> String {
    amount.map_or_else(|| "not an amount".to_owned(), |amount| amount.to_string())
}

fn named(supplier: &Supplier) -> String {
    match supplier.id.as_str() {
        "" => supplier.name.clone(),
        id => format!("{} ({id})", supplier.name),
    }
}
