//! What is counted together: money, metals, goods, shares and the like, less debts.

use super::{
    AssessError, Assessed, AssetResult, Case, Part, PartKind, State, metal_word, nisab,
    price_field, whole,
};
use crate::domain::{
    explain::{Step, Value},
    facts::{AssetKind, Hawl, Holding, Metal, Term},
    hawl::{self, Known, Level, Outcome, Year},
    policy::{Cited, Counted, Debts, Metals, NisabMetal, RentalTreatment},
    ratio::{NumberError, Ratio},
};

/// Assets that are assessed together.
#[derive(Default)]
struct Pool {
    ids: Vec<String>,
    /// Grams of pure metal, of what is in it as metal.
    grams: Ratio,
    counted: Ratio,
    missing: Vec<String>,
}

impl Pool {
    fn put(&mut self, id: &str, counted: Ratio, grams: Ratio) -> Result<(), NumberError> {
        self.ids.push(id.to_owned());
        self.counted = self.counted.plus(counted)?;
        self.grams = self.grams.plus(grams)?;
        Ok(())
    }

    fn put_unpriced(&mut self, id: &str, metal: Metal) {
        self.ids.push(id.to_owned());
        let field = price_field(metal);
        if !self.missing.contains(&field) {
            self.missing.push(field);
        }
    }
}

