//! The calls about policies, thresholds and single herds.

use std::collections::BTreeSet;

use mizan::status::{Violations, invalid};
use mizan_contracts::zakat::v1::{
    AssessLivestockRequest, AssessLivestockResponse, GetNisabRequest, GetNisabResponse,
    GetPolicyRequest, ListPoliciesRequest, ListPoliciesResponse, Nisab, Policy, Sentence,
};
use tonic::Status;

use super::{
    read::{Reader, find},
    write::{alternative, notice, sources, version, write_step},
};
use crate::{
    assessor::Assessor,
    domain::{
        assess::{Item, Threshold, thresholds},
        explain::{Language, Trace},
        policy::Served,
    },
};

/// Policies on a page when the caller does not say, and the most on one.
const PAGE_DEFAULT: usize = 50;
const PAGE_MAX: usize = 1000;

pub(super) fn list(
    assessor: &Assessor,
    request: &ListPoliciesRequest,
) -> Result<ListPoliciesResponse, Status> {
    let size = match usize::try_from(request.page_size) {
        Ok(0) => PAGE_DEFAULT,
        Ok(size) => size.min(PAGE_MAX),
        Err(_) => return Err(invalid("page_size", "is negative")),
    };
    let after = request.page_token.as_str();
    if !after.is_empty() && assessor.policies.get(after).is_none() {
        return Err(invalid("page_token", "is not one that was given"));
    }
    let mut served = assessor.policies.after(after);
    let policies: Vec<Policy> = served.by_ref().take(size).map(summary).collect();
    let last = policies.last().map(|policy| policy.policy_id.clone());
    Ok(ListPoliciesResponse {
        policies,
        next_page_token: match served.next() {
            Some(_) => last.unwrap_or_default(),
            None => String::new(),
        },
    })
}

pub(super) fn get(assessor: &Assessor, request: &GetPolicyRequest) -> Result<Policy, Status> {
    let mut violations = Violations::new();
    violations.require(!request.policy_id.is_empty(), "policy_id", "is required");
    violations.check()?;
    let served = find(assessor, &request.policy_id)?;
    let all = served.policy.sources.keys().cloned().collect();
    Ok(Policy {
        document: served.document.clone(),
        sources: sources(&served.policy, &all),
        ..summary(served)
    })
}

fn summary(served: &Served) -> Policy {
    let policy = &served.policy;
    let titles = Language::ALL.map(|language| Sentence {
        language: language.tag().to_owned(),
        text: language.of(&policy.title).to_owned(),
    });
    Policy {
        policy_id: policy.id.clone(),
        version: version(policy),
        titles: titles.to_vec(),
        summary: policy.summary.clone(),
        digest: served.digest.clone(),
        document: String::new(),
        sources: Vec::new(),
    }
}

pub(super) fn get_nisab(
    assessor: &Assessor,
    request: &GetNisabRequest,
) -> Result<GetNisabResponse, Status> {
    let mut reader = Reader::new(&request.currency_code);
    reader.policy_id(&request.policy_id);
    let on = reader.date("valuation_date", request.valuation_date.as_ref());
    let prices = reader.prices(&request.prices);
    let (currency, violations) = (reader.currency, reader.violations);
    violations.check()?;
    let policy = &find(assessor, &request.policy_id)?.policy;
    let (Some(on), Some(currency)) = (on, currency) else {
        // Whatever is absent was noted above, and `check` has refused it.
        return Err(Status::internal("an unread field was not refused"));
    };
    let thresholds = thresholds(policy, prices, currency.code(), on)
        .map_err(|e| invalid("prices", &e.to_string()))?;
    let cited: BTreeSet<String> = thresholds.iter().flat_map(|t| t.sources.clone()).collect();
    Ok(GetNisabResponse {
        policy_id: policy.id.clone(),
        policy_version: version(policy),
        nisabs: thresholds.into_iter().map(nisab).collect(),
        sources: sources(policy, &cited),
    })
}

fn nisab(threshold: Threshold) -> Nisab {
    let (weight, unit) = match threshold.weight {
        Some((weight, unit)) => (weight.to_string(), unit.to_owned()),
        None => Default::default(),
    };
    Nisab {
        of: threshold.of.to_owned(),
        weight,
        unit,
        amount: threshold
            .amount
            .map(|amount| amount.to_string())
            .unwrap_or_default(),
        source_ids: threshold.sources,
        missing: threshold.missing,
    }
}

pub(super) fn assess_livestock(
    assessor: &Assessor,
    request: &AssessLivestockRequest,
) -> Result<AssessLivestockResponse, Status> {
    // A herd has no currency; any stands in.
    let mut reader = Reader::new("USD");
    reader.policy_id(&request.policy_id);
    let size = reader.herd_size("", request.species, request.count, request.husbandry);
    reader.violations.check()?;
    let policy = &find(assessor, &request.policy_id)?.policy;
    let (Some(species), Some(count), Some(is_grazing)) = size else {
        return Err(Status::internal("an unread field was not refused"));
    };
    let mut trace = Trace::kept();
    let due = policy.herd("", species, count, is_grazing, &mut trace);
    let steps = trace.into_steps().into_iter();
    let step = steps
        .map(|step| write_step(&assessor.sentences, step, &Language::ALL))
        .next();
    let cited = step
        .iter()
        .flat_map(|step| step.source_ids.clone())
        .collect();
    let bundles = due.alternatives.iter().map(|bundle| {
        let items: Vec<_> = bundle
            .iter()
            .map(|(animal, count)| (Item::Animal(*animal), *count))
            .collect();
        alternative(&items)
    });
    Ok(AssessLivestockResponse {
        policy_id: policy.id.clone(),
        policy_version: version(policy),
        alternatives: bundles.collect(),
        band_first: due.band.0.into(),
        band_last: due.band.1.into(),
        step,
        sources: sources(policy, &cited),
        notice: notice(&assessor.sentences, &Language::ALL),
    })
}
