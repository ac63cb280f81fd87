//! What the accounts hold, now and as of other times.

use ::store::Unavailable;
use money::{Currency, Money};

use crate::domain::{AccountType, Counters, Micros, Side, Stage, Turnover};

use super::{
    journal,
    reader::{Param, Reader},
    rows::{self, select_holding},
};

/// As of when.
#[derive(Debug, Clone, Copy)]
pub struct AsOf {
    /// The caller's clock.
    pub now: Micros,
    /// Only what was recorded by then.
    pub recorded: Option<Micros>,
    /// Only what happened by then.
    pub effective: Option<Micros>,
}

/// What one account holds.
#[derive(Debug, Clone)]
pub struct SavedBalance {
    /// The account.
    pub account_id: String,
    /// Its place in the order of creation.
    pub key: i64,
    /// On which side it grows.
    pub account_type: AccountType,
    /// Its counters.
    pub counters: Counters,
}

/// A page of what the accounts hold, and the totals of all, at one moment.
#[derive(Debug, Clone)]
pub struct Trial {
    /// By id.
    pub balances: Vec<SavedBalance>,
    /// Whether there are more after them.
    pub more: bool,
    /// Each currency, by code.
    pub totals: Vec<CurrencyTotal>,
    /// How many transactions are recorded.
    pub transactions: i64,
}

/// The sums over all accounts of one currency.
#[derive(Debug, Clone, Copy)]
pub struct CurrencyTotal {
    /// All four.
    pub counters: Counters,
    /// Posted debits less credits: zero, or the books are wrong.
    pub difference: Money,
}

#[derive(Debug)]
pub(super) struct GetBalance {
    pub(super) account_id: String,
    pub(super) as_of: AsOf,
}

#[derive(Debug)]
pub(super) struct GetTrial {
    pub(super) after: Option<i64>,
    pub(super) limit: usize,
    pub(super) now: Micros,
}

const HOLDING: &str = select_holding!("WHERE a.account_id = $1");

/// What has expired and no write has passed since: it is in the counters still.
const DUE: &str = "
    SELECT l.account_key, l.side, CAST(sum(l.amount) AS bigint), l.currency
    FROM hold h JOIN leg l ON l.sequence = h.sequence
    WHERE h.expire_time <= $1 AND (CAST($2 AS bigint) IS NULL OR l.account_key = $2)
    GROUP BY l.account_key, l.side, l.currency";

/// The legs of one account up to a place, band by band of the index.
macro_rules! sum_of_legs {
    ($where:literal) => {
        concat!(
            "WITH RECURSIVE band(n) AS (
                 SELECT CAST(0 AS bigint)
                 UNION ALL SELECT n + 1 FROM band WHERE n < CAST($1 AS bigint) >> 13)
             SELECT l.side, CAST(sum(l.amount) AS bigint)
             FROM band b CROSS JOIN leg l CROSS JOIN journal j
             WHERE (l.sequence >> 13) = b.n AND l.account_key = $2 AND l.sequence <= $1
                 AND j.sequence = l.sequence AND j.effective_time <= $3 AND ",
            $where,
            " GROUP BY l.side"
        )
    };
}

const POSTED_AS_OF: &str = sum_of_legs!("j.kind IN (1, 3, 4)");

const PENDING_AS_OF: &str = sum_of_legs!(
    "j.kind = 2 AND (j.expire_time IS NULL OR j.expire_time > $4)
     AND NOT EXISTS (SELECT 1 FROM journal s
                     WHERE s.target = j.sequence AND s.kind IN (4, 5) AND s.sequence <= $1)"
);

impl GetBalance {
    pub(super) async fn read(
        self,
        reader: impl Reader,
    ) -> Result<Option<SavedBalance>, Unavailable> {
        let row = reader
            .row(HOLDING, &[Param::Text(&self.account_id)])
            .await?;
        let Some(row) = row else { return Ok(None) };
        let holding = rows::holding(&row)?;
        let time = rows::time(reader, self.as_of.now).await?;
        let counters = if self.as_of.recorded.is_none() && self.as_of.effective.is_none() {
            let due = [Param::Int(time), Param::OptInt(Some(holding.key))];
            let mut counters = holding.counters;
            for row in reader.rows(DUE, &due).await? {
                counters = release(counters, row.word(1)?, row.int(2)?)?;
            }
            counters
        } else {
            let (key, currency) = (holding.key, holding.currency);
            as_of(reader, key, currency, time, self.as_of).await?
        };
        Ok(Some(SavedBalance {
            account_id: self.account_id,
            key: holding.key,
            account_type: holding.account_type,
            counters,
        }))
    }
}

