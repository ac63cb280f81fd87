//! The books, tried: every refusal in its order.

mod model;

use std::collections::BTreeMap;

use money::Money;

use super::*;
use crate::domain::{About, Hold, Leg, MINOR_MAX, NewTransaction, Side, State, Transaction};

fn money(minor: i128, code: &str) -> Money {
    Money::from_minor(minor, code.parse().unwrap())
}

/// `minor` pounds from one account to the other.
fn transfer(debited: &str, credited: &str, minor: i128) -> Transaction {
    let leg = |id: &str, side| Leg::new(id, side, money(minor, "GBP")).unwrap();
    let legs = vec![leg(debited, Side::Debit), leg(credited, Side::Credit)];
    Transaction::new(legs).unwrap()
}

fn request(id: &str, action: Action) -> Request {
    Request {
        request_id: id.to_owned(),
        body: format!("{action:?}").into_bytes().into(),
        action,
    }
}

fn record(id: &str, transaction: Transaction) -> Request {
    hold(id, transaction, None)
}

fn hold(id: &str, transaction: Transaction, hold: Option<Hold>) -> Request {
    let about = About::default();
    let new = NewTransaction {
        transaction,
        about,
        hold,
    };
    request(id, Action::Record(new))
}

fn pending(id: &str, transaction: Transaction, timeout: Option<Micros>) -> Request {
    hold(id, transaction, Some(Hold { timeout }))
}

fn post(id: &str, target: &str, amounts: Option<Vec<Money>>) -> Request {
    let transaction_id = target.to_owned();
    request(
        id,
        Action::Post {
            transaction_id,
            amounts,
        },
    )
}

fn reverse(id: &str, target: &str) -> Request {
    let (transaction_id, about) = (target.to_owned(), About::default());
    request(
        id,
        Action::Reverse {
            transaction_id,
            about,
        },
    )
}

fn books(accounts: &[(&str, Limit)]) -> Books {
    let mut books = Books::new(Head::EMPTY, 0);
    for (account_id, limit) in accounts {
        let new = NewAccount {
            account_id: (*account_id).to_owned(),
            account_type: AccountType::Asset,
            currency: "GBP".parse().unwrap(),
            limit: *limit,
        };
        let made = books.apply_one(&request(account_id, Action::CreateAccount(new)));
        assert!(matches!(made, Outcome::Done { .. }));
    }
    books
}

fn plain() -> Books {
    books(&[("a", Limit::None), ("b", Limit::None)])
}

#[track_caller]
fn done(books: &mut Books, request: &Request) {
    let outcome = books.apply_one(request);
    assert!(matches!(outcome, Outcome::Done { .. }), "{outcome:?}");
}

