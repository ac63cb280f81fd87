//! Why a call may not do what it asks.

/// Why the state machine refused. Each has a stable reason that callers may branch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Only a draft can be finalized, and this one was already.
    #[error("the invoice is not a draft any more")]
    NotDraft,
    /// Only an open invoice takes payments, and this one is still a draft.
    #[error("the invoice is a draft: finalize it first")]
    NotOpen,
    /// Settled, and so final.
    #[error("the invoice is paid")]
    Paid,
    /// Void, and so final; also when it was voided before it was created.
    #[error("the invoice is void")]
    Voided,
    /// The payment is more than is due.
    #[error("the payment is more than is due")]
    Overpayment,
    /// Something was paid on it, so it can only be credited.
    #[error("a payment was applied to the invoice: it cannot be voided")]
    PaymentApplied,
    /// The payment is in another currency than the invoice.
    #[error("the payment is in another currency than the invoice")]
    CurrencyMismatch,
}

impl Refusal {
    /// The stable reason.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NotDraft => "INVOICE_NOT_DRAFT",
            Self::NotOpen => "INVOICE_NOT_OPEN",
            Self::Paid => "INVOICE_PAID",
            Self::Voided => "INVOICE_VOIDED",
            Self::Overpayment => "OVERPAYMENT",
            Self::PaymentApplied => "PAYMENT_APPLIED",
            Self::CurrencyMismatch => "CURRENCY_MISMATCH",
        }
    }
}
