//! What a watcher holds of a registry's answers, and whom it believes. Pure: time is an argument.
//!
//! ```text
//!                 answer of another life,              all named, or
//!               ┌ while we know somebody ──► doubting ── DOUBT passed ──┐
//!   believing ──┘                              │  ▲                     │
//!       ▲  ▲                                   └──┘ answer: those it    │
//!       │  └─ answer: taken as it is                names are settled   │
//!       └───────────────────────────────────────────────────────────────┘
//! ```
//!
//! A registry that restarted knows nobody until its instances are back and checked. Until then it
//! is believed in what it says, and doubted in what it leaves out: an instance that we know, and
//! that the new life has not named yet, stays.

use std::time::{Duration, Instant};

use crate::discover::Endpoint;

/// How long a new life may leave out an instance before that is believed. Instances look for their
/// registry every 2 s, and their check takes 2 s at most; the rest is for slow machines.
const DOUBT: Duration = Duration::from_secs(10);

/// One snapshot from a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) epoch: String,
    pub(super) revision: u64,
    pub(super) endpoints: Vec<Endpoint>,
    /// Whether it is the first on its connection. A registry that does not name its life may have
    /// restarted since the last.
    pub(super) first: bool,
}

/// What is held of the answers so far.
#[derive(Debug, Default)]
pub(super) struct Held {
    epoch: String,
    revision: u64,
    said: Vec<Endpoint>,
    /// Known from before this life, and not named in it.
    doubted: Vec<Endpoint>,
    until: Option<Instant>,
}

impl Held {
    /// Where to go on: the revision held, and the life in which it counts.
    pub(super) fn resume(&self) -> Option<(u64, &str)> {
        (!self.epoch.is_empty()).then_some((self.revision, &self.epoch))
    }

    /// A connection stands again. A doubt begins anew: while nobody listened, nobody could be named.
    pub(super) fn connected(&mut self, now: Instant) {
        self.until = self.until.map(|_| now + DOUBT);
    }

    /// Takes an answer; `known` is whom the registries have named so far. Returns the whole new list.
    pub(super) fn take(
        &mut self,
        answer: Answer,
        known: Option<Vec<Endpoint>>,
        now: Instant,
    ) -> Vec<Endpoint> {
        let same_life = if answer.epoch.is_empty() {
            !answer.first
        } else {
            answer.epoch == self.epoch
        };
        if !same_life {
            self.doubted = known.unwrap_or_default();
            self.until = Some(now + DOUBT);
        }
        self.epoch = answer.epoch;
        self.revision = answer.revision;
        self.said = answer.endpoints;
        let Self { said, doubted, .. } = self;
        doubted.retain(|one| said.iter().all(|said| said.authority != one.authority));
        if self.doubted.is_empty() {
            self.until = None;
        }
        self.list()
    }

    /// When the doubt ends, if there is any.
    pub(super) fn doubt_ends(&self) -> Option<Instant> {
        self.until
    }

    /// What is left out and not named by now is gone. Returns the whole new list.
    pub(super) fn believe(&mut self) -> Vec<Endpoint> {
        self.doubted.clear();
        self.until = None;
        self.list()
    }

