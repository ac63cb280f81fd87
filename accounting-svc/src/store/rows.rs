//! Rows into values of the domain.

use std::sync::Arc;

use ::store::Unavailable;
use money::Money;

use crate::domain::{
    AccountRecord, Counters, Head, Holding, Kind, Leg, Micros, Settlement, TransactionRecord,
};

use super::reader::{Cells, Param, Reader};

pub(super) const HEAD: &str =
    "SELECT sequence, record_time, transactions, hash, accounts, accounts_hash FROM head";

/// The ends of the chains; none while rows of the first version have no hashes.
pub(super) fn head(row: &Cells) -> Result<Option<Head>, Unavailable> {
    let (Some(hash), Some(accounts_hash)) = (row.hash(3)?, row.hash(5)?) else {
        return Ok(None);
    };
    Ok(Some(Head {
        sequence: row.int(0)?,
        record_time: row.int(1)?,
        transactions: row.int(2)?,
        hash,
        accounts: row.int(4)?,
        accounts_hash,
    }))
}

/// The books' own time as of now, for reading.
pub(super) async fn time(reader: impl Reader, now: Micros) -> Result<Micros, Unavailable> {
    let head = reader.row(HEAD, &[]).await?;
    let recorded = head.map_or(Ok(Micros::MIN), |row| row.int(1))?;
    Ok(recorded.max(now))
}

/// The last place in the journal; 0 before the first.
pub(super) async fn last(reader: impl Reader) -> Result<i64, Unavailable> {
    let head = reader.row(HEAD, &[]).await?;
    head.map_or(Ok(0), |row| row.int(0))
}

/// The columns of an account with its counters, for [`holding`].
macro_rules! select_holding {
    ($where:literal) => {
        concat!(
            "SELECT a.account_id, a.account_key, a.type, a.currency, a.limits, a.create_time, a.body,
                    t.closed, t.debits, t.credits, t.pending_debits, t.pending_credits
             FROM account a JOIN turnover t ON t.account_key = a.account_key ",
            $where
        )
    };
}
pub(super) use select_holding;

pub(super) fn holding(row: &Cells) -> Result<Holding, Unavailable> {
    let currency = row.currency(3)?;
    let numbers = [row.int(8)?, row.int(9)?, row.int(10)?, row.int(11)?];
    Ok(Holding {
        key: row.int(1)?,
        account_type: row.word(2)?,
        currency,
        limit: row.word(4)?,
        counters: Counters::of_row(currency, numbers),
        record: AccountRecord {
            create_time: row.int(5)?,
            body: row.blob(6)?.into(),
            closed: row.int(7)? != 0,
        },
    })
}

/// The columns of a transaction and of what became of it, for [`transaction`].
macro_rules! select_transaction {
    ($from:literal) => {
        concat!(
            "SELECT j.sequence, j.kind, j.transaction_id, j.effective_time, j.record_time,
                    j.expire_time, j.body, s.kind, s.record_time, s.sequence,
                    o.transaction_id, r.transaction_id ",
            $from,
            " LEFT JOIN journal s ON s.target = j.sequence AND s.kind IN (4, 5)
              LEFT JOIN journal r ON r.target = j.sequence AND r.kind = 3
              LEFT JOIN journal o ON o.sequence = j.target AND j.kind = 3 "
        )
    };
    ($from:literal, $where:literal) => {
        concat!(super::rows::select_transaction!($from), $where)
    };
}
pub(super) use select_transaction;

/// A transaction without legs; and the place of the post, if there is one.
pub(super) fn transaction(row: &Cells) -> Result<(TransactionRecord, Option<i64>), Unavailable> {
    let settled: Option<Kind> = match row.opt_int(7)? {
        None => None,
        Some(_) => Some(row.word(7)?),
    };
    let settlement = match settled {
        None => None,
        Some(kind) => Some(Settlement {
            record_time: row.int(8)?,
            posted: (kind == Kind::Post).then(Vec::new),
        }),
    };
    let posted_at = match settled {
        Some(Kind::Post) => row.opt_int(9)?,
        _ => None,
    };
    let record = TransactionRecord {
        sequence: row.int(0)?,
        kind: row.word(1)?,
        transaction_id: row.text(2)?.to_owned(),
        effective_time: row.int(3)?,
        record_time: row.int(4)?,
        expire_time: row.opt_int(5)?,
        body: Arc::from(row.blob(6)?),
        legs: Vec::new(),
        settlement,
        reverses: row.opt_text(10)?.map(str::to_owned),
        reversed_by: row.opt_text(11)?.map(str::to_owned),
    };
    Ok((record, posted_at))
}

/// The columns of a leg, for [`leg`].
macro_rules! select_legs {
    ($where:literal) => {
        concat!(
            "SELECT l.sequence, l.position, a.account_id, l.currency, l.side, l.amount
             FROM leg l JOIN account a ON a.account_key = l.account_key ",
            $where,
            " ORDER BY l.sequence, l.position"
        )
    };
}
pub(super) use select_legs;

/// A leg with the place of its entry, and its own.
pub(super) fn leg(row: &Cells) -> Result<(i64, i64, Leg), Unavailable> {
    let amount = Money::from_minor(row.int(5)?.into(), row.currency(3)?);
    let leg = Leg::new(row.text(2)?, row.word(4)?, amount)
        .map_err(|_| Unavailable::damaged("a leg without an amount"))?;
    Ok((row.int(0)?, row.int(1)?, leg))
}

/// Puts in the legs, and how much of each was posted.
pub(super) fn complete<'a>(
    record: &mut TransactionRecord,
    posted_at: Option<i64>,
    legs: impl Iterator<Item = &'a (i64, i64, Leg)> + Clone,
) {
    let of = |sequence: i64| legs.clone().filter(move |(place, ..)| *place == sequence);
    record.legs = of(record.sequence).map(|(.., leg)| leg.clone()).collect();
    let (Some(settlement), Some(posted_at)) = (&mut record.settlement, posted_at) else {
        return;
    };
    let zero = |leg: &Leg| Money::zero(leg.amount().currency());
    let mut amounts: Vec<Money> = record.legs.iter().map(zero).collect();
    for (_, position, part) in of(posted_at) {
        let place = usize::try_from(*position).ok();
        if let Some(amount) = place.and_then(|place| amounts.get_mut(place)) {
            *amount = part.amount();
        }
    }
    settlement.posted = Some(amounts);
}

const LEGS: &str = select_legs!("WHERE l.sequence = $1");

/// Loads and puts in the legs of one transaction.
pub(super) async fn load_legs(
    reader: impl Reader,
    record: &mut TransactionRecord,
    posted_at: Option<i64>,
) -> Result<(), Unavailable> {
    let mut legs = Vec::new();
    for sequence in [Some(record.sequence), posted_at].into_iter().flatten() {
        for row in reader.rows(LEGS, &[Param::Int(sequence)]).await? {
            legs.push(leg(&row)?);
        }
    }
    complete(record, posted_at, legs.iter());
    Ok(())
}
