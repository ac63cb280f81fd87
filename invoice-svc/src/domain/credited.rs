//! What the credit notes of an invoice took back so far, by category and rate of tax.
//!
//! The rule is about amounts without tax: at each category and rate the notes together lie between
//! nothing and what was billed there, whichever sign that has. The tax of a note is its own amounts
//! times the rate, rounded (BR-CO-17), so all of their taxes exceed what was billed by half a
//! smallest unit for each note at most.

use std::collections::BTreeMap;

use super::{Document, Rate, Subtotal};

/// The sums of the notes that are not void, without tax, in smallest units.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credited(BTreeMap<Rate, i128>);

impl Credited {
    /// Counts a credit note.
    pub fn add(&mut self, note: &Document) {
        for part in note.breakdown() {
            *self.0.entry(part.tax.rate()).or_default() += part.taxable.minor();
        }
    }

    /// Counts a credit note no more, since it is void.
    pub fn remove(&mut self, note: &Document) {
        for part in note.breakdown() {
            *self.0.entry(part.tax.rate()).or_default() -= part.taxable.minor();
        }
    }

    /// What is left to credit of a part of the invoice: between nothing and what was billed.
    pub(super) fn left(&self, billed: &Subtotal) -> i128 {
        let minor = billed.taxable.minor();
        let left = minor - self.at(billed.tax.rate());
        left.clamp(minor.min(0), minor.max(0))
    }

    /// Whether with one more note more would be taken back somewhere than was billed there.
    pub(super) fn exceeds(&self, of: &Document, note: &Document) -> bool {
        note.breakdown().iter().any(|part| {
            let rate = part.tax.rate();
            let billed = of.breakdown().iter().find(|s| s.tax.rate() == rate);
            let billed = billed.map_or(0, |billed| billed.taxable.minor());
            let sum = self.at(rate) + part.taxable.minor();
            !(billed.min(0)..=billed.max(0)).contains(&sum)
        })
    }

    fn at(&self, rate: Rate) -> i128 {
        self.0.get(&rate).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
