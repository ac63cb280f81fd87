//! Each kind of difference is found, and nothing else is taken for one.

use mizan_contracts::{
    accounting::v1::{Leg, Side, Transaction, TransactionState},
    payment::v1::{Counterparty, Direction, Failure, Payment, PaymentState},
    r#type::v1::Money as Wire,
};
use money::Money;

use super::{Kind, Reconciler, Reconciliation};
use crate::replay::{
    expected::{Expected, Rows, Supplier},
    tally::Place,
};

fn gbp(pence: i128) -> Money {
    Money::from_minor(pence, "GBP".parse().unwrap())
}

fn wire(pence: i128) -> Option<Wire> {
    Some(Wire::try_from(gbp(pence)).unwrap())
}

/// Three rows: two payments to Acme and a refund from Bolt.
fn rows() -> Rows {
    let row = |line: u64, amount, name: &str| Expected {
        place: Place { file: 0, line },
        payment_id: format!("p{line}"),
        reference: format!("r{line}"),
        amount: gbp(amount),
        supplier: Supplier {
            name: name.to_owned(),
            id: "7".to_owned(),
        },
    };
    [
        row(2, 500, "Acme"),
        row(3, 300, "Acme"),
        row(4, -200, "Bolt"),
    ]
    .into_iter()
    .collect()
}

/// The payment that a row ought to have.
fn payment(row: &Expected) -> Payment {
    let direction = match row.amount.is_negative() {
        true => Direction::Refund,
        false => Direction::Outgoing,
    };
    Payment {
        payment_id: row.payment_id.clone(),
        state: PaymentState::Completed.into(),
        amount: wire(row.amount.minor().abs()),
        direction: direction.into(),
        counterparty: Some(Counterparty {
            counterparty_id: row.supplier.id.clone(),
            name: row.supplier.name.clone(),
        }),
        reference: row.reference.clone(),
        expense_account_id: "expense-gbp".to_owned(),
        cash_account_id: "cash-gbp".to_owned(),
        transaction_id: format!("t-{}", row.payment_id),
        ..Payment::default()
    }
}

