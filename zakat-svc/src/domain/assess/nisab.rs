//! The thresholds.

use super::{metal_word, price_field};
use crate::domain::{
    date::Date,
    explain::{Step, Trace, Value},
    facts::{Metal, Prices},
    policy::{Cited, DecreeKind, IncomeNisab, NisabMetal, Policy},
    ratio::{NumberError, Ratio},
};

/// The nisab of wealth, as far as the prices reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OfWealth {
    /// The amount; `None` when a price is missing.
    pub(super) amount: Option<Ratio>,
    /// The metals whose price is missing.
    pub(super) missing: Vec<Metal>,
}

impl OfWealth {
    pub(super) fn missing_fields(&self) -> Vec<String> {
        self.missing
            .iter()
            .map(|metal| price_field(*metal))
            .collect()
    }
}

/// The grams of a metal that a policy names.
pub(super) const fn grams(policy: &Policy, metal: Metal) -> &Cited<Ratio> {
    match metal {
        Metal::Gold => &policy.nisab.gold_grams,
        Metal::Silver => &policy.nisab.silver_grams,
    }
}

/// What the grams of a metal cost; `None` without its price.
fn by_metal(policy: &Policy, prices: Prices, metal: Metal) -> Result<Option<Ratio>, NumberError> {
    let grams = grams(policy, metal).value;
    prices.of(metal).map(|price| grams.times(price)).transpose()
}

pub(super) fn of_wealth(
    policy: &Policy,
    prices: Prices,
    trace: &mut Trace,
) -> Result<OfWealth, NumberError> {
    let metals: &[Metal] = match policy.nisab.metal.value {
        NisabMetal::Gold => &[Metal::Gold],
        NisabMetal::Silver => &[Metal::Silver],
        NisabMetal::Lower => &[Metal::Gold, Metal::Silver],
    };
    let mut amounts = Vec::new();
    let mut missing = Vec::new();
    for metal in metals.iter().copied() {
        match (by_metal(policy, prices, metal)?, prices.of(metal)) {
            (Some(amount), Some(price)) => {
                let cited = grams(policy, metal);
                trace.note(|| {
                    Step::new("nisab.metal", "", "nisab", amount)
                        .with("metal", Value::Word(metal_word(metal)))
                        .with("grams", cited.value)
                        .with("price", price)
                        .from(cited)
                        .from(&policy.nisab.metal)
                });
                amounts.push(amount);
            }
            _ => {
                missing.push(metal);
                trace.note(|| {
                    Step::new(
                        "missing.price",
                        "",
                        "missing",
                        Value::Text(price_field(metal)),
                    )
                    .with("metal", Value::Word(metal_word(metal)))
                });
            }
        }
    }
    let amount = if missing.is_empty() {
        amounts.iter().min().copied()
    } else {
        None
    };
    if let ([gold, silver], Some(lower)) = (amounts.as_slice(), amount) {
        trace.note(|| {
            Step::new("nisab.lower", "", "nisab", lower)
                .with("gold", *gold)
                .with("silver", *silver)
                .from(&policy.nisab.metal)
        });
    }
    Ok(OfWealth { amount, missing })
}

/// A threshold of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Threshold {
    /// Of what: "gold", "silver", "wealth", "crops", "income-year", "income-month".
    pub of: &'static str,
    /// A weight and its unit.
    pub weight: Option<(Ratio, &'static str)>,
    /// An amount.
    pub amount: Option<Ratio>,
    /// The sources.
    pub sources: Vec<String>,
    /// What is missing.
    pub missing: Vec<String>,
}

/// The thresholds of a policy on a day.
///
/// # Errors
/// A figure that does not fit.
pub fn thresholds(
    policy: &Policy,
    prices: Prices,
    currency: &str,
    on: Date,
) -> Result<Vec<Threshold>, NumberError> {
    let mut thresholds = Vec::new();
    for metal in [Metal::Gold, Metal::Silver] {
        let cited = grams(policy, metal);
        let amount = by_metal(policy, prices, metal)?;
        thresholds.push(Threshold {
            of: metal_word(metal),
            weight: Some((cited.value, "g")),
            amount,
            sources: vec![cited.source.clone()],
            missing: amount
                .is_none()
                .then(|| price_field(metal))
                .into_iter()
                .collect(),
        });
    }
    let wealth = of_wealth(policy, prices, &mut Trace::unkept())?;
    thresholds.push(Threshold {
        of: "wealth",
        weight: None,
        amount: wealth.amount,
        sources: vec![policy.nisab.metal.source.clone()],
        missing: wealth.missing_fields(),
    });
    thresholds.push(Threshold {
        of: "crops",
        weight: Some((policy.crops.nisab_kg.value, "kg")),
        amount: None,
        sources: vec![policy.crops.nisab_kg.source.clone()],
        missing: Vec::new(),
    });
    for (of, is_monthly) in [("income-year", false), ("income-month", true)] {
        thresholds.extend(of_income(policy, &wealth, currency, on, (of, is_monthly))?);
    }
    Ok(thresholds)
}

/// The threshold of income; `None` where income is not assessed by itself.
fn of_income(
    policy: &Policy,
    wealth: &OfWealth,
    currency: &str,
    on: Date,
    (of, is_monthly): (&'static str, bool),
) -> Result<Option<Threshold>, NumberError> {
    let Some(earned) = &policy.income.when_earned else {
        return Ok(None);
    };
    let mut threshold = Threshold {
        of,
        weight: None,
        amount: None,
        sources: vec![earned.nisab.source.clone()],
        missing: Vec::new(),
    };
    match earned.nisab.value {
        IncomeNisab::Wealth => {
            let part = if is_monthly {
                earned.month.value
            } else {
                Ratio::ONE
            };
            threshold.amount = wealth.amount.map(|amount| amount.times(part)).transpose()?;
            threshold.missing = wealth.missing_fields();
        }
        IncomeNisab::Decree => {
            let decree = policy.decree(DecreeKind::IncomeNisab, "", currency, on);
            let amount = decree.and_then(|decree| {
                if is_monthly {
                    decree.per_month.as_ref()
                } else {
                    decree.per_year.as_ref()
                }
            });
            match amount {
                Some(amount) => {
                    threshold.amount = Some(amount.value);
                    threshold.sources = vec![amount.source.clone()];
                }
                None => threshold.missing.push("decree".to_owned()),
            }
        }
    }
    Ok(Some(threshold))
}
