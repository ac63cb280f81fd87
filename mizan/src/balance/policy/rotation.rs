//! Whose turn it is: smooth weighted round robin, as data. No clock, no socket.

/// The order in which instances are asked, repeated for ever. An instance of weight w comes w times
/// a round, as far apart as possible.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rotation(Box<[usize]>);

/// The longest round. Weights whose sum, divided by what they have in common, exceeds it are scaled
/// down, each staying at least 1.
const ROUND_MAX: u64 = 1000;

impl Rotation {
    /// A rotation over as many instances as there are weights; a weight of 0 counts as 1.
    ///
    /// Instances of the same weight take turns among themselves at equal distances: a class of m
    /// instances of weight w has its t-th turn at (2t + 1) / 2mw of the round. The classes are then
    /// merged by time.
    pub(crate) fn new(weights: &[u32]) -> Self {
        let weights = scaled(weights);
        let mut by_weight: Vec<usize> = (0..weights.len()).collect();
        by_weight.sort_by_key(|&i| weights.get(i));
        let mut turns = Vec::new();
        for class in by_weight.chunk_by(|&a, &b| weights.get(a) == weights.get(b)) {
            let weight = class.first().and_then(|&i| weights.get(i));
            let times = (1_u64..).step_by(2);
            let members = class.iter().copied().cycle();
            let length = number(class.len()).saturating_mul(weight.copied().unwrap_or(1));
            let count = usize::try_from(length).unwrap_or(usize::MAX);
            let class = times.zip(members).take(count);
            turns.extend(class.map(|(time, index)| (time, length, index)));
        }
        // time / length, compared without dividing.
        turns.sort_by(|(time, length, index), (time_b, length_b, index_b)| {
            let ours = u128::from(*time) * u128::from(*length_b);
            let theirs = u128::from(*time_b) * u128::from(*length);
            ours.cmp(&theirs).then(index.cmp(index_b))
        });
        Self(turns.into_iter().map(|(_, _, index)| index).collect())
    }

    /// How many turns a round has.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whose turn the `turn`-th is; `None` when there is nobody.
    pub(crate) fn at(&self, turn: usize) -> Option<usize> {
        self.get(turn.checked_rem(self.0.len())?)
    }

    /// Whose turn it is at this place of the round.
    pub(crate) fn get(&self, place: usize) -> Option<usize> {
        self.0.get(place).copied()
    }
}

/// Divided by what they have in common, and scaled down to a round that is not too long.
fn scaled(weights: &[u32]) -> Vec<u64> {
    let weights: Vec<u64> = weights.iter().map(|w| u64::from(*w).max(1)).collect();
    let common = weights.iter().copied().fold(0, greatest_common_divisor);
    let common = common.max(1);
    let total = weights.iter().sum::<u64>() / common;
    let scale = |w: &u64| match w / common {
        w if total > ROUND_MAX => (w * ROUND_MAX / total).max(1),
        w => w,
    };
    weights.iter().map(scale).collect()
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round(weights: &[u32], turns: usize) -> Vec<usize> {
        let rotation = Rotation::new(weights);
        (0..turns).map(|turn| rotation.at(turn).unwrap()).collect()
    }

    #[test]
    fn equal_weights_take_turns() {
        assert_eq!(round(&[1, 1, 1], 6), [0, 1, 2, 0, 1, 2]);
        assert_eq!(
            round(&[100, 100], 4),
            [0, 1, 0, 1],
            "only proportions matter"
        );
    }

    #[test]
    fn heavier_instances_come_more_often_and_spread_out() {
        assert_eq!(round(&[5, 1, 1], 7), [0, 1, 0, 0, 0, 2, 0]);
        assert_eq!(round(&[2, 1], 3), [0, 1, 0]);
    }

    #[test]
    fn nobody_has_no_turn() {
        assert_eq!(Rotation::new(&[]).at(3), None);
        assert_eq!(Rotation::default().len(), 0);
    }

    proptest! {
        #[test]
        fn everyone_gets_its_share(weights in prop::collection::vec(0_u32..20, 1..20)) {
            let rotation = Rotation::new(&weights);
            let total: u32 = weights.iter().map(|w| (*w).max(1)).sum();
            for (i, weight) in weights.iter().enumerate() {
                let turns = rotation.0.iter().filter(|turn| **turn == i).count();
                let share = usize::try_from((*weight).max(1)).unwrap() * rotation.len();
                prop_assert_eq!(turns * usize::try_from(total).unwrap(), share);
            }
        }

        /// Smooth: the turns of one instance are nearly equally far apart.
        #[test]
        fn nobody_waits_twice_as_long_as_its_share_says(
            weights in prop::collection::vec(1_u32..20, 1..20),
        ) {
            let rotation = Rotation::new(&weights);
            let twice: Vec<_> = rotation.0.iter().chain(rotation.0.iter()).collect();
            for i in 0..weights.len() {
                let turns = rotation.0.iter().filter(|turn| **turn == i).count();
                let fair = rotation.len().div_ceil(turns);
                let mut last = None;
                for (at, _) in twice.iter().enumerate().filter(|(_, turn)| ***turn == i) {
                    if let Some(last) = last.replace(at) {
                        // A class's turns come at exact distances; each other class shifts them
                        // by less than one.
                        prop_assert!(at - last <= 2 * fair + weights.len(), "{rotation:?}");
                    }
                }
            }
        }

        #[test]
        fn a_round_is_bounded_and_leaves_nobody_out(weights in prop::collection::vec(any::<u32>(), 1..100)) {
            let rotation = Rotation::new(&weights);
            prop_assert!(rotation.len() <= 1100);
            let mut seen = rotation.0.to_vec();
            seen.sort_unstable();
            seen.dedup();
            prop_assert_eq!(seen.len(), weights.len());
        }
    }
}
