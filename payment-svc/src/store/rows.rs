//! Rows to payments and back, the same for both back-ends.

use mizan_contracts::{
    payment::v1::{self as wire, ProcessPaymentRequest},
    r#type::v1::Money,
};
use prost::Message as _;

use super::journal;
use crate::{
    domain::{
        Change, Direction, Failure, Intent, Journal, Payment, RefundRefusal, Refused, Row, State,
    },
    request,
};

/// The columns of a payment, in the order of [`Raw`].
macro_rules! columns {
    () => {
        "payment_id, request, intent, refund_of, state, failure_step, failure_reason,
         failure_message, journal, version, worker, create_micros, update_micros, place"
    };
}
pub(super) use columns;

/// A row as it is stored.
pub(super) struct Raw {
    pub(super) id: String,
    pub(super) request: Vec<u8>,
    pub(super) intent: Option<Vec<u8>>,
    pub(super) refund_of: Option<String>,
    pub(super) state: i64,
    pub(super) failure_step: Option<String>,
    pub(super) failure_reason: Option<String>,
    pub(super) failure_message: Option<String>,
    pub(super) journal: Vec<u8>,
    pub(super) version: i64,
    pub(super) worker: String,
    pub(super) create_micros: i64,
    pub(super) update_micros: i64,
    pub(super) place: i64,
}

/// A row says what no payment can: something else changed it.
#[derive(Debug, thiserror::Error)]
#[error("payment {0} cannot be read from the store")]
pub(crate) struct Damaged(String);

impl Raw {
    pub(super) fn row(self) -> Result<Row, Damaged> {
        let request = self.request.clone();
        let worker = self.worker.clone();
        Ok(Row {
            payment: self.payment()?,
            request,
            worker,
            change: Change::None,
        })
    }

    pub(super) fn payment(self) -> Result<Payment, Damaged> {
        let damaged = || Damaged(self.id.clone());
        let stored = self.intent.as_deref().unwrap_or(&self.request);
        let stored = ProcessPaymentRequest::decode(stored).map_err(|_| damaged())?;
        let mut intent = request::intent(&stored).map_err(|_| damaged())?;
        let state = State::from_number(self.state).ok_or_else(damaged)?;
        let (mut journal, parked) = journal::read(&self.journal).ok_or_else(damaged)?;
        // From a version that kept no journal: what is next may have been tried.
        if let (true, Some(step)) = (self.journal.is_empty(), state.step()) {
            journal = Journal::unknown_past(step, self.update_micros);
        }
        if parked.is_some() != (state == State::NeedsAttention) {
            return Err(damaged());
        }
        let failure = match (self.failure_step, self.failure_reason, self.failure_message) {
            (Some(step), Some(reason), Some(message)) => Some(Failure {
                step,
                reason,
                message,
            }),
            _ => None,
        };
        intent.refund_of = self.refund_of;
        Ok(Payment {
            intent,
            state,
            failure,
            parked,
            journal,
            version: self.version,
            create_micros: self.create_micros,
            update_micros: self.update_micros,
        })
    }
}

/// What of a payment is written when it is new.
pub(super) struct Fixed {
    pub(super) intent: Option<Vec<u8>>,
    pub(super) refund_of: Option<String>,
    pub(super) refund_minor: Option<i64>,
}

impl Fixed {
    pub(super) fn of(payment: &Payment) -> Self {
        let refund_of = payment.intent.refund_of.clone();
        let minor = i64::try_from(payment.intent.amount.minor()).unwrap_or(i64::MAX);
        Self {
            intent: refund_of.as_ref().map(|_| written(&payment.intent)),
            refund_minor: refund_of.as_ref().map(|_| minor),
            refund_of,
        }
    }
}

/// A refusal as it is stored: its number, and what of a payment it names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RefusalRow {
    pub(super) reason: i64,
    pub(super) state: Option<i64>,
    pub(super) left_minor: Option<i64>,
    pub(super) currency: Option<String>,
}

impl RefusalRow {
    pub(super) fn of(refusal: &RefundRefusal) -> Self {
        let plain = |reason| Self {
            reason,
            state: None,
            left_minor: None,
            currency: None,
        };
        match refusal {
            RefundRefusal::NotFound => plain(1),
            RefundRefusal::NotRefundable => plain(2),
            RefundRefusal::NotCompleted(state) => Self {
                state: Some(*state as i64),
                ..plain(3)
            },
            RefundRefusal::Currency => plain(4),
            RefundRefusal::TooLarge { left } => Self {
                left_minor: Some(i64::try_from(left.minor()).unwrap_or(i64::MAX)),
                currency: Some(left.currency().code().to_owned()),
                ..plain(5)
            },
        }
    }

    /// What it is; `None` when it says what no refusal can.
    pub(super) fn refusal(&self) -> Option<RefundRefusal> {
        Some(match self.reason {
            1 => RefundRefusal::NotFound,
            2 => RefundRefusal::NotRefundable,
            3 => RefundRefusal::NotCompleted(State::from_number(self.state?)?),
            4 => RefundRefusal::Currency,
            5 => {
                let currency = self.currency.as_ref()?.parse().ok()?;
                let left = money::Money::from_minor(self.left_minor?.into(), currency);
                RefundRefusal::TooLarge { left }
            }
            _ => return None,
        })
    }

    /// The same, of a refund's id.
    pub(super) fn refused(&self, id: &str, request: Vec<u8>) -> Result<Refused, Damaged> {
        let refusal = self.refusal().ok_or_else(|| Damaged(id.to_owned()))?;
        Ok(Refused {
            request,
            refusal,
            is_new: false,
        })
    }
}

/// When the way of a payment was decided that has yet to be gone to its end: since when it is being
/// undone, or since when its money has moved and its document is not settled.
pub(super) fn turned(payment: &Payment) -> Option<i64> {
    let step = payment.state.step().filter(|step| !step.is_bounded())?;
    Some(payment.journal.step(step)?.begun_micros)
}

pub(super) fn journal_of(payment: &Payment) -> Vec<u8> {
    journal::write(&payment.journal, &payment.parked)
}

/// An intent as the request that asks for it.
fn written(intent: &Intent) -> Vec<u8> {
    let direction = match intent.direction {
        Direction::Outgoing => wire::Direction::Outgoing,
        Direction::Refund => wire::Direction::Refund,
    };
    let request = ProcessPaymentRequest {
        request_id: intent.id.clone(),
        amount: Money::try_from(intent.amount).ok(),
        direction: direction.into(),
        counterparty: Some(wire::Counterparty {
            counterparty_id: intent.counterparty_id.clone(),
            name: intent.counterparty_name.clone(),
        }),
        description: intent.description.clone(),
        reference: intent.reference.clone(),
        metadata: intent.metadata.clone(),
        expense_account_id: intent.expense_account.clone(),
        cash_account_id: intent.cash_account.clone(),
        effective_time: intent.effective_micros.map(mizan::request::timestamp),
        asynchronous: false,
    };
    request.encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_is_read_as_it_was_written() {
        let left = money::Money::from_minor(40, "GBP".parse().unwrap());
        for refusal in [
            RefundRefusal::NotFound,
            RefundRefusal::NotRefundable,
            RefundRefusal::NotCompleted(State::Recorded),
            RefundRefusal::Currency,
            RefundRefusal::TooLarge { left },
        ] {
            assert_eq!(RefusalRow::of(&refusal).refusal(), Some(refusal));
        }
    }
}
