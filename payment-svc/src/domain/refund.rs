//! Refunds: what may be paid back of a payment.

use money::Money;

use super::{Direction, Payment, State};

/// Why a refund is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RefundRefusal {
    /// There is no such payment.
    NotFound,
    /// It is a refund or a credit note itself.
    NotRefundable,
    /// It is not completed; here is where it stands.
    NotCompleted(State),
    /// Another currency than the payment's.
    Currency,
    /// More than this is not left, by what was paid back and what is on its way back.
    TooLarge { left: Money },
}

/// The amount to pay back of a payment of which `refunded` (minor units) is paid back or on its
/// way. `asked` is above zero; `None` asks for all that is left.
pub(crate) fn refundable(
    payment: &Payment,
    refunded: i128,
    asked: Option<Money>,
) -> Result<Money, RefundRefusal> {
    let paid = payment.intent.amount;
    if payment.intent.refund_of.is_some() || payment.intent.direction == Direction::Refund {
        return Err(RefundRefusal::NotRefundable);
    }
    if payment.state != State::Completed {
        return Err(RefundRefusal::NotCompleted(payment.state));
    }
    if asked.is_some_and(|asked| asked.currency() != paid.currency()) {
        return Err(RefundRefusal::Currency);
    }
    let left = Money::from_minor(paid.minor().saturating_sub(refunded), paid.currency());
    let amount = asked.unwrap_or(left);
    if amount.is_positive() && amount.minor() <= left.minor() {
        Ok(amount)
    } else {
        Err(RefundRefusal::TooLarge { left })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Intent, intent::tests::intent};

    fn gbp(minor: i128) -> Money {
        Money::from_minor(minor, "GBP".parse().unwrap())
    }

    fn completed() -> Payment {
        Payment {
            state: State::Completed,
            ..Payment::accepted(intent("p"), 0)
        }
    }

    #[test]
    fn never_more_than_was_paid() {
        let paid = completed();
        assert_eq!(refundable(&paid, 0, None), Ok(gbp(100)));
        assert_eq!(refundable(&paid, 40, None), Ok(gbp(60)));
        assert_eq!(refundable(&paid, 40, Some(gbp(60))), Ok(gbp(60)));
        let left = gbp(60);
        assert_eq!(
            refundable(&paid, 40, Some(gbp(61))),
            Err(RefundRefusal::TooLarge { left })
        );
        let left = gbp(0);
        assert_eq!(
            refundable(&paid, 100, None),
            Err(RefundRefusal::TooLarge { left })
        );
    }

    #[test]
    fn only_what_was_paid_can_be_paid_back() {
        let unfinished = Payment::accepted(intent("p"), 0);
        assert_eq!(
            refundable(&unfinished, 0, None),
            Err(RefundRefusal::NotCompleted(State::Accepted))
        );
        let refund = Payment {
            intent: Intent {
                refund_of: Some("p".to_owned()),
                ..intent("r")
            },
            ..completed()
        };
        assert_eq!(
            refundable(&refund, 0, None),
            Err(RefundRefusal::NotRefundable)
        );
        let yen = Money::from_minor(1, "JPY".parse().unwrap());
        assert_eq!(
            refundable(&completed(), 0, Some(yen)),
            Err(RefundRefusal::Currency)
        );
    }
}
