//! What saved requests say of the columns of their entries, for the check of the journal.

use mizan::request::read_micros;
use mizan_contracts::{accounting::v1 as pb, r#type::v1 as pb_type};
use prost::Message as _;
use prost_types::Timestamp;

use crate::domain::{Content, Kind, Side};

/// What the request of an entry says; none if it cannot be read.
pub(super) fn of(kind: Kind, body: &[u8]) -> Option<Content> {
    match kind {
        Kind::Record | Kind::Pend => {
            let request = pb::RecordTransactionRequest::decode(body).ok()?;
            let legs = request.legs.iter().map(leg);
            Some(Content {
                legs: Some(legs.collect::<Option<_>>()?),
                reference: Some(request.reference),
                effective_time: micros(request.effective_time.as_ref()),
                request_id: request.request_id,
            })
        }
        Kind::Reverse => {
            let request = pb::ReverseTransactionRequest::decode(body).ok()?;
            Some(Content {
                legs: None,
                reference: Some(request.reference),
                effective_time: micros(request.effective_time.as_ref()),
                request_id: request.request_id,
            })
        }
        Kind::Post => only_id(pb::PostTransactionRequest::decode(body).ok()?.request_id),
        Kind::Void => only_id(pb::VoidTransactionRequest::decode(body).ok()?.request_id),
        Kind::Close => only_id(pb::CloseAccountRequest::decode(body).ok()?.request_id),
        Kind::Reopen => only_id(pb::ReopenAccountRequest::decode(body).ok()?.request_id),
    }
}

const fn only_id(request_id: String) -> Option<Content> {
    Some(Content {
        request_id,
        reference: None,
        effective_time: None,
        legs: None,
    })
}

fn micros(time: Option<&Timestamp>) -> Option<i64> {
    time.and_then(|time| read_micros(time).ok())
}

fn leg(leg: &pb::Leg) -> Option<(String, Side, String, i128)> {
    let side = match leg.side() {
        pb::Side::Debit => Side::Debit,
        pb::Side::Credit => Side::Credit,
        pb::Side::Unspecified => return None,
    };
    let amount = pb_type::Money::read(leg.amount.as_ref()).ok()?;
    let code = amount.currency().code().to_owned();
    Some((leg.account_id.clone(), side, code, amount.minor()))
}