/// The transaction that a payment ought to have.
fn transaction(payment: &Payment) -> Transaction {
    let (debited, credited) = match payment.direction() {
        Direction::Refund => ("cash-gbp", "expense-gbp"),
        _ => ("expense-gbp", "cash-gbp"),
    };
    let leg = |account: &str, side: Side| Leg {
        account_id: account.to_owned(),
        side: side.into(),
        amount: payment.amount.clone(),
    };
    let counterparty = payment.counterparty.clone().unwrap();
    Transaction {
        transaction_id: payment.transaction_id.clone(),
        legs: vec![leg(debited, Side::Debit), leg(credited, Side::Credit)],
        reference: payment.payment_id.clone(),
        state: TransactionState::Posted.into(),
        metadata: [
            ("mizan.counterparty", counterparty.name),
            ("mizan.counterparty_id", counterparty.counterparty_id),
            ("mizan.invoice_id", format!("i-{}", payment.payment_id)),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into(),
        ..Transaction::default()
    }
}

/// Books as they ought to be.
struct Books {
    payments: Vec<Payment>,
    transactions: Vec<Transaction>,
}

impl Books {
    fn right() -> Self {
        let payments: Vec<Payment> = rows().rows.iter().map(payment).collect();
        Self {
            transactions: payments.iter().map(transaction).collect(),
            payments,
        }
    }

    fn judged(self, nothing_else: bool) -> Reconciliation {
        let rows = rows();
        let mut reconciler = Reconciler::new(&rows, nothing_else);
        self.transactions
            .into_iter()
            .for_each(|one| reconciler.transaction(one));
        self.payments
            .into_iter()
            .for_each(|one| reconciler.payment(one));
        reconciler.finish()
    }
}

/// What is found when the right books are spoilt: the kinds, and the sums of Acme and of all.
fn found(spoil: impl FnOnce(&mut Books)) -> (Vec<Kind>, Reconciliation) {
    let mut books = Books::right();
    spoil(&mut books);
    let found = books.judged(false);
    let kinds = found.differences.iter().map(|one| one.kind).collect();
    (kinds, found)
}

/// Files, payments and ledger in pence: in total.
fn total(found: &Reconciliation) -> [i128; 3] {
    let sums = &found.totals[0];
    [sums.files, sums.payments, sums.ledger].map(|sum| sum.minor())
}

#[test]
fn right_books_have_no_difference() {
    let (kinds, found) = found(|_| {});
    assert_eq!(kinds, []);
    assert_eq!(total(&found), [600, 600, 600]);
    let suppliers: Vec<_> = found
        .suppliers
        .iter()
        .map(|one| {
            (
                &*one.supplier.name,
                one.sums.files.minor(),
                one.sums.agree(),
            )
        })
        .collect();
    assert_eq!(suppliers, [("Acme", 800, true), ("Bolt", -200, true)]);
    assert_eq!((found.rows, found.payments, found.transactions), (3, 3, 3));
}

#[test]
fn a_payment_that_is_missing() {
    let (kinds, found) = found(|books| {
        books.payments.remove(1);
        books.transactions.remove(1);
    });
    assert_eq!(kinds, [Kind::PaymentMissing]);
    let one = &found.differences[0];
    assert_eq!(
        (one.place.map(|p| p.line), &*one.files),
        (Some(3), "3.00 GBP")
    );
    assert_eq!(total(&found), [600, 300, 300]);
    assert!(!found.suppliers[0].sums.agree() && found.suppliers[1].sums.agree());
}

#[test]
fn a_payment_that_is_not_completed() {
    let (kinds, found) = found(|books| {
        let payment = &mut books.payments[0];
        payment.state = PaymentState::Compensated.into();
        payment.transaction_id.clear();
        payment.failure = Some(Failure {
            step: "ledger".to_owned(),
            reason: "ACCOUNT_CLOSED".to_owned(),
            message: String::new(),
        });
        books.transactions.remove(0);
    });
    assert_eq!(kinds, [Kind::PaymentNotCompleted]);
    assert_eq!(
        found.differences[0].payments,
        "COMPENSATED, ledger: ACCOUNT_CLOSED"
    );
}

#[test]
fn a_row_that_was_paid_twice_by_another_id() {
    let (kinds, found) = found(|books| {
        let mut second = books.payments[0].clone();
        second.payment_id = "another".to_owned();
        second.transaction_id = "t-another".to_owned();
        books.transactions.push(transaction(&second));
        books.payments.push(second);
    });
    assert_eq!(kinds, [Kind::PaymentExtra]);
    assert_eq!(found.differences[0].payment_id, "another");
    assert_eq!(total(&found), [600, 1100, 1100]);
}

#[test]
fn another_amount_or_the_other_way() {
    let (kinds, found) = found(|books| {
        books.payments[0].amount = wire(501);
        books.transactions[0] = transaction(&books.payments[0]);
    });
    // The ledger has what was paid, and neither is what the file says.
    assert_eq!(kinds, [Kind::PaymentAmount, Kind::TransactionAmount]);
    assert_eq!(total(&found), [600, 601, 601]);
    let (kinds, _) = self::found(|books| {
        books.payments[2].direction = Direction::Outgoing.into();
        books.transactions[2] = transaction(&books.payments[2]);
    });
    assert_eq!(kinds, [Kind::PaymentAmount, Kind::TransactionAmount]);
}

#[test]
fn another_amount_in_the_ledger_alone() {
    for spoil in [
        |t: &mut Transaction| t.legs.iter_mut().for_each(|leg| leg.amount = wire(499)),
        |t: &mut Transaction| t.legs[0].amount = wire(499),
        |t: &mut Transaction| t.legs[1].account_id = "a-pocket".to_owned(),
        |t: &mut Transaction| t.legs.push(t.legs[0].clone()),
        |t: &mut Transaction| t.posted_amounts = vec![wire(1).unwrap(), wire(1).unwrap()],
    ] {
        let (kinds, found) = found(|books| spoil(&mut books.transactions[0]));
        assert_eq!(kinds, [Kind::TransactionAmount]);
        assert_eq!(total(&found)[1], 600);
    }
}

#[test]
fn another_supplier() {
    let (kinds, found) = found(|books| {
        let payment = &mut books.payments[0];
        payment.counterparty.as_mut().unwrap().name = "Acne".to_owned();
        books.transactions[0] = transaction(payment);
    });
    assert_eq!(kinds, [Kind::PaymentSupplier, Kind::TransactionSupplier]);
    assert_eq!(total(&found), [600; 3], "in total it cannot be seen");
    let differing = found.suppliers.iter().filter(|one| !one.sums.agree());
    assert_eq!(differing.count(), 2);

    let (kinds, found) = self::found(|books| {
        let metadata = &mut books.transactions[0].metadata;
        metadata.insert("mizan.counterparty_id".to_owned(), "8".to_owned());
    });
    assert_eq!(kinds, [Kind::TransactionSupplier]);
    assert_eq!(found.differences[0].ledger, "Acme (8)");
}

#[test]
fn what_the_ledger_lost_voided_or_took_back() {
    let (kinds, found) = found(|books| {
        books.transactions.remove(0);
    });
    assert_eq!(kinds, [Kind::TransactionMissing]);
    assert_eq!(total(&found), [600, 600, 100]);
    for spoil in [
        |t: &mut Transaction| t.state = TransactionState::Voided.into(),
        |t: &mut Transaction| t.state = TransactionState::Pending.into(),
        |t: &mut Transaction| t.reversed_by_transaction_id = "back".to_owned(),
    ] {
        let (kinds, found) = self::found(|books| spoil(&mut books.transactions[0]));
        assert_eq!(kinds, [Kind::TransactionNotStanding]);
        assert_eq!(total(&found), [600, 600, 100]);
    }
}

#[test]
fn what_the_ledger_has_twice_or_of_no_payment() {
    let (kinds, found) = found(|books| {
        let mut again = books.transactions[0].clone();
        again.transaction_id = "again".to_owned();
        books.transactions.push(again);
        let mut orphan = books.transactions[1].clone();
        orphan.transaction_id = "orphan".to_owned();
        orphan.reference = "nobody".to_owned();
        books.transactions.push(orphan);
    });
    assert_eq!(kinds, [Kind::TransactionExtra, Kind::TransactionExtra]);
    let ids: Vec<&str> = found
        .differences
        .iter()
        .map(|one| &*one.transaction_id)
        .collect();
    assert_eq!(ids, ["again", "orphan"]);
    assert_eq!(total(&found), [600, 600, 1400]);
}

#[test]
fn what_belongs_to_others_is_counted_and_differs_only_where_nothing_else_may_be() {
    let others = || {
        let mut books = Books::right();
        let stranger = Payment {
            payment_id: "stranger".to_owned(),
            reference: "of another file".to_owned(),
            transaction_id: "t-stranger".to_owned(),
            ..books.payments[0].clone()
        };
        books.transactions.push(transaction(&stranger));
        books.payments.push(stranger);
        // Somebody's own entry, of no payment.
        books.transactions.push(Transaction {
            transaction_id: "by-hand".to_owned(),
            reference: String::new(),
            metadata: std::collections::BTreeMap::new(),
            ..books.transactions[0].clone()
        });
        books
    };
    let found = others().judged(false);
    assert_eq!(found.differences, []);
    assert_eq!((found.other_payments, found.other_transactions), (1, 2));
    let found = others().judged(true);
    let kinds: Vec<Kind> = found.differences.iter().map(|one| one.kind).collect();
    assert_eq!(kinds, [Kind::PaymentExtra, Kind::TransactionExtra]);
}
