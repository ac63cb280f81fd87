//! Camels: Bukhari 1454 up to 120; above that, the schools part.

use super::{
    Animal::{BintLabun, BintMakhad, Hiqqah, Jadhaah, Sheep},
    CamelRule, Due, made_up_of,
};
use crate::domain::livestock::Animal;

/// From how many heads on, what is due: agreed by all.
const AGREED: [(u32, &[(Animal, u32)]); 11] = [
    (5, &[(Sheep, 1)]),
    (10, &[(Sheep, 2)]),
    (15, &[(Sheep, 3)]),
    (20, &[(Sheep, 4)]),
    (25, &[(BintMakhad, 1)]),
    (36, &[(BintLabun, 1)]),
    (46, &[(Hiqqah, 1)]),
    (61, &[(Jadhaah, 1)]),
    (76, &[(BintLabun, 2)]),
    (91, &[(Hiqqah, 2)]),
    (121, &[]),
];

pub(super) fn due(count: u32, rule: CamelRule) -> Due {
    match (count, rule) {
        // Restarted, the first four above 120 add nothing.
        (91..=124, CamelRule::Restart) => Due::one((91, 124), &[(Hiqqah, 2)]),
        (0..=120, _) => agreed(count),
        (_, CamelRule::Restart) => restarted(count),
        (121..=129, CamelRule::Decades) => Due::one((121, 129), &[(BintLabun, 3)]),
        (121..=129, CamelRule::DecadesWithChoice) => {
            Due::any((121, 129), vec![vec![(Hiqqah, 2)], vec![(BintLabun, 3)]])
        }
        (_, CamelRule::Decades | CamelRule::DecadesWithChoice) => decades(count),
    }
}

fn agreed(count: u32) -> Due {
    let mut first = 0;
    let mut bundle: &[(Animal, u32)] = &[];
    for (from, next) in AGREED {
        if count < from {
            return Due::one((first, from - 1), bundle);
        }
        (first, bundle) = (from, next);
    }
    Due::one((first, first), bundle)
}

/// A bint labun for every 40 and a hiqqah for every 50 of the tens.
fn decades(count: u32) -> Due {
    let tens = count / 10;
    Due {
        alternatives: made_up_of(tens, (Hiqqah, 5), (BintLabun, 4)),
        band: (tens * 10, tens * 10 + 9),
    }
}

/// What the heads above the last fifty add, as in the first reckoning, but that from 46 on they
/// add one hiqqah.
const ANEW: [(u32, &[(Animal, u32)]); 7] = [
    (0, &[]),
    (5, &[(Sheep, 1)]),
    (10, &[(Sheep, 2)]),
    (15, &[(Sheep, 3)]),
    (20, &[(Sheep, 4)]),
    (25, &[(BintMakhad, 1)]),
    (36, &[(BintLabun, 1)]),
];

fn restarted(count: u32) -> Due {
    // Before 150 the cycle is cut short: its bint makhad is followed by the third hiqqah.
    let (base, hiqqahs, end) = if count < 150 {
        (120, 2, 30)
    } else {
        let cycle = (count - 150) / 50;
        (150 + cycle * 50, 3 + cycle, 46)
    };
    let rest = count - base;
    if rest >= end {
        // 46 to 49 above the fifty, and the first four of the next cycle: the same.
        return Due::one((base + 46, base + 54), &[(Hiqqah, hiqqahs + 1)]);
    }
    let mut band = (base, base + end - 1);
    let mut extra: &[(Animal, u32)] = &[];
    for (from, next) in ANEW {
        if rest >= from {
            band.0 = base + from;
            extra = next;
        } else {
            band.1 = band.1.min(base + from - 1);
        }
    }
    if extra.is_empty() {
        // The first four of a cycle belong to the last of the one before.
        band.0 = match base {
            150 => 150,
            _ => base - 4,
        };
    }
    let mut bundle = vec![(Hiqqah, hiqqahs)];
    bundle.extend_from_slice(extra);
    Due::one(band, &bundle)
}