    fn list(&self) -> Vec<Endpoint> {
        self.said.iter().chain(&self.doubted).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn list(ports: impl IntoIterator<Item = u16>) -> Vec<Endpoint> {
        let authorities = ports.into_iter().map(|port| format!("h:{port}"));
        authorities.map(|a| Endpoint::new(a).unwrap()).collect()
    }

    fn answer(epoch: &str, revision: u64, ports: &[u16]) -> Answer {
        Answer {
            epoch: epoch.to_owned(),
            revision,
            endpoints: list(ports.iter().copied()),
            first: true,
        }
    }

    #[test]
    fn one_life_is_believed_and_resumed() {
        let now = Instant::now();
        let mut held = Held::default();
        assert_eq!(held.resume(), None);
        assert_eq!(held.take(answer("a", 5, &[1, 2]), None, now), list([1, 2]));
        assert_eq!(held.resume(), Some((5, "a")));
        // It lived on and says that they are gone.
        assert_eq!(held.take(answer("a", 6, &[]), Some(list([1, 2])), now), []);
        assert_eq!((held.resume(), held.doubt_ends()), (Some((6, "a")), None));
    }

    #[test]
    fn a_new_life_is_doubted_in_what_it_leaves_out() {
        let now = Instant::now();
        let mut held = Held::default();
        held.take(answer("a", 5, &[1, 2, 3]), None, now);
        let known = |held: &Held| Some(held.list());
        let listed = held.take(answer("b", 1, &[]), known(&held), now);
        assert_eq!(listed, list([1, 2, 3]));
        assert_eq!(held.doubt_ends(), Some(now + DOUBT));
        let listed = held.take(answer("b", 2, &[2, 4]), known(&held), now);
        assert_eq!(listed, list([2, 4, 1, 3]));
        // It named 2, so its word on 2 counts.
        let listed = held.take(answer("b", 3, &[4]), known(&held), now);
        assert_eq!(listed, list([4, 1, 3]));
        assert_eq!(held.believe(), list([4]));
        assert_eq!(held.doubt_ends(), None);
    }

    #[test]
    fn a_doubt_begins_anew_with_every_connection() {
        let now = Instant::now();
        let later = now + DOUBT * 3;
        let mut held = Held::default();
        held.connected(now);
        assert_eq!(held.doubt_ends(), None);
        held.take(answer("b", 1, &[]), Some(list([1])), now);
        held.connected(later);
        assert_eq!(held.doubt_ends(), Some(later + DOUBT));
    }

    #[test]
    fn doubt_ends_when_everybody_was_named() {
        let now = Instant::now();
        let mut held = Held::default();
        held.take(answer("b", 1, &[]), Some(list([1])), now);
        held.take(answer("b", 2, &[1]), Some(list([1])), now);
        assert_eq!(held.doubt_ends(), None);
    }

    #[test]
    fn a_registry_without_a_name_for_its_life_is_doubted_once_a_connection() {
        let now = Instant::now();
        let mut held = Held::default();
        held.take(answer("", 5, &[1]), None, now);
        assert_eq!(held.resume(), None);
        let later = Answer {
            first: false,
            ..answer("", 6, &[])
        };
        assert_eq!(held.take(later, Some(list([1])), now), []);
        held.take(answer("", 6, &[1]), None, now);
        assert_eq!(
            held.take(answer("", 1, &[]), Some(list([1])), now),
            list([1])
        );
    }

    proptest! {
        /// The list always holds what was said; of the rest only what was known before this life
        /// and not named in it; and after the doubt nothing else.
        #[test]
        fn no_word_is_lost_and_no_doubt_lasts(
            steps in prop::collection::vec((0u8..3, prop::collection::btree_set(1u16..6, 0..5), any::<bool>()), 1..30)
        ) {
            let mut now = Instant::now();
            let mut held = Held::default();
            let mut life = None;
            let mut known: BTreeSet<u16> = BTreeSet::new();
            let mut before: BTreeSet<u16> = BTreeSet::new();
            for (epoch, ports, wait) in steps {
                if life != Some(epoch) {
                    life = Some(epoch);
                    before = known.clone();
                }
                let said: Vec<_> = ports.iter().copied().collect();
                let answer = answer(&format!("life {epoch}"), 1, &said);
                let listed = held.take(answer, Some(list(known.iter().copied())), now);
                before.retain(|port| !ports.contains(port));
                known = ports.union(&before).copied().collect();
                let expected: BTreeSet<_> = list(known.iter().copied()).into_iter().map(|e| e.authority).collect();
                prop_assert_eq!(listed.len(), expected.len());
                prop_assert_eq!(listed.into_iter().map(|e| e.authority).collect::<BTreeSet<_>>(), expected);
                prop_assert_eq!(held.doubt_ends().is_some(), !before.is_empty());
                if let Some(ends) = held.doubt_ends().filter(|_| wait) {
                    prop_assert!(ends <= now + DOUBT);
                    now = ends;
                    prop_assert_eq!(held.believe(), list(ports.iter().copied()));
                    known = ports;
                    before.clear();
                }
            }
        }
    }
}
