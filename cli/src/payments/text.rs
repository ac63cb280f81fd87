//! Payments as tables and lines.

use mizan_contracts::payment::v1::PaymentState;

use super::view::{Failure, Payment};
use crate::terminal::table;

/// How much of a reason fits a line of a table.
const WHY_CHARS_MAX: usize = 60;

/// A table of payments.
pub(super) fn payments(payments: &[Payment]) -> String {
    let head = ["PAYMENT", "STATE", "AMOUNT", "TO", "ACCEPTED", "WHY"];
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(payments.iter().map(|payment| {
        [
            payment.payment_id.clone(),
            payment.state.clone(),
            signed(payment),
            cut(&plain(&payment.counterparty), 32),
            payment.create_time.clone(),
            cut(&why(payment), WHY_CHARS_MAX),
        ]
    }));
    table(&lines)
}

/// The amount; below zero when it comes back.
pub(super) fn signed(payment: &Payment) -> String {
    let sign = if payment.direction == "REFUND" {
        "-"
    } else {
        ""
    };
    format!("{sign}{} {}", payment.amount, payment.currency)
}

/// Why it stands where it stands, in one line; empty when there is nothing to say.
fn why(payment: &Payment) -> String {
    match (&payment.attention, &payment.failure) {
        (Some(attention), _) => format!("{}: {}", attention.step, attention.reason),
        (None, Some(failure)) => format!("{}: {}", failure.step, failure.reason),
        (None, None) => String::new(),
    }
}

/// All of a failure.
pub(super) fn failure(failure: &Failure) -> String {
    plain(&format!(
        "{}: {}: {}",
        failure.step, failure.reason, failure.message
    ))
}

/// What may be concluded from a state, and what a person can do. As docs/PAYMENTS.md has it.
pub(super) fn conclusion(payment: &Payment) -> String {
    match payment.stands {
        PaymentState::Unspecified => "unknown to this version of the command".to_owned(),
        PaymentState::Accepted => "no money has moved; it goes on by itself".to_owned(),
        PaymentState::Invoiced => {
            "whether money has moved cannot be told yet; it goes on by itself".to_owned()
        }
        PaymentState::Recorded => {
            "the money has moved; its invoice will be marked paid by itself".to_owned()
        }
        PaymentState::Completed => "the money has moved, once; final".to_owned(),
        PaymentState::Compensating => {
            "no money has moved and none will; it is being undone by itself".to_owned()
        }
        PaymentState::Compensated => "no money has moved; undone; final".to_owned(),
        PaymentState::Failed => "no money has moved, nothing was made; final".to_owned(),
        PaymentState::NeedsAttention => parked(payment),
    }
}

/// The same of a parked one: the money is where the state that it was parked in has it. It can be
/// cancelled only while the ledger cannot have it.
fn parked(payment: &Payment) -> String {
    let id = &payment.payment_id;
    let (money, cancelled) = match payment.parked {
        PaymentState::Accepted => ("no money has moved; ", Some("or")),
        PaymentState::Invoiced => (
            "whether money has moved cannot be told yet; ",
            Some("or, unless the ledger may have it"),
        ),
        PaymentState::Recorded => (
            "the money has moved, its invoice is not marked paid; ",
            None,
        ),
        PaymentState::Compensating => ("no money has moved and none will; ", None),
        PaymentState::Unspecified
        | PaymentState::Completed
        | PaymentState::Compensated
        | PaymentState::Failed
        | PaymentState::NeedsAttention => ("", None),
    };
    let retried = format!("{money}parked: mend what kept it, then: mizan payments retry {id}");
    match cancelled {
        Some(when) => format!("{retried}\n{:14}{when}: mizan payments cancel {id}", ""),
        None => retried,
    }
}

/// The text without line breaks and other control characters: it came over the network.
pub(super) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn cut(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    text.chars().take(chars_max - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use mizan_contracts::payment::v1 as wire;

    use super::*;

    fn parked_in(state: PaymentState) -> Payment {
        Payment::from(wire::Payment {
            payment_id: "p1".to_owned(),
            state: PaymentState::NeedsAttention.into(),
            parked_state: state.into(),
            attention: Some(wire::Failure {
                step: "invoice".to_owned(),
                reason: "NO_INSTANCES".to_owned(),
                message: "none\nat all".to_owned(),
            }),
            ..wire::Payment::default()
        })
    }

    #[test]
    fn a_parked_payment_says_why_and_what_can_be_done() {
        let parked = parked_in(PaymentState::Accepted);
        let text = payments(std::slice::from_ref(&parked));
        assert!(text.contains("NEEDS_ATTENTION"), "{text}");
        assert!(text.contains("invoice: NO_INSTANCES\n"), "{text}");
        assert!(conclusion(&parked).contains("mizan payments retry p1"));
    }

    #[test]
    fn of_a_parked_payment_the_money_is_told_and_a_cancel_only_where_it_can_be() {
        for (state, money, cancel) in [
            (PaymentState::Accepted, "no money has moved; ", true),
            (PaymentState::Invoiced, "cannot be told yet; ", true),
            (PaymentState::Recorded, "the money has moved, ", false),
            (PaymentState::Compensating, "none will; ", false),
            (PaymentState::Unspecified, "parked: ", false),
        ] {
            let told = conclusion(&parked_in(state));
            assert!(told.contains(money), "{state:?}: {told}");
            assert!(told.contains("mizan payments retry p1"), "{told}");
            assert_eq!(told.contains("mizan payments cancel p1"), cancel, "{told}");
        }
    }

    #[test]
    fn nothing_from_the_network_breaks_a_line() {
        let attention = parked_in(PaymentState::Accepted).attention.unwrap();
        assert_eq!(failure(&attention), "invoice: NO_INSTANCES: none at all");
        assert_eq!(cut("longer", 4), "lon…");
    }
}