impl Case<'_> {
    /// Assesses the wealth, and a metal by itself. Gives the debts that were taken off, and what
    /// came of the hawl.
    pub(super) fn assess_wealth(&mut self) -> Assessed<(Ratio, Option<Outcome>)> {
        let mut wealth = Pool::default();
        let mut alone = Pool::default();
        let facts = self.facts;
        for (index, asset) in facts.assets.iter().enumerate() {
            let put = match &asset.kind {
                AssetKind::Metal {
                    metal,
                    grams,
                    purity,
                    is_worn,
                } => {
                    let pool = match self.alone() {
                        Some(other) if other == *metal => &mut alone,
                        _ => &mut wealth,
                    };
                    self.put_metal(pool, &asset.id, *metal, (*grams, *purity), *is_worn)
                }
                AssetKind::Holding {
                    holding,
                    value,
                    own_fraction,
                } => self.put_holding(&mut wealth, &asset.id, *holding, *value, *own_fraction),
                AssetKind::Rental { income }
                    if self.policy.rental.treatment.value == RentalTreatment::JoinsWealth =>
                {
                    self.trace.note(|| {
                        Step::new("rental.joins", &asset.id, "counted", *income)
                            .with("value", *income)
                            .from(&self.policy.rental.treatment)
                    });
                    self.result(&asset.id, Some(*income), Some(*income), "rental.joins");
                    wealth.put(&asset.id, *income, Ratio::ZERO)
                }
                _ => {
                    // Its own part says the rest.
                    self.result(&asset.id, None, None, other_rule(&asset.kind));
                    Ok(())
                }
            };
            put.map_err(|e| AssessError::at(format!("assets[{index}]"), e))?;
        }
        let debts = self
            .debts()
            .map_err(|e| AssessError::at("liabilities", e))?;
        let hawl = if wealth.ids.is_empty() && alone.ids.is_empty() {
            None
        } else {
            self.hawl()?
        };
        if !wealth.ids.is_empty() {
            let part = self.wealth_part(wealth, debts, hawl).map_err(whole)?;
            self.parts.push(part);
        }
        if let (Some(metal), false) = (self.alone(), alone.ids.is_empty()) {
            let part = self.metal_part(alone, metal, hawl).map_err(whole)?;
            self.parts.push(part);
        }
        Ok((debts, hawl))
    }

    /// The metal that stands alone under the policy.
    fn alone(&self) -> Option<Metal> {
        match (self.policy.metals.value, self.policy.nisab.metal.value) {
            (Metals::Separate, NisabMetal::Gold) => Some(Metal::Silver),
            (Metals::Separate, NisabMetal::Silver) => Some(Metal::Gold),
            _ => None,
        }
    }

    fn result(
        &mut self,
        id: &str,
        value: Option<Ratio>,
        counted: Option<Ratio>,
        rule: &'static str,
    ) {
        self.assets.push(AssetResult {
            id: id.to_owned(),
            value,
            counted,
            rule,
        });
    }

    fn put_metal(
        &mut self,
        pool: &mut Pool,
        id: &str,
        metal: Metal,
        (grams, purity): (Ratio, Ratio),
        is_worn: bool,
    ) -> Result<(), NumberError> {
        let worn = &self.policy.counted.jewellery_worn;
        if is_worn && worn.value.is_zero() {
            // Exempt: no price is needed to say so.
            self.trace
                .note(|| Step::new("jewellery.exempt", id, "counted", Ratio::ZERO).from(worn));
            self.result(id, None, Some(Ratio::ZERO), "jewellery.exempt");
            return pool.put(id, Ratio::ZERO, Ratio::ZERO);
        }
        let pure = grams.times(purity)?;
        let Some(price) = self.facts.prices.of(metal) else {
            self.note_missing_price(id, metal);
            self.result(id, None, None, "missing.price");
            pool.put_unpriced(id, metal);
            return Ok(());
        };
        let value = pure.times(price)?;
        self.trace.note(|| {
            Step::new("metal.pure", id, "value", value)
                .with("metal", Value::Word(metal_word(metal)))
                .with("grams", grams)
                .with("purity", purity)
                .with("pure", pure)
                .with("price", price)
                .from(nisab::grams(self.policy, metal))
        });
        if !is_worn {
            self.result(id, Some(value), Some(value), "metal.pure");
            return pool.put(id, value, pure);
        }
        let counted = value.times(worn.value)?;
        self.trace.note(|| {
            Step::new("jewellery.counted", id, "counted", counted)
                .with("value", value)
                .with("fraction", worn.value)
                .from(worn)
        });
        self.result(id, Some(value), Some(counted), "jewellery.counted");
        pool.put(id, counted, pure.times(worn.value)?)
    }

    fn put_holding(
        &mut self,
        pool: &mut Pool,
        id: &str,
        holding: Holding,
        value: Ratio,
        own: Option<Ratio>,
    ) -> Result<(), NumberError> {
        let policy = self.policy;
        let (rule, class, cited) = treatment(&policy.counted, holding);
        let fraction = own.unwrap_or(cited.value);
        let counted = value.times(fraction)?;
        self.trace.note(|| {
            let step = Step::new(rule, id, "counted", counted)
                .with("class", Value::Word(class))
                .with("value", value)
                .with("fraction", fraction);
            // A fraction of the owner's own has no source of ours.
            if own.is_some() {
                step
            } else {
                step.from(cited)
            }
        });
        self.result(id, Some(value), Some(counted), rule);
        pool.put(id, counted, Ratio::ZERO)
    }

    /// The sum of the debts that the policy takes off.
    fn debts(&mut self) -> Result<Ratio, NumberError> {
        let rule = &self.policy.liabilities;
        let mut sum = Ratio::ZERO;
        for liability in &self.facts.liabilities {
            let deducted = match rule.value {
                Debts::None => false,
                Debts::DueNow => liability.term <= Term::DueNow,
                Debts::WithinYear => liability.term <= Term::WithinYear,
                Debts::All => true,
            };
            let (name, taken) = if deducted {
                ("liability.deducted", liability.amount)
            } else {
                ("liability.kept", Ratio::ZERO)
            };
            sum = sum.plus(taken)?;
            let term = match liability.term {
                Term::DueNow => "due-now",
                Term::WithinYear => "within-year",
                Term::Later => "later",
            };
            self.trace.note(|| {
                Step::new(name, &liability.id, "deducted", taken)
                    .with("amount", liability.amount)
                    .with("term", Value::Word(term))
                    .from(rule)
            });
        }
        Ok(sum)
    }

    /// What comes of the hawl; `None` when a missing price keeps a history from being read.
    fn hawl(&mut self) -> Assessed<Option<Outcome>> {
        let facts = self.facts;
        let known = match &facts.hawl {
            None => {
                let problem = "is required: say whether a year has passed, or since when the nisab is owned, or give a history";
                return Err(AssessError::at("hawl", problem));
            }
            Some(Hawl::Stated(stated)) => Known::Stated(*stated),
            Some(Hawl::Since(date)) => Known::Since(*date),
            Some(Hawl::History(balances)) => {
                let mut levels = Vec::with_capacity(balances.len());
                for balance in balances {
                    let Some(nisab) = balance.nisab.or(self.nisab.amount) else {
                        return Ok(None);
                    };
                    levels.push(Level {
                        date: balance.date,
                        reaches: balance.wealth >= nisab,
                        is_zero: balance.wealth.is_zero(),
                    });
                }
                Known::History(levels)
            }
        };
        let dip = &self.policy.hawl_dip;
        let outcome = hawl::find(&known, facts.on, dip.value, facts.year)
            .map_err(|e| AssessError::at("hawl", e))?;
        self.note_hawl(&outcome);
        Ok(Some(outcome))
    }

    fn note_hawl(&mut self, outcome: &Outcome) {
        let dip = &self.policy.hawl_dip;
        let word = Value::Word(if outcome.is_complete { "yes" } else { "no" });
        let on = self.facts.on;
        match *outcome {
            Outcome {
                start: Some(start),
                completed: Some(completed),
                ..
            } => {
                self.trace.note(|| {
                    Step::new("hawl.complete", "", "complete", word)
                        .with("start", start)
                        .with("completed", completed)
                        .from(dip)
                });
                if completed < on {
                    self.trace.note(|| {
                        Step::new("hawl.late", "", "completed", completed)
                            .with("completed", completed)
                    });
                }
            }
            Outcome {
                start: Some(start),
                completes,
                ..
            } => self.trace.note(|| {
                let completes = completes.map_or(Value::Word("unknown"), Value::Day);
                Step::new("hawl.incomplete", "", "complete", word)
                    .with("start", start)
                    .with("completes", completes)
                    .from(dip)
            }),
            Outcome { .. } => {
                let stated = matches!(self.facts.hawl, Some(Hawl::Stated(_)));
                let rule = if stated { "hawl.stated" } else { "hawl.none" };
                self.trace
                    .note(|| Step::new(rule, "", "complete", word).from(dip));
            }
        }
    }

    fn wealth_part(
        &mut self,
        pool: Pool,
        debts: Ratio,
        hawl: Option<Outcome>,
    ) -> Result<Part, NumberError> {
        let mut part = Part::new(PartKind::Wealth, pool.ids);
        let mut missing = pool.missing;
        for field in self.nisab.missing_fields() {
            if !missing.contains(&field) {
                missing.push(field);
            }
        }
        part.nisab = self.nisab.amount;
        let (Some(nisab), true) = (self.nisab.amount, missing.is_empty()) else {
            return Ok(part.lacks(missing));
        };
        let net = pool.counted.minus(debts)?;
        part.base = Some(net);
        self.trace.note(|| {
            Step::new("wealth.net", "", "net", net)
                .with("assets", pool.counted)
                .with("liabilities", debts)
                .from(&self.policy.liabilities)
        });
        let reaches = self.reaches("", net, nisab);
        self.finish(part, net, reaches, hawl)
    }

    fn metal_part(
        &mut self,
        pool: Pool,
        metal: Metal,
        hawl: Option<Outcome>,
    ) -> Result<Part, NumberError> {
        let mut part = Part::new(PartKind::Metal, pool.ids);
        let cited = nisab::grams(self.policy, metal);
        let price = self.facts.prices.of(metal);
        part.nisab = price.map(|price| cited.value.times(price)).transpose()?;
        let mut missing = pool.missing;
        if hawl.is_none() {
            missing.extend(self.nisab.missing_fields());
        }
        if !missing.is_empty() {
            return Ok(part.lacks(missing));
        }
        part.base = Some(pool.counted);
        self.trace.note(|| {
            Step::new("metal.alone", "", "grams", pool.grams)
                .with("metal", Value::Word(metal_word(metal)))
                .with("grams", pool.grams)
                .with("nisab", cited.value)
                .from(cited)
                .from(&self.policy.metals)
        });
        let reaches = self.reaches("", pool.grams, cited.value);
        self.finish(part, pool.counted, reaches, hawl)
    }

    /// The last steps of what has a hawl.
    fn finish(
        &mut self,
        mut part: Part,
        base: Ratio,
        reaches: bool,
        hawl: Option<Outcome>,
    ) -> Result<Part, NumberError> {
        let (rate, year) = match self.facts.year {
            Year::Lunar => (&self.policy.rate.lunar, "lunar"),
            Year::Solar => (&self.policy.rate.solar, "solar"),
        };
        part.rate = Some(rate.value);
        if !reaches {
            self.owe_nothing(&mut part);
        } else if hawl.is_some_and(|hawl| hawl.is_complete) {
            let due = base.times(rate.value)?;
            self.trace.note(|| {
                Step::new("rate.year", "", "due", due)
                    .with("rate", rate.value)
                    .with("base", base)
                    .with("year", Value::Word(year))
                    .from(rate)
            });
            self.owe(&mut part, due)?;
        } else {
            self.owe_nothing(&mut part);
            part.state = State::HawlIncomplete;
        }
        Ok(part)
    }

    /// Nothing is due, in money.
    pub(super) fn owe_nothing(&self, part: &mut Part) {
        part.due_exact = Some(Ratio::ZERO);
        part.due = Some(money::Money::zero(self.facts.currency));
    }
}

