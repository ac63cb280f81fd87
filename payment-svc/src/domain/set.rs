//! A group of commands, decided on the rows that they touch. Both back-ends load a [`Set`], let
//! [`decide`] change it, and write what changed: so they share every rule.

use std::collections::BTreeMap;

use super::{
    Accept, Accepted, Body, Command, Direction, Intent, Outcome, Payment, RefundAsked, Saved,
    Steer, Steered, Steering, Verb,
    refund::{RefundRefusal, refundable},
};

/// The rows that a group of commands touches.
#[derive(Debug, Default)]
pub(crate) struct Set {
    pub(crate) rows: BTreeMap<String, Row>,
    /// Of the payments that refunds are asked of: what is refunded, or on its way, in minor units.
    pub(crate) refunded: BTreeMap<String, i128>,
    /// What refunds that are asked for were told, if they were refused before.
    pub(crate) refused: BTreeMap<String, Refused>,
    /// Unfinished payments whose workers are gone, for the commands that take over.
    pub(crate) free: Vec<String>,
    /// When the latest payment was accepted: the next one is accepted later.
    pub(crate) latest_micros: i64,
    /// The time by the store's own clock, if it has one that all its workers share.
    pub(crate) clock_micros: Option<i64>,
}

/// A payment and what belongs to its row alone.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) payment: Payment,
    pub(crate) request: Vec<u8>,
    /// Who works on it.
    pub(crate) worker: String,
    pub(crate) change: Change,
}

/// A refund that was refused: a late copy of its request is told the same and moves nothing.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    pub(crate) request: Vec<u8>,
    pub(crate) refusal: RefundRefusal,
    /// Whether it has to be written.
    pub(crate) is_new: bool,
}

/// What has to be written of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    None,
    New,
    Changed,
}

/// Decides the commands in order. `differs` names the field in which two requests differ.
pub(crate) fn decide(
    set: &mut Set,
    commands: &[Command],
    differs: impl Fn(&Body, &[u8], &[u8]) -> Option<String>,
) -> Vec<Outcome> {
    let one = |command: &Command| match command {
        Command::Accept(new) => Outcome::Accepted(set.accept(new, &differs)),
        Command::Save { payment, now } => Outcome::Saved(set.save(payment, *now)),
        Command::Adopt {
            id,
            version,
            worker,
            now,
        } => Outcome::Adopted(set.adopt(id, *version, worker, *now)),
        Command::Steer(steer) => Outcome::Steered(set.steer(steer)),
        Command::TakeOver { most, worker, now } => {
            Outcome::Taken(set.take_over(*most, worker, *now))
        }
        Command::Beat { .. } | Command::Bury { .. } | Command::Leave { .. } => Outcome::Noted,
    };
    commands.iter().map(one).collect()
}

impl Set {
    fn accept(
        &mut self,
        new: &Accept,
        differs: impl Fn(&Body, &[u8], &[u8]) -> Option<String>,
    ) -> Accepted {
        if let Some(known) = self.rows.get(new.body.id()) {
            let other_kind =
                known.payment.intent.refund_of.is_some() != matches!(new.body, Body::Refund(_));
            if other_kind {
                return Accepted::Differs("request_id".to_owned());
            }
            if let Some(field) = differs(&new.body, &known.request, &new.request) {
                return Accepted::Differs(field);
            }
            return Accepted::Known(Box::new(known.payment.clone()));
        }
        let intent = match &new.body {
            Body::Payment(intent) => intent.clone(),
            Body::Refund(asked) => {
                if let Some(before) = self.refused.get(&asked.id) {
                    return match differs(&new.body, &before.request, &new.request) {
                        Some(field) => Accepted::Differs(field),
                        None => Accepted::Refused(before.refusal.clone()),
                    };
                }
                match self.refund(asked) {
                    Ok(intent) => intent,
                    Err(refusal) => {
                        let refused = Refused {
                            request: new.request.clone(),
                            refusal: refusal.clone(),
                            is_new: true,
                        };
                        self.refused.insert(asked.id.clone(), refused);
                        return Accepted::Refused(refusal);
                    }
                }
            }
        };
        let now = self.clock_micros.unwrap_or(new.now);
        let now = now.max(self.latest_micros.saturating_add(1));
        self.latest_micros = now;
        let payment = Payment::accepted(intent, now);
        let row = Row {
            payment: payment.clone(),
            request: new.request.clone(),
            worker: new.worker.clone(),
            change: Change::New,
        };
        self.rows.insert(new.body.id().to_owned(), row);
        Accepted::Mine(Box::new(payment))
    }

