//! The ways to round, by name.

use crate::Error;

/// How a division that does not come out even is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rounding {
    /// To the nearest; a half goes away from zero (2.5 → 3, −2.5 → −3). What invoices use, and what
    /// several languages call half up.
    HalfAwayFromZero,
    /// To the nearest; a half goes up, toward +∞ (2.5 → 3, −2.5 → −2). What `round` of XPath does,
    /// in which the published checks of EN 16931 are written.
    HalfUp,
    /// To the nearest; a half goes to the even neighbour (2.5 → 2, 3.5 → 4).
    HalfEven,
    /// Away from zero (2.1 → 3, −2.1 → −3).
    Up,
    /// Toward zero (2.9 → 2, −2.9 → −2).
    Down,
}

impl Rounding {
    /// `numerator / denominator`, as a whole number.
    ///
    /// # Errors
    /// [`Error::Overflow`] when the denominator is zero or the quotient does not fit.
    pub fn divide(self, numerator: i128, denominator: i128) -> Result<i128, Error> {
        let quotient = numerator.checked_div(denominator).ok_or(Error::Overflow)?;
        let remainder = numerator % denominator;
        if remainder == 0 {
            return Ok(quotient);
        }
        let rest = remainder.unsigned_abs();
        let divisor = denominator.unsigned_abs();
        // Compared without doubling, which could overflow.
        let against_half = rest.cmp(&(divisor - rest));
        let negative = (numerator < 0) != (denominator < 0);
        let away = match self {
            Self::HalfAwayFromZero => against_half.is_ge(),
            Self::HalfUp => against_half.is_gt() || (against_half.is_eq() && !negative),
            Self::HalfEven => against_half.is_gt() || (against_half.is_eq() && quotient % 2 != 0),
            Self::Up => true,
            Self::Down => false,
        };
        let step = if negative { -1 } else { 1 };
        Ok(if away { quotient + step } else { quotient })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Rounding::*, *};

    #[test]
    fn each_mode_settles_halves_and_signs_its_own_way() {
        // numerator, denominator: half away, half even, up, down
        for (n, d, expected) in [
            (5, 2, [3, 2, 3, 2]),
            (7, 2, [4, 4, 4, 3]),
            (-5, 2, [-3, -2, -3, -2]),
            (5, -2, [-3, -2, -3, -2]),
            (9, 4, [2, 2, 3, 2]),
            (11, 4, [3, 3, 3, 2]),
            (-11, 4, [-3, -3, -3, -2]),
            (8, 4, [2, 2, 2, 2]),
            (1, 3, [0, 0, 1, 0]),
        ] {
            let got = [HalfAwayFromZero, HalfEven, Up, Down].map(|r| r.divide(n, d).unwrap());
            assert_eq!(got, expected, "{n}/{d}");
        }
    }

    /// Every quotient of small numbers of either sign, by the definition of each mode: of the two
    /// whole numbers around it, the one that the mode names.
    #[test]
    fn every_small_quotient_of_either_sign_is_rounded_by_its_definition() {
        for d in (-12_i128..=12).filter(|d| *d != 0) {
            for n in -150_i128..=150 {
                // Below and above; `over` is how far above `below` it lies, in parts of `2 * |d|`.
                let below = (n * d.signum()).div_euclid(d.abs());
                let above = below + i128::from(n % d != 0);
                let over = 2 * (n * d.signum() - below * d.abs());
                let nearest = |half: i128| match over.cmp(&d.abs()) {
                    std::cmp::Ordering::Less => below,
                    std::cmp::Ordering::Equal => half,
                    std::cmp::Ordering::Greater => above,
                };
                let positive = n * d > 0;
                let (toward, away) = if positive {
                    (below, above)
                } else {
                    (above, below)
                };
                let even = if below % 2 == 0 { below } else { above };
                for (mode, expected) in [
                    (HalfAwayFromZero, nearest(away)),
                    (HalfUp, nearest(above)),
                    (HalfEven, nearest(even)),
                    (Up, away),
                    (Down, toward),
                ] {
                    assert_eq!(mode.divide(n, d), Ok(expected), "{n}/{d} {mode:?}");
                }
            }
        }
    }

    #[test]
    fn the_largest_numbers_are_rounded_too() {
        for mode in [HalfAwayFromZero, HalfUp, HalfEven] {
            assert_eq!(mode.divide(i128::MAX, i128::MAX), Ok(1), "{mode:?}");
            assert_eq!(mode.divide(i128::MAX, i128::MIN), Ok(-1), "{mode:?}");
            assert_eq!(mode.divide(i128::MAX - 1, i128::MAX), Ok(1), "{mode:?}");
            assert_eq!(mode.divide(i128::MIN, -1), Err(Error::Overflow), "{mode:?}");
        }
        assert_eq!(Up.divide(1, i128::MIN), Ok(-1));
        assert_eq!(Down.divide(i128::MAX, i128::MIN), Ok(0));
    }

    #[test]
    fn dividing_by_zero_is_an_error() {
        assert_eq!(HalfEven.divide(1, 0), Err(Error::Overflow));
    }

    proptest! {
        #[test]
        fn no_mode_is_off_by_a_whole_unit(n in any::<i64>(), d in 1_i64..) {
            let (n, d) = (i128::from(n), i128::from(d));
            for mode in [HalfAwayFromZero, HalfUp, HalfEven, Up, Down] {
                prop_assert!((mode.divide(n, d).unwrap() * d - n).abs() < d);
            }
        }
    }
}
