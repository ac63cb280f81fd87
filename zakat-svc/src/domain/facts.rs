//! What an assessment is told: typed, validated at the rim, in one currency.

use money::Currency;

use super::{date::Date, hawl::Year, livestock::Species, ratio::Ratio};

/// Everything that an assessment is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The day.
    pub on: Date,
    /// The currency of every amount.
    pub currency: Currency,
    /// What the metals cost.
    pub prices: Prices,
    /// What is owned.
    pub assets: Vec<Asset>,
    /// What is owed.
    pub liabilities: Vec<Liability>,
    /// Whether a year has passed over what has a hawl.
    pub hawl: Option<Hawl>,
    /// Which year the rate is for.
    pub year: Year,
}

/// A metal that has a nisab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metal {
    /// Gold.
    Gold,
    /// Silver.
    Silver,
}

/// What a gram of each pure metal costs, where it is known; above zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Prices {
    /// Gold.
    pub gold: Option<Ratio>,
    /// Silver.
    pub silver: Option<Ratio>,
}

impl Prices {
    /// The price of one of them.
    #[must_use]
    pub const fn of(&self, metal: Metal) -> Option<Ratio> {
        match metal {
            Metal::Gold => self.gold,
            Metal::Silver => self.silver,
        }
    }
}

/// What is known about the hawl.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hawl {
    /// The owner says whether a year has passed.
    Stated(bool),
    /// The nisab has been owned without a break since this day.
    Since(Date),
    /// Balances in the order of their days.
    History(Vec<Balance>),
}

/// What was owned from a day on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Balance {
    /// The day.
    pub date: Date,
    /// The net zakatable wealth.
    pub wealth: Ratio,
    /// The nisab of that day; `None`: that of the assessment.
    pub nisab: Option<Ratio>,
}

/// Something owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    /// The owner's name of it.
    pub id: String,
    /// What it is.
    pub kind: AssetKind,
}

/// What an asset is. Amounts and weights are zero or more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AssetKind {
    /// Gold or silver.
    Metal {
        /// Which.
        metal: Metal,
        /// The whole weight.
        grams: Ratio,
        /// How much of it is pure: above 0, at most 1.
        purity: Ratio,
        /// Whether it is jewellery that is worn.
        is_worn: bool,
    },
    /// What is counted by a fraction of its value.
    Holding {
        /// What it is.
        holding: Holding,
        /// Its value, after what the class itself takes off.
        value: Ratio,
        /// The fraction that the asset itself states; `None`: the policy's.
        own_fraction: Option<Ratio>,
    },
    /// Rent of the year, after costs.
    Rental {
        /// How much.
        income: Ratio,
    },
    /// An income.
    Income {
        /// Whether it is a month's; else a year's.
        is_monthly: bool,
        /// Before anything is taken off.
        gross: Ratio,
        /// What the household needs.
        needs: Ratio,
    },
    /// A harvest.
    Crop {
        /// Its weight.
        kg: Ratio,
        /// How it got its water.
        watering: Watering,
        /// What a kilogram sells for.
        price: Option<Ratio>,
    },
    /// A herd.
    Herd {
        /// The kind.
        species: Species,
        /// How many.
        count: u32,
        /// Whether it grazes freely.
        is_grazing: bool,
        /// Whether a year has passed over it: stated, or since a day.
        hawl: Hawl,
    },
    /// What was mined.
    Mineral {
        /// What it is worth.
        value: Ratio,
    },
    /// Treasure.
    Rikaz {
        /// What it is worth.
        value: Ratio,
    },
    /// Zakat al-fitr of a household.
    Fitrah {
        /// How many persons.
        persons: u32,
        /// The region whose decree is asked for; `None`: in kind.
        region: Option<String>,
    },
}

/// A class of holding that is counted by a fraction of its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holding {
    /// Cash.
    Cash,
    /// A good debt of another.
    ReceivableGood,
    /// A doubtful one.
    ReceivableDoubtful,
    /// A bad one.
    ReceivableBad,
    /// Goods of trade.
    TradeGoods,
    /// Shares held to be sold.
    SharesTrading,
    /// Shares held for long.
    SharesLongTerm,
    /// The owner's part of the companies' zakatable assets.
    SharesByBalanceSheet,
    /// A fund.
    Fund,
    /// A pension that can be taken out, less taxes and penalties.
    PensionAccessible,
    /// One that cannot.
    PensionLocked,
    /// Cryptocurrency.
    Crypto,
}

/// How a crop gets its water.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watering {
    /// Without labour or cost.
    Rain,
    /// With labour or cost.
    Irrigated,
    /// Half and half.
    Mixed,
}

/// Money owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Liability {
    /// The owner's name of it.
    pub id: String,
    /// How much.
    pub amount: Ratio,
    /// When it falls due.
    pub term: Term,
}

/// When a debt falls due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Term {
    /// Now.
    DueNow,
    /// Within twelve months.
    WithinYear,
    /// Later.
    Later,
}
