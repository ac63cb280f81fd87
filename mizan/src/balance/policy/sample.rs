//! The best of a few, chosen at random: what the load-aware policies have in common.

use super::{Candidate, rotation::Rotation};

/// The most instances that one pick compares (gRFC A48's limit).
pub(super) const CHOICES_MAX: usize = 10;

/// How many draws a pick makes at most, before it settles for what it has: a draw may fall on an
/// instance that is unusable or was drawn before.
const DRAWS_MAX: usize = 24;

/// Draws instances, each with a probability in proportion to its weight.
#[derive(Debug)]
pub(super) struct Sampler {
    /// Every instance as often as it weighs.
    population: Rotation,
    candidates: usize,
}

impl Sampler {
    pub(super) fn new(candidates: &[Candidate]) -> Self {
        let weights: Vec<_> = candidates.iter().map(|c| c.weight).collect();
        Self {
            population: Rotation::new(&weights),
            candidates: candidates.len(),
        }
    }

    /// Of `choices` different usable instances, drawn at random, the one of the lowest cost; the
    /// one drawn first if there are several.
    pub(super) fn cheapest<C: PartialOrd>(
        &self,
        random: u64,
        choices: usize,
        usable: &dyn Fn(usize) -> bool,
        cost: impl Fn(usize) -> C,
    ) -> Option<usize> {
        let pair = self.pair(random).filter(|(first, _)| usable(*first));
        if let Some((first, second)) = pair
            && choices == 2
            && first != second
            && usable(second)
        {
            // Nearly every pick ends here.
            let second_is_cheaper = cost(second) < cost(first);
            return Some(if second_is_cheaper { second } else { first });
        }
        let mut drawn = Drawn::new(choices, cost);
        // Drawn is drawn: dropping the first for want of a second would favour the light ones.
        if let Some((first, _)) = pair {
            drawn.consider(first);
        }
        for index in self.draws(random) {
            if usable(index) {
                drawn.consider(index);
                if drawn.is_enough() {
                    break;
                }
            }
        }
        if drawn.best.is_none() {
            // Few are usable: look at them one by one.
            for index in from_anywhere(random, self.candidates) {
                if usable(index) {
                    drawn.consider(index);
                    if drawn.is_enough() {
                        break;
                    }
                }
            }
        }
        drawn.best.map(|(index, _)| index)
    }

    /// Two draws without putting back; the same instance twice, if it weighs more than 1. `None`
    /// for a population of less than two.
    fn pair(&self, random: u64) -> Option<(usize, usize)> {
        let size = u32::try_from(self.population.len()).ok()?;
        let (low, high) = halves(random);
        let first = below(low, size);
        let second = below(high, size.checked_sub(1)?);
        // Of all places but the first.
        let second = second + u32::from(second >= first);
        let place = |place| self.population.get(usize::try_from(place).ok()?);
        Some((place(first)?, place(second)?))
    }

    /// Draws from the population without putting back: the beginning of a shuffle, in which only
    /// what was moved is written down.
    fn draws(&self, mut random: u64) -> impl Iterator<Item = usize> + '_ {
        let size = u32::try_from(self.population.len()).unwrap_or(u32::MAX);
        let mut moved = Moved::default();
        (0..size).take(DRAWS_MAX).filter_map(move |turn| {
            random = another(random);
            let (low, _) = halves(random);
            let place = turn + below(low, size - turn);
            let drawn = moved.swap_out(place, turn);
            self.population.get(usize::try_from(drawn).ok()?)
        })
    }
}

/// What stands where, in a shuffle of 0, 1, 2… of which only the beginning is asked for.
#[derive(Default)]
struct Moved {
    /// Place and what stands there now.
    entries: [(u32, u32); DRAWS_MAX],
    count: usize,
}

impl Moved {
    /// What stands at `place`, where what stands at `turn` is put; `turn` grows by one each time.
    fn swap_out(&mut self, place: u32, turn: u32) -> u32 {
        let here = self.at(place);
        let replacement = (place, self.at(turn));
        match self
            .entries
            .iter()
            .take(self.count)
            .position(|e| e.0 == place)
        {
            Some(known) => {
                if let Some(entry) = self.entries.get_mut(known) {
                    *entry = replacement;
                }
            }
            None => {
                if let Some(entry) = self.entries.get_mut(self.count) {
                    *entry = replacement;
                    self.count += 1;
                }
            }
        }
        here
    }

    fn at(&self, place: u32) -> u32 {
        let mut known = self.entries.iter().take(self.count);
        known.find(|e| e.0 == place).map_or(place, |e| e.1)
    }
}

/// The instances drawn so far and the best of them.
struct Drawn<C, F> {
    seen: [usize; CHOICES_MAX],
    count: usize,
    choices: usize,
    best: Option<(usize, C)>,
    cost: F,
}

