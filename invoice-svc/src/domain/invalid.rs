//! What makes no document: which field, and why.

use super::{InvalidDecimal, PERCENT_MAX, QUANTITY_MAX, tax::PERCENT_PLACES};

/// A value that cannot be, by the path of its field in the contract, from where it was asked for:
/// `quantity`, `allowances[2].amount`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct Invalid {
    /// The path of the field.
    pub field: String,
    /// What is wrong with it.
    pub problem: Problem,
}

impl Invalid {
    pub(super) fn new(field: impl Into<String>, problem: Problem) -> Self {
        let field = field.into();
        Self { field, problem }
    }

    /// The same, seen from the message that holds the field.
    #[must_use]
    pub fn within(self, outer: &str) -> Self {
        Self {
            field: format!("{outer}.{}", self.field),
            problem: self.problem,
        }
    }
}

/// What is wrong with a value. `Display` is a clause that fits after the field's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Empty.
    #[error("is required")]
    Required,
    /// No decimal.
    #[error(transparent)]
    Decimal(#[from] InvalidDecimal),
    /// Beyond the bounds of a quantity.
    #[error("is not from -{QUANTITY_MAX} to {QUANTITY_MAX}")]
    QuantityOutOfRange,
    /// Beyond the bounds of a base quantity.
    #[error("is not above 0 and at most {QUANTITY_MAX}")]
    BaseOutOfRange,
    /// Below zero.
    #[error("is negative")]
    Negative,
    /// Beyond the bounds of a rate.
    #[error("is not from 0 to 100")]
    RateOutOfRange,
    /// Beyond the bounds of a percentage.
    #[error("is not from 0 to {PERCENT_MAX}")]
    PercentOutOfRange,
    /// Too many decimals.
    #[error("has more than {PERCENT_PLACES} decimals")]
    PercentTooFine,
    /// The standard category has a rate.
    #[error("is not above 0, as its category demands")]
    RateMissing,
    /// The other categories have none.
    #[error("is not 0, as its category demands")]
    RateOnUntaxed,
    /// Not the currency of the rest.
    #[error("is in another currency than the rest of the document")]
    OtherCurrency,
    /// Two currencies among the lines.
    #[error("has more than one currency")]
    MixedCurrencies,
    /// BR-O-11 to BR-O-14.
    #[error("mixes what is not subject to tax with what is")]
    MixedScope,
    /// Nothing to pay.
    #[error("adds up to zero")]
    Nothing,
    /// Something to be paid back.
    #[error("adds up to less than zero: make it a credit note")]
    BelowZero,
    /// More than was billed.
    #[error("is more than the document comes to")]
    MoreThanTotal,
    /// More than fits the 64 bits that amounts are kept in.
    #[error("adds up to more than can be kept")]
    TooLarge,
}
