//! Amounts that an authority publishes for a time and a place.
//!
//! They are facts and not formulas: the karat behind the Indonesian income nisab changed from 2025
//! to 2026, and the monthly amount is not always a twelfth of the yearly one.

use serde::Deserialize;

use super::{Cited, Policy};
use crate::domain::{date::Date, ratio::Ratio};

/// One published amount.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decree {
    /// The act: "SK Ketua BAZNAS 13/2025".
    pub act: String,
    /// What it is for.
    pub kind: DecreeKind,
    /// Where it holds: empty means everywhere the authority acts.
    #[serde(default)]
    pub region: String,
    /// The first day.
    pub from: Date,
    /// The last day.
    pub until: Date,
    /// The currency of the amounts.
    pub currency: String,
    /// For a year of income.
    pub per_year: Option<Cited<Ratio>>,
    /// For a month of income.
    pub per_month: Option<Cited<Ratio>>,
    /// For a person's zakat al-fitr.
    pub per_person: Option<Cited<Ratio>>,
}

/// What a decree is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecreeKind {
    /// The nisab of income: names a year's and a month's.
    IncomeNisab,
    /// Zakat al-fitr: names a person's.
    Fitrah,
}

impl Decree {
    /// Its amounts.
    pub(super) fn amounts(&self) -> impl Iterator<Item = &Cited<Ratio>> {
        let amounts = [&self.per_year, &self.per_month, &self.per_person];
        amounts.into_iter().flatten()
    }
}

impl Policy {
    /// The decree that holds on a day, for a currency and a region.
    #[must_use]
    pub fn decree(
        &self,
        kind: DecreeKind,
        region: &str,
        currency: &str,
        on: Date,
    ) -> Option<&Decree> {
        self.decrees.iter().find(|decree| {
            decree.kind == kind
                && decree.region == region
                && decree.currency == currency
                && (decree.from..=decree.until).contains(&on)
        })
    }
}
