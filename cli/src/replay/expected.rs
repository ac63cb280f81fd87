//! What the files say is to be paid: each transaction number once.

use std::collections::{HashMap, HashSet};

use mizan_contracts::payment::v1::{Direction, Payment, PaymentState, ProcessPaymentRequest};
use money::{Currency, Money};

use super::{
    sheet::Sheet,
    sources::{Step, steps},
    tally::Place,
};

/// Whom a payment goes to, as files, payments and the ledger each have it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Supplier {
    pub(crate) name: String,
    pub(crate) id: String,
}

/// A row that is to be paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) place: Place,
    pub(crate) payment_id: String,
    pub(crate) reference: String,
    /// Below zero for a refund.
    pub(crate) amount: Money,
    pub(crate) supplier: Supplier,
}

/// All rows that are to be paid, in the order of the files.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) rows: Vec<Expected>,
    ids: HashSet<String>,
    references: HashSet<String>,
}

impl Rows {
    /// Those of these files.
    pub(crate) fn of(sheets: &[Sheet<'_>], currency: Currency) -> Self {
        let mut all = Self::default();
        for (place, step) in steps(sheets, currency) {
            if let Step::Pay { request, amount } = step {
                all.push(expected(place, *request, amount));
            }
        }
        all
    }

    fn push(&mut self, row: Expected) {
        self.ids.insert(row.payment_id.clone());
        self.references.insert(row.reference.clone());
        self.rows.push(row);
    }

    /// Whether a payment of this id is one of a row.
    pub(crate) fn has_id(&self, payment_id: &str) -> bool {
        self.ids.contains(payment_id)
    }

    /// Whether a row has this transaction number.
    pub(crate) fn has_reference(&self, reference: &str) -> bool {
        self.references.contains(reference)
    }
}

impl FromIterator<Expected> for Rows {
    fn from_iter<I: IntoIterator<Item = Expected>>(rows: I) -> Self {
        let mut all = Self::default();
        rows.into_iter().for_each(|row| all.push(row));
        all
    }
}

fn expected(place: Place, request: ProcessPaymentRequest, amount: Money) -> Expected {
    let counterparty = request.counterparty.unwrap_or_default();
    Expected {
        place,
        payment_id: request.request_id,
        reference: request.reference,
        amount,
        supplier: Supplier {
            name: counterparty.name,
            id: counterparty.counterparty_id,
        },
    }
}

/// The payments of the files' rows that there were when the run began.
#[derive(Debug, Default)]
pub(crate) struct Known(HashMap<String, Payment>);

impl Known {
    /// Notes a payment if it is one of a row.
    pub(crate) fn note(&mut self, rows: &Rows, payment: Payment) {
        if rows.has_id(&payment.payment_id) {
            self.0.insert(payment.payment_id.clone(), payment);
        }
    }

    /// Whether there was a payment of this id, in whatever state.
    pub(crate) fn has(&self, payment_id: &str) -> bool {
        self.0.contains_key(payment_id)
    }

    /// Whether exactly this was asked for and is completed: then there is nothing to ask.
    pub(crate) fn completed(&self, request: &ProcessPaymentRequest) -> bool {
        self.0.get(&request.request_id).is_some_and(|payment| {
            payment.state() == PaymentState::Completed && same(payment, request)
        })
    }
}

/// Whether a payment is what a request of ours asks for, as far as a payment tells. One that is not
/// is asked for all the same: the service knows the request itself, and names what differs.
fn same(payment: &Payment, request: &ProcessPaymentRequest) -> bool {
    let refund = |direction: Direction| direction == Direction::Refund;
    payment.amount == request.amount
        && refund(payment.direction()) == refund(request.direction())
        && payment.counterparty == request.counterparty
        && payment.description == request.description
        && payment.reference == request.reference
        && payment.metadata == request.metadata
        && (request.effective_time.is_none() || payment.effective_time == request.effective_time)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Paid Date,Trans No,Amount,Supplier Name,Supplier ID\n\
                        05/04/2016,7 - 1,5.00,Acme,77\n\
                        05/04/2016,7-1,5.00,Acme,77\n\
                        05/04/2016,8,-2.00,Acme,77\n\
                        05/04/2016,9,0,Acme,77\n";

    fn gbp() -> Currency {
        "GBP".parse().unwrap()
    }

    #[test]
    fn each_number_is_expected_once_and_what_cannot_be_paid_is_not() {
        let sheet = Sheet::read(TEXT).unwrap();
        let rows = Rows::of(&[sheet], gbp());
        let shown: Vec<String> = rows
            .rows
            .iter()
            .map(|row| format!("{} {} {}", row.place.line, row.reference, row.amount))
            .collect();
        assert_eq!(shown, ["2 7-1 5.00 GBP", "4 8 -2.00 GBP"]);
        assert!(rows.has_reference("8") && !rows.has_reference("9"));
        assert_eq!(
            (&*rows.rows[0].supplier.name, &*rows.rows[0].supplier.id),
            ("Acme", "77")
        );
    }

    #[test]
    fn only_what_is_completed_and_the_same_need_not_be_asked_for() {
        let sheet = [Sheet::read(TEXT).unwrap()];
        let rows = Rows::of(&sheet, gbp());
        let (_, Step::Pay { request, .. }) = steps(&sheet, gbp()).next().unwrap() else {
            panic!("the first row is to be paid");
        };
        let payment = Payment {
            payment_id: request.request_id.clone(),
            state: PaymentState::Completed.into(),
            amount: request.amount.clone(),
            direction: request.direction,
            counterparty: request.counterparty.clone(),
            description: request.description.clone(),
            reference: request.reference.clone(),
            metadata: request.metadata.clone(),
            effective_time: request.effective_time,
            ..Payment::default()
        };
        let known = |payment: &Payment| {
            let mut known = Known::default();
            known.note(&rows, payment.clone());
            (known.has(&request.request_id), known.completed(&request))
        };
        assert_eq!(known(&payment), (true, true));
        let unfinished = Payment {
            state: PaymentState::Recorded.into(),
            ..payment.clone()
        };
        assert_eq!(known(&unfinished), (true, false));
        let another = Payment {
            description: "something else".to_owned(),
            ..payment.clone()
        };
        assert_eq!(known(&another), (true, false));
        let of_nobody = Payment {
            payment_id: "p".to_owned(),
            ..payment
        };
        assert_eq!(known(&of_nobody), (false, false));
    }
}
