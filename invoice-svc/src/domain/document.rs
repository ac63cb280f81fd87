//! What an invoice says: the party, the lines, the caller's own words.

use std::collections::BTreeMap;

use money::{Currency, Money};

/// The largest quantity of one line.
pub const QUANTITY_MAX: i64 = 1_000_000;

/// What the document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentType {
    /// A commercial invoice: the party owes.
    Invoice,
    /// A credit note: the party is owed.
    CreditNote,
}

impl DocumentType {
    /// The first part of its numbers.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Invoice => "INV",
            Self::CreditNote => "CRN",
        }
    }
}

/// The other party.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Party {
    /// The caller's id of the party; may be empty.
    pub id: String,
    /// The name.
    pub name: String,
}

/// A finished document: only its standing changes after it is created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// What it is.
    pub document_type: DocumentType,
    /// The other party.
    pub party: Party,
    /// What is billed.
    pub lines: Lines,
    /// The caller's own reference.
    pub reference: String,
    /// Free key-value pairs.
    pub metadata: BTreeMap<String, String>,
}

/// One line: so many of something at a price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    description: String,
    quantity: i64,
    unit_price: Money,
    amount: Money,
}

/// Why there is no such line. `Display` is a clause that fits after the field's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLine {
    /// Less than 1 or more than [`QUANTITY_MAX`].
    #[error("is not from 1 to {QUANTITY_MAX}")]
    Quantity,
    /// Below zero.
    #[error("is negative")]
    NegativePrice,
    /// Quantity times price does not fit.
    #[error("is too large")]
    TooLarge,
}

impl Line {
    /// A line, with its amount worked out.
    ///
    /// # Errors
    /// [`InvalidLine`] says which figure cannot be.
    pub fn new(description: String, quantity: i64, unit_price: Money) -> Result<Self, InvalidLine> {
        if !(1..=QUANTITY_MAX).contains(&quantity) {
            return Err(InvalidLine::Quantity);
        }
        if unit_price.is_negative() {
            return Err(InvalidLine::NegativePrice);
        }
        let amount = unit_price
            .checked_mul(i128::from(quantity))
            .map_err(|_| InvalidLine::TooLarge)?;
        Ok(Self {
            description,
            quantity,
            unit_price,
            amount,
        })
    }

    /// What it is for.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// How many.
    #[must_use]
    pub const fn quantity(&self) -> i64 {
        self.quantity
    }

    /// The price of one.
    #[must_use]
    pub const fn unit_price(&self) -> Money {
        self.unit_price
    }

    /// Quantity × price.
    #[must_use]
    pub const fn amount(&self) -> Money {
        self.amount
    }
}

/// The lines of a document: at least one, all of one currency, with a sum above zero that fits the
/// 64 bits it is kept in (and so does every price, being no larger than the sum or billed as zero).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lines {
    lines: Vec<Line>,
    total: Money,
}

/// Why lines do not make a document. `Display` is a clause that fits after the field's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLines {
    /// None at all.
    #[error("is required")]
    Empty,
    /// Two currencies.
    #[error("has more than one currency")]
    MixedCurrencies,
    /// Nothing to pay.
    #[error("adds up to zero")]
    NothingBilled,
    /// The sum does not fit.
    #[error("adds up to more than can be kept")]
    TooLarge,
}

impl Lines {
    /// The lines and their sum.
    ///
    /// # Errors
    /// [`InvalidLines`] says why they do not make a document.
    pub fn new(lines: Vec<Line>) -> Result<Self, InvalidLines> {
        let currency = lines
            .first()
            .map(|line| line.amount.currency())
            .ok_or(InvalidLines::Empty)?;
        let total = sum(&lines, currency)?;
        if total.is_zero() {
            return Err(InvalidLines::NothingBilled);
        }
        if i64::try_from(total.minor()).is_err() {
            return Err(InvalidLines::TooLarge);
        }
        Ok(Self { lines, total })
    }

    /// One after another.
    pub fn iter(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter()
    }

    /// The sum of the amounts.
    #[must_use]
    pub const fn total(&self) -> Money {
        self.total
    }
}

fn sum(lines: &[Line], currency: Currency) -> Result<Money, InvalidLines> {
    lines.iter().try_fold(Money::zero(currency), |sum, line| {
        sum.checked_add(line.amount).map_err(|e| match e {
            money::Error::CurrencyMismatch => InvalidLines::MixedCurrencies,
            _ => InvalidLines::TooLarge,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(quantity: i64, minor: i128, code: &str) -> Result<Line, InvalidLine> {
        let unit_price = Money::from_minor(minor, code.parse().unwrap());
        Line::new("paper".to_owned(), quantity, unit_price)
    }

    fn lines(all: &[(i64, i128, &str)]) -> Result<i128, InvalidLines> {
        let all = all
            .iter()
            .map(|(q, m, c)| line(*q, *m, c).unwrap())
            .collect();
        Lines::new(all).map(|lines| lines.total().minor())
    }

    #[test]
    fn an_amount_is_quantity_times_price() {
        assert_eq!(line(3, 333, "GBP").unwrap().amount().minor(), 999);
        assert_eq!(line(QUANTITY_MAX, 0, "GBP").unwrap().amount().minor(), 0);
    }

    #[test]
    fn figures_that_cannot_be_are_refused() {
        assert_eq!(line(0, 1, "GBP"), Err(InvalidLine::Quantity));
        assert_eq!(line(QUANTITY_MAX + 1, 1, "GBP"), Err(InvalidLine::Quantity));
        assert_eq!(line(1, -1, "GBP"), Err(InvalidLine::NegativePrice));
        assert_eq!(line(2, i128::MAX, "GBP"), Err(InvalidLine::TooLarge));
    }

    #[test]
    fn a_total_is_the_sum_of_the_lines() {
        assert_eq!(
            lines(&[(2, 150, "GBP"), (1, 0, "GBP"), (1, 1, "GBP")]),
            Ok(301)
        );
    }

    #[test]
    fn lines_that_make_no_document_are_refused() {
        let most = i128::from(i64::MAX);
        assert_eq!(lines(&[]), Err(InvalidLines::Empty));
        assert_eq!(lines(&[(1, 0, "GBP")]), Err(InvalidLines::NothingBilled));
        assert_eq!(
            lines(&[(1, 1, "GBP"), (1, 1, "USD")]),
            Err(InvalidLines::MixedCurrencies)
        );
        assert_eq!(lines(&[(1, most, "GBP")]), Ok(most));
        assert_eq!(
            lines(&[(1, most, "GBP"), (1, 1, "GBP")]),
            Err(InvalidLines::TooLarge)
        );
        assert_eq!(
            lines(&[(1, i128::MAX, "GBP"), (1, 1, "GBP")]),
            Err(InvalidLines::TooLarge)
        );
    }
}
