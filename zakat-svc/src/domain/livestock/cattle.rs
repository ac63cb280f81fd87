//! Cattle: a tabi' for every 30 and a musinnah for every 40 (Abu Dawud 1576).

use super::{
    Animal::{Musinnah, Tabi},
    CattleRule, Due, made_up_of,
};
use crate::domain::ratio::Ratio;

pub(super) fn due(count: u32, rule: CattleRule) -> Due {
    match (count, rule) {
        (0..=29, _) => Due::one((0, 29), &[]),
        (30..=39, _) => Due::one((30, 39), &[(Tabi, 1)]),
        (40..=59, CattleRule::Bands) => Due::one((40, 59), &[(Musinnah, 1)]),
        (40..=59, CattleRule::ProRata) => pro_rata(count),
        _ => {
            let tens = count / 10;
            Due {
                alternatives: made_up_of(tens, (Musinnah, 4), (Tabi, 3)),
                band: (tens * 10, tens * 10 + 9),
            }
        }
    }
}

/// So many fortieths of a musinnah.
fn pro_rata(count: u32) -> Due {
    let share = Ratio::new(count.into(), 40).unwrap_or(Ratio::ONE);
    Due {
        alternatives: vec![vec![(Musinnah, share)]],
        band: (count, count),
    }
}
