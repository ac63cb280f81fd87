//! A policy: rules as data.
//!
//! The structs of this folder are the schema: a document that has a field too many, one too few,
//! a number without a source or a source without an entry is not a policy. Every number is a
//! decimal or a fraction in a string.

mod check;
mod decree;
mod shelf;

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    hawl::Dip,
    livestock::{CamelRule, CattleRule},
    ratio::Ratio,
};

pub use check::PolicyError;
pub use decree::{Decree, DecreeKind};
pub use shelf::{Policies, Served};

/// The version of the schema that this build reads.
pub const SCHEMA: u32 = 1;

/// A value with where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cited<T> {
    /// The value.
    pub value: T,
    /// A key of [`Policy::sources`].
    pub source: String,
}

/// A text in the three languages.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Words {
    /// English.
    pub en: String,
    /// Indonesian.
    pub id: String,
    /// Arabic.
    pub ar: String,
}

/// Where something comes from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// What it is.
    pub title: String,
    /// Where it can be read; may be empty for a book.
    #[serde(default)]
    pub url: String,
}

/// A set of rules.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The schema's version.
    pub schema: u32,
    /// The id.
    pub id: String,
    /// The policy's version: 1 or more, rising with every change.
    pub version: u32,
    /// What it is called.
    pub title: Words,
    /// What it is, and what it rests on.
    pub summary: String,
    /// The sources.
    pub sources: BTreeMap<String, Source>,
    /// The nisab of wealth.
    pub nisab: Nisab,
    /// The rate of wealth.
    pub rate: Rate,
    /// What a dip below the nisab does.
    pub hawl_dip: Cited<Dip>,
    /// Whether gold and silver are counted together.
    pub metals: Cited<Metals>,
    /// Which debts are taken off.
    pub liabilities: Cited<Debts>,
    /// Which part of an asset is counted: 0 to 1.
    pub counted: Counted,
    /// Rent.
    pub rental: Rental,
    /// Income.
    pub income: Income,
    /// Crops.
    pub crops: Crops,
    /// Livestock.
    pub livestock: Livestock,
    /// Minerals.
    pub minerals: Minerals,
    /// Treasure.
    pub rikaz: Rikaz,
    /// Zakat al-fitr.
    pub fitrah: Fitrah,
    /// Rounding.
    pub rounding: Rounding,
    /// Amounts that an authority published for a time; may be empty.
    #[serde(default)]
    pub decrees: Vec<Decree>,
}

/// The nisab of wealth.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nisab {
    /// Which metal decides.
    pub metal: Cited<NisabMetal>,
    /// Grams of pure gold.
    pub gold_grams: Cited<Ratio>,
    /// Grams of pure silver.
    pub silver_grams: Cited<Ratio>,
}

/// Which metal decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NisabMetal {
    /// Gold.
    Gold,
    /// Silver.
    Silver,
    /// Whichever is worth less on the day.
    Lower,
}

/// The rate of wealth.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// For a lunar year.
    pub lunar: Cited<Ratio>,
    /// For books kept by the solar year: a convention, not derived.
    pub solar: Cited<Ratio>,
}

/// Whether gold and silver are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metals {
    /// By value, with money and goods.
    Combined,
    /// The metal that does not decide the nisab stands alone, by its own weight.
    Separate,
}

/// Which debts are taken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Debts {
    /// None.
    None,
    /// What is due now.
    DueNow,
    /// What falls due within twelve months.
    WithinYear,
    /// All.
    All,
}

/// Which part of an asset is counted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counted {
    /// Jewellery that is worn.
    pub jewellery_worn: Cited<Ratio>,
    /// Cash.
    pub cash: Cited<Ratio>,
    /// Debts of others that are good.
    pub receivable_good: Cited<Ratio>,
    /// Doubtful ones.
    pub receivable_doubtful: Cited<Ratio>,
    /// Bad ones.
    pub receivable_bad: Cited<Ratio>,
    /// Goods of trade.
    pub trade_goods: Cited<Ratio>,
    /// Shares held to be sold.
    pub shares_trading: Cited<Ratio>,
    /// Shares held for long, where no balance sheet is given.
    pub shares_long_term: Cited<Ratio>,
    /// Funds that make no statement.
    pub fund: Cited<Ratio>,
    /// Of a pension that can be taken out, after taxes and penalties.
    pub pension_accessible: Cited<Ratio>,
    /// Of one that cannot.
    pub pension_locked: Cited<Ratio>,
    /// Cryptocurrency.
    pub crypto: Cited<Ratio>,
}

