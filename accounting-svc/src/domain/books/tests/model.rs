//! What holds whatever is asked, beside a naive model that keeps nothing but a list of what happened.

use proptest::prelude::*;

use super::*;

/// What may be asked of the accounts `a` to `d`, of which `c` and `d` have limits.
#[derive(Debug, Clone)]
enum Asked {
    Record(usize, usize, i128),
    Pend(usize, usize, i128, Option<Micros>),
    Post(usize, Option<i128>),
    Void(usize),
    Reverse(usize),
    Pass(Micros),
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const LIMITS: [Limit; 4] = [
    Limit::None,
    Limit::None,
    Limit::DebitsWithinCredits,
    Limit::CreditsWithinDebits,
];

fn asked() -> impl Strategy<Value = Asked> {
    let name = 0..NAMES.len();
    let minor = 1..20_i128;
    let target = 0..12_usize;
    prop_oneof![
        4 => (name.clone(), name.clone(), minor.clone()).prop_map(|(d, c, m)| Asked::Record(d, c, m)),
        4 => (name.clone(), name, minor.clone(), prop::option::of(1..20_i64))
            .prop_map(|(d, c, m, t)| Asked::Pend(d, c, m, t)),
        3 => (target.clone(), prop::option::of(minor)).prop_map(|(t, m)| Asked::Post(t, m)),
        1 => target.clone().prop_map(Asked::Void),
        2 => target.prop_map(Asked::Reverse),
        2 => (1..10_i64).prop_map(Asked::Pass),
    ]
}

type Moved = (usize, usize, i128, Option<Micros>, Option<i128>, bool, bool);

/// The naive model: a list of what was recorded, added up anew for every question.
#[derive(Debug, Clone, Default)]
struct Model {
    time: Micros,
    /// Debited, credited, how much, since when expired, how much was posted, whether voided,
    /// whether taken back.
    all: Vec<Moved>,
}

impl Model {
    fn numbers(&self) -> [[i128; 4]; 4] {
        let mut sums = [[0; 4]; 4];
        for (debited, credited, minor, expires, posted, voided, _) in &self.all {
            let (offset, amount) = match posted {
                Some(posted) => (0, *posted),
                None if *voided || expires.is_some_and(|t| t <= self.time) => continue,
                None => (2, *minor),
            };
            sums[*debited][offset] += amount;
            sums[*credited][offset + 1] += amount;
        }
        sums
    }

    fn within(&self) -> bool {
        let sums = self.numbers();
        sums[2][0] + sums[2][2] <= sums[2][1] && sums[3][1] + sums[3][3] <= sums[3][0]
    }

    /// Does it, unless it cannot be done.
    fn ask(&mut self, asked: &Asked) {
        let mut next = self.clone();
        match *asked {
            Asked::Record(d, c, m) => next.all.push((d, c, m, None, Some(m), false, false)),
            Asked::Pend(d, c, m, timeout) => {
                let expires = timeout.map(|t| self.time + t);
                next.all.push((d, c, m, expires, None, false, false));
            }
            Asked::Post(target, minor) => match next.all.get_mut(target) {
                Some((_, _, most, expires, posted @ None, false, _))
                    if minor.is_none_or(|m| m <= *most)
                        && expires.is_none_or(|t| t > self.time) =>
                {
                    *posted = Some(minor.unwrap_or(*most));
                }
                _ => return,
            },
            Asked::Void(target) => match next.all.get_mut(target) {
                Some((_, _, _, expires, None, voided @ false, _))
                    if expires.is_none_or(|t| t > self.time) =>
                {
                    *voided = true;
                }
                _ => return,
            },
            Asked::Reverse(target) => match next.all.get_mut(target) {
                Some((d, c, _, _, Some(m), _, reversed @ false)) => {
                    *reversed = true;
                    let taken_back = (*c, *d, *m, None, Some(*m), false, false);
                    next.all.push(taken_back);
                }
                _ => return,
            },
            Asked::Pass(micros) => {
                next.time += micros;
            }
        }
        if next.within() {
            *self = next;
        }
    }
}

proptest! {
    #[test]
    fn the_books_say_what_a_naive_model_says(all in prop::collection::vec(asked(), 1..60)) {
        let limits: Vec<_> = NAMES.into_iter().zip(LIMITS).collect();
        let mut books = books(&limits);
        let mut model = Model::default();
        // The ids of what was recorded, in the model's order.
        let mut ids: Vec<String> = Vec::new();
        for (index, asked) in all.iter().enumerate() {
            let id = format!("r{index}");
            let target = |t: usize| ids.get(t).cloned().unwrap_or_else(|| "none".to_owned());
            let transaction = |d: usize, c: usize, m| transfer(NAMES[d], NAMES[c], m);
            let request = match asked.clone() {
                Asked::Record(d, c, m) => record(&id, transaction(d, c, m)),
                Asked::Pend(d, c, m, timeout) => pending(&id, transaction(d, c, m), timeout),
                Asked::Post(t, m) => {
                    post(&id, &target(t), m.map(|m| vec![money(m, "GBP"), money(m, "GBP")]))
                }
                Asked::Void(t) => request(&id, Action::Void(target(t))),
                Asked::Reverse(t) => reverse(&id, &target(t)),
                Asked::Pass(micros) => {
                    books = later(&books, books.time + micros);
                    model.ask(asked);
                    let sums = model.numbers().map(|s| s.map(|n| i64::try_from(n).unwrap()));
                    prop_assert_eq!(numbers(&books).into_values().collect::<Vec<_>>(), sums);
                    continue;
                }
            };
            let before = model.all.len();
            model.ask(asked);
            let outcome = books.apply_one(&request);
            if model.all.len() > before {
                prop_assert!(matches!(outcome, Outcome::Done { .. }), "{:?}", outcome);
                ids.push(id);
            }
            let sums = model.numbers().map(|s| s.map(|n| i64::try_from(n).unwrap()));
            prop_assert_eq!(numbers(&books).into_values().collect::<Vec<_>>(), sums);
        }
        // What all accounts hold is what their currency holds, and both sides are equal.
        for (_, total) in books.totals() {
            let [debits, credits, pending_debits, pending_credits] = total.row().unwrap();
            prop_assert_eq!((debits, pending_debits), (credits, pending_credits));
        }
        // The chain ties every entry to the one before.
        let finished = books.finish(Head::EMPTY);
        let mut hash = crate::domain::GENESIS;
        for (entry, sequence) in finished.changes.entries.iter().zip(1..) {
            prop_assert_eq!(entry.sequence, sequence);
            prop_assert_eq!(entry.hash, entry.hash_after(&hash));
            hash = entry.hash;
        }
    }
}
