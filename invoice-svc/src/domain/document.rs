//! What an invoice says: the party, the lines, what is taken off and added, the caller's own words.

use std::collections::BTreeMap;

use money::{Currency, Money};

use super::{
    Adjustment, Invalid, Line, Micros, Problem, Subtotal, Tax, TaxCategory, Taxed, Totals,
    totals::add_up,
};

/// What the document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentType {
    /// A commercial invoice: the party owes.
    Invoice,
    /// A credit note: the party is owed.
    CreditNote,
}

impl DocumentType {
    /// The series of its numbers, unless another is asked for.
    #[must_use]
    pub const fn series(self) -> &'static str {
        match self {
            Self::Invoice => "INV",
            Self::CreditNote => "CRN",
        }
    }
}

/// The other party.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Party {
    /// The caller's id of the party; may be empty, as all but the name.
    pub id: String,
    /// The name.
    pub name: String,
    /// The identifier for value added tax.
    pub tax_id: String,
    /// The number in the register of companies.
    pub legal_id: String,
    /// The postal address.
    pub address: Address,
    /// The electronic address.
    pub endpoint_id: String,
    /// Its scheme.
    pub endpoint_scheme: String,
}

/// A postal address; every part may be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Address {
    /// Street and number.
    pub street: String,
    /// A second line.
    pub additional: String,
    /// The city.
    pub city: String,
    /// The post code.
    pub postal_code: String,
    /// The region.
    pub subdivision: String,
    /// The country by ISO 3166-1.
    pub country_code: String,
}

/// An allowance or a charge on the document as it was asked for, with how tax applies to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaxedAdjustment {
    /// How much, and why.
    pub adjustment: Adjustment,
    /// How tax applies to it.
    pub tax: Tax,
}

/// A document as it was asked for, but for the lines, which are worked out one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentSpec {
    /// What it is.
    pub document_type: DocumentType,
    /// The series that it is numbered in.
    pub series: String,
    /// The other party.
    pub party: Party,
    /// What is billed.
    pub lines: Vec<Line>,
    /// Discounts on the whole.
    pub allowances: Vec<TaxedAdjustment>,
    /// Charges on the whole.
    pub charges: Vec<TaxedAdjustment>,
    /// What was paid in advance.
    pub prepaid: Option<Money>,
    /// What is added to round the amount due.
    pub rounding: Option<Money>,
    /// When it is to be paid by.
    pub due_time: Option<Micros>,
    /// When what is billed was delivered.
    pub delivery_time: Option<Micros>,
    /// Free text for the party.
    pub note: String,
    /// The caller's own reference.
    pub reference: String,
    /// Free key-value pairs.
    pub metadata: BTreeMap<String, String>,
}

/// A document, worked out: of one currency, with something to pay, every amount of which fits the
/// 64 bits it is kept in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    asked: DocumentSpec,
    allowances: Vec<Taxed>,
    charges: Vec<Taxed>,
    totals: Totals,
    breakdown: Vec<Subtotal>,
}

impl Document {
    /// Works a document out.
    ///
    /// # Errors
    /// [`Invalid`] names the field that cannot be.
    pub fn new(asked: DocumentSpec) -> Result<Self, Invalid> {
        let lines = |problem| Invalid::new("lines", problem);
        let first = asked.lines.first().ok_or(lines(Problem::Required))?;
        let currency = first.amount().currency();
        let sum = sum(&asked.lines, currency).map_err(lines)?;
        let allowances = taxed("allowances", &asked.allowances, sum)?;
        let charges = taxed("charges", &asked.charges, sum)?;
        let prepaid = optional("prepaid", asked.prepaid, currency)?;
        let rounding = optional("rounding", asked.rounding, currency)?;
        let (totals, breakdown) = add_up(
            currency,
            &asked.lines,
            &allowances,
            &charges,
            prepaid,
            rounding,
        )
        .map_err(|_| lines(Problem::TooLarge))?;
        let document = Self {
            asked,
            allowances,
            charges,
            totals,
            breakdown,
        };
        document.check()?;
        Ok(document)
    }

