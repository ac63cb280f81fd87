//! What is due on a herd, exactly, for any size.
//!
//! Closed forms: no table beyond 120 camels is walked, so 100,000 heads cost what 130 do. Where
//! the tradition leaves a choice, all of it is given.

mod camels;
mod cattle;
mod sheep;

use serde::Deserialize;

use super::ratio::Ratio;

/// The largest herd that is assessed.
pub const HERD_MAX: u32 = 100_000;

/// A kind of livestock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Species {
    /// Camels.
    Camels,
    /// Cattle and buffaloes.
    Cattle,
    /// Sheep and goats together.
    Sheep,
}

/// What is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Animal {
    /// A sheep or a goat.
    Sheep,
    /// A she-camel of one year.
    BintMakhad,
    /// A she-camel of two years.
    BintLabun,
    /// A she-camel of three years.
    Hiqqah,
    /// A she-camel of four years.
    Jadhaah,
    /// A calf of one year.
    Tabi,
    /// A cow of two years.
    Musinnah,
}

/// How camels above 120 are reckoned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CamelRule {
    /// 121 to 129: three bint labun. From 130: a bint labun for every 40, a hiqqah for every 50.
    Decades,
    /// The same, but on 121 to 129 there is a choice of two hiqqahs or three bint labun.
    DecadesWithChoice,
    /// The reckoning begins anew after 120, and again after 150 and after every 50 from there.
    Restart,
}

/// How cattle between 40 and 60 are reckoned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CattleRule {
    /// Nothing more is due until 60.
    Bands,
    /// A fortieth of a musinnah for every head above 40, until 60.
    ProRata,
}

/// The rules of a school.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Camels.
    pub camels: CamelRule,
    /// Cattle.
    pub cattle: CattleRule,
}

/// Animals given together.
pub type Bundle = Vec<(Animal, Ratio)>;

/// What is due on a herd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Any one of these; empty when nothing is due. The one with the older animals comes first.
    pub alternatives: Vec<Bundle>,
    /// The smallest and the largest herd on which the same is due.
    pub band: (u32, u32),
}

impl Due {
    fn one(band: (u32, u32), bundle: &[(Animal, u32)]) -> Self {
        Self::any(band, vec![bundle.to_vec()])
    }

    fn any(band: (u32, u32), alternatives: Vec<Vec<(Animal, u32)>>) -> Self {
        let bundle = |bundle: Vec<(Animal, u32)>| {
            let present = bundle.into_iter().filter(|(_, count)| *count > 0);
            present
                .map(|(animal, count)| (animal, Ratio::whole(count.into())))
                .collect()
        };
        let alternatives: Vec<Bundle> = alternatives.into_iter().map(bundle).collect();
        Self {
            alternatives: alternatives.into_iter().filter(|b| !b.is_empty()).collect(),
            band,
        }
    }
}

/// What is due on `count` heads.
#[must_use]
pub fn due(species: Species, count: u32, rules: Rules) -> Due {
    match species {
        Species::Camels => camels::due(count, rules.camels),
        Species::Cattle => cattle::due(count, rules.cattle),
        Species::Sheep => sheep::due(count),
    }
}

/// All ways to make up `tens` tens of so many tens for each of the older and of the younger animal,
/// most of the older first. Solvable for whatever the callers ask. The two numbers of tens share no
/// factor, so each way has of the older as many fewer than the one before as the younger has tens.
fn made_up_of(
    tens: u32,
    (older, older_tens): (Animal, u32),
    (younger, younger_tens): (Animal, u32),
) -> Vec<Bundle> {
    let rest = |count: u32| tens - count * older_tens;
    let mut counts = (0..=tens / older_tens).rev();
    let mut next = counts.find(|count| rest(*count).is_multiple_of(younger_tens));
    let mut ways = Vec::new();
    while let Some(count) = next {
        let pair = [(older, count), (younger, rest(count) / younger_tens)];
        let present = pair.into_iter().filter(|(_, count)| *count > 0);
        ways.push(
            present
                .map(|(animal, count)| (animal, Ratio::whole(count.into())))
                .collect(),
        );
        next = count.checked_sub(younger_tens);
    }
    ways
}
