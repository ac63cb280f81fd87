//! Where an invoice stands: the state machine.
//!
//! ```text
//!   create          finalize               pay or credit, the last part
//!  ────────► draft ───────────► open ─────────────────────────────────► paid
//!              │                │ │ ↺ pay or credit, a part               ▲
//!              │                │ │ give up                              │
//!              │                │ └──────────────► uncollectible ────────┘ pay, the last part
//!              │ void           │ void              │ ↺ pay, a part
//!              ▼                ▼                   │ void
//!             void ◄────────────┴───────────────────┘ while nothing is paid or credited
//! ```
//!
//! | asked    | draft            | open                    | uncollectible          | paid   | void   |
//! |----------|------------------|-------------------------|------------------------|--------|--------|
//! | edit     | draft            | INVOICE_NOT_DRAFT       | INVOICE_NOT_DRAFT      | `PAID` | `VOID` |
//! | finalize | open, paid       | INVOICE_NOT_DRAFT       | INVOICE_NOT_DRAFT      | `PAID` | `VOID` |
//! | pay      | INVOICE_NOT_OPEN | open, paid              | uncollectible, paid    | `PAID` | `VOID` |
//! | credit   | INVOICE_NOT_OPEN | open, paid              | INVOICE_UNCOLLECTIBLE  | paid   | `VOID` |
//! | uncredit | INVOICE_NOT_OPEN | open                    | uncollectible          | `PAID` | `VOID` |
//! | give up  | INVOICE_NOT_OPEN | uncollectible           | INVOICE_UNCOLLECTIBLE  | `PAID` | `VOID` |
//! | void     | void             | void                    | void                   | `PAID` | `VOID` |
//!
//! `PAID` is INVOICE_PAID, `VOID` INVOICE_VOIDED. A payment can also be refused with
//! CURRENCY_MISMATCH and OVERPAYMENT, a void with PAYMENT_APPLIED and CREDIT_NOTE_APPLIED. Taking
//! back a credit that took off nothing (it came after the payment) changes nothing in any state but
//! draft and void. The credit note of an invoice begins open, or paid when all of it was taken off,
//! and is revoked from both while nothing was paid back.

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
    /// Given up; still owed.
    Uncollectible,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Draft,
        Self::Open,
        Self::Uncollectible,
        Self::Paid,
        Self::Void,
    ];
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

/// The state and the amounts that go with it. Always: paid and credited are zero or more, together
/// at most what is payable, all of one currency; both are zero on a draft and on what is void;
/// something is due when open or uncollectible, and nothing when paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    state: State,
    payable: Money,
    paid: Money,
    credited: Money,
}

impl Standing {
    /// A new draft; none for less than zero.
    #[must_use]
    pub fn draft(payable: Money) -> Option<Self> {
        let zero = Money::zero(payable.currency());
        Self::restore(State::Draft, payable, zero, zero)
    }

    /// A credit note of an invoice, as it is issued: so much of it was taken off the invoice. None
    /// for amounts that cannot be.
    #[must_use]
    pub fn issued(payable: Money, taken_off: Money) -> Option<Self> {
        let state = if payable == taken_off {
            State::Paid
        } else {
            State::Open
        };
        Self::restore(state, payable, Money::zero(payable.currency()), taken_off)
    }

    /// What was kept; none for amounts that no sequence of calls leads to.
    #[must_use]
    pub fn restore(state: State, payable: Money, paid: Money, credited: Money) -> Option<Self> {
        let due = payable
            .checked_sub(paid)
            .and_then(|due| due.checked_sub(credited))
            .ok()?;
        let sound = match state {
            State::Draft | State::Void => paid.is_zero() && credited.is_zero(),
            State::Open | State::Uncollectible => due.is_positive(),
            State::Paid => due.is_zero(),
        };
        let negative = [payable, paid, credited].iter().any(Money::is_negative);
        (sound && !negative).then_some(Self {
            state,
            payable,
            paid,
            credited,
        })
    }

    /// The state.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// What was due when it was issued.
    #[must_use]
    pub const fn payable(&self) -> Money {
        self.payable
    }

    /// What was paid so far.
    #[must_use]
    pub const fn paid(&self) -> Money {
        self.paid
    }

    /// What credit notes took off; on the credit note of an invoice, what it took off there.
    #[must_use]
    pub const fn credited(&self) -> Money {
        self.credited
    }

    /// What is left to pay: nothing when void.
    #[must_use]
    pub fn due(&self) -> Money {
        let left = match self.state {
            State::Void => 0,
            State::Draft | State::Open | State::Uncollectible | State::Paid => {
                self.payable.minor() - self.paid.minor() - self.credited.minor()
            }
        };
        self.money(left)
    }

    /// draft → draft, with another amount.
    ///
    /// # Errors
    /// See the table above.
    pub fn edit(self, payable: Money) -> Result<Self, Refusal> {
        self.draft_only()?;
        Ok(Self {
            payable,
            paid: Money::zero(payable.currency()),
            credited: Money::zero(payable.currency()),
            ..self
        })
    }

