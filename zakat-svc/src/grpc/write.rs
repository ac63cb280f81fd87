//! Results into answers.

use std::collections::BTreeSet;

use mizan::status::invalid;
use mizan_contracts::{
    r#type::v1 as wire,
    zakat::v1::{
        self as proto, Alternative, AssessResponse, Figure, HawlResult, InKind, PartState,
        Sentence, Source, Step as WireStep,
    },
};
use money::Money;
use tonic::Status;

use super::Asked;
use crate::{
    assessor::Assessor,
    domain::{
        assess::{Assessment, AssetResult, Item, Part, PartKind, State},
        date::{CALENDAR, Date, HijriDate},
        explain::{Language, Sentences, Step},
        hawl::Outcome,
        livestock::Animal,
        policy::Policy,
        ratio::Ratio,
    },
};

/// The answer to Assess.
pub(crate) fn assessment(
    assessor: &Assessor,
    asked: &Asked<'_>,
    assessed: &Assessment,
    steps: Vec<Step>,
) -> Result<AssessResponse, Status> {
    let served = asked.served;
    let languages = &asked.languages;
    let mut cited = BTreeSet::new();
    let write_step = |step| {
        let step = write_step(&assessor.sentences, step, languages);
        cited.extend(step.source_ids.iter().cloned());
        step
    };
    let steps: Vec<WireStep> = steps.into_iter().map(write_step).collect();
    let parts: Result<Vec<_>, Status> = assessed.parts.iter().map(part).collect();
    Ok(AssessResponse {
        policy_id: served.policy.id.clone(),
        policy_version: version(&served.policy),
        policy_digest: served.digest.clone(),
        valuation_date: Some(date(asked.facts.on)),
        valuation_date_hijri: asked.facts.on.to_hijri().ok().map(hijri),
        total_due: Some(amount(assessed.total_due)?),
        is_computed_wholly: assessed.is_computed_wholly(),
        parts: parts?,
        assets: assessed.assets.iter().map(asset).collect(),
        liabilities_deducted: assessed.liabilities_deducted.to_string(),
        hawl: assessed.hawl.as_ref().map(hawl),
        steps,
        sources: sources(&served.policy, &cited),
        notice: notice(&assessor.sentences, languages),
    })
}

pub(super) fn version(policy: &Policy) -> i32 {
    i32::try_from(policy.version).unwrap_or(i32::MAX)
}

pub(super) fn notice(sentences: &Sentences, languages: &[Language]) -> Vec<Sentence> {
    let notice = languages.iter().map(|language| Sentence {
        language: language.tag().to_owned(),
        text: sentences.notice(*language).to_owned(),
    });
    notice.collect()
}

/// The sources of a policy that are named.
pub(super) fn sources(policy: &Policy, cited: &BTreeSet<String>) -> Vec<Source> {
    let named = policy.sources.iter().filter(|(id, _)| cited.contains(*id));
    named
        .map(|(id, source)| Source {
            source_id: id.clone(),
            title: source.title.clone(),
            url: source.url.clone(),
        })
        .collect()
}

/// Consumes the step, so that its texts need not be copied.
pub(super) fn write_step(sentences: &Sentences, step: Step, languages: &[Language]) -> WireStep {
    let in_words = languages.iter().map(|language| Sentence {
        language: language.tag().to_owned(),
        text: sentences.sentence(&step, *language),
    });
    let in_words = in_words.collect();
    let inputs = step.inputs.iter().map(|(name, value)| Figure {
        name: (*name).to_owned(),
        value: value.exact(),
    });
    WireStep {
        rule_id: step.rule.to_owned(),
        inputs: inputs.collect(),
        result: Some(Figure {
            name: step.result.0.to_owned(),
            value: step.result.1.exact(),
        }),
        subject: step.subject,
        source_ids: step.sources,
        sentences: in_words,
    }
}

fn amount(money: Money) -> Result<wire::Money, Status> {
    wire::Money::try_from(money)
        .map_err(|_| invalid("assets", "are worth more than an amount can hold"))
}

fn exact(number: Option<Ratio>) -> String {
    number.map(|number| number.to_string()).unwrap_or_default()
}

fn date(date: Date) -> proto::Date {
    proto::Date {
        year: date.year(),
        month: date.month().into(),
        day: date.day().into(),
    }
}

fn hijri(date: HijriDate) -> proto::HijriDate {
    proto::HijriDate {
        year: date.year,
        month: date.month.into(),
        day: date.day.into(),
    }
}

fn hawl(outcome: &Outcome) -> HawlResult {
    HawlResult {
        is_complete: outcome.is_complete,
        start: outcome.start.map(date),
        start_hijri: outcome.start.and_then(|day| day.to_hijri().ok()).map(hijri),
        completed: outcome.completed.map(date),
        completes: outcome.completes.map(date),
        calendar: CALENDAR.to_owned(),
    }
}

fn asset(asset: &AssetResult) -> proto::AssetResult {
    proto::AssetResult {
        asset_id: asset.id.clone(),
        value: exact(asset.value),
        counted: exact(asset.counted),
        rule_id: asset.rule.to_owned(),
    }
}

fn part(part: &Part) -> Result<proto::Part, Status> {
    let state = match part.state {
        State::Due => PartState::Due,
        State::NotDue => PartState::NotDue,
        State::HawlIncomplete => PartState::HawlIncomplete,
        State::NotComputed => PartState::NotComputed,
    };
    Ok(proto::Part {
        kind: kind(part.kind).into(),
        asset_ids: part.asset_ids.clone(),
        state: state.into(),
        base: exact(part.base),
        nisab: exact(part.nisab),
        rate: exact(part.rate),
        due_exact: exact(part.due_exact),
        due: part.due.map(amount).transpose()?,
        alternatives: part
            .alternatives
            .iter()
            .map(|items| alternative(items))
            .collect(),
        missing: part.missing.clone(),
    })
}

const fn kind(kind: PartKind) -> proto::PartKind {
    match kind {
        PartKind::Wealth => proto::PartKind::Wealth,
        PartKind::Metal => proto::PartKind::Metal,
        PartKind::Income => proto::PartKind::Income,
        PartKind::Rental => proto::PartKind::Rental,
        PartKind::Crop => proto::PartKind::Crop,
        PartKind::Herd => proto::PartKind::Herd,
        PartKind::Mineral => proto::PartKind::Mineral,
        PartKind::Rikaz => proto::PartKind::Rikaz,
        PartKind::Fitrah => proto::PartKind::Fitrah,
    }
}

pub(super) fn alternative(items: &[(Item, Ratio)]) -> Alternative {
    let items = items.iter().map(|(item, quantity)| InKind {
        item: match item {
            Item::Animal(animal) => animal_item(*animal),
            Item::CropKg => proto::Item::CropKg,
            Item::StapleKg => proto::Item::StapleKg,
        }
        .into(),
        quantity: quantity.to_string(),
    });
    Alternative {
        items: items.collect(),
    }
}

const fn animal_item(animal: Animal) -> proto::Item {
    match animal {
        Animal::Sheep => proto::Item::Sheep,
        Animal::BintMakhad => proto::Item::BintMakhad,
        Animal::BintLabun => proto::Item::BintLabun,
        Animal::Hiqqah => proto::Item::Hiqqah,
        Animal::Jadhaah => proto::Item::Jadhaah,
        Animal::Tabi => proto::Item::Tabi,
        Animal::Musinnah => proto::Item::Musinnah,
    }
}
