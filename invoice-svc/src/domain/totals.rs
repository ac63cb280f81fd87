//! What a document adds up to: EN 16931's BR-CO-10 to BR-CO-17, for amounts of either sign.
//!
//! Lines, allowances and charges come in rounded. Then nothing but the tax of each category and
//! rate is rounded, once; the rest is sums. The one rounding is half away from zero, so a document
//! with every sign turned has every total turned, exactly.

use money::{Currency, Money, Rounding};

use super::{Adjusted, Line, Rate, Tax, adjustment::percent};

/// The one way to round: half away from zero. EN 16931 asks for two decimals and leaves the half
/// open; XPath's `round`, by which its published checks are written, takes it toward +∞, which
/// differs for negative halves only and within the tolerance of those checks.
pub(super) const ROUNDING: Rounding = Rounding::HalfAwayFromZero;

/// An allowance or a charge on the document, with how tax applies to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taxed {
    /// How much, and why.
    pub adjusted: Adjusted,
    /// How tax applies.
    pub tax: Tax,
}

/// The totals of a document (BG-22), of one currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// The sum of the lines (BT-106).
    pub lines: Money,
    /// The sum of the document's allowances (BT-107).
    pub allowances: Money,
    /// The sum of the document's charges (BT-108).
    pub charges: Money,
    /// Without tax (BT-109).
    pub net: Money,
    /// The tax (BT-110).
    pub tax: Money,
    /// With tax (BT-112).
    pub gross: Money,
    /// Paid in advance (BT-113).
    pub prepaid: Money,
    /// Added to round (BT-114).
    pub rounding: Money,
    /// Due (BT-115).
    pub due: Money,
}

/// The part of a document that one category and rate applies to (BG-23).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subtotal {
    /// The category and rate, with the first reason given among its parts.
    pub tax: Tax,
    /// The net amount (BT-116).
    pub taxable: Money,
    /// The tax on it (BT-117).
    pub amount: Money,
}

/// Adds a document up. The breakdown is in the order in which its rates first appear.
///
/// # Errors
/// [`money::Error::CurrencyMismatch`], [`money::Error::Overflow`].
pub fn add_up(
    currency: Currency,
    lines: &[Line],
    allowances: &[Taxed],
    charges: &[Taxed],
    prepaid: Money,
    rounding: Money,
) -> Result<(Totals, Vec<Subtotal>), money::Error> {
    let zero = Money::zero(currency);
    let mut breakdown = Vec::new();
    let mut sum = [zero; 3];
    for line in lines {
        sum[0] = sum[0].checked_add(line.amount())?;
        add(&mut breakdown, &line.asked().tax, line.amount())?;
    }
    for Taxed { adjusted, tax } in allowances {
        sum[1] = sum[1].checked_add(adjusted.amount)?;
        add(&mut breakdown, tax, adjusted.amount.checked_neg()?)?;
    }
    for Taxed { adjusted, tax } in charges {
        sum[2] = sum[2].checked_add(adjusted.amount)?;
        add(&mut breakdown, tax, adjusted.amount)?;
    }
    let mut tax = zero;
    for subtotal in &mut breakdown {
        // BR-CO-17.
        let rate = subtotal.tax.rate().percent();
        subtotal.amount = percent(subtotal.taxable, rate, ROUNDING)?;
        tax = tax.checked_add(subtotal.amount)?;
    }
    let [lines, allowances, charges] = sum;
    // BR-CO-13, BR-CO-15, BR-CO-16.
    let net = lines.checked_sub(allowances)?.checked_add(charges)?;
    let gross = net.checked_add(tax)?;
    let due = gross.checked_sub(prepaid)?.checked_add(rounding)?;
    let totals = Totals {
        lines,
        allowances,
        charges,
        net,
        tax,
        gross,
        prepaid,
        rounding,
        due,
    };
    Ok((totals, breakdown))
}

fn add(breakdown: &mut Vec<Subtotal>, tax: &Tax, amount: Money) -> Result<(), money::Error> {
    let rate: Rate = tax.rate();
    let Some(found) = breakdown.iter_mut().find(|s| s.tax.rate() == rate) else {
        breakdown.push(Subtotal {
            tax: tax.clone(),
            taxable: amount,
            amount: Money::zero(amount.currency()),
        });
        return Ok(());
    };
    found.taxable = found.taxable.checked_add(amount)?;
    let silent = |t: &Tax| t.exemption_reason().is_empty() && t.exemption_reason_code().is_empty();
    if silent(&found.tax) && !silent(tax) {
        found.tax = tax.clone();
    }
    Ok(())
}

#[cfg(test)]
mod tests;
