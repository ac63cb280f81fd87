//! One line: so many of something at a price, adjusted (BG-25).

use money::Money;

use super::{Adjusted, Adjustment, Decimal, Invalid, Problem, ROUNDING, Tax};

/// The largest quantity of one line, and the least with the other sign.
pub const QUANTITY_MAX: i32 = 1_000_000;

/// A line as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineSpec {
    /// What it is for.
    pub description: String,
    /// How many; below zero in corrections.
    pub quantity: Decimal,
    /// The price of [`base_quantity`](Self::base_quantity) of it.
    pub unit_price: Money,
    /// How many the price is of.
    pub base_quantity: Decimal,
    /// The unit, by UN/ECE Recommendation 20.
    pub unit_code: String,
    /// How tax applies.
    pub tax: Tax,
    /// Discounts.
    pub allowances: Vec<Adjustment>,
    /// Charges.
    pub charges: Vec<Adjustment>,
}

/// A line, worked out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    asked: LineSpec,
    before: Money,
    allowances: Vec<Adjusted>,
    charges: Vec<Adjusted>,
    amount: Money,
}

impl Line {
    /// Works a line out, as Peppol's calculation rules say: price / base quantity × quantity is
    /// rounded; each allowance and charge is rounded by itself; then they are added up.
    ///
    /// # Errors
    /// [`Invalid`] says which figure cannot be.
    pub fn new(asked: LineSpec) -> Result<Self, Invalid> {
        let most = Decimal::whole(QUANTITY_MAX);
        if !(Decimal::whole(-QUANTITY_MAX)..=most).contains(&asked.quantity) {
            return Err(Invalid::new("quantity", Problem::QuantityOutOfRange));
        }
        if asked.base_quantity <= Decimal::ZERO || asked.base_quantity > most {
            return Err(Invalid::new("base_quantity", Problem::BaseOutOfRange));
        }
        // BR-27.
        if asked.unit_price.is_negative() {
            return Err(Invalid::new("unit_price", Problem::Negative));
        }
        let too_large = |_| Invalid::new("unit_price", Problem::TooLarge);
        let quantity = i128::from(asked.quantity.millionths());
        let base = i128::from(asked.base_quantity.millionths());
        let before = asked
            .unit_price
            .checked_mul_ratio(quantity, base, ROUNDING)
            .map_err(too_large)?;
        let allowances = adjusted("allowances", &asked.allowances, before)?;
        let charges = adjusted("charges", &asked.charges, before)?;
        let less = sum(before, &allowances).map_err(too_large)?;
        let more = sum(before, &charges).map_err(too_large)?;
        let amount = before.checked_sub(less).and_then(|m| m.checked_add(more));
        Ok(Self {
            amount: amount.map_err(too_large)?,
            asked,
            before,
            allowances,
            charges,
        })
    }

    /// What was asked.
    #[must_use]
    pub const fn asked(&self) -> &LineSpec {
        &self.asked
    }

    /// Quantity × price, before allowances and charges.
    #[must_use]
    pub const fn before(&self) -> Money {
        self.before
    }

    /// The discounts.
    #[must_use]
    pub fn allowances(&self) -> &[Adjusted] {
        &self.allowances
    }

    /// The charges.
    #[must_use]
    pub fn charges(&self) -> &[Adjusted] {
        &self.charges
    }

    /// What the line comes to, without tax (BT-131).
    #[must_use]
    pub const fn amount(&self) -> Money {
        self.amount
    }
}

/// Each adjustment of `whole` worked out; errors are told from the list's field on.
fn adjusted(
    field: &str,
    adjustments: &[Adjustment],
    whole: Money,
) -> Result<Vec<Adjusted>, Invalid> {
    let each = adjustments.iter().enumerate();
    each.map(|(index, adjustment)| {
        let adjusted = adjustment.clone().of(whole);
        adjusted.map_err(|invalid| invalid.within(&format!("{field}[{index}]")))
    })
    .collect()
}

fn sum(like: Money, adjusted: &[Adjusted]) -> Result<Money, money::Error> {
    let zero = Money::zero(like.currency());
    let mut amounts = adjusted.iter().map(|adjusted| adjusted.amount);
    amounts.try_fold(zero, Money::checked_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Size;

    fn spec(quantity: &str, minor: i128, base: &str) -> LineSpec {
        LineSpec {
            description: "paper".to_owned(),
            quantity: quantity.parse().unwrap(),
            unit_price: Money::from_minor(minor, "EUR".parse().unwrap()),
            base_quantity: base.parse().unwrap(),
            unit_code: String::new(),
            tax: Tax::none(),
            allowances: Vec::new(),
            charges: Vec::new(),
        }
    }

    fn amount(quantity: &str, minor: i128, base: &str) -> Result<i128, (String, Problem)> {
        let line = Line::new(spec(quantity, minor, base));
        line.map(|line| line.amount().minor())
            .map_err(|invalid| (invalid.field, invalid.problem))
    }

    #[test]
    fn an_amount_is_quantity_times_price_by_base_rounded_half_away_from_zero() {
        assert_eq!(amount("3", 333, "1"), Ok(999));
        assert_eq!(amount("10", 20_000, "2"), Ok(100_000));
        assert_eq!(amount("0.5", 1, "1"), Ok(1), "a half goes up");
        assert_eq!(amount("-0.5", 1, "1"), Ok(-1), "and down below zero");
        assert_eq!(amount("0.499999", 1, "1"), Ok(0));
        assert_eq!(amount("1000000", 0, "1"), Ok(0));
        assert_eq!(amount("0", 5, "1"), Ok(0));
        assert_eq!(amount("12345", 34, "10000"), Ok(42), "0.0034 each");
    }

    #[test]
    fn each_adjustment_is_rounded_by_itself() {
        let percent = |percent: &str| Adjustment {
            size: Size::Percent {
                percent: percent.parse().unwrap(),
                base: None,
            },
            reason: String::new(),
            reason_code: String::new(),
        };
        let mut asked = spec("1", 1_050, "1");
        asked.allowances = vec![percent("10.5"), percent("10.5")];
        asked.charges = vec![percent("1")];
        let line = Line::new(asked).unwrap();
        // 110.25 twice is 110 twice, not 220.5; 10.5 is 11.
        assert_eq!(line.amount().minor(), 1_050 - 110 - 110 + 11);
    }

    #[test]
    fn figures_that_cannot_be_are_refused() {
        let quantity = Err(("quantity".to_owned(), Problem::QuantityOutOfRange));
        assert_eq!(amount("1000000.000001", 1, "1"), quantity);
        assert_eq!(amount("-1000000.000001", 1, "1"), quantity);
        let base = Err(("base_quantity".to_owned(), Problem::BaseOutOfRange));
        assert_eq!(amount("1", 1, "0"), base);
        assert_eq!(amount("1", 1, "-1"), base);
        let price = |problem| Err(("unit_price".to_owned(), problem));
        assert_eq!(amount("1", -1, "1"), price(Problem::Negative));
        assert_eq!(amount("2", i128::MAX, "1"), price(Problem::TooLarge));
        let mut asked = spec("1", 1, "1");
        asked.charges = vec![Adjustment {
            size: Size::Amount(Money::from_minor(1, "USD".parse().unwrap())),
            reason: String::new(),
            reason_code: String::new(),
        }];
        let refused = Line::new(asked).unwrap_err();
        assert_eq!(refused.field, "charges[0].amount");
    }
}
