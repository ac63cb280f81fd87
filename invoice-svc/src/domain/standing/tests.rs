//! Every state with every call, and any sequence of calls.

use proptest::prelude::*;

use super::*;

fn pounds(minor: i128) -> Money {
    Money::from_minor(minor, "GBP".parse().unwrap())
}

fn payment(minor: i128) -> Payment {
    Payment::new(pounds(minor)).unwrap()
}

fn draft(payable: i128) -> Standing {
    Standing::draft(pounds(payable)).unwrap()
}

/// Every state, and those that take parts with nothing, with a part paid and with a part credited,
/// of a payable amount of 100.
fn every_standing() -> [(&'static str, Standing); 9] {
    let open = draft(100).finalize().unwrap();
    let part = open.pay(payment(40)).unwrap();
    let credited = open.credit(payment(40)).unwrap().0;
    [
        ("draft", draft(100)),
        ("open", open),
        ("open, part paid", part),
        ("open, part credited", credited),
        ("uncollectible", open.give_up().unwrap()),
        ("uncollectible, part paid", part.give_up().unwrap()),
        ("uncollectible, part credited", credited.give_up().unwrap()),
        ("paid", open.pay(payment(100)).unwrap()),
        ("void", open.void().unwrap()),
    ]
}

type Expected = Result<(State, i128, i128), Refusal>;

fn expect(asked: impl Fn(Standing) -> Result<Standing, Refusal>, expected: [Expected; 9]) {
    for ((name, standing), expected) in every_standing().into_iter().zip(expected) {
        let got = asked(standing).map(|s| (s.state(), s.paid().minor(), s.credited().minor()));
        assert_eq!(got, expected, "{name}");
    }
}

const DRAFT_ONLY: [Expected; 8] = [
    Err(Refusal::NotDraft),
    Err(Refusal::NotDraft),
    Err(Refusal::NotDraft),
    Err(Refusal::NotDraft),
    Err(Refusal::NotDraft),
    Err(Refusal::NotDraft),
    Err(Refusal::Paid),
    Err(Refusal::Voided),
];

fn after(first: Expected, rest: [Expected; 8]) -> [Expected; 9] {
    let [a, b, c, d, e, f, g, h] = rest;
    [first, a, b, c, d, e, f, g, h]
}

#[test]
fn edit_from_every_state() {
    let edited = |s: Standing| s.edit(pounds(70));
    expect(edited, after(Ok((State::Draft, 0, 0)), DRAFT_ONLY));
    assert_eq!(draft(100).edit(pounds(70)).unwrap().due(), pounds(70));
}

#[test]
fn finalize_from_every_state() {
    expect(
        Standing::finalize,
        after(Ok((State::Open, 0, 0)), DRAFT_ONLY),
    );
    let nothing_left = draft(0).finalize().unwrap();
    assert_eq!(nothing_left.state(), State::Paid, "all paid in advance");
}

#[test]
fn a_part_paid_from_every_state() {
    expect(
        |s| s.pay(payment(10)),
        [
            Err(Refusal::NotOpen),
            Ok((State::Open, 10, 0)),
            Ok((State::Open, 50, 0)),
            Ok((State::Open, 10, 40)),
            Ok((State::Uncollectible, 10, 0)),
            Ok((State::Uncollectible, 50, 0)),
            Ok((State::Uncollectible, 10, 40)),
            Err(Refusal::Paid),
            Err(Refusal::Voided),
        ],
    );
}

#[test]
fn the_last_part_paid_from_every_state() {
    expect(
        |s| s.pay(payment(60)),
        [
            Err(Refusal::NotOpen),
            Ok((State::Open, 60, 0)),
            Ok((State::Paid, 100, 0)),
            Ok((State::Paid, 60, 40)),
            Ok((State::Uncollectible, 60, 0)),
            Ok((State::Paid, 100, 0)),
            Ok((State::Paid, 60, 40)),
            Err(Refusal::Paid),
            Err(Refusal::Voided),
        ],
    );
}

#[test]
fn a_penny_too_much_from_every_state() {
    let too_much = Err(Refusal::Overpayment);
    expect(
        |s| s.pay(payment(s.due().minor() + 1)),
        [
            Err(Refusal::NotOpen),
            too_much,
            too_much,
            too_much,
            too_much,
            too_much,
            too_much,
            Err(Refusal::Paid),
            Err(Refusal::Voided),
        ],
    );
}

#[test]
fn another_currency_from_every_state() {
    let dollar = Payment::new(Money::from_minor(1, "USD".parse().unwrap())).unwrap();
    let other = Err(Refusal::CurrencyMismatch);
    expect(
        |s| s.pay(dollar),
        [
            Err(Refusal::NotOpen),
            other,
            other,
            other,
            other,
            other,
            other,
            Err(Refusal::Paid),
            Err(Refusal::Voided),
        ],
    );
    expect(
        |s| s.credit(dollar).map(|(s, _)| s),
        [
            Err(Refusal::NotOpen),
            other,
            other,
            other,
            Err(Refusal::Uncollectible),
            Err(Refusal::Uncollectible),
            Err(Refusal::Uncollectible),
            other,
            Err(Refusal::Voided),
        ],
    );
}

#[test]
fn credit_from_every_state() {
    let refused = Err(Refusal::Uncollectible);
    let credit = |amount| move |s: Standing| s.credit(payment(amount)).map(|(s, _)| s);
    expect(
        credit(10),
        [
            Err(Refusal::NotOpen),
            Ok((State::Open, 0, 10)),
            Ok((State::Open, 40, 10)),
            Ok((State::Open, 0, 50)),
            refused,
            refused,
            refused,
            Ok((State::Paid, 100, 0)),
            Err(Refusal::Voided),
        ],
    );
    expect(
        credit(100),
        [
            Err(Refusal::NotOpen),
            Ok((State::Paid, 0, 100)),
            Ok((State::Paid, 40, 60)),
            Ok((State::Paid, 0, 100)),
            refused,
            refused,
            refused,
            Ok((State::Paid, 100, 0)),
            Err(Refusal::Voided),
        ],
    );
    let part = draft(100).finalize().unwrap().pay(payment(40)).unwrap();
    assert_eq!(
        part.credit(payment(100)).unwrap().1,
        pounds(60),
        "taken off"
    );
}

#[test]
fn uncredit_from_every_state() {
    for (name, standing) in every_standing() {
        let credited = standing.credited().minor();
        let back = standing.uncredit(pounds(credited));
        let expected = match standing.state() {
            State::Draft => Err(Refusal::NotOpen),
            State::Void => Err(Refusal::Voided),
            State::Open | State::Uncollectible | State::Paid => Ok((standing.state(), 0)),
        };
        assert_eq!(
            back.map(|s| (s.state(), s.credited().minor())),
            expected,
            "{name}"
        );
    }
    let open = draft(100).finalize().unwrap();
    let settled = open.credit(payment(100)).unwrap().0;
    assert_eq!(settled.uncredit(pounds(100)), Err(Refusal::Paid));
    let rest_paid = open
        .credit(payment(40))
        .unwrap()
        .0
        .pay(payment(60))
        .unwrap();
    assert_eq!(rest_paid.uncredit(pounds(40)), Err(Refusal::Paid));
}

#[test]
fn give_up_from_every_state() {
    let refused = Err(Refusal::Uncollectible);
    expect(
        Standing::give_up,
        [
            Err(Refusal::NotOpen),
            Ok((State::Uncollectible, 0, 0)),
            Ok((State::Uncollectible, 40, 0)),
            Ok((State::Uncollectible, 0, 40)),
            refused,
            refused,
            refused,
            Err(Refusal::Paid),
            Err(Refusal::Voided),
        ],
    );
}

#[test]
fn void_from_every_state() {
    expect(
        Standing::void,
        [
            Ok((State::Void, 0, 0)),
            Ok((State::Void, 0, 0)),
            Err(Refusal::PaymentApplied),
            Err(Refusal::CreditApplied),
            Ok((State::Void, 0, 0)),
            Err(Refusal::PaymentApplied),
            Err(Refusal::CreditApplied),
            Err(Refusal::Paid),
            Err(Refusal::Voided),
        ],
    );
}

#[test]
fn a_credit_note_is_issued_paid_back_and_revoked() {
    let issued = |taken_off| Standing::issued(pounds(100), pounds(taken_off)).unwrap();
    assert_eq!(
        (issued(0).state(), issued(0).due()),
        (State::Open, pounds(100))
    );
    assert_eq!(
        (issued(60).state(), issued(60).due()),
        (State::Open, pounds(40))
    );
    assert_eq!(
        (issued(100).state(), issued(100).due()),
        (State::Paid, pounds(0))
    );
    assert_eq!(Standing::issued(pounds(100), pounds(101)), None);
    for taken_off in [0, 60, 100] {
        let revoked = issued(taken_off).revoke().unwrap();
        assert_eq!((revoked.state(), revoked.due()), (State::Void, pounds(0)));
        assert_eq!(revoked.revoke(), Err(Refusal::Voided));
    }
    let part = issued(60).pay(payment(1)).unwrap();
    assert_eq!(part.revoke(), Err(Refusal::PaymentApplied));
    let paid_back = part.pay(payment(39)).unwrap();
    assert_eq!(paid_back.state(), State::Paid);
    assert_eq!(paid_back.revoke(), Err(Refusal::PaymentApplied));
}

#[test]
fn no_payment_of_nothing_or_less_exists() {
    assert_eq!(Payment::new(pounds(0)), None);
    assert_eq!(Payment::new(pounds(-1)), None);
}

#[test]
fn what_no_call_leads_to_cannot_be_restored() {
    for (state, payable, paid, credited) in [
        (State::Draft, -1, 0, 0),
        (State::Draft, 100, 1, 0),
        (State::Draft, 100, 0, 1),
        (State::Open, 100, 100, 0),
        (State::Open, 100, 60, 40),
        (State::Open, 100, -1, 0),
        (State::Open, 100, 0, -1),
        (State::Open, 100, 101, 0),
        (State::Uncollectible, 100, 0, 100),
        (State::Paid, 100, 99, 0),
        (State::Paid, 100, 110, -10),
        (State::Void, 100, 1, 0),
        (State::Void, 100, 0, 1),
    ] {
        let restored = Standing::restore(state, pounds(payable), pounds(paid), pounds(credited));
        assert_eq!(restored, None, "{state:?} {paid} + {credited} of {payable}");
    }
}

#[test]
fn the_largest_amounts_settle_without_overflow() {
    let open = draft(i128::MAX).finalize().unwrap();
    let nearly = open.pay(payment(i128::MAX - 1)).unwrap();
    assert_eq!(nearly.pay(payment(2)), Err(Refusal::Overpayment));
    assert_eq!(nearly.pay(payment(1)).unwrap().state(), State::Paid);
}

#[derive(Debug, Clone)]
enum Call {
    Finalize,
    Pay(i64),
    Credit(i64),
    Uncredit,
    GiveUp,
    Void,
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let call = prop_oneof![
        3 => Just(Call::Finalize),
        6 => (1_i64..60).prop_map(Call::Pay),
        3 => (1_i64..60).prop_map(Call::Credit),
        2 => Just(Call::Uncredit),
        1 => Just(Call::GiveUp),
        1 => Just(Call::Void),
    ];
    prop::collection::vec(call, 0..30)
}

proptest! {
    #[test]
    fn any_sequence_of_calls_keeps_the_books(payable in 0_i64..100, calls in calls()) {
        let mut standing = draft(i128::from(payable));
        let mut paid = 0;
        let mut credits: Vec<i128> = Vec::new();
        for call in calls {
            let before = standing;
            let asked = match call {
                Call::Finalize => standing.finalize(),
                Call::Pay(amount) => standing.pay(payment(i128::from(amount))),
                Call::Credit(amount) => standing.credit(payment(i128::from(amount))).map(|(s, off)| {
                    credits.push(off.minor());
                    s
                }),
                Call::Uncredit => match credits.last() {
                    Some(last) => standing.uncredit(pounds(*last)).inspect(|_| { credits.pop(); }),
                    None => continue,
                },
                Call::GiveUp => standing.give_up(),
                Call::Void => standing.void(),
            };
            if let Ok(moved) = asked {
                if matches!(before.state(), State::Paid | State::Void) {
                    prop_assert_eq!(moved, before, "paid and void are final");
                }
                standing = moved;
                if let Call::Pay(amount) = call {
                    paid += i128::from(amount);
                }
            }
            prop_assert_eq!(standing.paid().minor(), paid);
            prop_assert_eq!(standing.credited().minor(), credits.iter().sum::<i128>());
            prop_assert_eq!(standing.payable().minor(), i128::from(payable));
            let due = standing.due().minor();
            match standing.state() {
                State::Void => prop_assert_eq!((paid, due), (0, 0)),
                State::Draft => prop_assert_eq!(due, i128::from(payable)),
                State::Open | State::Uncollectible => prop_assert!(due > 0),
                State::Paid => prop_assert_eq!(due, 0),
            }
            prop_assert_eq!(
                Standing::restore(standing.state(), standing.payable(), standing.paid(), standing.credited()),
                Some(standing)
            );
        }
    }
}
