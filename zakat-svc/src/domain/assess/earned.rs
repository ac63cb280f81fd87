//! Income, and rent with a rate of its own.

use super::{Case, Part, PartKind, Trouble};
use crate::domain::{
    explain::{Step, Value},
    policy::{DecreeKind, IncomeNisab, Needs, WhenEarned},
    ratio::{NumberError, Ratio},
};

impl Case<'_> {
    pub(super) fn income(
        &mut self,
        id: &str,
        is_monthly: bool,
        gross: Ratio,
        needs: Ratio,
    ) -> Result<Option<Part>, Trouble> {
        let policy = self.policy;
        let Some(earned) = &policy.income.when_earned else {
            self.trace.note(|| {
                Step::new("income.joins", id, "counted", Ratio::ZERO)
                    .with("gross", gross)
                    .from(&policy.income.treatment)
            });
            return Ok(None);
        };
        let mut part = Part::new(PartKind::Income, vec![id.to_owned()]);
        let base = if earned.needs.value == Needs::Deducted {
            let base = gross.minus(needs)?;
            self.trace.note(|| {
                Step::new("income.needs", id, "base", base)
                    .with("gross", gross)
                    .with("needs", needs)
                    .from(&earned.needs)
            });
            base
        } else {
            gross
        };
        part.base = Some(base);
        let nisab = match earned.nisab.value {
            IncomeNisab::Decree => self.decreed(id, is_monthly),
            IncomeNisab::Wealth => self.derived(id, is_monthly, earned)?,
        };
        let nisab = match nisab {
            Ok(nisab) => nisab,
            Err(missing) => return Ok(Some(part.lacks(missing))),
        };
        part.nisab = Some(nisab);
        part.rate = Some(earned.rate.value);
        if self.reaches(id, base, nisab) {
            let due = base.times(earned.rate.value)?;
            self.trace.note(|| {
                Step::new("rate.once", id, "due", due)
                    .with("rate", earned.rate.value)
                    .with("base", base)
                    .from(&earned.rate)
            });
            self.owe(&mut part, due)?;
        } else {
            self.owe_nothing(&mut part);
        }
        Ok(Some(part))
    }

    /// The threshold that an authority published, or what is missing.
    fn decreed(&mut self, id: &str, is_monthly: bool) -> Result<Ratio, Vec<String>> {
        let (on, currency) = (self.facts.on, self.facts.currency);
        let decree = self
            .policy
            .decree(DecreeKind::IncomeNisab, "", currency.code(), on);
        let amount = decree.and_then(|decree| {
            let amount = if is_monthly {
                &decree.per_month
            } else {
                &decree.per_year
            };
            Some((decree, amount.as_ref()?))
        });
        let Some((decree, amount)) = amount else {
            self.note_missing_decree(id, Value::Word("everywhere"));
            return Err(vec!["decree".to_owned()]);
        };
        self.trace.note(|| {
            Step::new("income.decree", id, "nisab", amount.value)
                .with("act", Value::Text(decree.act.clone()))
                .with("period", period(is_monthly))
                .from(amount)
        });
        Ok(amount.value)
    }

    pub(super) fn note_missing_decree(&mut self, id: &str, region: Value) {
        let on = self.facts.on;
        self.trace.note(|| {
            Step::new(
                "missing.decree",
                id,
                "missing",
                Value::Text("decree".to_owned()),
            )
            .with("region", region)
            .with("date", on)
        });
    }

    /// The nisab of wealth, or a month's part of it, or what is missing.
    fn derived(
        &mut self,
        id: &str,
        is_monthly: bool,
        earned: &WhenEarned,
    ) -> Result<Result<Ratio, Vec<String>>, NumberError> {
        let Some(wealth) = self.nisab.amount else {
            return Ok(Err(self.nisab.missing_fields()));
        };
        let fraction = if is_monthly {
            earned.month.value
        } else {
            Ratio::ONE
        };
        let nisab = wealth.times(fraction)?;
        self.trace.note(|| {
            Step::new("income.nisab", id, "nisab", nisab)
                .with("fraction", fraction)
                .with("nisab", wealth)
                .with("period", period(is_monthly))
                .from(&earned.nisab)
                .from(&earned.month)
        });
        Ok(Ok(nisab))
    }

    /// Rent with a rate of its own; `None` where it was counted with the wealth.
    pub(super) fn rental(&mut self, id: &str, income: Ratio) -> Result<Option<Part>, Trouble> {
        let Some(rate) = &self.policy.rental.rate else {
            return Ok(None);
        };
        let mut part = Part::new(PartKind::Rental, vec![id.to_owned()]);
        part.base = Some(income);
        part.nisab = self.nisab.amount;
        let Some(nisab) = self.nisab.amount else {
            return Ok(Some(part.lacks(self.nisab.missing_fields())));
        };
        part.rate = Some(rate.value);
        if self.reaches(id, income, nisab) {
            let due = income.times(rate.value)?;
            self.trace.note(|| {
                Step::new("rate.once", id, "due", due)
                    .with("rate", rate.value)
                    .with("base", income)
                    .from(rate)
                    .from(&self.policy.rental.treatment)
            });
            self.owe(&mut part, due)?;
        } else {
            self.owe_nothing(&mut part);
        }
        Ok(Some(part))
    }
}

const fn period(is_monthly: bool) -> Value {
    Value::Word(if is_monthly { "month" } else { "year" })
}
