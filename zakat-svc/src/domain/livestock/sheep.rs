//! Sheep and goats: Bukhari 1454; above 300, one for every hundred (Tirmidhi 621).

use super::{Animal::Sheep, Due};

pub(super) fn due(count: u32) -> Due {
    match count {
        0..=39 => Due::one((0, 39), &[]),
        40..=120 => Due::one((40, 120), &[(Sheep, 1)]),
        121..=200 => Due::one((121, 200), &[(Sheep, 2)]),
        201..=399 => Due::one((201, 399), &[(Sheep, 3)]),
        _ => {
            let hundreds = count / 100;
            Due::one((hundreds * 100, hundreds * 100 + 99), &[(Sheep, hundreds)])
        }
    }
}
