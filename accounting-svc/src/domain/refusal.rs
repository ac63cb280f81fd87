//! Refusals that depend on the books: outcomes, remembered with the request.

/// Why the books refuse, in order of precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The id of a new account is taken.
    AccountExists,
    /// A leg names an account that does not exist.
    AccountNotFound,
    /// A leg is not in its account's currency.
    CurrencyMismatch,
    /// The sums of a currency would not fit any more.
    BalanceOverflow,
}

impl Reason {
    /// All of them, in order of precedence.
    pub const ALL: [Self; 4] = [
        Self::AccountExists,
        Self::AccountNotFound,
        Self::CurrencyMismatch,
        Self::BalanceOverflow,
    ];

    /// The stable word that callers match on.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccountExists => "ACCOUNT_EXISTS",
            Self::AccountNotFound => "ACCOUNT_NOT_FOUND",
            Self::CurrencyMismatch => "CURRENCY_MISMATCH",
            Self::BalanceOverflow => "BALANCE_OVERFLOW",
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
    /// The id of a new account is taken.
    #[must_use]
    pub fn account_exists() -> Self {
        Self {
            reason: Reason::AccountExists,
            field: "account_id".to_owned(),
            description: "is taken by another account".to_owned(),
        }
    }

    /// About one leg. `part` is the field within it.
    pub(crate) fn leg(reason: Reason, index: usize, part: &str, description: String) -> Self {
        Self {
            reason,
            field: format!("legs[{index}].{part}"),
            description,
        }
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
