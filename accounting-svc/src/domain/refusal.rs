//! Refusals that depend on the books: outcomes, remembered with the request.

use crate::domain::{Limit, State};

/// Why the books refuse, in order of precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The id of a new account is taken.
    AccountExists,
    /// The transaction to post, void or reverse does not exist.
    TransactionNotFound,
    /// It was not recorded as pending, so it cannot be posted or voided.
    TransactionNotPending,
    /// It is still pending, so it cannot be reversed.
    TransactionNotPosted,
    /// It was posted before.
    TransactionPosted,
    /// It was voided.
    TransactionVoided,
    /// Its time ran out.
    TransactionExpired,
    /// It was reversed before.
    TransactionReversed,
    /// The amounts to post do not fit the legs.
    AmountsMismatch,
    /// More is to be posted than is pending.
    ExceedsPending,
    /// A leg names an account that does not exist.
    AccountNotFound,
    /// An account is closed.
    AccountClosed,
    /// The account to reopen is open.
    AccountNotClosed,
    /// The account to close has something pending.
    AccountHasPending,
    /// A leg is not in its account's currency.
    CurrencyMismatch,
    /// The sums of a currency would not fit any more.
    BalanceOverflow,
    /// An account's limit.
    DebitsExceedCredits,
    /// An account's limit.
    CreditsExceedDebits,
}

impl Reason {
    /// All of them, in order of precedence.
    pub const ALL: [Self; 18] = [
        Self::AccountExists,
        Self::TransactionNotFound,
        Self::TransactionNotPending,
        Self::TransactionNotPosted,
        Self::TransactionPosted,
        Self::TransactionVoided,
        Self::TransactionExpired,
        Self::TransactionReversed,
        Self::AmountsMismatch,
        Self::ExceedsPending,
        Self::AccountNotFound,
        Self::AccountClosed,
        Self::AccountNotClosed,
        Self::AccountHasPending,
        Self::CurrencyMismatch,
        Self::BalanceOverflow,
        Self::DebitsExceedCredits,
        Self::CreditsExceedDebits,
    ];

    /// The stable word that callers match on.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccountExists => "ACCOUNT_EXISTS",
            Self::TransactionNotFound => "TRANSACTION_NOT_FOUND",
            Self::TransactionNotPending => "TRANSACTION_NOT_PENDING",
            Self::TransactionNotPosted => "TRANSACTION_NOT_POSTED",
            Self::TransactionPosted => "TRANSACTION_POSTED",
            Self::TransactionVoided => "TRANSACTION_VOIDED",
            Self::TransactionExpired => "TRANSACTION_EXPIRED",
            Self::TransactionReversed => "TRANSACTION_REVERSED",
            Self::AmountsMismatch => "AMOUNTS_MISMATCH",
            Self::ExceedsPending => "EXCEEDS_PENDING",
            Self::AccountNotFound => "ACCOUNT_NOT_FOUND",
            Self::AccountClosed => "ACCOUNT_CLOSED",
            Self::AccountNotClosed => "ACCOUNT_NOT_CLOSED",
            Self::AccountHasPending => "ACCOUNT_HAS_PENDING",
            Self::CurrencyMismatch => "CURRENCY_MISMATCH",
            Self::BalanceOverflow => "BALANCE_OVERFLOW",
            Self::DebitsExceedCredits => "DEBITS_EXCEED_CREDITS",
            Self::CreditsExceedDebits => "CREDITS_EXCEED_DEBITS",
        }
    }

    /// The reason of a stable word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.as_str() == word)
    }
}

/// A refusal as the caller sees it. The words are kept too, so that the same id gives the same
/// refusal for ever, also after the wording changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// The field of the request that it is about: `legs[1].account_id`.
    pub field: String,
    /// A clause that fits after the field's name.
    pub description: String,
}

impl Refusal {
    /// About one field.
    pub(crate) fn of(reason: Reason, field: &str, description: impl Into<String>) -> Self {
        Self {
            reason,
            field: field.to_owned(),
            description: description.into(),
        }
    }

    /// About one leg. `part` is the field within it.
    pub(crate) fn leg(reason: Reason, index: usize, part: &str, description: String) -> Self {
        Self::of(reason, &format!("legs[{index}].{part}"), description)
    }

    /// About the transaction that a request names, which stands so.
    pub(crate) fn stands(state: State) -> Self {
        let (reason, description) = match state {
            State::Pending => (
                Reason::TransactionNotPosted,
                "is pending: void it, or post it first",
            ),
            State::Posted => (Reason::TransactionPosted, "was posted before"),
            State::Voided => (Reason::TransactionVoided, "was voided"),
            State::Expired => (Reason::TransactionExpired, "has expired"),
        };
        Self::of(reason, "transaction_id", description)
    }

    /// About a leg whose account would leave its limit.
    pub(crate) fn limit(index: usize, account_id: &str, limit: Limit) -> Self {
        let (reason, words) = match limit {
            Limit::CreditsWithinDebits => {
                (Reason::CreditsExceedDebits, "credits exceed its debits")
            }
            Limit::None | Limit::DebitsWithinCredits => {
                (Reason::DebitsExceedCredits, "debits exceed its credits")
            }
        };
        let description = format!("would let the account's {words}: {account_id}");
        Self::leg(reason, index, "amount", description)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_reads_back_from_its_word() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_word(reason.as_str()), Some(reason));
        }
        assert_eq!(Reason::from_word("account_exists"), None);
        assert!(Reason::ALL.is_sorted(), "declared in order of precedence");
    }
}
