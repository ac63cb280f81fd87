//! Whose turn it is: smooth weighted round robin, as data. No clock, no socket.

/// The order in which instances are asked, repeated for ever. An instance of weight w comes w times
/// a round, as far apart as possible.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rotation(Vec<usize>);

/// The longest round. Weights whose sum, divided by what they have in common, exceeds it are scaled
/// down, each staying at least 1.
const ROUND_MAX: u64 = 1000;

impl Rotation {
    /// A rotation over as many instances as there are weights; a weight of 0 counts as 1.
    pub(crate) fn new(weights: &[u32]) -> Self {
        let weights = scaled(weights);
        let total: i64 = weights.iter().sum();
        let mut current = vec![0_i64; weights.len()];
        let mut order = Vec::new();
        for _ in 0..total {
            // Everyone gains its weight, the richest goes and pays the total.
            for (credit, weight) in current.iter_mut().zip(&weights) {
                *credit += weight;
            }
            let richest = (0..current.len()).max_by_key(|&i| (current[i], std::cmp::Reverse(i)));
            if let Some(richest) = richest {
                current[richest] -= total;
                order.push(richest);
            }
        }
        Self(order)
    }

    /// Whose turn the `turn`-th is; `None` when there is nobody.
    pub(crate) fn at(&self, turn: usize) -> Option<usize> {
        self.0.get(turn.checked_rem(self.0.len())?).copied()
    }

    /// From the `turn`-th on, everyone of one round, in order; some more than once.
    pub(crate) fn round_from(&self, turn: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.0.len()).filter_map(move |offset| self.at(turn.wrapping_add(offset)))
    }
}

fn scaled(weights: &[u32]) -> Vec<i64> {
    let weights: Vec<u64> = weights.iter().map(|w| u64::from(*w).max(1)).collect();
    let common = weights
        .iter()
        .copied()
        .fold(0, greatest_common_divisor)
        .max(1);
    let total: u64 = weights.iter().sum::<u64>() / common;
    let divide = |w: &u64| {
        let w = w / common;
        let w = if total > ROUND_MAX {
            (w * ROUND_MAX / total).max(1)
        } else {
            w
        };
        i64::try_from(w).unwrap_or(1)
    };
    weights.iter().map(divide).collect()
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
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
        assert_eq!(round(&[5, 1, 1], 7), [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn nobody_has_no_turn() {
        assert_eq!(Rotation::new(&[]).at(3), None);
        assert_eq!(Rotation::default().round_from(0).count(), 0);
    }

    proptest! {
        #[test]
        fn everyone_gets_its_share(weights in prop::collection::vec(0_u32..20, 1..20)) {
            let rotation = Rotation::new(&weights);
            let length = rotation.0.len();
            let total: u32 = weights.iter().map(|w| (*w).max(1)).sum();
            for (i, weight) in weights.iter().enumerate() {
                let turns = rotation.round_from(0).filter(|turn| *turn == i).count();
                let share = usize::try_from((*weight).max(1)).unwrap() * length;
                prop_assert_eq!(turns * usize::try_from(total).unwrap(), share);
            }
        }

        #[test]
        fn a_round_is_bounded_and_leaves_nobody_out(weights in prop::collection::vec(any::<u32>(), 1..100)) {
            let rotation = Rotation::new(&weights);
            prop_assert!(rotation.0.len() <= 1100);
            let mut seen: Vec<_> = rotation.round_from(7).collect();
            seen.sort_unstable();
            seen.dedup();
            prop_assert_eq!(seen.len(), weights.len());
        }
    }
}
