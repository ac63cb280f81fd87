//! Walking one account's legs by the bands of their index.
//!
//! The index of legs by account is ordered by band first: 8192 entries of the journal. So writing
//! touches few pages of it, and reading looks into each band once.

use ::store::Unavailable;

use super::{
    journal::Order,
    reader::{Param, Reader},
};

/// As the statements have it: `sequence >> 13`.
const BITS: u32 = 13;

const fn of(sequence: i64) -> i64 {
    sequence >> BITS
}

/// What lies between two places, both excluded, in one band in which the account has legs: the first
/// such band in the order of the walk.
pub(super) async fn next(
    reader: impl Reader,
    account_key: i64,
    (low, high): (i64, i64),
    order: Order,
) -> Result<Option<(i64, i64)>, Unavailable> {
    macro_rules! touched {
        ($end:literal) => {
            concat!(
                "WITH RECURSIVE band(n) AS (
                     SELECT CAST($1 AS bigint)
                     UNION ALL SELECT n + 1 FROM band WHERE n < CAST($2 AS bigint))
                 SELECT ",
                $end,
                "(b.n) FROM band b WHERE EXISTS (
                     SELECT 1 FROM leg k WHERE (k.sequence >> 13) = b.n AND k.account_key = $3)"
            )
        };
    }
    for (first, last) in Windows::between((low, high), order) {
        let sql = match order {
            Order::Ascending => touched!("min"),
            Order::Descending => touched!("max"),
        };
        let params = [Param::Int(first), Param::Int(last), Param::Int(account_key)];
        let row = reader.row(sql, &params).await?;
        if let Some(band) = row.map(|row| row.opt_int(0)).transpose()?.flatten() {
            let start = band << BITS;
            let end = (band + 1) << BITS;
            return Ok(Some((low.max(start - 1), high.min(end))));
        }
    }
    Ok(None)
}

/// Runs of bands, each twice as long as the one before, so that neither an account that is
/// everywhere nor one that is almost nowhere costs much.
struct Windows {
    first: i64,
    last: i64,
    length: i64,
    order: Order,
}

impl Windows {
    const fn between((low, high): (i64, i64), order: Order) -> Self {
        Self {
            first: of(low + 1),
            // Nothing lies between them: an empty run.
            last: if low + 1 < high { of(high - 1) } else { -1 },
            length: 1,
            order,
        }
    }
}

impl Iterator for Windows {
    type Item = (i64, i64);

    fn next(&mut self) -> Option<(i64, i64)> {
        if self.first > self.last {
            return None;
        }
        let length = self.length.min(self.last - self.first + 1);
        self.length = self.length.saturating_mul(2);
        Some(match self.order {
            Order::Ascending => {
                let first = self.first;
                self.first += length;
                (first, self.first - 1)
            }
            Order::Descending => {
                let last = self.last;
                self.last -= length;
                (self.last + 1, last)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_every_band_once_in_their_order() {
        for (low, high) in [
            (0, 1),
            (0, 2),
            (0, 8192),
            (0, 8193),
            (8191, 8193),
            (5, 900_000),
        ] {
            let bands = |order| -> Vec<i64> {
                Windows::between((low, high), order)
                    .flat_map(|(first, last)| match order {
                        Order::Ascending => (first..=last).collect::<Vec<_>>(),
                        Order::Descending => (first..=last).rev().collect(),
                    })
                    .collect()
            };
            let wanted: Vec<i64> = if low + 1 < high {
                (of(low + 1)..=of(high - 1)).collect()
            } else {
                Vec::new()
            };
            assert_eq!(bands(Order::Ascending), wanted, "{low} {high}");
            let backwards: Vec<i64> = wanted.into_iter().rev().collect();
            assert_eq!(bands(Order::Descending), backwards, "{low} {high}");
        }
    }
}
