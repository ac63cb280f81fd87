//! Where an invoice stands: the state machine.
//!
//! ```text
//!   create           finalize           pay, the last part
//!  ────────► draft ───────────► open ──────────────────────► paid
//!              │                 │ ↺ pay, a part
//!              │ void            │ void, while nothing is paid
//!              ▼                 ▼
//!             void ◄─────────────┘
//! ```
//!
//! | asked    | draft           | open                              | paid           | void             |
//! |----------|-----------------|-----------------------------------|----------------|------------------|
//! | finalize | → open          | INVOICE_NOT_DRAFT                 | INVOICE_PAID   | INVOICE_VOIDED   |
//! | pay      | INVOICE_NOT_OPEN| → open, paid, CURRENCY_MISMATCH or OVERPAYMENT | INVOICE_PAID | INVOICE_VOIDED |
//! | void     | → void          | → void, or PAYMENT_APPLIED        | INVOICE_PAID   | INVOICE_VOIDED   |

use money::Money;

use super::Refusal;

/// A state of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Being prepared.
    Draft,
    /// Finalized and owed.
    Open,
    /// Settled in full; final.
    Paid,
    /// Cancelled; final.
    Void,
}

/// An amount that pays something: above zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payment(Money);

impl Payment {
    /// The payment, unless the amount is zero or less.
    #[must_use]
    pub fn new(amount: Money) -> Option<Self> {
        amount.is_positive().then_some(Self(amount))
    }

    /// How much.
    #[must_use]
    pub const fn amount(self) -> Money {
        self.0
    }
}

/// The state and the amounts that go with it. Always: 0 ≤ paid ≤ total, both of one currency;
/// nothing is paid on a draft or a void invoice; paid in full exactly when [`State::Paid`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    state: State,
    total: Money,
    paid: Money,
}

impl Standing {
    /// A new draft; none for a total of zero or less.
    #[must_use]
    pub fn draft(total: Money) -> Option<Self> {
        Self::restore(State::Draft, total, Money::zero(total.currency()))
    }

    /// What was kept; none for amounts that no sequence of calls leads to.
    #[must_use]
    pub fn restore(state: State, total: Money, paid: Money) -> Option<Self> {
        let due = total.checked_sub(paid).ok()?;
        let sound = match state {
            State::Draft | State::Void => paid.is_zero(),
            State::Open => !paid.is_negative() && due.is_positive(),
            State::Paid => due.is_zero(),
        };
        (sound && total.is_positive()).then_some(Self { state, total, paid })
    }

    /// The state.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// What is billed.
    #[must_use]
    pub const fn total(&self) -> Money {
        self.total
    }

    /// What was paid so far.
    #[must_use]
    pub const fn paid(&self) -> Money {
        self.paid
    }

    /// What is left to pay: nothing when void.
    #[must_use]
    pub fn due(&self) -> Money {
        let left = match self.state {
            State::Void => 0,
            State::Draft | State::Open | State::Paid => self.total.minor() - self.paid.minor(),
        };
        Money::from_minor(left, self.total.currency())
    }

    /// draft → open.
    ///
    /// # Errors
    /// See the table above.
    pub fn finalize(self) -> Result<Self, Refusal> {
        match self.state {
            State::Draft => Ok(self.moved(State::Open)),
            State::Open => Err(Refusal::NotDraft),
            State::Paid => Err(Refusal::Paid),
            State::Void => Err(Refusal::Voided),
        }
    }

    /// open → open, or paid when nothing is left.
    ///
    /// # Errors
    /// See the table above.
    pub fn pay(self, payment: Payment) -> Result<Self, Refusal> {
        match self.state {
            State::Draft => return Err(Refusal::NotOpen),
            State::Paid => return Err(Refusal::Paid),
            State::Void => return Err(Refusal::Voided),
            State::Open => {}
        }
        let amount = payment.amount();
        if amount.currency() != self.total.currency() {
            return Err(Refusal::CurrencyMismatch);
        }
        let due = self.due().minor();
        if amount.minor() > due {
            return Err(Refusal::Overpayment);
        }
        let paid = self
            .paid
            .checked_add(amount)
            .map_err(|_| Refusal::Overpayment)?;
        let state = if amount.minor() == due {
            State::Paid
        } else {
            State::Open
        };
        Ok(Self {
            paid,
            ..self.moved(state)
        })
    }

    /// draft or open → void.
    ///
    /// # Errors
    /// See the table above.
    pub fn void(self) -> Result<Self, Refusal> {
        match self.state {
            State::Draft => Ok(self.moved(State::Void)),
            State::Open if self.paid.is_zero() => Ok(self.moved(State::Void)),
            State::Open => Err(Refusal::PaymentApplied),
            State::Paid => Err(Refusal::Paid),
            State::Void => Err(Refusal::Voided),
        }
    }