    /// What a refund pays back, which from now on is taken.
    fn refund(&mut self, asked: &RefundAsked) -> Result<Intent, RefundRefusal> {
        let original = self.rows.get(&asked.of).ok_or(RefundRefusal::NotFound)?;
        let refunded = self.refunded.entry(asked.of.clone()).or_default();
        let amount = refundable(&original.payment, *refunded, asked.amount)?;
        *refunded = refunded.saturating_add(amount.minor());
        let paid = &original.payment.intent;
        Ok(Intent {
            id: asked.id.clone(),
            amount,
            direction: Direction::Refund,
            counterparty_id: paid.counterparty_id.clone(),
            counterparty_name: paid.counterparty_name.clone(),
            description: asked.reason.clone(),
            reference: asked.reference.clone(),
            metadata: asked.metadata.clone(),
            expense_account: paid.expense_account(),
            cash_account: paid.cash_account(),
            effective_micros: asked.effective_micros,
            refund_of: Some(asked.of.clone()),
        })
    }

    fn save(&mut self, payment: &Payment, now: i64) -> Saved {
        let Some(row) = self.rows.get_mut(&payment.intent.id) else {
            return Saved::Missing;
        };
        if row.payment.version != payment.version {
            return Saved::Stale {
                payment: Box::new(row.payment.clone()),
                worker: row.worker.clone(),
            };
        }
        let took = row.payment.state.takes();
        row.payment = payment.clone();
        row.touch(now);
        let saved = row.payment.clone();
        if took && !saved.state.takes() {
            self.give_back(&saved);
        }
        Saved::Yes(Box::new(saved))
    }

    /// A refund that came to nothing takes no more of what may be refunded.
    fn give_back(&mut self, refund: &Payment) {
        let of = refund.intent.refund_of.as_ref();
        if let Some(refunded) = of.and_then(|of| self.refunded.get_mut(of)) {
            *refunded = refunded.saturating_sub(refund.intent.amount.minor());
        }
    }

    fn adopt(&mut self, id: &str, version: i64, worker: &str, now: i64) -> Option<Box<Payment>> {
        let row = self.rows.get_mut(id)?;
        if row.payment.version != version || row.payment.state.is_at_rest() {
            return None;
        }
        worker.clone_into(&mut row.worker);
        row.payment.begin(now);
        row.touch(now);
        Some(Box::new(row.payment.clone()))
    }

    fn steer(&mut self, steer: &Steer) -> Steered {
        let Some(row) = self.rows.get_mut(&steer.id) else {
            return Steered::Missing;
        };
        if let Some(before) = row.payment.journal.steering(&steer.request_id) {
            return if before.verb != steer.verb.name() {
                Steered::Differs("request_id")
            } else if before.reason != steer.verb.reason() {
                Steered::Differs("reason")
            } else {
                Steered::Before(Box::new(row.payment.clone()))
            };
        }
        let done = match &steer.verb {
            Verb::Cancel { reason } => row.payment.cancel(reason, steer.now),
            Verb::Retry => row.payment.retry(steer.now),
        };
        if !done {
            return Steered::Refused(Box::new(row.payment.clone()));
        }
        row.payment.journal.note(Steering {
            request_id: steer.request_id.clone(),
            verb: steer.verb.name().to_owned(),
            reason: steer.verb.reason().to_owned(),
            micros: steer.now,
        });
        row.worker.clone_from(&steer.worker);
        row.touch(steer.now);
        let payment = row.payment.clone();
        if !payment.state.takes() {
            self.give_back(&payment);
        }
        Steered::Done(Box::new(payment))
    }

    fn take_over(&mut self, most: u32, worker: &str, now: i64) -> Vec<Payment> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let count = self.free.len().min(most);
        let ids: Vec<_> = self.free.drain(..count).collect();
        let mut taken = Vec::new();
        for id in ids {
            if let Some(row) = self.rows.get_mut(&id) {
                worker.clone_into(&mut row.worker);
                row.payment.begin(now);
                row.touch(now);
                taken.push(row.payment.clone());
            }
        }
        taken
    }
}

impl Row {
    /// It changed: whoever holds it as it was may not write any more.
    fn touch(&mut self, now: i64) {
        self.payment.version = self.payment.version.saturating_add(1);
        self.payment.update_micros = now;
        if self.change == Change::None {
            self.change = Change::Changed;
        }
    }
}

#[cfg(test)]
mod tests {
    use money::Money;

    use super::*;
    use crate::domain::{Ended, Policy, State, intent::tests::intent};

    const POLICY: Policy = Policy {
        attempts_max: 5,
        ledger_wait_micros: 100,
    };

    fn accept(id: &str) -> Command {
        Command::Accept(Box::new(Accept {
            request: id.into(),
            body: Body::Payment(intent(id)),
            worker: "w1".to_owned(),
            now: 1,
        }))
    }

    fn refund(id: &str, minor: i128) -> Command {
        Command::Accept(Box::new(Accept {
            request: id.into(),
            body: Body::Refund(RefundAsked {
                id: id.to_owned(),
                of: "p".to_owned(),
                amount: Some(Money::from_minor(minor, "GBP".parse().unwrap())),
                reason: String::new(),
                reference: String::new(),
                metadata: BTreeMap::new(),
                effective_micros: None,
            }),
            worker: "w1".to_owned(),
            now: 2,
        }))
    }

    fn decided(set: &mut Set, commands: &[Command]) -> Vec<Outcome> {
        decide(set, commands, |_, one, other| {
            (one != other).then(|| "amount".to_owned())
        })
    }