/// Rent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rental {
    /// What is done with it.
    pub treatment: Cited<RentalTreatment>,
    /// The rate of its own, where it has one.
    pub rate: Option<Cited<Ratio>>,
}

/// What is done with rent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RentalTreatment {
    /// What is kept of it is counted with the rest.
    JoinsWealth,
    /// It has a rate of its own.
    OwnRate,
}

/// Income.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Income {
    /// What is done with it.
    pub treatment: Cited<IncomeTreatment>,
    /// The rest is there when, and only when, it is assessed as it is earned.
    pub when_earned: Option<WhenEarned>,
}

/// What is done with income.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncomeTreatment {
    /// Nothing by itself: what is kept of it is cash.
    JoinsWealth,
    /// It is assessed as it is earned, without a hawl.
    WhenEarned,
}

/// Income assessed as it is earned.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhenEarned {
    /// The rate.
    pub rate: Cited<Ratio>,
    /// Where the threshold comes from.
    pub nisab: Cited<IncomeNisab>,
    /// Which part of the year's threshold is a month's. Not used with decrees, which name both.
    pub month: Cited<Ratio>,
    /// Whether the household's needs are taken off first.
    pub needs: Cited<Needs>,
}

/// Where the threshold of income comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncomeNisab {
    /// An amount that an authority published for the year.
    Decree,
    /// The nisab of wealth.
    Wealth,
}

/// Whether needs are taken off income.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Needs {
    /// They are.
    Deducted,
    /// They are not.
    NotDeducted,
}

/// Crops.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crops {
    /// Kilograms from which on it is due; zero where any amount is enough.
    pub nisab_kg: Cited<Ratio>,
    /// The rate for rain.
    pub rain: Cited<Ratio>,
    /// For irrigation.
    pub irrigated: Cited<Ratio>,
    /// For half and half.
    pub mixed: Cited<Ratio>,
}

/// Livestock.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Livestock {
    /// Camels above 120.
    pub camels: Cited<CamelRule>,
    /// Cattle between 40 and 60.
    pub cattle: Cited<CattleRule>,
    /// Sheep and goats.
    pub sheep: Cited<SheepRule>,
    /// Herds that are fed, or work.
    pub fed_or_working: Cited<FedHerds>,
}

/// Sheep and goats: all schools agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SheepRule {
    /// One for every hundred from 400 on.
    Hundreds,
}

/// Herds that are fed, or work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FedHerds {
    /// Nothing is due on them.
    Exempt,
    /// They are as those that graze.
    Zakatable,
}

/// Minerals.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Minerals {
    /// The rate.
    pub rate: Cited<Ratio>,
    /// The threshold.
    pub nisab: Cited<MineralNisab>,
}

/// The threshold of minerals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MineralNisab {
    /// That of wealth.
    Wealth,
    /// None.
    None,
}

/// Treasure.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rikaz {
    /// The rate.
    pub rate: Cited<Ratio>,
}

/// Zakat al-fitr.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fitrah {
    /// Kilograms of staple food for one person.
    pub kg_per_person: Cited<Ratio>,
    /// Whether it may be given in money.
    pub money: Cited<FitrahMoney>,
}

/// Whether zakat al-fitr may be given in money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FitrahMoney {
    /// By the authority's amount for the region.
    ByDecree,
    /// No.
    NotOffered,
}

/// Rounding of what is due in money, once, at the end of each part.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rounding {
    /// Which way.
    pub direction: Cited<Direction>,
    /// Units other than the currency's smallest.
    pub units: Vec<Unit>,
}

/// Which way to round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// In favour of the recipients.
    Up,
    /// To the nearest, a half up.
    Nearest,
}

/// The unit to which a currency is rounded.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unit {
    /// The currency.
    pub currency: String,
    /// A whole number of its smallest units, in units of the currency: "1" for whole rupiah.
    pub unit: Cited<Ratio>,
}
