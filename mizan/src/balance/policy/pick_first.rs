//! Pick first: one instance, until it cannot be used (gRFC A62).

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::{Call, Candidate, Picker, Policy, ring_hash};

/// Everything to one instance: the first usable one of a list, for as long as it is usable. Then to
/// the next, and there it stays, even when the first is back.
///
/// The list is in the order of the addresses, or shuffled: the same for the life of the policy,
/// whatever comes and goes (gRFC A62's `shuffleAddressList`). Without shuffling all clients choose
/// the same instance; use it for a leader with followers, not to spread load.
///
/// A retry that avoids the instance which just failed moves the policy to the next one.
#[derive(Debug)]
pub struct PickFirst {
    /// What the list is shuffled by.
    seed: Option<u64>,
    /// The hash of the instance in use; 0 when there is none yet.
    current: Arc<AtomicU64>,
}

impl PickFirst {
    /// In the order of the addresses.
    #[must_use]
    pub fn new() -> Self {
        Self::ordered_by(None)
    }

    /// In an order that depends on `random`, as it should differ between processes.
    #[must_use]
    pub fn shuffled(random: u64) -> Self {
        Self::ordered_by(Some(random))
    }

    fn ordered_by(seed: Option<u64>) -> Self {
        Self {
            seed,
            current: Arc::default(),
        }
    }
}

/// In the order of the addresses, as gRFC A62 has it.
impl Default for PickFirst {
    fn default() -> Self {
        Self::new()
    }
}

impl Policy for PickFirst {
    fn picker(&self, candidates: &[Candidate]) -> Box<dyn Picker> {
        let mut order: Vec<_> = candidates.iter().enumerate().collect();
        match self.seed {
            None => order.sort_by_key(|(_, c)| c.authority.clone()),
            Some(seed) => {
                order.sort_by_key(|(_, c)| ring_hash::seeded(seed, c.authority.as_bytes()));
            }
        }
        let order = order.into_iter().map(|(i, c)| (name(c), i));
        let order: Box<[_]> = order.collect();
        let mut by_name = order.clone();
        by_name.sort_unstable();
        Box::new(First {
            order,
            by_name,
            current: self.current.clone(),
        })
    }
}

/// What an instance is remembered by, never 0.
fn name(candidate: &Candidate) -> u64 {
    ring_hash::hash_key(candidate.authority.as_bytes()).max(1)
}

#[derive(Debug)]
struct First {
    /// The list: name and index.
    order: Box<[(u64, usize)]>,
    /// The same, to search.
    by_name: Box<[(u64, usize)]>,
    current: Arc<AtomicU64>,
}

impl First {
    fn find(&self, name: u64) -> Option<usize> {
        let at = self.by_name.binary_search_by_key(&name, |(n, _)| *n).ok()?;
        self.by_name.get(at).map(|(_, index)| *index)
    }
}

impl Picker for First {
    fn pick(&self, _call: &Call, usable: &dyn Fn(usize) -> bool) -> Option<usize> {
        let current = self.find(self.current.load(Ordering::Relaxed));
        if let Some(index) = current.filter(|&index| usable(index)) {
            return Some(index);
        }
        let next = self.order.iter().find(|(_, index)| usable(*index));
        let (name, index) = *next?;
        self.current.store(name, Ordering::Relaxed);
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::balance::policy::testing::{call, candidate, candidates, counts};

    #[test]
    fn everything_goes_to_the_first_in_order_of_address() {
        let candidates = [candidate("b:1", 1, ""), candidate("a:1", 9, "")];
        let picker = PickFirst::new().picker(&candidates);
        assert_eq!(counts(&*picker, 2, 100, &|_| true), [0, 100]);
    }

    #[test]
    fn it_moves_only_when_it_must_and_then_stays() {
        let policy = PickFirst::new();
        let picker = policy.picker(&candidates(&[1, 1, 1]));
        assert_eq!(picker.pick(&call(1), &|_| true), Some(0));
        assert_eq!(picker.pick(&call(1), &|i| i != 0), Some(1));
        assert_eq!(picker.pick(&call(1), &|_| true), Some(1));
        // Also over a change of the instances.
        let mut changed = candidates(&[1, 1, 1, 1]);
        changed.remove(0);
        let picker = policy.picker(&changed);
        assert_eq!(picker.pick(&call(1), &|_| true), Some(0));
        changed.remove(0);
        let picker = policy.picker(&changed);
        assert_eq!(picker.pick(&call(1), &|_| true), Some(0));
        assert_eq!(picker.pick(&call(1), &|_| false), None);
        assert_eq!(policy.picker(&[]).pick(&call(1), &|_| true), None);
    }

    #[test]
    fn a_shuffled_list_stays_as_it_is_and_differs_between_channels() {
        let all = candidates(&[1; 5]);
        let mut firsts = BTreeSet::new();
        for random in 0..100 {
            let policy = PickFirst::shuffled(random);
            let first = policy.picker(&all).pick(&call(1), &|_| true).unwrap();
            // The others may come and go.
            let again = PickFirst::shuffled(random).picker(&all[first..=first]);
            assert_eq!(again.pick(&call(1), &|_| true), Some(0));
            assert_eq!(policy.picker(&all).pick(&call(9), &|_| true), Some(first));
            firsts.insert(first);
        }
        assert_eq!(firsts.len(), 5, "each is somebody's first");
    }
}