    fn mine(outcome: &Outcome) -> Payment {
        match outcome {
            Outcome::Accepted(Accepted::Mine(payment)) => (**payment).clone(),
            other => panic!("{other:?}"),
        }
    }

    fn completed() -> Set {
        let mut set = Set::default();
        let mut payment = mine(&decided(&mut set, &[accept("p")])[0]);
        for now in 1..4 {
            payment.conclude(&Ended::Done, &POLICY, now);
        }
        let payment = Box::new(payment);
        decided(&mut set, &[Command::Save { payment, now: 4 }]);
        assert_eq!(set.rows["p"].payment.state, State::Completed);
        set
    }

    #[test]
    fn of_two_refunds_at_once_only_what_was_paid_goes_back() {
        let mut set = completed();
        let outcomes = decided(
            &mut set,
            &[refund("r1", 60), refund("r2", 60), refund("r3", 40)],
        );
        let mut first = mine(&outcomes[0]);
        assert!(
            matches!(&outcomes[1], Outcome::Accepted(Accepted::Refused(RefundRefusal::TooLarge { left })) if left.minor() == 40)
        );
        mine(&outcomes[2]);
        assert!(!set.rows.contains_key("r2"));

        first.conclude(
            &Ended::Refused {
                error: crate::domain::Error {
                    code: String::new(),
                    reason: "NO".to_owned(),
                    message: String::new(),
                },
                left_something: false,
            },
            &POLICY,
            5,
        );
        let save = Command::Save {
            payment: Box::new(first),
            now: 6,
        };
        // What is left again is for another id: a late copy of what was refused moves nothing.
        let outcomes = decided(&mut set, &[save, refund("r2", 60), refund("r4", 60)]);
        assert!(matches!(
            &outcomes[1],
            Outcome::Accepted(Accepted::Refused(RefundRefusal::TooLarge { left })) if left.minor() == 40
        ));
        mine(&outcomes[2]);
        let mut other = refund("r2", 40);
        if let Command::Accept(accept) = &mut other {
            accept.request = b"another".to_vec();
        }
        let outcomes = decided(&mut set, &[other]);
        assert!(
            matches!(&outcomes[0], Outcome::Accepted(Accepted::Differs(field)) if field == "amount")
        );
    }

    #[test]
    fn who_was_taken_over_cannot_write() {
        let mut set = Set::default();
        let paused = mine(&decided(&mut set, &[accept("p")])[0]);
        set.free.push("p".to_owned());
        let over = Command::TakeOver {
            most: 9,
            worker: "w2".to_owned(),
            now: 5,
        };
        let outcomes = decided(&mut set, &[over]);
        assert!(matches!(&outcomes[0], Outcome::Taken(taken) if taken.len() == 1));
        let save = Command::Save {
            payment: Box::new(paused),
            now: 6,
        };
        let outcomes = decided(&mut set, &[save]);
        assert!(
            matches!(&outcomes[0], Outcome::Saved(Saved::Stale { worker, .. }) if worker == "w2")
        );
    }

    #[test]
    fn an_id_is_one_request_for_ever() {
        let mut set = completed();
        let outcomes = decided(
            &mut set,
            &[accept("p"), refund("p", 1), refund("r", 1), refund("r", 1)],
        );
        assert!(matches!(outcomes[0], Outcome::Accepted(Accepted::Known(_))));
        assert!(
            matches!(&outcomes[1], Outcome::Accepted(Accepted::Differs(field)) if field == "request_id")
        );
        mine(&outcomes[2]);
        assert!(matches!(outcomes[3], Outcome::Accepted(Accepted::Known(_))));
    }

    #[test]
    fn a_decision_is_made_once_however_often_it_is_sent() {
        let mut set = Set::default();
        decided(&mut set, &[accept("p")]);
        let cancel = |request_id: &str, reason: &str| {
            Command::Steer(Box::new(Steer {
                request_id: request_id.to_owned(),
                id: "p".to_owned(),
                verb: Verb::Cancel {
                    reason: reason.to_owned(),
                },
                worker: "w2".to_owned(),
                now: 7,
            }))
        };
        let commands = [
            cancel("c1", "a"),
            cancel("c1", "a"),
            cancel("c1", "b"),
            cancel("c2", "a"),
        ];
        let outcomes = decided(&mut set, &commands);
        assert!(matches!(outcomes[0], Outcome::Steered(Steered::Done(_))));
        assert!(matches!(outcomes[1], Outcome::Steered(Steered::Before(_))));
        assert!(matches!(
            outcomes[2],
            Outcome::Steered(Steered::Differs("reason"))
        ));
        assert!(matches!(outcomes[3], Outcome::Steered(Steered::Refused(_))));
    }

    #[test]
    fn create_times_grow() {
        let mut set = Set {
            latest_micros: 10,
            ..Set::default()
        };
        let outcomes = decided(&mut set, &[accept("a"), accept("b")]);
        let times: Vec<_> = outcomes.iter().map(|o| mine(o).create_micros).collect();
        assert_eq!(times, [11, 12]);
    }
}