#[track_caller]
fn refused(books: &mut Books, request: &Request, reason: Reason, field: &str) {
    let before = numbers(books);
    for _ in 0..2 {
        match books.apply_one(request) {
            Outcome::Refused(refusal) => {
                assert_eq!((refusal.reason, &*refusal.field), (reason, field));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(numbers(books), before, "a refused request changes nothing");
}

/// The counters of every account: debits, credits, pending debits, pending credits.
fn numbers(books: &Books) -> BTreeMap<String, [i64; 4]> {
    let accounts = books.accounts();
    accounts
        .map(|(id, holding)| (id.to_owned(), holding.row().unwrap()))
        .collect()
}

/// The same books later.
fn later(books: &Books, time: Micros) -> Books {
    let mut books = books.clone();
    books.time = books.time.max(time);
    let ids: Vec<String> = books.transactions.keys().cloned().collect();
    let due = ids.into_iter().filter(|id| {
        let held = !books
            .changes
            .released
            .contains(&books.transactions[id].sequence);
        held && books.transactions[id].state(books.time) == State::Expired
    });
    let due: Vec<String> = due.collect();
    books.expire(&due);
    books
}

#[test]
fn the_first_reason_that_applies_is_given() {
    let mut books = books(&[
        ("a", Limit::None),
        ("closed", Limit::None),
        ("tight", Limit::DebitsWithinCredits),
        ("till", Limit::CreditsWithinDebits),
    ]);
    done(
        &mut books,
        &request("c", Action::CloseAccount("closed".into())),
    );
    let dollars = |id: &str, side| Leg::new(id, side, money(1, "USD")).unwrap();
    // Each list has what the one before lacks, so its first reason moves down the order.
    let mixed = |ids: [&str; 3]| {
        let leg = |id: &str, side, minor| Leg::new(id, side, money(minor, "GBP")).unwrap();
        let most = leg(ids[0], Side::Debit, MINOR_MAX);
        let back = leg(ids[1], Side::Credit, MINOR_MAX);
        let legs = vec![
            most,
            back,
            dollars(ids[2], Side::Debit),
            dollars(ids[2], Side::Credit),
        ];
        Transaction::new(legs).unwrap()
    };
    let cases = [
        (
            mixed(["tight", "closed", "nobody"]),
            Reason::AccountNotFound,
            "legs[2].account_id",
        ),
        (
            mixed(["tight", "closed", "a"]),
            Reason::AccountClosed,
            "legs[1].account_id",
        ),
        (
            mixed(["tight", "a", "a"]),
            Reason::CurrencyMismatch,
            "legs[2].amount.currency_code",
        ),
    ];
    for (index, (transaction, reason, field)) in cases.into_iter().enumerate() {
        refused(
            &mut books,
            &record(&format!("t{index}"), transaction),
            reason,
            field,
        );
    }
    done(&mut books, &record("some", transfer("a", "a", 1)));
    let over = record("over", transfer("tight", "a", MINOR_MAX));
    refused(&mut books, &over, Reason::BalanceOverflow, "legs[0].amount");
    let both = record("both", transfer("tight", "till", 1));
    refused(
        &mut books,
        &both,
        Reason::DebitsExceedCredits,
        "legs[0].amount",
    );
    let one = record("one", transfer("a", "till", 1));
    refused(
        &mut books,
        &one,
        Reason::CreditsExceedDebits,
        "legs[1].amount",
    );
}

#[test]
fn sums_stop_at_the_limit_with_what_is_pending() {
    let mut books = plain();
    done(&mut books, &record("1", transfer("a", "b", MINOR_MAX - 2)));
    done(&mut books, &pending("2", transfer("a", "b", 1), None));
    done(&mut books, &record("3", transfer("a", "b", 1)));
    let more = record("4", transfer("a", "b", 1));
    refused(&mut books, &more, Reason::BalanceOverflow, "legs[0].amount");
    done(&mut books, &post("p", "2", None));
    assert_eq!(numbers(&books)["a"][0], i64::MAX);
}

#[test]
fn what_is_pending_is_posted_in_part_voided_or_expires() {
    let mut books = plain();
    for id in ["1", "2", "3"] {
        done(&mut books, &pending(id, transfer("a", "b", 10), Some(100)));
    }
    assert_eq!(numbers(&books)["a"], [0, 0, 30, 0]);
    let some = |minor| Some(vec![money(minor, "GBP"), money(minor, "GBP")]);
    let over = post("x", "1", some(11));
    refused(&mut books, &over, Reason::ExceedsPending, "amounts[0]");
    let one = post("y", "1", Some(vec![money(1, "GBP")]));
    refused(&mut books, &one, Reason::AmountsMismatch, "amounts");
    let uneven = post("z", "1", Some(vec![money(1, "GBP"), money(2, "GBP")]));
    refused(&mut books, &uneven, Reason::AmountsMismatch, "amounts");
    done(&mut books, &post("p1", "1", some(4)));
    assert_eq!(numbers(&books)["a"], [4, 0, 20, 0]);
    done(&mut books, &request("v2", Action::Void("2".into())));
    assert_eq!(numbers(&books)["a"], [4, 0, 10, 0]);

    let mut books = later(&books, 100);
    assert_eq!(numbers(&books)["a"], [4, 0, 0, 0], "time ran out");
    for (target, reason) in [
        ("1", Reason::TransactionPosted),
        ("2", Reason::TransactionVoided),
        ("3", Reason::TransactionExpired),
        ("4", Reason::TransactionNotFound),
    ] {
        let again = post(&format!("p-{target}"), target, None);
        refused(&mut books, &again, reason, "transaction_id");
        let void = request(&format!("v-{target}"), Action::Void(target.into()));
        refused(&mut books, &void, reason, "transaction_id");
    }
    done(&mut books, &record("5", transfer("a", "b", 1)));
    let never = request("v-5", Action::Void("5".into()));
    refused(
        &mut books,
        &never,
        Reason::TransactionNotPending,
        "transaction_id",
    );
}

/// Released by a group that leaves no entry, on a machine whose clock is ahead: a request that came
/// before, by a clock that is behind, does not meet it pending again.
#[test]
fn what_has_been_released_stays_so_whatever_the_next_clock_says() {
    let mut books = plain();
    done(
        &mut books,
        &pending("p1", transfer("a", "b", 10), Some(100)),
    );
    done(&mut books, &pending("p2", transfer("a", "b", 10), None));
    let first = books.clone().finish(Head::EMPTY);
    let mut ahead = Books::new(first.head, 200);
    (ahead.accounts, ahead.totals) = (books.accounts.clone(), books.totals.clone());
    ahead.transactions = books.transactions.clone();
    ahead.expire(&["p1".to_owned()]);
    refused(
        &mut ahead,
        &record("r", transfer("a", "nobody", 1)),
        Reason::AccountNotFound,
        "legs[1].account_id",
    );
    let second = ahead.clone().finish(first.head);
    assert_eq!(second.head.record_time, 200);

    let mut behind = Books::new(second.head, 50);
    (behind.accounts, behind.totals) = (ahead.accounts, ahead.totals);
    behind.transactions = ahead.transactions;
    refused(
        &mut behind,
        &post("late", "p1", None),
        Reason::TransactionExpired,
        "transaction_id",
    );
    done(&mut behind, &post("in-time", "p2", None));
    assert_eq!(numbers(&behind)["a"], [10, 0, 0, 0]);
}

/// A repetition alone releases nothing for good, and moves no time.
#[test]
fn what_is_only_released_is_not_saved() {
    let mut books = plain();
    done(&mut books, &pending("p", transfer("a", "b", 10), Some(100)));
    let first = books.clone().finish(Head::EMPTY);
    let mut again = Books::new(first.head, 200);
    (again.accounts, again.totals) = (books.accounts.clone(), books.totals.clone());
    again.transactions = books.transactions.clone();
    again.expire(&["p".to_owned()]);
    done(&mut again, &pending("p", transfer("a", "b", 10), Some(100)));
    let second = again.finish(first.head);
    assert!(second.changes.is_empty() && !second.changes.released.is_empty());
    assert_eq!(second.head, first.head);
    // Nor is it remembered: the next group releases it again.
    let mut next = Books::new(second.head, 200);
    next.put_remembered(second.remembered());
    assert!(!next.has_account("a"));
}

/// Counters that something else changed are not written on.
#[test]
fn counters_that_hold_less_than_what_is_pending_let_nothing_be_saved() {
    let mut books = plain();
    done(&mut books, &pending("p", transfer("a", "b", 10), None));
    let less = Counters::of_row("GBP".parse().unwrap(), [0, 0, 5, 0]);
    books.accounts.get_mut("a").unwrap().counters = less;
    done(&mut books, &post("post", "p", None));
    assert!(books.finish(Head::EMPTY).contradiction.is_some());
}

#[test]
fn a_transaction_is_taken_back_once_and_by_what_was_posted() {
    let mut books = plain();
    done(&mut books, &pending("1", transfer("a", "b", 10), None));
    let early = reverse("r0", "1");
    refused(
        &mut books,
        &early,
        Reason::TransactionNotPosted,
        "transaction_id",
    );
    let amounts = Some(vec![money(4, "GBP"), money(4, "GBP")]);
    done(&mut books, &post("p", "1", amounts));
    done(&mut books, &reverse("r1", "1"));
    assert_eq!(numbers(&books)["a"], [4, 4, 0, 0]);
    let twice = reverse("r2", "1");
    refused(
        &mut books,
        &twice,
        Reason::TransactionReversed,
        "transaction_id",
    );
    done(&mut books, &reverse("r3", "r1"));
    assert_eq!(
        numbers(&books)["a"],
        [8, 4, 0, 0],
        "a reversal is a transaction too"
    );
}

#[test]
fn a_closed_account_takes_nothing_and_is_closed_only_when_settled() {
    let mut books = plain();
    done(&mut books, &pending("1", transfer("a", "b", 10), Some(100)));
    let close = |id: &str| request(id, Action::CloseAccount("a".into()));
    refused(
        &mut books,
        &close("c1"),
        Reason::AccountHasPending,
        "account_id",
    );
    let mut books = later(&books, 100);
    done(&mut books, &close("c2"));
    refused(
        &mut books,
        &close("c3"),
        Reason::AccountClosed,
        "account_id",
    );
    let late = record("2", transfer("a", "b", 1));
    refused(
        &mut books,
        &late,
        Reason::AccountClosed,
        "legs[0].account_id",
    );
    let reopen = |id: &str| request(id, Action::ReopenAccount("a".into()));
    done(&mut books, &reopen("o1"));
    refused(
        &mut books,
        &reopen("o2"),
        Reason::AccountNotClosed,
        "account_id",
    );
    done(&mut books, &record("3", transfer("a", "b", 1)));
    let none = request("c4", Action::CloseAccount("nobody".into()));
    refused(&mut books, &none, Reason::AccountNotFound, "account_id");
}

#[test]
fn an_atomic_batch_is_done_whole_or_not_at_all_and_for_ever() {
    let mut books = plain();
    let good = |id: &str| record(id, transfer("a", "b", 1));
    let bad = record("bad", transfer("a", "nobody", 1));
    let batch = vec![good("1"), bad, good("2")];
    let before = (numbers(&books), books.head);
    for _ in 0..2 {
        let outcomes = books.apply_atomic(&batch);
        assert_eq!(
            (&outcomes[0], &outcomes[2]),
            (&Outcome::Linked, &Outcome::Linked)
        );
        assert!(matches!(&outcomes[1], Outcome::Refused(r) if r.reason == Reason::AccountNotFound));
        assert_eq!((numbers(&books), books.head), before);
    }
    // The others were not executed, and their ids are free.
    let outcomes = books.apply_atomic(&[good("1"), good("2"), good("1")]);
    let replays = outcomes
        .iter()
        .map(|o| matches!(o, Outcome::Done { replayed: true, .. }));
    assert_eq!(replays.collect::<Vec<_>>(), [false, false, true]);
    assert_eq!(numbers(&books)["a"], [2, 0, 0, 0]);
    let twice = books.apply_atomic(&[record("3", transfer("a", "b", 1)), {
        record("3", transfer("a", "b", 2))
    }]);
    assert!(matches!(twice[1], Outcome::Reused(..)) && twice[0] == Outcome::Linked);
    assert_eq!(numbers(&books)["a"], [2, 0, 0, 0]);
}

#[test]
fn an_id_is_one_request_for_ever() {
    let mut books = plain();
    done(&mut books, &record("1", transfer("a", "b", 1)));
    let again = books.apply_one(&record("1", transfer("a", "b", 1)));
    assert!(matches!(again, Outcome::Done { replayed: true, .. }));
    for other in [record("1", transfer("a", "b", 2)), reverse("1", "1")] {
        let outcome = books.apply_one(&other);
        assert!(
            matches!(outcome, Outcome::Reused(Call::Record, _)),
            "{outcome:?}"
        );
    }
    assert_eq!(numbers(&books)["a"], [1, 0, 0, 0]);
}
