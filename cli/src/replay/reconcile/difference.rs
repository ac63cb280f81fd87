//! One thing in which files, payments and ledger do not agree.

use serde::Serialize;

use crate::replay::tally::Place;

/// What kind of difference it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Kind {
    /// A row has no payment.
    PaymentMissing,
    /// A row has a payment that is not completed.
    PaymentNotCompleted,
    /// A row was paid another amount, or the other way.
    PaymentAmount,
    /// A row was paid to somebody else.
    PaymentSupplier,
    /// A payment that no row asks for: of a row's transaction number by another id, or, where
    /// nothing else may be, of anything.
    PaymentExtra,
    /// A completed payment is not in the ledger.
    TransactionMissing,
    /// The ledger has it with another amount, or on other accounts.
    TransactionAmount,
    /// The ledger has it as somebody else's.
    TransactionSupplier,
    /// The ledger has it as pending or voided, or took it back.
    TransactionNotStanding,
    /// A transaction that no payment explains.
    TransactionExtra,
}

/// A difference. What does not apply is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) kind: Kind,
    /// The row, if it is one's.
    pub(crate) place: Option<Place>,
    /// The row's transaction number, or the payment's reference.
    pub(crate) reference: String,
    pub(crate) payment_id: String,
    pub(crate) transaction_id: String,
    /// What the files say.
    pub(crate) files: String,
    /// What the payments say.
    pub(crate) payments: String,
    /// What the ledger says.
    pub(crate) ledger: String,
}