    const fn moved(self, state: State) -> Self {
        Self { state, ..self }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pounds(minor: i128) -> Money {
        Money::from_minor(minor, "GBP".parse().unwrap())
    }

    fn payment(minor: i128) -> Payment {
        Payment::new(pounds(minor)).unwrap()
    }

    fn draft(total: i128) -> Standing {
        Standing::draft(pounds(total)).unwrap()
    }

    /// Every state, and open twice: with nothing and with a part paid, of a total of 100.
    fn every_standing() -> [(&'static str, Standing); 5] {
        let open = draft(100).finalize().unwrap();
        [
            ("draft", draft(100)),
            ("open", open),
            ("part", open.pay(payment(40)).unwrap()),
            ("paid", open.pay(payment(100)).unwrap()),
            ("void", open.void().unwrap()),
        ]
    }

    fn expect(
        asked: impl Fn(Standing) -> Result<Standing, Refusal>,
        expected: [Result<(State, i128), Refusal>; 5],
    ) {
        for ((name, standing), expected) in every_standing().into_iter().zip(expected) {
            let got = asked(standing).map(|s| (s.state(), s.paid().minor()));
            assert_eq!(got, expected, "{name}");
        }
    }

    #[test]
    fn finalize_from_every_state() {
        expect(
            Standing::finalize,
            [
                Ok((State::Open, 0)),
                Err(Refusal::NotDraft),
                Err(Refusal::NotDraft),
                Err(Refusal::Paid),
                Err(Refusal::Voided),
            ],
        );
    }

    #[test]
    fn a_part_paid_from_every_state() {
        expect(
            |s| s.pay(payment(10)),
            [
                Err(Refusal::NotOpen),
                Ok((State::Open, 10)),
                Ok((State::Open, 50)),
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
                Ok((State::Open, 60)),
                Ok((State::Paid, 100)),
                Err(Refusal::Paid),
                Err(Refusal::Voided),
            ],
        );
    }

    #[test]
    fn a_penny_too_much_from_every_state() {
        expect(
            |s| s.pay(payment(101)),
            [
                Err(Refusal::NotOpen),
                Err(Refusal::Overpayment),
                Err(Refusal::Overpayment),
                Err(Refusal::Paid),
                Err(Refusal::Voided),
            ],
        );
    }

    #[test]
    fn another_currency_from_every_state() {
        let dollar = Payment::new(Money::from_minor(1, "USD".parse().unwrap())).unwrap();
        expect(
            |s| s.pay(dollar),
            [
                Err(Refusal::NotOpen),
                Err(Refusal::CurrencyMismatch),
                Err(Refusal::CurrencyMismatch),
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
                Ok((State::Void, 0)),
                Ok((State::Void, 0)),
                Err(Refusal::PaymentApplied),
                Err(Refusal::Paid),
                Err(Refusal::Voided),
            ],
        );
    }

    #[test]
    fn no_payment_of_nothing_or_less_exists() {
        assert_eq!(Payment::new(pounds(0)), None);
        assert_eq!(Payment::new(pounds(-1)), None);
    }

    #[test]
    fn what_no_call_leads_to_cannot_be_restored() {
        for (state, total, paid) in [
            (State::Draft, 0, 0),
            (State::Draft, -1, 0),
            (State::Draft, 100, 1),
            (State::Open, 100, 100),
            (State::Open, 100, -1),
            (State::Open, 100, 101),
            (State::Paid, 100, 99),
            (State::Void, 100, 1),
        ] {
            let restored = Standing::restore(state, pounds(total), pounds(paid));
            assert_eq!(restored, None, "{state:?} {paid} of {total}");
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
        Void,
    }

    fn calls() -> impl Strategy<Value = Vec<Call>> {
        let call = prop_oneof![
            3 => Just(Call::Finalize),
            6 => (1_i64..60).prop_map(Call::Pay),
            1 => Just(Call::Void),
        ];
        prop::collection::vec(call, 0..30)
    }

    proptest! {
        #[test]
        fn any_sequence_of_calls_keeps_the_books(total in 1_i64..100, calls in calls()) {
            let mut standing = draft(i128::from(total));
            let mut accepted = 0;
            for call in calls {
                let before = standing;
                let asked = match call {
                    Call::Finalize => standing.finalize(),
                    Call::Pay(amount) => standing.pay(payment(i128::from(amount))),
                    Call::Void => standing.void(),
                };
                if let Ok(moved) = asked {
                    prop_assert!(!matches!(before.state(), State::Paid | State::Void), "paid and void are final");
                    standing = moved;
                    if let Call::Pay(amount) = call {
                        accepted += i128::from(amount);
                    }
                }
                let (paid, due) = (standing.paid().minor(), standing.due().minor());
                prop_assert_eq!(paid, accepted);
                prop_assert!(paid >= 0 && due >= 0);
                prop_assert_eq!(standing.total().minor(), i128::from(total));
                if standing.state() == State::Void {
                    prop_assert_eq!((paid, due), (0, 0));
                } else {
                    prop_assert_eq!(paid + due, i128::from(total));
                    prop_assert_eq!(standing.state() == State::Paid, due == 0);
                }
                prop_assert_eq!(Standing::restore(standing.state(), standing.total(), standing.paid()), Some(standing));
            }
        }
    }
}
