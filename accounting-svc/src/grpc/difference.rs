//! Which field of a request differs from the one that used its id first.

use mizan_contracts::accounting::v1 as pb;

/// What is said when nothing known differs: the first request came from another version, with
/// fields that this one does not know.
const UNKNOWN: &str = "request_id";

pub(super) fn account(
    first: &pb::CreateAccountRequest,
    again: &pb::CreateAccountRequest,
) -> String {
    let fields = [
        ("account_id", first.account_id == again.account_id),
        ("display_name", first.display_name == again.display_name),
        ("type", first.r#type == again.r#type),
        ("currency_code", first.currency_code == again.currency_code),
        ("metadata", first.metadata == again.metadata),
    ];
    first_of(&fields).unwrap_or(UNKNOWN).to_owned()
}

pub(super) fn transaction(
    first: &pb::RecordTransactionRequest,
    again: &pb::RecordTransactionRequest,
) -> String {
    if let Some(field) = legs(&first.legs, &again.legs) {
        return field;
    }
    let fields = [
        ("description", first.description == again.description),
        ("reference", first.reference == again.reference),
        ("metadata", first.metadata == again.metadata),
        (
            "effective_time",
            first.effective_time == again.effective_time,
        ),
    ];
    first_of(&fields).unwrap_or(UNKNOWN).to_owned()
}

fn legs(first: &[pb::Leg], again: &[pb::Leg]) -> Option<String> {
    if first.len() != again.len() {
        return Some("legs".to_owned());
    }
    first
        .iter()
        .zip(again)
        .enumerate()
        .find_map(|(index, (first, again))| {
            let fields = [
                ("account_id", first.account_id == again.account_id),
                ("side", first.side == again.side),
                ("amount", first.amount == again.amount),
            ];
            first_of(&fields).map(|part| format!("legs[{index}].{part}"))
        })
}

fn first_of<'a>(fields: &[(&'a str, bool)]) -> Option<&'a str> {
    fields.iter().find(|(_, same)| !same).map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_a_transaction_is_told_apart() {
        let leg = || pb::Leg {
            account_id: "a".to_owned(),
            ..pb::Leg::default()
        };
        let first = pb::RecordTransactionRequest {
            legs: vec![leg(), leg()],
            ..pb::RecordTransactionRequest::default()
        };
        type Change = fn(&mut pb::RecordTransactionRequest);
        let changes: [(&str, Change); 8] = [
            ("legs", |r| drop(r.legs.pop())),
            ("legs[1].account_id", |r| r.legs[1].account_id.push('b')),
            ("legs[0].side", |r| r.legs[0].side = 1),
            ("legs[1].amount", |r| {
                r.legs[1].amount = Some(<_>::default())
            }),
            ("description", |r| r.description.push('x')),
            ("reference", |r| r.reference.push('x')),
            ("metadata", |r| {
                drop(r.metadata.insert("k".into(), "v".into()))
            }),
            ("effective_time", |r| {
                r.effective_time = Some(<_>::default())
            }),
        ];
        for (field, change) in changes {
            let mut again = first.clone();
            change(&mut again);
            assert_eq!(transaction(&first, &again), field);
        }
    }

    #[test]
    fn every_field_of_an_account_is_told_apart() {
        let first = pb::CreateAccountRequest::default();
        type Change = fn(&mut pb::CreateAccountRequest);
        let changes: [(&str, Change); 5] = [
            ("account_id", |r| r.account_id.push('x')),
            ("display_name", |r| r.display_name.push('x')),
            ("type", |r| r.r#type = 1),
            ("currency_code", |r| r.currency_code.push('x')),
            ("metadata", |r| {
                drop(r.metadata.insert("k".into(), "v".into()))
            }),
        ];
        for (field, change) in changes {
            let mut again = first.clone();
            change(&mut again);
            assert_eq!(account(&first, &again), field);
        }
    }
}