/// Which rule decides on what has a part of its own.
const fn other_rule(kind: &AssetKind) -> &'static str {
    match kind {
        AssetKind::Metal { .. } => "metal.pure",
        AssetKind::Holding { .. } => "holding.cash",
        AssetKind::Rental { .. } => "rate.once",
        AssetKind::Income { .. } => "income",
        AssetKind::Crop { .. } => "crop",
        AssetKind::Herd { .. } => "herd",
        AssetKind::Mineral { .. } => "mineral",
        AssetKind::Rikaz { .. } => "rikaz",
        AssetKind::Fitrah { .. } => "fitrah",
    }
}

/// The rule of a class, its word, and the fraction that the policy counts.
fn treatment(counted: &Counted, holding: Holding) -> (&'static str, &'static str, &Cited<Ratio>) {
    match holding {
        Holding::Cash => ("holding.cash", "cash", &counted.cash),
        Holding::ReceivableGood => (
            "holding.receivable-good",
            "receivable-good",
            &counted.receivable_good,
        ),
        Holding::ReceivableDoubtful => (
            "holding.receivable-doubtful",
            "receivable-doubtful",
            &counted.receivable_doubtful,
        ),
        Holding::ReceivableBad => (
            "holding.receivable-bad",
            "receivable-bad",
            &counted.receivable_bad,
        ),
        Holding::TradeGoods => ("holding.trade-goods", "trade-goods", &counted.trade_goods),
        Holding::SharesTrading => (
            "holding.shares-trading",
            "shares-trading",
            &counted.shares_trading,
        ),
        Holding::SharesLongTerm => (
            "holding.shares-long-term",
            "shares-long-term",
            &counted.shares_long_term,
        ),
        // The part is zakatable by its making, whatever proxy the policy has.
        Holding::SharesByBalanceSheet => (
            "holding.shares-balance-sheet",
            "shares-balance-sheet",
            &counted.cash,
        ),
        Holding::Fund => ("holding.fund", "fund", &counted.fund),
        Holding::PensionAccessible => (
            "holding.pension-accessible",
            "pension-accessible",
            &counted.pension_accessible,
        ),
        Holding::PensionLocked => (
            "holding.pension-locked",
            "pension-locked",
            &counted.pension_locked,
        ),
        Holding::Crypto => ("holding.crypto", "crypto", &counted.crypto),
    }
}