/// The journal added up, as far as it was recorded and had happened by then.
async fn as_of(
    reader: impl Reader,
    account_key: i64,
    currency: Currency,
    time: Micros,
    as_of: AsOf,
) -> Result<Counters, Unavailable> {
    let last = match as_of.recorded {
        None => rows::last(reader).await?,
        Some(recorded) => journal::first_after(reader, recorded).await? - 1,
    };
    let time = as_of.recorded.unwrap_or(time);
    let effective = as_of.effective.unwrap_or(Micros::MAX);
    let common = [
        Param::Int(last),
        Param::Int(account_key),
        Param::Int(effective),
    ];
    let mut counters = Counters::zero(currency);
    for row in reader.rows(POSTED_AS_OF, &common).await? {
        counters = add(counters, Stage::Posted, row.word(0)?, row.int(1)?)?;
    }
    let [until, key, effective] = common;
    let params = [until, key, effective, Param::Int(time)];
    for row in reader.rows(PENDING_AS_OF, &params).await? {
        counters = add(counters, Stage::Pending, row.word(0)?, row.int(1)?)?;
    }
    Ok(counters)
}

impl GetTrial {
    pub(super) async fn read(self, reader: impl Reader) -> Result<Trial, Unavailable> {
        const FIRST: &str = select_holding!("ORDER BY a.account_id LIMIT $1");
        const NEXT: &str = select_holding!(
            "WHERE a.account_id > (SELECT account_id FROM account WHERE account_key = $1)
             ORDER BY a.account_id LIMIT $2"
        );
        const TOTALS: &str = "
            SELECT a.currency, CAST(sum(t.debits) AS bigint), CAST(sum(t.credits) AS bigint),
                   CAST(sum(t.pending_debits) AS bigint), CAST(sum(t.pending_credits) AS bigint)
            FROM account a JOIN turnover t ON t.account_key = a.account_key
            GROUP BY a.currency ORDER BY a.currency";
        let head = reader.row(rows::HEAD, &[]).await?;
        let transactions = head.map_or(Ok(0), |row| row.int(2))?;
        let time = rows::time(reader, self.now).await?;
        let due = [Param::Int(time), Param::OptInt(None)];
        let due = reader.rows(DUE, &due).await?;

        let limit = i64::try_from(self.limit).unwrap_or(i64::MAX - 1) + 1;
        let rows = match self.after {
            None => reader.rows(FIRST, &[Param::Int(limit)]).await?,
            Some(after) => {
                let params = [Param::Int(after), Param::Int(limit)];
                reader.rows(NEXT, &params).await?
            }
        };
        let mut balances = Vec::with_capacity(rows.len().min(self.limit));
        for row in rows.iter().take(self.limit) {
            let holding = rows::holding(row)?;
            let mut counters = holding.counters;
            for due in &due {
                if due.int(0)? == holding.key {
                    counters = release(counters, due.word(1)?, due.int(2)?)?;
                }
            }
            balances.push(SavedBalance {
                account_id: row.text(0)?.to_owned(),
                key: holding.key,
                account_type: holding.account_type,
                counters,
            });
        }
        let mut totals = Vec::new();
        for row in reader.rows(TOTALS, &[]).await? {
            let currency = row.currency(0)?;
            let numbers = [row.int(1)?, row.int(2)?, row.int(3)?, row.int(4)?];
            let mut counters = Counters::of_row(currency, numbers);
            for due in &due {
                if due.currency(3)? == currency {
                    counters = release(counters, due.word(1)?, due.int(2)?)?;
                }
            }
            totals.push(CurrencyTotal {
                counters,
                difference: difference(&counters.posted)?,
            });
        }
        Ok(Trial {
            balances,
            more: rows.len() > self.limit,
            totals,
            transactions,
        })
    }
}

fn difference(turnover: &Turnover) -> Result<Money, Unavailable> {
    turnover.difference().map_err(|_| no_sum())
}

fn add(counters: Counters, stage: Stage, side: Side, minor: i64) -> Result<Counters, Unavailable> {
    let amount = Money::from_minor(minor.into(), counters.posted.debits.currency());
    counters.plus(stage, side, amount).map_err(|_| no_sum())
}

fn release(counters: Counters, side: Side, minor: i64) -> Result<Counters, Unavailable> {
    let amount = Money::from_minor(minor.into(), counters.posted.debits.currency());
    counters.release(side, amount).map_err(|_| no_sum())
}

fn no_sum() -> Unavailable {
    Unavailable::damaged("sums that cannot be")
}