impl<C: PartialOrd, F: Fn(usize) -> C> Drawn<C, F> {
    fn new(choices: usize, cost: F) -> Self {
        Self {
            seen: [usize::MAX; CHOICES_MAX],
            count: 0,
            choices: choices.clamp(1, CHOICES_MAX),
            best: None,
            cost,
        }
    }

    fn is_enough(&self) -> bool {
        self.count >= self.choices
    }

    fn consider(&mut self, index: usize) {
        if self.seen.iter().take(self.count).any(|&seen| seen == index) {
            return;
        }
        if let Some(slot) = self.seen.get_mut(self.count) {
            *slot = index;
        }
        self.count += 1;
        let cost = (self.cost)(index);
        if self.best.as_ref().is_none_or(|(_, best)| cost < *best) {
            self.best = Some((index, cost));
        }
    }
}

/// All of 0..count once, from a random one on.
pub(super) fn from_anywhere(random: u64, count: usize) -> impl Iterator<Item = usize> {
    let (low, _) = halves(random);
    let start = below(low, u32::try_from(count).unwrap_or(u32::MAX));
    let start = usize::try_from(start).unwrap_or(0);
    (start..count).chain(0..start)
}

/// A number below `limit`, all about equally likely; 0 if `limit` is.
pub(super) fn below(random: u32, limit: u32) -> u32 {
    halves(u64::from(random) * u64::from(limit)).1
}

/// Another random number, as good as independent of the one it is made from (the finisher of
/// SplitMix64), for a policy that decides something before it passes the call on.
pub(super) fn another(random: u64) -> u64 {
    let mut x = random.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// The low and the high half.
pub(super) fn halves(number: u64) -> (u32, u32) {
    let half = |n| u32::try_from(n & u64::from(u32::MAX)).unwrap_or(u32::MAX);
    (half(number), half(number >> 32))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::balance::policy::testing::candidates;

    #[test]
    fn as_many_are_compared_as_were_asked_for_and_the_first_of_the_cheapest_is_best() {
        let mut drawn = Drawn::new(3, |index: usize| [7, 5, 5, 1].get(index).copied());
        for (index, enough) in [(0, false), (0, false), (1, false), (1, false), (2, true)] {
            drawn.consider(index);
            assert_eq!(drawn.is_enough(), enough, "{index}");
        }
        assert_eq!(drawn.best, Some((1, Some(5))));
    }

    #[test]
    fn pairs_are_all_equally_likely() {
        let sampler = Sampler::new(&candidates(&[1; 4]));
        let mut random = fastrand::Rng::with_seed(3);
        let mut counts = [[0_u32; 4]; 4];
        for _ in 0..60_000 {
            let pair: Vec<_> = sampler.draws(random.u64(..)).take(2).collect();
            counts[pair[0]][pair[1]] += 1;
            let (first, second) = sampler.pair(random.u64(..)).unwrap();
            counts[first][second] += 1;
        }
        for (first, row) in counts.iter().enumerate() {
            for (second, count) in row.iter().enumerate() {
                let expected = if first == second { 0 } else { 10_000 };
                assert!(count.abs_diff(expected) <= expected / 20, "{counts:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn everyone_is_drawn_as_often_as_it_weighs(
            weights in prop::collection::vec(1_u32..6, 1..5),
            random: u64,
        ) {
            let sampler = Sampler::new(&candidates(&weights));
            let mut met: Vec<_> = sampler.draws(random).collect();
            let mut all: Vec<_> = (0..sampler.population.len())
                .filter_map(|turn| sampler.population.at(turn))
                .collect();
            met.sort_unstable();
            all.sort_unstable();
            prop_assert_eq!(met, all);
        }

        #[test]
        fn somebody_usable_is_found_whoever_it_is(
            weights in prop::collection::vec(1_u32..2000, 1..50),
            random: u64,
            which: usize,
            choices in 1_usize..20,
        ) {
            let only = which % weights.len();
            let sampler = Sampler::new(&candidates(&weights));
            let picked = sampler.cheapest(random, choices, &|i| i == only, |_| 0);
            prop_assert_eq!(picked, Some(only));
            prop_assert_eq!(sampler.cheapest(random, choices, &|_| false, |_| 0), None);
        }

        #[test]
        fn with_as_many_choices_as_instances_the_cheapest_wins(
            costs in prop::collection::vec(any::<u32>(), 1..=10),
            random: u64,
        ) {
            let sampler = Sampler::new(&candidates(&vec![1; costs.len()]));
            let picked = sampler.cheapest(random, CHOICES_MAX, &|_| true, |i| costs[i]).unwrap();
            prop_assert_eq!(costs[picked], *costs.iter().min().unwrap());
        }

        #[test]
        fn below_is_below(random: u32, limit in 1_u32..) {
            prop_assert!(below(random, limit) < limit);
        }
    }
}
