//! An assessment: a pure function of policy, prices, facts and day.
//!
//! ```text
//! assets ──┬─ wealth: metals, money, goods, shares … ─ less debts ─ nisab ─ hawl ─ rate ─┐
//!          ├─ a metal by itself, where the policy separates the metals                   ├─ rounded
//!          ├─ income, rent with a rate of its own, crops, minerals, treasure             │
//!          └─ herds, zakat al-fitr ────────────────────────────────── in kind, or ───────┘
//! ```
//! Each part stands alone: one that lacks a price or a decree is not computed and says what it
//! lacks, and the others are computed all the same.

mod earned;
mod in_kind;
mod nisab;
mod produce;
mod wealth;

use money::{Money, Rounding};

use super::{
    date::DateError,
    explain::{Step, Trace},
    facts::{AssetKind, Facts, Metal},
    hawl::Outcome,
    livestock::Animal,
    policy::{Direction, Policy},
    ratio::{NumberError, Ratio},
};

pub use nisab::{Threshold, thresholds};

/// What came of an assessment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assessment {
    /// The parts: wealth, a metal by itself, then the others in the order of their assets.
    pub parts: Vec<Part>,
    /// The assets, in their order.
    pub assets: Vec<AssetResult>,
    /// The sum of the debts that were taken off.
    pub liabilities_deducted: Ratio,
    /// What came of the hawl, where something has one and it could be found.
    pub hawl: Option<Outcome>,
    /// The sum of what is due in money.
    pub total_due: Money,
}

impl Assessment {
    /// Whether every part was computed.
    #[must_use]
    pub fn is_computed_wholly(&self) -> bool {
        self.parts
            .iter()
            .all(|part| part.state != State::NotComputed)
    }
}

/// What a part is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartKind {
    /// What is counted together.
    Wealth,
    /// A metal by itself.
    Metal,
    /// An income.
    Income,
    /// Rent with a rate of its own.
    Rental,
    /// A harvest.
    Crop,
    /// A herd.
    Herd,
    /// What was mined.
    Mineral,
    /// Treasure.
    Rikaz,
    /// Zakat al-fitr.
    Fitrah,
}

/// How a part came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Zakat is due.
    Due,
    /// Nothing is.
    NotDue,
    /// The nisab is reached and the year is not over.
    HawlIncomplete,
    /// Something is missing.
    NotComputed,
}

/// What is given in kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// An animal.
    Animal(Animal),
    /// A kilogram of the harvest.
    CropKg,
    /// A kilogram of staple food.
    StapleKg,
}

/// A part of an assessment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What it is about.
    pub kind: PartKind,
    /// The assets in it.
    pub asset_ids: Vec<String>,
    /// How it came out.
    pub state: State,
    /// What the rate applies to.
    pub base: Option<Ratio>,
    /// The threshold.
    pub nisab: Option<Ratio>,
    /// The rate.
    pub rate: Option<Ratio>,
    /// What is due in money, before rounding.
    pub due_exact: Option<Ratio>,
    /// What is due in money.
    pub due: Option<Money>,
    /// What is due in kind, any one of these.
    pub alternatives: Vec<Vec<(Item, Ratio)>>,
    /// What is missing.
    pub missing: Vec<String>,
}

impl Part {
    fn new(kind: PartKind, asset_ids: Vec<String>) -> Self {
        Self {
            kind,
            asset_ids,
            state: State::NotDue,
            base: None,
            nisab: None,
            rate: None,
            due_exact: None,
            due: None,
            alternatives: Vec::new(),
            missing: Vec::new(),
        }
    }

    fn lacks(mut self, missing: Vec<String>) -> Self {
        self.state = State::NotComputed;
        self.missing = missing;
        self
    }
}

/// How an asset was counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetResult {
    /// The owner's name of it.
    pub id: String,
    /// What it is worth, in money.
    pub value: Option<Ratio>,
    /// How much of that is counted.
    pub counted: Option<Ratio>,
    /// The rule that decided.
    pub rule: &'static str,
}

/// Why an assessment was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct AssessError {
    /// The field of the request: `assets[3]`, `hawl`.
    pub field: String,
    /// A clause that fits after it.
    pub problem: String,
}

impl AssessError {
    fn at(field: impl Into<String>, problem: impl ToString) -> Self {
        Self {
            field: field.into(),
            problem: problem.to_string(),
        }
    }
}

type Assessed<T> = Result<T, AssessError>;

/// What a figure of the whole did not fit in.
fn whole(error: NumberError) -> AssessError {
    AssessError::at("assets", error)
}

/// Assesses. The steps go to `trace`.
///
/// # Errors
/// A figure that does not fit, a hawl that is needed and not given, a day outside the calendar, a
/// form of payment that the policy does not offer.
pub fn assess(policy: &Policy, facts: &Facts, trace: &mut Trace) -> Assessed<Assessment> {
    let nisab = nisab::of_wealth(policy, facts.prices, trace).map_err(whole)?;
    let mut case = Case {
        policy,
        facts,
        trace,
        nisab,
        assets: Vec::with_capacity(facts.assets.len()),
        parts: Vec::new(),
    };
    let (liabilities_deducted, hawl) = case.assess_wealth()?;
    for (index, asset) in facts.assets.iter().enumerate() {
        let part = case.assess_other(&asset.id, &asset.kind);
        let part = part.map_err(|e| e.of_asset(index))?;
        case.parts.extend(part);
    }
    let (assets, parts) = (case.assets, case.parts);
    let mut total_due = Money::zero(facts.currency);
    for due in parts.iter().filter_map(|part| part.due) {
        total_due = total_due
            .checked_add(due)
            .map_err(|e| AssessError::at("assets", e))?;
    }
    Ok(Assessment {
        parts,
        assets,
        liabilities_deducted,
        hawl,
        total_due,
    })
}

