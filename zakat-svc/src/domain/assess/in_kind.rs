//! Herds and zakat al-fitr.

use super::{Case, Item, Part, PartKind, State, Trouble};
use crate::domain::{
    explain::{Step, Trace, Value},
    facts::Hawl,
    hawl::{self, Known},
    livestock::{self, Due, Rules, Species},
    policy::{DecreeKind, FedHerds, FitrahMoney, Policy},
    ratio::Ratio,
};

impl Policy {
    /// What is due on a herd over which a year has passed. The step goes to `trace`.
    pub fn herd(
        &self,
        id: &str,
        species: Species,
        count: u32,
        is_grazing: bool,
        trace: &mut Trace,
    ) -> Due {
        let rules = &self.livestock;
        let word = Value::Word(match species {
            Species::Camels => "camels",
            Species::Cattle => "cattle",
            Species::Sheep => "sheep",
        });
        if !is_grazing && rules.fed_or_working.value == FedHerds::Exempt {
            trace.note(|| {
                Step::new("herd.exempt", id, "due", Value::Animals(Vec::new()))
                    .with("count", count)
                    .with("species", word)
                    .from(&rules.fed_or_working)
            });
            return Due {
                alternatives: Vec::new(),
                band: (0, livestock::HERD_MAX),
            };
        }
        let school = Rules {
            camels: rules.camels.value,
            cattle: rules.cattle.value,
        };
        let due = livestock::due(species, count, school);
        let rule = if due.alternatives.is_empty() {
            "herd.below"
        } else {
            "herd.due"
        };
        trace.note(|| {
            let step = Step::new(rule, id, "due", Value::Animals(due.alternatives.clone()))
                .with("count", count)
                .with("species", word)
                .with("first", due.band.0)
                .with("last", due.band.1);
            match species {
                Species::Camels => step.from(&rules.camels),
                Species::Cattle => step.from(&rules.cattle),
                Species::Sheep => step.from(&rules.sheep),
            }
        });
        due
    }
}

impl Case<'_> {
    pub(super) fn herd(
        &mut self,
        id: &str,
        species: Species,
        count: u32,
        is_grazing: bool,
        hawl: &Hawl,
    ) -> Result<Part, Trouble> {
        let mut part = Part::new(PartKind::Herd, vec![id.to_owned()]);
        part.base = Some(Ratio::whole(count.into()));
        let due = self.policy.herd(id, species, count, is_grazing, self.trace);
        if due.alternatives.is_empty() {
            return Ok(part);
        }
        let known = match hawl {
            Hawl::Stated(stated) => Known::Stated(*stated),
            Hawl::Since(date) => Known::Since(*date),
            Hawl::History(_) => {
                return Err(Trouble::Field(
                    "herd.hawl",
                    "takes no history: it is of wealth",
                ));
            }
        };
        // A herd has no books: its year is the lunar one. It may not dip, being since a day.
        let outcome = hawl::find(
            &known,
            self.facts.on,
            self.policy.hawl_dip.value,
            hawl::Year::Lunar,
        )?;
        if !outcome.is_complete {
            part.state = State::HawlIncomplete;
            self.trace.note(|| match outcome.start {
                Some(start) => Step::new("hawl.incomplete", id, "complete", Value::Word("no"))
                    .with("start", start)
                    .with(
                        "completes",
                        outcome.completes.map_or(Value::Word("unknown"), Value::Day),
                    ),
                None => Step::new("hawl.stated", id, "complete", Value::Word("no")),
            });
            return Ok(part);
        }
        part.state = State::Due;
        let bundles = due.alternatives.into_iter().map(|bundle| {
            let items = bundle.into_iter();
            items
                .map(|(animal, count)| (Item::Animal(animal), count))
                .collect()
        });
        part.alternatives = bundles.collect();
        Ok(part)
    }

    pub(super) fn fitrah(
        &mut self,
        id: &str,
        persons: u32,
        region: Option<&str>,
    ) -> Result<Part, Trouble> {
        let rules = &self.policy.fitrah;
        let mut part = Part::new(PartKind::Fitrah, vec![id.to_owned()]);
        let heads = Ratio::whole(persons.into());
        part.base = Some(heads);
        let Some(region) = region else {
            let kg = heads.times(rules.kg_per_person.value)?;
            self.trace.note(|| {
                Step::new("fitrah.kind", id, "due-kg", kg)
                    .with("persons", persons)
                    .with("kg", rules.kg_per_person.value)
                    .from(&rules.kg_per_person)
            });
            if !kg.is_zero() {
                part.state = State::Due;
                part.alternatives = vec![vec![(Item::StapleKg, kg)]];
            }
            return Ok(part);
        };
        if rules.money.value == FitrahMoney::NotOffered {
            return Err(Trouble::Field(
                "fitrah.form",
                "is MONEY, for which this policy has no amounts",
            ));
        }
        let (on, currency) = (self.facts.on, self.facts.currency);
        let decree = self
            .policy
            .decree(DecreeKind::Fitrah, region, currency.code(), on);
        let Some((decree, amount)) = decree.and_then(|d| Some((d, d.per_person.as_ref()?))) else {
            self.note_missing_decree(id, Value::Text(region.to_owned()));
            return Ok(part.lacks(vec!["decree".to_owned()]));
        };
        let due = heads.times(amount.value)?;
        self.trace.note(|| {
            Step::new("fitrah.money", id, "due", due)
                .with("persons", persons)
                .with("amount", amount.value)
                .with("act", Value::Text(decree.act.clone()))
                .from(amount)
                .from(&rules.money)
        });
        self.owe(&mut part, due)?;
        Ok(part)
    }
}
