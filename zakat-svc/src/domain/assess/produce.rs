//! Crops, minerals and treasure: due when they are had, without a hawl.

use super::{Case, Item, Part, PartKind, State, Trouble};
use crate::domain::{
    explain::{Step, Value},
    facts::Watering,
    policy::{Cited, MineralNisab},
    ratio::Ratio,
};

impl Case<'_> {
    pub(super) fn crop(
        &mut self,
        id: &str,
        kg: Ratio,
        watering: Watering,
        price: Option<Ratio>,
    ) -> Result<Part, Trouble> {
        let crops = &self.policy.crops;
        let (rate, word) = match watering {
            Watering::Rain => (&crops.rain, "rain"),
            Watering::Irrigated => (&crops.irrigated, "irrigation"),
            Watering::Mixed => (&crops.mixed, "mixed"),
        };
        let nisab = &crops.nisab_kg;
        let mut part = Part::new(PartKind::Crop, vec![id.to_owned()]);
        part.base = Some(kg);
        part.nisab = Some(nisab.value);
        part.rate = Some(rate.value);
        if kg < nisab.value || kg.is_zero() {
            self.trace.note(|| {
                Step::new("crop.below", id, "due-kg", Ratio::ZERO)
                    .with("kg", kg)
                    .with("nisab", nisab.value)
                    .from(nisab)
            });
            return Ok(part);
        }
        let due = kg.times(rate.value)?;
        self.trace.note(|| {
            Step::new("crop.due", id, "due-kg", due)
                .with("kg", kg)
                .with("nisab", nisab.value)
                .with("watering", Value::Word(word))
                .with("rate", rate.value)
                .from(nisab)
                .from(rate)
        });
        part.alternatives = vec![vec![(Item::CropKg, due)]];
        part.state = State::Due;
        if let Some(price) = price {
            let value = due.times(price)?;
            self.trace.note(|| {
                Step::new("crop.price", id, "due", value)
                    .with("kg", due)
                    .with("price", price)
            });
            self.owe(&mut part, value)?;
        }
        Ok(part)
    }

    pub(super) fn mineral(&mut self, id: &str, value: Ratio) -> Result<Part, Trouble> {
        let minerals = &self.policy.minerals;
        let mut part = Part::new(PartKind::Mineral, vec![id.to_owned()]);
        part.base = Some(value);
        let reaches = match minerals.nisab.value {
            MineralNisab::None => {
                self.trace.note(|| {
                    Step::new("mineral.no-nisab", id, "base", value).from(&minerals.nisab)
                });
                true
            }
            MineralNisab::Wealth => {
                let Some(nisab) = self.nisab.amount else {
                    return Ok(part.lacks(self.nisab.missing_fields()));
                };
                part.nisab = Some(nisab);
                self.reaches(id, value, nisab)
            }
        };
        self.once(part, id, value, reaches, &minerals.rate)
    }

    pub(super) fn rikaz(&mut self, id: &str, value: Ratio) -> Result<Part, Trouble> {
        let rate = &self.policy.rikaz.rate;
        let mut part = Part::new(PartKind::Rikaz, vec![id.to_owned()]);
        part.base = Some(value);
        self.trace
            .note(|| Step::new("rikaz.no-nisab", id, "base", value).from(rate));
        self.once(part, id, value, true, rate)
    }

    fn once(
        &mut self,
        mut part: Part,
        id: &str,
        value: Ratio,
        reaches: bool,
        rate: &Cited<Ratio>,
    ) -> Result<Part, Trouble> {
        part.rate = Some(rate.value);
        if reaches {
            let due = value.times(rate.value)?;
            self.trace.note(|| {
                Step::new("rate.once", id, "due", due)
                    .with("rate", rate.value)
                    .with("base", value)
                    .from(rate)
            });
            self.owe(&mut part, due)?;
        } else {
            self.owe_nothing(&mut part);
        }
        Ok(part)
    }
}
