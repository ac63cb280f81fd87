//! Reading a document, and what its types cannot say.

use std::collections::BTreeSet;

use money::Currency;

use super::{
    Cited, Decree, DecreeKind, IncomeTreatment, Metals, NisabMetal, Policy, RentalTreatment, SCHEMA,
};
use crate::domain::ratio::Ratio;

/// Why a document is not a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct PolicyError {
    /// Where: `rounding.units[0].unit`, or `document`.
    pub field: String,
    /// A clause that fits after it.
    pub problem: String,
}

type Checked = Result<(), PolicyError>;

fn wrong(field: impl Into<String>, problem: impl Into<String>) -> PolicyError {
    PolicyError {
        field: field.into(),
        problem: problem.into(),
    }
}

fn require(holds: bool, field: impl Into<String>, problem: &str) -> Checked {
    if holds {
        Ok(())
    } else {
        Err(wrong(field, problem))
    }
}

impl Policy {
    /// Reads a document.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn read(document: &str) -> Result<Self, PolicyError> {
        let policy: Self = serde_json::from_str(document)
            .map_err(|e| wrong("document", format!("is not a policy: {e}")))?;
        policy.check()?;
        Ok(policy)
    }

    fn check(&self) -> Checked {
        require(
            self.schema == SCHEMA,
            "schema",
            "is not the one that this build reads, 1",
        )?;
        let named = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let length_fits = (1..=64).contains(&self.id.len());
        require(
            length_fits && self.id.bytes().all(named),
            "id",
            "is not 1 to 64 of a-z, 0-9 and -",
        )?;
        require(self.version >= 1, "version", "is not 1 or more")?;
        for (name, source) in &self.sources {
            let field = format!("sources.{name}.title");
            require(!source.title.is_empty(), field, "is empty")?;
        }
        self.check_numbers()?;
        self.check_sources()?;
        self.check_choices()?;
        self.check_units()?;
        self.decrees
            .iter()
            .enumerate()
            .try_for_each(|(index, decree)| self.check_decree(index, decree))
    }

    /// Every number with its field; all but the first four and the rounding are parts of a whole.
    fn numbers(&self) -> Vec<(&'static str, &Cited<Ratio>)> {
        let counted = &self.counted;
        let mut numbers = vec![
            ("nisab.gold_grams", &self.nisab.gold_grams),
            ("nisab.silver_grams", &self.nisab.silver_grams),
            ("crops.nisab_kg", &self.crops.nisab_kg),
            ("fitrah.kg_per_person", &self.fitrah.kg_per_person),
            ("rate.lunar", &self.rate.lunar),
            ("rate.solar", &self.rate.solar),
            ("counted.jewellery_worn", &counted.jewellery_worn),
            ("counted.cash", &counted.cash),
            ("counted.receivable_good", &counted.receivable_good),
            ("counted.receivable_doubtful", &counted.receivable_doubtful),
            ("counted.receivable_bad", &counted.receivable_bad),
            ("counted.trade_goods", &counted.trade_goods),
            ("counted.shares_trading", &counted.shares_trading),
            ("counted.shares_long_term", &counted.shares_long_term),
            ("counted.fund", &counted.fund),
            ("counted.pension_accessible", &counted.pension_accessible),
            ("counted.pension_locked", &counted.pension_locked),
            ("counted.crypto", &counted.crypto),
            ("crops.rain", &self.crops.rain),
            ("crops.irrigated", &self.crops.irrigated),
            ("crops.mixed", &self.crops.mixed),
            ("minerals.rate", &self.minerals.rate),
            ("rikaz.rate", &self.rikaz.rate),
        ];
        numbers.extend(self.rental.rate.iter().map(|rate| ("rental.rate", rate)));
        if let Some(earned) = &self.income.when_earned {
            numbers.push(("income.when_earned.rate", &earned.rate));
            numbers.push(("income.when_earned.month", &earned.month));
        }
        numbers
    }

    fn check_numbers(&self) -> Checked {
        for (field, number) in self.numbers() {
            let value = number.value;
            match field {
                "nisab.gold_grams" | "nisab.silver_grams" | "fitrah.kg_per_person" => {
                    require(value > Ratio::ZERO, field, "is not above zero")?;
                }
                "crops.nisab_kg" => require(!value.is_negative(), field, "is negative")?,
                _ => {
                    let part = (Ratio::ZERO..=Ratio::ONE).contains(&value);
                    require(part, field, "is not between 0 and 1")?;
                }
            }
        }
        Ok(())
    }

    /// Every source that is named is there, and every one that is there is named.
    fn check_sources(&self) -> Checked {
        let mut named: Vec<(&str, &str)> = vec![
            ("nisab.metal", &self.nisab.metal.source),
            ("hawl_dip", &self.hawl_dip.source),
            ("metals", &self.metals.source),
            ("liabilities", &self.liabilities.source),
            ("rental.treatment", &self.rental.treatment.source),
            ("income.treatment", &self.income.treatment.source),
            ("livestock.camels", &self.livestock.camels.source),
            ("livestock.cattle", &self.livestock.cattle.source),
            ("livestock.sheep", &self.livestock.sheep.source),
            (
                "livestock.fed_or_working",
                &self.livestock.fed_or_working.source,
            ),
            ("minerals.nisab", &self.minerals.nisab.source),
            ("fitrah.money", &self.fitrah.money.source),
            ("rounding.direction", &self.rounding.direction.source),
        ];
        if let Some(earned) = &self.income.when_earned {
            named.push(("income.when_earned.nisab", &earned.nisab.source));
            named.push(("income.when_earned.needs", &earned.needs.source));
        }
        let numbers = self.numbers().into_iter();
        named.extend(numbers.map(|(field, number)| (field, number.source.as_str())));
        let units = self.rounding.units.iter();
        named.extend(units.map(|unit| ("rounding.units", unit.unit.source.as_str())));
        for decree in &self.decrees {
            named.extend(decree.amounts().map(|a| ("decrees", a.source.as_str())));
        }
        for (field, source) in &named {
            let known = self.sources.contains_key(*source);
            let problem = format!("names the source {source:?}, which is not there");
            require(known, *field, &problem)?;
        }
        let named: BTreeSet<&str> = named.into_iter().map(|(_, source)| source).collect();
        match self
            .sources
            .keys()
            .find(|key| !named.contains(key.as_str()))
        {
            Some(unused) => Err(wrong(format!("sources.{unused}"), "is named by nothing")),
            None => Ok(()),
        }
    }

    /// Choices that belong together.
    fn check_choices(&self) -> Checked {
        require(
            (self.rental.treatment.value == RentalTreatment::OwnRate) == self.rental.rate.is_some(),
            "rental.rate",
            "is there when, and only when, treatment is own_rate",
        )?;
        require(
            (self.income.treatment.value == IncomeTreatment::WhenEarned)
                == self.income.when_earned.is_some(),
            "income.when_earned",
            "is there when, and only when, treatment is when_earned",
        )?;
        require(
            self.metals.value == Metals::Combined || self.nisab.metal.value != NisabMetal::Lower,
            "metals",
            "cannot be separate where the lower of both metals decides",
        )
    }

    fn check_units(&self) -> Checked {
        for (index, unit) in self.rounding.units.iter().enumerate() {
            let field = format!("rounding.units[{index}]");
            let currency: Currency = unit
                .currency
                .parse()
                .map_err(|_| wrong(format!("{field}.currency"), "is not an ISO 4217 currency"))?;
            let whole = unit.unit.value.to_money(currency);
            let fits = unit.unit.value > Ratio::ZERO && matches!(whole, Ok(Some(_)));
            let problem = "is not a whole number of the currency's smallest units";
            require(fits, format!("{field}.unit"), problem)?;
        }
        Ok(())
    }

    fn check_decree(&self, index: usize, decree: &Decree) -> Checked {
        let field = |name: &str| format!("decrees[{index}].{name}");
        require(!decree.act.is_empty(), field("act"), "is empty")?;
        require(
            decree.from <= decree.until,
            field("until"),
            "is before from",
        )?;
        let currency = decree.currency.parse::<Currency>();
        require(
            currency.is_ok(),
            field("currency"),
            "is not an ISO 4217 currency",
        )?;
        let amounts = (
            decree.per_year.is_some(),
            decree.per_month.is_some(),
            decree.per_person.is_some(),
        );
        let expected = match decree.kind {
            DecreeKind::IncomeNisab => (true, true, false),
            DecreeKind::Fitrah => (false, false, true),
        };
        require(
            amounts == expected,
            field("kind"),
            "has not the amounts that it needs",
        )?;
        for amount in decree.amounts() {
            require(
                amount.value > Ratio::ZERO,
                field("amount"),
                "is not above zero",
            )?;
        }
        let clash = self.decrees.iter().take(index).any(|other| {
            let same = (other.kind, &other.region, &other.currency)
                == (decree.kind, &decree.region, &decree.currency);
            same && other.from <= decree.until && decree.from <= other.until
        });
        require(
            !clash,
            field("from"),
            "overlaps with an earlier decree of the same kind",
        )
    }
}
