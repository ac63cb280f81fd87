//! What is to be paid: fixed when the payment is accepted, never changed after.

use std::collections::BTreeMap;

use money::Money;
use uuid::Uuid;

use super::Step;

/// The namespace of the ids that a payment derives for its steps.
const NAMESPACE: Uuid = Uuid::from_u128(0x6d69_7a61_6e00_4000_8000_7061_796d_656e);

/// Which way the money goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// To the counterparty.
    Outgoing,
    /// Back from it.
    Refund,
}

/// What a caller asked for, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Intent {
    /// The request's id, which is the payment's.
    pub(crate) id: String,
    /// Above zero.
    pub(crate) amount: Money,
    pub(crate) direction: Direction,
    pub(crate) counterparty_id: String,
    pub(crate) counterparty_name: String,
    pub(crate) description: String,
    pub(crate) reference: String,
    pub(crate) metadata: BTreeMap<String, String>,
    /// Empty: the default one of the currency.
    pub(crate) expense_account: String,
    /// Empty: the default one of the currency.
    pub(crate) cash_account: String,
    /// Microseconds since 1970; `None`: when it was accepted.
    pub(crate) effective_micros: Option<i64>,
    /// The payment that this one pays back, if it is a refund.
    pub(crate) refund_of: Option<String>,
}

impl Intent {
    /// The id that a step's request goes out with: derived, so that every repetition, by whichever
    /// process, is the same request.
    pub(crate) fn child_id(&self, step: &str) -> String {
        child_id(&self.id, step)
    }

    /// The invoice's or credit note's id.
    pub(crate) fn document_id(&self) -> String {
        self.child_id("invoice")
    }

    /// The ledger transaction's id.
    pub(crate) fn transaction_id(&self) -> String {
        self.child_id("ledger")
    }

    /// The document and the transaction that a refund takes back.
    pub(crate) fn refunded(&self) -> Option<(String, String)> {
        let of = self.refund_of.as_ref()?;
        Some((child_id(of, "invoice"), child_id(of, "ledger")))
    }

    /// What a step is called in this payment.
    pub(crate) fn step_name(&self, step: Step) -> &'static str {
        match (step, self.refund_of.is_some()) {
            (Step::Document, false) => "invoice",
            (Step::Document, true) => "credit_note",
            (Step::Ledger, _) => "ledger",
            (Step::Settle, false) => "mark_paid",
            (Step::Settle, true) => "settle_credit_note",
            (Step::Void, false) => "void_invoice",
            (Step::Void, true) => "void_credit_note",
        }
    }

    pub(crate) fn expense_account(&self) -> String {
        self.account(&self.expense_account, "expense")
    }

    pub(crate) fn cash_account(&self) -> String {
        self.account(&self.cash_account, "cash")
    }

    fn account(&self, named: &str, default: &str) -> String {
        if named.is_empty() {
            format!("{default}-{}", self.amount.currency().code().to_lowercase())
        } else {
            named.to_owned()
        }
    }
}

fn child_id(payment_id: &str, step: &str) -> String {
    Uuid::new_v5(&NAMESPACE, format!("{payment_id}/{step}").as_bytes()).to_string()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::domain) fn intent(id: &str) -> Intent {
        Intent {
            id: id.to_owned(),
            amount: Money::from_minor(100, "GBP".parse().unwrap()),
            direction: Direction::Outgoing,
            counterparty_id: String::new(),
            counterparty_name: "n".to_owned(),
            description: String::new(),
            reference: String::new(),
            metadata: BTreeMap::new(),
            expense_account: String::new(),
            cash_account: "till".to_owned(),
            effective_micros: None,
            refund_of: None,
        }
    }

    #[test]
    fn child_ids_are_the_same_for_ever_and_differ_by_step_and_payment() {
        let one = intent("p1");
        assert_eq!(
            one.child_id("invoice"),
            "d2df80db-db67-5aa7-a28f-595a09ff1e42"
        );
        assert_ne!(one.child_id("invoice"), one.child_id("ledger"));
        assert_ne!(one.child_id("invoice"), intent("p2").child_id("invoice"));
    }

    #[test]
    fn a_refund_knows_the_documents_of_what_it_pays_back() {
        let paid = intent("p1");
        let refund = Intent {
            refund_of: Some("p1".to_owned()),
            ..intent("r1")
        };
        assert_eq!(
            refund.refunded(),
            Some((paid.document_id(), paid.transaction_id()))
        );
        assert_ne!(refund.document_id(), paid.document_id());
    }

    #[test]
    fn accounts_default_by_currency() {
        assert_eq!(intent("p").expense_account(), "expense-gbp");
        assert_eq!(intent("p").cash_account(), "till");
    }
}
