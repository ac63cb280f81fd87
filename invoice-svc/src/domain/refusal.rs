//! Why a call may not do what it asks.

/// Why the state machine refused. Each has a stable reason that callers may branch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Only a draft can be finalized or changed, and this one was finalized.
    #[error("the invoice is not a draft any more")]
    NotDraft,
    /// Only what is finalized can be paid, credited or given up, and this one is still a draft.
    #[error("the invoice is a draft: finalize it first")]
    NotOpen,
    /// Settled, and so final.
    #[error("the invoice is paid")]
    Paid,
    /// Void, and so final; also when it was voided before it was created.
    #[error("the invoice is void")]
    Voided,
    /// Given up: it takes payments, but no credit.
    #[error("the invoice is uncollectible")]
    Uncollectible,
    /// The payment is more than is due.
    #[error("the payment is more than is due")]
    Overpayment,
    /// Something was paid on it, so it can only be credited.
    #[error("a payment was applied to the invoice: it cannot be voided")]
    PaymentApplied,
    /// Credit notes took something off it, which have to be voided first.
    #[error("a credit note was applied to the invoice: void that first")]
    CreditApplied,
    /// The amount is in another currency than the invoice.
    #[error("the amount is in another currency than the invoice")]
    CurrencyMismatch,
    /// The credit notes of an invoice together are no more than it.
    #[error("the credit notes would come to more than the invoice")]
    CreditExceedsInvoice,
    /// Nor are their lines at any category and rate of tax more than was billed there.
    #[error("the credit notes would come to more than was billed at a category and rate of tax")]
    CreditExceedsRate,
    /// A credit note takes back only what was billed.
    #[error("a line has a category and rate of tax that the invoice does not have")]
    TaxNotInvoiced,
    /// So little that nothing of it is left at any rate of tax.
    #[error("so little cannot be spread over the invoice's rates of tax")]
    CreditTooSmall,
    /// A credit note is neither credited nor given up.
    #[error("the document is a credit note")]
    IsCreditNote,
    /// A draft stays what it was made as.
    #[error("the document type of a draft cannot be changed")]
    OtherType,
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
            Self::Uncollectible => "INVOICE_UNCOLLECTIBLE",
            Self::Overpayment => "OVERPAYMENT",
            Self::PaymentApplied => "PAYMENT_APPLIED",
            Self::CreditApplied => "CREDIT_NOTE_APPLIED",
            Self::CurrencyMismatch => "CURRENCY_MISMATCH",
            Self::CreditExceedsInvoice | Self::CreditExceedsRate => "CREDIT_EXCEEDS_INVOICE",
            Self::TaxNotInvoiced => "TAX_NOT_INVOICED",
            Self::CreditTooSmall => "CREDIT_TOO_SMALL",
            Self::IsCreditNote => "IS_CREDIT_NOTE",
            Self::OtherType => "DOCUMENT_TYPE_CHANGED",
        }
    }

    /// The field of the request that is to blame, if one is.
    #[must_use]
    pub const fn field(self) -> Option<&'static str> {
        match self {
            Self::Overpayment | Self::CurrencyMismatch | Self::CreditTooSmall => Some("amount"),
            Self::TaxNotInvoiced | Self::CreditExceedsRate => Some("lines"),
            Self::OtherType => Some("invoice.document_type"),
            Self::NotDraft
            | Self::NotOpen
            | Self::Paid
            | Self::Voided
            | Self::Uncollectible
            | Self::PaymentApplied
            | Self::CreditApplied
            | Self::CreditExceedsInvoice
            | Self::IsCreditNote => None,
        }
    }
}
