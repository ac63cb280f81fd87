//! AssessBatch: one answer for each request, in their order.
//!
//! Nothing is queued: the next request is read when the caller has taken the answer before, so a
//! batch of any length needs the memory of one assessment, and flow control reaches the sender.

use std::sync::Arc;

use futures_util::{Stream, StreamExt as _};
use mizan_contracts::zakat::v1::{
    AssessBatchRequest, AssessBatchResponse, AssessRequest, FieldViolation, Refusal,
    assess_batch_response::Outcome,
};
use tonic::Status;
use tonic_types::StatusExt as _;

use crate::assessor::Assessor;

/// The longest id of an item, in characters.
const ID_CHARS_MAX: usize = 128;

pub(super) fn answers(
    requests: impl Stream<Item = Result<AssessBatchRequest, Status>>,
    assessor: Arc<Assessor>,
) -> impl Stream<Item = Result<AssessBatchResponse, Status>> {
    requests.map(move |request| request.map(|request| answer(&assessor, request)))
}

fn answer(assessor: &Assessor, item: AssessBatchRequest) -> AssessBatchResponse {
    let AssessBatchRequest { item_id, request } = item;
    let assessed = if item_id.chars().count() > ID_CHARS_MAX {
        Err(mizan::status::invalid(
            "item_id",
            "has more than 128 characters",
        ))
    } else {
        // A request that is absent is one in which everything is.
        assessor.assess(&request.unwrap_or_else(AssessRequest::default))
    };
    let outcome = match assessed {
        Ok(assessment) => Outcome::Assessment(assessment),
        Err(status) => Outcome::Refusal(refusal(&status)),
    };
    AssessBatchResponse {
        item_id,
        outcome: Some(outcome),
    }
}

fn refusal(status: &Status) -> Refusal {
    let violations = status
        .get_details_bad_request()
        .map(|bad| bad.field_violations);
    let violations = violations.into_iter().flatten().map(|v| FieldViolation {
        field: v.field,
        description: v.description,
    });
    Refusal {
        code: status.code().into(),
        reason: mizan::status::reason(status).unwrap_or_default(),
        message: status.message().to_owned(),
        violations: violations.collect(),
    }
}