    /// draft → open, or paid when nothing is left to pay.
    ///
    /// # Errors
    /// See the table above.
    pub fn finalize(self) -> Result<Self, Refusal> {
        self.draft_only()?;
        Ok(self.settled_or(State::Open))
    }

    /// open or uncollectible → the same, or paid when nothing is left.
    ///
    /// # Errors
    /// See the table above.
    pub fn pay(self, payment: Payment) -> Result<Self, Refusal> {
        self.owed_only()?;
        let amount = payment.amount();
        if amount.currency() != self.payable.currency() {
            return Err(Refusal::CurrencyMismatch);
        }
        if amount.minor() > self.due().minor() {
            return Err(Refusal::Overpayment);
        }
        let paid = self.money(self.paid.minor() + amount.minor());
        Ok(Self { paid, ..self }.settled_or(self.state))
    }

    /// Takes a credit off what is due, as far as that goes: open → open or paid; paid → paid. Also
    /// answers how much was taken off; the rest is owed to the party.
    ///
    /// # Errors
    /// See the table above; [`Refusal::CurrencyMismatch`].
    pub fn credit(self, credit: Payment) -> Result<(Self, Money), Refusal> {
        match self.state {
            State::Draft => return Err(Refusal::NotOpen),
            State::Uncollectible => return Err(Refusal::Uncollectible),
            State::Void => return Err(Refusal::Voided),
            State::Open | State::Paid => {}
        }
        let amount = credit.amount();
        if amount.currency() != self.payable.currency() {
            return Err(Refusal::CurrencyMismatch);
        }
        let taken_off = self.money(amount.minor().min(self.due().minor()));
        let credited = self.money(self.credited.minor() + taken_off.minor());
        let credited = Self { credited, ..self };
        Ok((credited.settled_or(self.state), taken_off))
    }

    /// Puts back what a credit note, now void, took off.
    ///
    /// # Errors
    /// See the table above.
    pub fn uncredit(self, taken_off: Money) -> Result<Self, Refusal> {
        match self.state {
            State::Draft => return Err(Refusal::NotOpen),
            State::Paid if taken_off.is_zero() => return Ok(self),
            State::Paid => return Err(Refusal::Paid),
            State::Void => return Err(Refusal::Voided),
            State::Open | State::Uncollectible => {}
        }
        let credited = self.money(self.credited.minor() - taken_off.minor());
        Ok(Self { credited, ..self })
    }

    /// open → uncollectible.
    ///
    /// # Errors
    /// See the table above.
    pub fn give_up(self) -> Result<Self, Refusal> {
        match self.state {
            State::Draft => Err(Refusal::NotOpen),
            State::Open => Ok(self.moved(State::Uncollectible)),
            State::Uncollectible => Err(Refusal::Uncollectible),
            State::Paid => Err(Refusal::Paid),
            State::Void => Err(Refusal::Voided),
        }
    }

    /// draft, open or uncollectible → void.
    ///
    /// # Errors
    /// See the table above.
    pub fn void(self) -> Result<Self, Refusal> {
        match self.state {
            State::Draft | State::Open | State::Uncollectible => {}
            State::Paid => return Err(Refusal::Paid),
            State::Void => return Err(Refusal::Voided),
        }
        if !self.paid.is_zero() {
            return Err(Refusal::PaymentApplied);
        }
        if !self.credited.is_zero() {
            return Err(Refusal::CreditApplied);
        }
        Ok(self.moved(State::Void))
    }

    /// The credit note of an invoice → void, whatever it took off, while nothing was paid back.
    ///
    /// # Errors
    /// [`Refusal::PaymentApplied`], [`Refusal::Voided`].
    pub fn revoke(self) -> Result<Self, Refusal> {
        if self.state == State::Void {
            return Err(Refusal::Voided);
        }
        if !self.paid.is_zero() {
            return Err(Refusal::PaymentApplied);
        }
        let credited = self.money(0);
        Ok(Self { credited, ..self }.moved(State::Void))
    }

    const fn draft_only(self) -> Result<(), Refusal> {
        match self.state {
            State::Draft => Ok(()),
            State::Open | State::Uncollectible => Err(Refusal::NotDraft),
            State::Paid => Err(Refusal::Paid),
            State::Void => Err(Refusal::Voided),
        }
    }

    const fn owed_only(self) -> Result<(), Refusal> {
        match self.state {
            State::Open | State::Uncollectible => Ok(()),
            State::Draft => Err(Refusal::NotOpen),
            State::Paid => Err(Refusal::Paid),
            State::Void => Err(Refusal::Voided),
        }
    }

    fn settled_or(self, state: State) -> Self {
        let left = self.payable.minor() - self.paid.minor() - self.credited.minor();
        self.moved(if left == 0 { State::Paid } else { state })
    }

    const fn moved(self, state: State) -> Self {
        Self { state, ..self }
    }

    const fn money(&self, minor: i128) -> Money {
        Money::from_minor(minor, self.payable.currency())
    }
}

#[cfg(test)]
mod tests;
