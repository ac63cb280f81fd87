//! Reads requests: every rule of the contract that needs no payment to be checked.

use mizan::{
    request::{
        document_metadata, document_text, id, metadata, read_micros, reference, required_text, text,
    },
    status::Violations,
};
use mizan_contracts::{
    payment::v1::{self as wire, ListPaymentsRequest, ProcessPaymentRequest, RefundPaymentRequest},
    r#type::v1 as types,
};
use money::Money;
use prost_types::Timestamp;
use tonic::Status;

use crate::{
    domain::{Direction, Intent, RefundAsked, State},
    store::Filter,
};

const NAME_CHARS_MAX: usize = 256;
const DESCRIPTION_CHARS_MAX: usize = 512;

/// The most pairs of metadata: leaves room for what the payment adds for its steps.
const METADATA_MAX: usize = 48;

/// The largest amount, in smallest units: what the books can add up many times over.
const AMOUNT_MAX: i128 = 1_000_000_000_000_000;

/// The payment that is asked for, or all that is wrong with it.
pub(crate) fn payment(request: &ProcessPaymentRequest) -> Result<Intent, Status> {
    let intent = intent(request)?;
    // Invoicing takes nothing else, and a payment that it refuses has used up its id.
    let mut violations = Violations::new();
    for (field, text) in [
        ("counterparty.counterparty_id", &intent.counterparty_id),
        ("counterparty.name", &intent.counterparty_name),
        ("description", &intent.description),
        ("reference", &intent.reference),
    ] {
        document_text(field, text, &mut violations);
    }
    document_metadata("metadata", &intent.metadata, &mut violations);
    violations.check()?;
    Ok(intent)
}

/// The same of a request that was accepted once, by the rules of that time.
pub(crate) fn intent(request: &ProcessPaymentRequest) -> Result<Intent, Status> {
    let mut violations = Violations::new();
    id("request_id", &request.request_id, &mut violations);
    let amount = amount(request.amount.as_ref(), &mut violations);
    let direction = direction(request.direction, &mut violations);
    let counterparty = request.counterparty.clone().unwrap_or_default();
    text(
        NAME_CHARS_MAX,
        "counterparty.counterparty_id",
        &counterparty.counterparty_id,
        &mut violations,
    );
    required_text(
        NAME_CHARS_MAX,
        "counterparty.name",
        &counterparty.name,
        &mut violations,
    );
    text(
        DESCRIPTION_CHARS_MAX,
        "description",
        &request.description,
        &mut violations,
    );
    reference(&request.reference, &mut violations);
    metadata(METADATA_MAX, &request.metadata, &mut violations);
    for (field, account) in [
        ("expense_account_id", &request.expense_account_id),
        ("cash_account_id", &request.cash_account_id),
    ] {
        if !account.is_empty() {
            id(field, account, &mut violations);
        }
    }
    let effective = request.effective_time.as_ref().map(read_micros).transpose();
    let effective_micros = violations.keep("effective_time", effective).flatten();
    violations.check()?;
    let (Some(amount), Some(direction)) = (amount, direction) else {
        // What could not be read was noted above.
        return Err(Status::internal("a request was refused without a reason"));
    };
    Ok(Intent {
        id: request.request_id.clone(),
        amount,
        direction,
        counterparty_id: counterparty.counterparty_id,
        counterparty_name: counterparty.name,
        description: request.description.clone(),
        reference: request.reference.clone(),
        metadata: request.metadata.clone(),
        expense_account: request.expense_account_id.clone(),
        cash_account: request.cash_account_id.clone(),
        effective_micros,
        refund_of: None,
    })
}

/// The refund that is asked for, or all that is wrong with it.
pub(crate) fn refund(request: &RefundPaymentRequest) -> Result<RefundAsked, Status> {
    let mut violations = Violations::new();
    id("request_id", &request.request_id, &mut violations);
    id("payment_id", &request.payment_id, &mut violations);
    let amount = request
        .amount
        .as_ref()
        .and_then(|asked| amount(Some(asked), &mut violations));
    text(
        DESCRIPTION_CHARS_MAX,
        "reason",
        &request.reason,
        &mut violations,
    );
    reference(&request.reference, &mut violations);
    metadata(METADATA_MAX, &request.metadata, &mut violations);
    document_text("reason", &request.reason, &mut violations);
    document_text("reference", &request.reference, &mut violations);
    document_metadata("metadata", &request.metadata, &mut violations);
    let effective = request.effective_time.as_ref().map(read_micros).transpose();
    let effective_micros = violations.keep("effective_time", effective).flatten();
    violations.check()?;
    Ok(RefundAsked {
        id: request.request_id.clone(),
        of: request.payment_id.clone(),
        amount,
        reason: request.reason.clone(),
        reference: request.reference.clone(),
        metadata: request.metadata.clone(),
        effective_micros,
    })
}

/// A payment's id, checked.
pub(crate) fn payment_id(payment_id: String) -> Result<String, Status> {
    let mut violations = Violations::new();
    id("payment_id", &payment_id, &mut violations);
    violations.check()?;
    Ok(payment_id)
}

/// A person's decision, checked.
pub(crate) fn steering(request_id: &str, payment_id: &str, reason: &str) -> Result<(), Status> {
    let mut violations = Violations::new();
    id("request_id", request_id, &mut violations);
    id("payment_id", payment_id, &mut violations);
    text(DESCRIPTION_CHARS_MAX, "reason", reason, &mut violations);
    document_text("reason", reason, &mut violations);
    violations.check()
}