    fn check(&self) -> Result<(), Invalid> {
        let lines = |problem| Err(Invalid::new("lines", problem));
        if self
            .amounts()
            .any(|amount| i64::try_from(amount.minor()).is_err())
        {
            return lines(Problem::TooLarge);
        }
        if self.totals.gross.is_zero() {
            return lines(Problem::Nothing);
        }
        if self.totals.gross.is_negative() {
            return lines(Problem::BelowZero);
        }
        let outside = |s: &&Subtotal| s.tax.rate().category() == TaxCategory::OutOfScope;
        let outside = self.breakdown.iter().filter(outside).count();
        if outside > 0 && self.breakdown.len() > outside {
            return lines(Problem::MixedScope);
        }
        if !self.ceiling().is_positive() {
            return Err(Invalid::new("rounding", Problem::BelowZero));
        }
        if self.totals.prepaid.is_negative() {
            return Err(Invalid::new("prepaid", Problem::Negative));
        }
        if self.totals.due.is_negative() {
            return Err(Invalid::new("prepaid", Problem::MoreThanTotal));
        }
        Ok(())
    }

    /// Every amount that is kept or told.
    fn amounts(&self) -> impl Iterator<Item = Money> {
        let lines = self.asked.lines.iter();
        let lines = lines.flat_map(|line| {
            let adjusted = line.allowances().iter().chain(line.charges());
            let adjusted = adjusted.flat_map(|a| [Some(a.amount), a.base]).flatten();
            [line.asked().unit_price, line.before(), line.amount()]
                .into_iter()
                .chain(adjusted)
        });
        let adjusted = self.allowances.iter().chain(&self.charges);
        let adjusted = adjusted.flat_map(|a| [Some(a.adjusted.amount), a.adjusted.base]);
        let subtotals = self.breakdown.iter().flat_map(|s| [s.taxable, s.amount]);
        let t = &self.totals;
        let totals = [
            t.lines,
            t.allowances,
            t.charges,
            t.net,
            t.tax,
            t.gross,
            t.prepaid,
            t.rounding,
            t.due,
        ];
        let totals = totals.into_iter().chain([self.ceiling()]);
        lines
            .chain(adjusted.flatten())
            .chain(subtotals)
            .chain(totals)
    }

    /// What was asked.
    #[must_use]
    pub const fn asked(&self) -> &DocumentSpec {
        &self.asked
    }

    /// What it is.
    #[must_use]
    pub const fn document_type(&self) -> DocumentType {
        self.asked.document_type
    }

    /// The one currency.
    #[must_use]
    pub const fn currency(&self) -> Currency {
        self.totals.gross.currency()
    }

    /// The discounts on the whole.
    #[must_use]
    pub fn allowances(&self) -> &[Taxed] {
        &self.allowances
    }

    /// The charges on the whole.
    #[must_use]
    pub fn charges(&self) -> &[Taxed] {
        &self.charges
    }

    /// The totals.
    #[must_use]
    pub const fn totals(&self) -> &Totals {
        &self.totals
    }

    /// The tax by category and rate.
    #[must_use]
    pub fn breakdown(&self) -> &[Subtotal] {
        &self.breakdown
    }

    /// All that is to be paid for it, in advance or not: the most that can be credited.
    #[must_use]
    pub fn ceiling(&self) -> Money {
        // Each fits 64 bits, so the sum fits 128.
        let minor = self.totals.due.minor() + self.totals.prepaid.minor();
        Money::from_minor(minor, self.currency())
    }

    /// The same for another party.
    #[must_use]
    pub fn for_party(self, party: Party) -> Self {
        Self {
            asked: DocumentSpec {
                party,
                ..self.asked
            },
            ..self
        }
    }
}

fn sum(lines: &[Line], currency: Currency) -> Result<Money, Problem> {
    let mut amounts = lines.iter().map(Line::amount);
    amounts
        .try_fold(Money::zero(currency), Money::checked_add)
        .map_err(|e| match e {
            money::Error::CurrencyMismatch => Problem::MixedCurrencies,
            _ => Problem::TooLarge,
        })
}

fn taxed(
    field: &str,
    adjustments: &[TaxedAdjustment],
    whole: Money,
) -> Result<Vec<Taxed>, Invalid> {
    let each = adjustments.iter().enumerate();
    each.map(|(index, TaxedAdjustment { adjustment, tax })| {
        let adjusted = adjustment.clone().of(whole);
        let adjusted = adjusted.map_err(|invalid| invalid.within(&format!("{field}[{index}]")))?;
        let tax = tax.clone();
        Ok(Taxed { adjusted, tax })
    })
    .collect()
}

fn optional(field: &str, money: Option<Money>, currency: Currency) -> Result<Money, Invalid> {
    match money {
        Some(money) if money.currency() != currency => {
            Err(Invalid::new(field, Problem::OtherCurrency))
        }
        money => Ok(money.unwrap_or(Money::zero(currency))),
    }
}
