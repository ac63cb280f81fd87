//! Splitting an amount without losing any of it.

use crate::{Error, Money};

impl Money {
    /// Splits the amount in proportion to `weights`, losing nothing: the parts add up to the
    /// whole. What integer division leaves over goes, one smallest unit each, to the parts with
    /// the largest remainders, earlier parts first.
    ///
    /// # Errors
    /// [`Error::Overflow`] when all weights are zero, there are none, or a product does not fit.
    pub fn allocate(self, weights: &[u32]) -> Result<Vec<Self>, Error> {
        let total: i128 = weights.iter().map(|w| i128::from(*w)).sum();
        if total == 0 {
            return Err(Error::Overflow);
        }
        let mut parts = Vec::with_capacity(weights.len());
        let mut remainders = Vec::with_capacity(weights.len());
        for weight in weights {
            let share = self
                .minor()
                .checked_mul(i128::from(*weight))
                .ok_or(Error::Overflow)?;
            parts.push(share / total);
            remainders.push((share % total).abs());
        }
        let left = self.minor() - parts.iter().sum::<i128>();
        let mut order: Vec<usize> = (0..parts.len()).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(remainders[i]));
        // Each truncation loses less than one unit, so there are fewer left than parts.
        let mut units = left.unsigned_abs();
        for index in order {
            if units == 0 {
                break;
            }
            parts[index] += left.signum();
            units -= 1;
        }
        let currency = self.currency();
        Ok(parts
            .into_iter()
            .map(|minor| Self::from_minor(minor, currency))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(minor: i128, weights: &[u32]) -> Vec<i128> {
        let money = Money::from_minor(minor, "GBP".parse().unwrap());
        money
            .allocate(weights)
            .unwrap()
            .iter()
            .map(Money::minor)
            .collect()
    }

    #[test]
    fn the_largest_remainders_get_what_is_left() {
        assert_eq!(split(100, &[1, 1, 1]), [34, 33, 33]);
        assert_eq!(split(-100, &[1, 1, 1]), [-34, -33, -33]);
        assert_eq!(split(5, &[3, 7]), [2, 3]);
        assert_eq!(split(10, &[0, 1]), [0, 10]);
    }

    #[test]
    fn nothing_to_weigh_by_is_an_error() {
        let money = Money::from_minor(1, "GBP".parse().unwrap());
        assert_eq!(money.allocate(&[]), Err(Error::Overflow));
        assert_eq!(money.allocate(&[0, 0]), Err(Error::Overflow));
    }

    proptest! {
        #[test]
        fn the_parts_add_up_to_the_whole(minor in any::<i64>(), weights in prop::collection::vec(0_u32..1000, 1..20)) {
            prop_assume!(weights.iter().any(|w| *w > 0));
            prop_assert_eq!(split(i128::from(minor), &weights).iter().sum::<i128>(), i128::from(minor));
        }
    }
}