fn amount(amount: Option<&types::Money>, violations: &mut Violations) -> Option<Money> {
    let amount = violations.keep("amount", types::Money::read(amount))?;
    violations.require(amount.is_positive(), "amount", "is not above zero");
    violations.require(amount.minor() <= AMOUNT_MAX, "amount", "is too large");
    Some(amount)
}

fn direction(number: i32, violations: &mut Violations) -> Option<Direction> {
    match wire::Direction::try_from(number) {
        Ok(wire::Direction::Unspecified | wire::Direction::Outgoing) => Some(Direction::Outgoing),
        Ok(wire::Direction::Refund) => Some(Direction::Refund),
        Err(_) => {
            violations.add("direction", "is not a Direction");
            None
        }
    }
}

/// What a list is limited to.
pub(crate) fn filter(request: &ListPaymentsRequest, violations: &mut Violations) -> Filter {
    let state = State::from_number(i64::from(request.state));
    violations.require(
        state.is_some() || request.state == 0,
        "state",
        "is not a PaymentState",
    );
    let refund_of = &request.refunded_payment_id;
    if !refund_of.is_empty() {
        id("refunded_payment_id", refund_of, violations);
    }
    let mut time = |field: &str, time: Option<&Timestamp>| {
        let read = time.map(read_micros).transpose();
        violations.keep(field, read).flatten()
    };
    Filter {
        state,
        reference: request.reference.clone(),
        refund_of: refund_of.clone(),
        from_micros: time("create_time_from", request.create_time_from.as_ref()),
        until_micros: time("create_time_until", request.create_time_until.as_ref()),
    }
}

#[cfg(test)]
mod tests {
    use mizan_contracts::payment::v1::Counterparty;
    use tonic_types::StatusExt as _;

    use super::*;

    fn good() -> ProcessPaymentRequest {
        ProcessPaymentRequest {
            request_id: "p-1".to_owned(),
            amount: Some(types::Money {
                currency_code: "GBP".to_owned(),
                units: 12,
                nanos: 0,
            }),
            counterparty: Some(Counterparty {
                counterparty_id: String::new(),
                name: "A supplier".to_owned(),
            }),
            ..ProcessPaymentRequest::default()
        }
    }

    fn fields(request: &ProcessPaymentRequest) -> Vec<String> {
        told_of(&payment(request).unwrap_err())
    }

    fn told_of(status: &Status) -> Vec<String> {
        let violations = status.get_details_bad_request().unwrap().field_violations;
        violations
            .into_iter()
            .map(|violation| violation.field)
            .collect()
    }

    #[test]
    fn a_good_request_is_read() {
        let intent = intent(&good()).unwrap();
        assert_eq!(intent.amount.to_string(), "12.00 GBP");
        assert_eq!(intent.direction, Direction::Outgoing);
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let all_wrong = ProcessPaymentRequest {
            request_id: "no spaces".to_owned(),
            amount: None,
            direction: 9,
            counterparty: None,
            description: "d".repeat(513),
            reference: "r".repeat(257),
            metadata: (0..49).map(|i| (i.to_string(), String::new())).collect(),
            expense_account_id: "é".to_owned(),
            cash_account_id: "a b".to_owned(),
            effective_time: Some(Timestamp {
                seconds: i64::MAX,
                nanos: 0,
            }),
            asynchronous: false,
        };
        assert_eq!(
            fields(&all_wrong),
            [
                "request_id",
                "amount",
                "direction",
                "counterparty.name",
                "description",
                "reference",
                "metadata",
                "expense_account_id",
                "cash_account_id",
                "effective_time",
            ]
        );
    }

    #[test]
    fn what_no_document_can_hold_is_refused_before_the_id_is_used() {
        let bad = ProcessPaymentRequest {
            counterparty: Some(Counterparty {
                counterparty_id: "\u{b}".to_owned(),
                name: "A\u{1b}[1m".to_owned(),
            }),
            description: "two\nlines\tand\r\na tab".to_owned(),
            reference: "a\u{7}".to_owned(),
            metadata: [("k".to_owned(), "\u{ffff}".to_owned())].into(),
            ..good()
        };
        let told = told_of(&payment(&bad).unwrap_err());
        let wrong = [
            "counterparty.counterparty_id",
            "counterparty.name",
            "reference",
            "metadata",
        ];
        assert_eq!(told, wrong);
        // One that was accepted before there was this rule is still read.
        assert!(intent(&bad).is_ok());
        let refund_asked = RefundPaymentRequest {
            request_id: "r".to_owned(),
            payment_id: "p".to_owned(),
            reason: "\u{8}".to_owned(),
            ..RefundPaymentRequest::default()
        };
        assert_eq!(told_of(&refund(&refund_asked).unwrap_err()), ["reason"]);
        assert_eq!(
            told_of(&steering("c", "p", "\u{8}").unwrap_err()),
            ["reason"]
        );
    }

    #[test]
    fn only_exact_amounts_above_zero_are_paid() {
        for (currency_code, units, nanos) in [
            ("GBP", 0, 0),
            ("GBP", -1, 0),
            ("GBP", 1, -1),
            ("GBP", 0, 1),
            ("ZZZ", 1, 0),
            ("GBP", i64::MAX, 0),
        ] {
            let amount = types::Money {
                currency_code: currency_code.to_owned(),
                units,
                nanos,
            };
            assert_eq!(
                fields(&ProcessPaymentRequest {
                    amount: Some(amount),
                    ..good()
                }),
                ["amount"]
            );
        }
    }
}
