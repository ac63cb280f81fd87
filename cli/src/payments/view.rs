//! Payments as data: what `--json` prints, and what the texts are made of.

use std::collections::BTreeMap;

use mizan_contracts::{
    payment::v1::{self as wire, AttemptOutcome, Direction, PaymentState, StepState},
    r#type::v1::Money,
};
use serde::Serialize;

use super::time;

/// A payment. Times are RFC 3339 in UTC; what is not known, or not so, is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Payment {
    pub(super) payment_id: String,
    pub(super) state: String,
    /// In NEEDS_ATTENTION: the state it was parked in.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) parked_state: String,
    /// In NEEDS_ATTENTION: why it could not go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) attention: Option<Failure>,
    /// Why it was refused or cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failure: Option<Failure>,
    /// An exact decimal; always above zero.
    pub(super) amount: String,
    pub(super) currency: String,
    pub(super) direction: String,
    pub(super) counterparty: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) counterparty_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) description: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) reference: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) expense_account_id: String,
    pub(super) cash_account_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) invoice_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) transaction_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) refunded_payment_id: String,
    pub(super) effective_time: String,
    pub(super) create_time: String,
    pub(super) update_time: String,
    /// Only `show` has them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) steps: Vec<Step>,
    #[serde(skip)]
    pub(super) stands: PaymentState,
    /// `parked_state`, to be judged by.
    #[serde(skip)]
    pub(super) parked: PaymentState,
}

/// Why something did not go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Failure {
    pub(super) step: String,
    pub(super) reason: String,
    pub(super) message: String,
}

/// A step of a payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Step {
    pub(super) name: String,
    pub(super) state: String,
    /// How often it was begun; `recent_attempts` has the latest of them.
    pub(super) attempts: i32,
    pub(super) begin_time: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) end_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_error: Option<Told>,
    pub(super) recent_attempts: Vec<Attempt>,
}

/// One try of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Attempt {
    pub(super) number: i32,
    pub(super) begin_time: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) end_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) took_micros: Option<i64>,
    /// Empty while nothing is known of it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) outcome: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<Told>,
}

/// What a step was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Told {
    pub(super) code: String,
    pub(super) reason: String,
    pub(super) message: String,
}

/// The name of a state without the prefix that it has in the contract.
pub(super) fn state(state: PaymentState) -> &'static str {
    bare(state.as_str_name(), "PAYMENT_STATE_")
}

fn bare(name: &'static str, prefix: &str) -> &'static str {
    name.strip_prefix(prefix).unwrap_or(name)
}

impl From<wire::Payment> for Payment {
    fn from(payment: wire::Payment) -> Self {
        let stands = payment.state();
        let parked = payment.parked_state();
        let parked_state = match parked {
            PaymentState::Unspecified => String::new(),
            known => state(known).to_owned(),
        };
        let direction = match payment.direction() {
            Direction::Refund => "REFUND",
            Direction::Outgoing | Direction::Unspecified => "OUTGOING",
        };
        let (amount, currency) = decimal(payment.amount.as_ref());
        let counterparty = payment.counterparty.unwrap_or_default();
        Self {
            payment_id: payment.payment_id,
            state: state(stands).to_owned(),
            parked_state,
            attention: payment.attention.map(Failure::from),
            failure: payment.failure.map(Failure::from),
            amount,
            currency,
            direction: direction.to_owned(),
            counterparty: counterparty.name,
            counterparty_id: counterparty.counterparty_id,
            description: payment.description,
            reference: payment.reference,
            metadata: payment.metadata.into_iter().collect(),
            expense_account_id: payment.expense_account_id,
            cash_account_id: payment.cash_account_id,
            invoice_id: payment.invoice_id,
            transaction_id: payment.transaction_id,
            refunded_payment_id: payment.refunded_payment_id,
            effective_time: time::show(payment.effective_time.as_ref()),
            create_time: time::show(payment.create_time.as_ref()),
            update_time: time::show(payment.update_time.as_ref()),
            steps: payment.steps.into_iter().map(Step::from).collect(),
            stands,
            parked,
        }
    }
}

/// The amount and its currency. One that breaks the contract is shown as it came.
fn decimal(amount: Option<&Money>) -> (String, String) {
    match (Money::read(amount), amount) {
        (Ok(money), _) => (money.to_decimal(), money.currency().code().to_owned()),
        (Err(_), Some(raw)) => (
            format!("{} units, {} nanos", raw.units, raw.nanos),
            raw.currency_code.clone(),
        ),
        (Err(_), None) => (String::new(), String::new()),
    }
}

impl From<wire::Failure> for Failure {
    fn from(failure: wire::Failure) -> Self {
        Self {
            step: failure.step,
            reason: failure.reason,
            message: failure.message,
        }
    }
}

impl From<wire::Step> for Step {
    fn from(step: wire::Step) -> Self {
        let state = match step.state() {
            StepState::Unspecified => "",
            known => bare(known.as_str_name(), "STEP_STATE_"),
        };
        Self {
            state: state.to_owned(),
            name: step.name,
            attempts: step.attempts,
            begin_time: time::show(step.begin_time.as_ref()),
            end_time: time::show(step.end_time.as_ref()),
            last_error: step.last_error.map(Told::from),
            recent_attempts: step
                .recent_attempts
                .into_iter()
                .map(Attempt::from)
                .collect(),
        }
    }
}

impl From<wire::Attempt> for Attempt {
    fn from(attempt: wire::Attempt) -> Self {
        let outcome = match attempt.outcome() {
            AttemptOutcome::Unspecified => "",
            known => bare(known.as_str_name(), "ATTEMPT_OUTCOME_"),
        };
        Self {
            number: attempt.number,
            took_micros: time::between(attempt.begin_time.as_ref(), attempt.end_time.as_ref()),
            begin_time: time::show(attempt.begin_time.as_ref()),
            end_time: time::show(attempt.end_time.as_ref()),
            outcome: outcome.to_owned(),
            error: attempt.error.map(Told::from),
        }
    }
}

impl From<wire::StepError> for Told {
    fn from(error: wire::StepError) -> Self {
        Self {
            code: error.code,
            reason: error.reason,
            message: error.message,
        }
    }
}