/// What went wrong within one asset.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Trouble {
    Number(NumberError),
    Day(DateError),
    /// Below the asset: "fitrah.form", and what is wrong.
    Field(&'static str, &'static str),
}

impl Trouble {
    fn of_asset(self, index: usize) -> AssessError {
        match self {
            Self::Number(error) => AssessError::at(format!("assets[{index}]"), error),
            Self::Day(error) => AssessError::at(format!("assets[{index}].herd.hawl"), error),
            Self::Field(field, problem) => {
                AssessError::at(format!("assets[{index}].{field}"), problem)
            }
        }
    }
}

impl From<NumberError> for Trouble {
    fn from(error: NumberError) -> Self {
        Self::Number(error)
    }
}

impl From<DateError> for Trouble {
    fn from(error: DateError) -> Self {
        Self::Day(error)
    }
}

/// An assessment under way.
struct Case<'a> {
    policy: &'a Policy,
    facts: &'a Facts,
    trace: &'a mut Trace,
    nisab: nisab::OfWealth,
    assets: Vec<AssetResult>,
    parts: Vec<Part>,
}

impl Case<'_> {
    /// What is not counted with the wealth; `None` for what is.
    fn assess_other(&mut self, id: &str, kind: &AssetKind) -> Result<Option<Part>, Trouble> {
        Ok(Some(match kind {
            AssetKind::Metal { .. } | AssetKind::Holding { .. } => return Ok(None),
            AssetKind::Rental { income } => return self.rental(id, *income),
            AssetKind::Income {
                is_monthly,
                gross,
                needs,
            } => return self.income(id, *is_monthly, *gross, *needs),
            AssetKind::Crop {
                kg,
                watering,
                price,
            } => self.crop(id, *kg, *watering, *price)?,
            AssetKind::Herd {
                species,
                count,
                is_grazing,
                hawl,
            } => self.herd(id, *species, *count, *is_grazing, hawl)?,
            AssetKind::Mineral { value } => self.mineral(id, *value)?,
            AssetKind::Rikaz { value } => self.rikaz(id, *value)?,
            AssetKind::Fitrah { persons, region } => {
                self.fitrah(id, *persons, region.as_deref())?
            }
        }))
    }

    /// Puts what is due in money into the part: exactly, and rounded as the policy says.
    fn owe(&mut self, part: &mut Part, due: Ratio) -> Result<(), NumberError> {
        let rounded = self.rounded(due)?;
        part.due_exact = Some(due);
        part.due = Some(rounded);
        part.state = if due.is_zero() {
            State::NotDue
        } else {
            State::Due
        };
        Ok(())
    }

    fn rounded(&mut self, due: Ratio) -> Result<Money, NumberError> {
        let rules = &self.policy.rounding;
        let currency = self.facts.currency;
        let own = rules
            .units
            .iter()
            .find(|unit| unit.currency == currency.code());
        let smallest = Ratio::new(1, currency.scale())?;
        let unit = own.map_or(smallest, |unit| unit.unit.value);
        let (rounding, rule) = match rules.direction.value {
            Direction::Up => (Rounding::Up, "rounding.up"),
            Direction::Nearest => (Rounding::HalfAwayFromZero, "rounding.nearest"),
        };
        let rounded = due.round(unit, rounding)?;
        if rounded != due {
            self.trace.note(|| {
                let step = Step::new(rule, "", "rounded", rounded);
                let step = step
                    .with("due", due)
                    .with("unit", unit)
                    .from(&rules.direction);
                match own {
                    Some(own) => step.from(&own.unit),
                    None => step,
                }
            });
        }
        // Every unit is a whole number of smallest units, so the money is there.
        rounded.to_money(currency)?.ok_or(NumberError::Overflow)
    }

    /// Notes that a price is missing for something.
    fn note_missing_price(&mut self, subject: &str, metal: Metal) {
        self.trace.note(|| {
            Step::new(
                "missing.price",
                subject,
                "missing",
                super::explain::Value::Text(price_field(metal)),
            )
            .with("metal", super::explain::Value::Word(metal_word(metal)))
        });
    }

    /// Compares with the nisab and notes it.
    fn reaches(&mut self, id: &str, base: Ratio, nisab: Ratio) -> bool {
        let reaches = base >= nisab;
        let (rule, word) = if reaches {
            ("nisab.reached", "yes")
        } else {
            ("nisab.below", "no")
        };
        self.trace.note(|| {
            Step::new(rule, id, "reached", super::explain::Value::Word(word))
                .with("base", base)
                .with("nisab", nisab)
        });
        reaches
    }
}

/// The field of the request in which a price is missing.
fn price_field(metal: Metal) -> String {
    format!("prices[{}]", metal_word(metal))
}

const fn metal_word(metal: Metal) -> &'static str {
    match metal {
        Metal::Gold => "gold",
        Metal::Silver => "silver",
    }
}
