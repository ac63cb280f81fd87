//! The books, tried: every refusal, and what holds whatever is recorded.

use money::Money;
use proptest::prelude::*;

use super::*;
use crate::domain::{Side, totals};

fn money(minor: i128, code: &str) -> Money {
    Money::from_minor(minor, code.parse().unwrap())
}

fn leg(account_id: &str, side: Side, minor: i128, code: &str) -> Leg {
    Leg::new(account_id, side, money(minor, code)).unwrap()
}

/// `minor` from one account to the other.
fn transfer(debited: &str, credited: &str, minor: i128, code: &str) -> Transaction {
    Transaction::new(vec![
        leg(debited, Side::Debit, minor, code),
        leg(credited, Side::Credit, minor, code),
    ])
    .unwrap()
}

fn books(accounts: &[(&str, &str)]) -> Books {
    let mut books = Books::new();
    for (account_id, code) in accounts {
        let currency = code.parse().unwrap();
        let turnover = Turnover::zero(currency);
        books.put_account(*account_id, Holding { currency, turnover });
    }
    books
}

fn refusal(books: &mut Books, transaction: &Transaction) -> (Reason, String) {
    let before = books.clone();
    let refusal = books.post(transaction).unwrap_err();
    assert_eq!(*books, before, "a refused transaction changes nothing");
    (refusal.reason, refusal.field)
}

#[test]
fn an_unknown_account_outranks_a_currency_that_differs() {
    let mut books = books(&[("dollars", "USD"), ("pounds", "GBP")]);
    let both = transfer("dollars", "nobody", 1, "GBP");
    assert_eq!(
        refusal(&mut books, &both),
        (Reason::AccountNotFound, "legs[1].account_id".to_owned())
    );
    let one = transfer("pounds", "dollars", 1, "GBP");
    assert_eq!(
        refusal(&mut books, &one),
        (
            Reason::CurrencyMismatch,
            "legs[1].amount.currency_code".to_owned()
        )
    );
}

#[test]
fn sums_stop_at_the_limit_and_not_beyond() {
    let mut books = books(&[("a", "JPY"), ("b", "JPY"), ("c", "JPY"), ("d", "JPY")]);
    books
        .post(&transfer("a", "b", MINOR_MAX - 1, "JPY"))
        .unwrap();
    books.post(&transfer("a", "b", 1, "JPY")).unwrap();
    // Also between other accounts: the trial balance must fit too.
    for pair in [("a", "b"), ("c", "d")] {
        assert_eq!(
            refusal(&mut books, &transfer(pair.0, pair.1, 1, "JPY")),
            (Reason::BalanceOverflow, "legs[0].amount".to_owned())
        );
    }
}

#[test]
fn one_account_may_be_on_several_legs() {
    let mut books = books(&[("a", "GBP"), ("b", "GBP")]);
    let transaction = Transaction::new(vec![
        leg("a", Side::Debit, 10, "GBP"),
        leg("a", Side::Debit, 5, "GBP"),
        leg("a", Side::Credit, 3, "GBP"),
        leg("b", Side::Credit, 12, "GBP"),
    ])
    .unwrap();
    books.post(&transaction).unwrap();
    let (_, a) = books.accounts().next().unwrap();
    assert_eq!(
        (a.turnover.debits, a.turnover.credits),
        (money(15, "GBP"), money(3, "GBP"))
    );
}

const ACCOUNTS: [(&str, &str); 6] = [
    ("a", "GBP"),
    ("b", "GBP"),
    ("c", "GBP"),
    ("d", "JPY"),
    ("e", "JPY"),
    ("f", "KWD"),
];

/// A movement between any two names, known or not, in any currency, so that some are refused.
fn any_transaction() -> impl Strategy<Value = Transaction> {
    let name = prop::sample::select(vec!["a", "b", "c", "d", "e", "f", "nobody"]);
    let code = prop::sample::select(vec!["GBP", "JPY", "KWD"]);
    let amount = prop_oneof![9 => 1_i128..1_000, 1 => MINOR_MAX / 4..MINOR_MAX / 2];
    prop::collection::vec((name.clone(), name, amount, code), 1..3).prop_map(|moves| {
        let legs = moves.iter().flat_map(|(debited, credited, minor, code)| {
            [
                leg(debited, Side::Debit, *minor, code),
                leg(credited, Side::Credit, *minor, code),
            ]
        });
        Transaction::new(legs.collect()).unwrap()
    })
}

proptest! {
    #[test]
    fn the_books_always_balance_and_project_the_journal(
        transactions in prop::collection::vec(any_transaction(), 1..40)
    ) {
        let mut books = books(&ACCOUNTS);
        let mut journal: Vec<Leg> = Vec::new();
        for transaction in &transactions {
            let before = books.clone();
            match books.post(transaction) {
                Ok(()) => journal.extend_from_slice(transaction.legs()),
                Err(_) => prop_assert_eq!(&books, &before),
            }
        }
        for (account_id, holding) in books.accounts() {
            let side = |side| -> i128 {
                let of = |l: &&Leg| l.account_id() == account_id && l.side() == side;
                journal.iter().filter(of).map(|l| l.amount().minor()).sum()
            };
            prop_assert_eq!(holding.turnover.debits.minor(), side(Side::Debit));
            prop_assert_eq!(holding.turnover.credits.minor(), side(Side::Credit));
        }
        let trial = totals(books.accounts().map(|(_, h)| &h.turnover)).unwrap();
        prop_assert!(trial.values().all(|t| t.difference.is_zero()));
        for (currency, total) in books.totals() {
            prop_assert_eq!(&trial[&currency].turnover, total);
            prop_assert!(total.debits.minor() <= MINOR_MAX);
        }
    }
}
