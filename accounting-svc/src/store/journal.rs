//! Reading transactions.

use ::store::Unavailable;

use crate::domain::{Kind, Micros, State, TransactionRecord};

use super::{
    bands,
    reader::{Cells, Param, Reader},
    rows::{self, select_transaction},
};

/// The most bytes of requests on one page, so that the answer stays within the 4 MiB that gRPC
/// clients accept by default. A page has at least one transaction: the largest allowed one, with
/// 1,000 legs and full metadata, is about a tenth of this.
const PAGE_BYTES_MAX: usize = 3 << 20;

/// How many are read at once: a page of large ones is full before it is all read.
const CHUNK: usize = 64;

/// The most pairs of metadata that a list filters by.
pub(crate) const LABELS_MAX: usize = 4;

/// Which transactions to list.
#[derive(Debug, Clone)]
pub struct Filter {
    /// The caller's clock.
    pub now: Micros,
    /// Only those that touch this account.
    pub account_id: Option<String>,
    /// Only those with this reference; not empty.
    pub reference: Option<String>,
    /// Only those with all of these pairs; at most four.
    pub labels: Vec<(String, String)>,
    /// Only those that stand so.
    pub state: Option<State>,
    /// Only those that happened from then on.
    pub effective_from: Option<Micros>,
    /// Only those that happened before.
    pub effective_before: Option<Micros>,
    /// Only those recorded from then on.
    pub recorded_from: Option<Micros>,
    /// Only those recorded before.
    pub recorded_before: Option<Micros>,
    /// In which order.
    pub order: Order,
    /// Only those beyond this place, in that order.
    pub after: Option<i64>,
    /// The most to return.
    pub limit: usize,
}

/// The order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// As they were recorded.
    #[default]
    Ascending,
    /// The last recorded first.
    Descending,
}

/// Some transactions.
#[derive(Debug, Clone)]
pub struct Page {
    /// Not more than asked for, and not more than a message holds. Only reversals have their legs.
    pub transactions: Vec<TransactionRecord>,
    /// Whether there are more after them.
    pub more: bool,
    /// The books' own time at which their states are so.
    pub time: Micros,
}

#[derive(Debug)]
pub(super) struct GetTransaction {
    pub(super) transaction_id: String,
    pub(super) now: Micros,
}

#[derive(Debug)]
pub(super) struct ListTransactions(pub(super) Filter);

impl GetTransaction {
    pub(super) async fn read(
        self,
        reader: impl Reader,
    ) -> Result<Option<(TransactionRecord, Micros)>, Unavailable> {
        const SQL: &str = select_transaction!(
            "FROM journal j",
            "WHERE j.transaction_id = $1 AND j.kind <= 3"
        );
        match reader
            .row(SQL, &[Param::Text(&self.transaction_id)])
            .await?
        {
            None => Ok(None),
            Some(row) => {
                let time = rows::time(reader, self.now).await?;
                Ok(Some((shown(reader, &row).await?, time)))
            }
        }
    }
}

/// A transaction with what its request does not say: the legs of a reversal, and how much of each
/// leg was posted.
async fn shown(reader: impl Reader, row: &Cells) -> Result<TransactionRecord, Unavailable> {
    let (mut record, posted_at) = rows::transaction(row)?;
    if record.kind == Kind::Reverse || posted_at.is_some() {
        rows::load_legs(reader, &mut record, posted_at).await?;
    }
    Ok(record)
}

// What drives a search is walked in the order of the journal, so that reading can stop when the
// page is full; the other filters are tested on the way. An account that is on several legs counts
// with the first of them.

macro_rules! search {
    ($from:literal, $walked:literal, $driver:literal, $order:literal) => {
        concat!(
            select_transaction!($from),
            "WHERE ",
            $walked,
            " > $1 AND ",
            $walked,
            " < $2 AND j.kind <= 3
              AND (CAST($3 AS bigint) IS NULL OR EXISTS (
                    SELECT 1 FROM leg l WHERE l.sequence = j.sequence AND l.account_key = $3))
              AND (CAST($4 AS text) IS NULL OR j.reference = $4)
              AND (CAST($5 AS text) IS NULL OR EXISTS (SELECT 1 FROM label b
                    WHERE b.key = $5 AND b.value = $6 AND b.sequence = j.sequence))
              AND (CAST($7 AS text) IS NULL OR EXISTS (SELECT 1 FROM label b
                    WHERE b.key = $7 AND b.value = $8 AND b.sequence = j.sequence))
              AND (CAST($9 AS text) IS NULL OR EXISTS (SELECT 1 FROM label b
                    WHERE b.key = $9 AND b.value = $10 AND b.sequence = j.sequence))
              AND (CAST($11 AS text) IS NULL OR EXISTS (SELECT 1 FROM label b
                    WHERE b.key = $11 AND b.value = $12 AND b.sequence = j.sequence))
              AND (CAST($13 AS bigint) IS NULL OR j.effective_time >= $13)
              AND (CAST($14 AS bigint) IS NULL OR j.effective_time < $14)
              AND (CAST($15 AS bigint) IS NULL OR $15 = CASE
                    WHEN j.kind <> 2 OR s.kind = 4 THEN 1
                    WHEN s.kind = 5 THEN 3
                    WHEN j.expire_time <= $16 THEN 4
                    ELSE 2 END)",
            $driver,
            " ORDER BY ",
            $walked,
            $order,
            " LIMIT $17"
        )
    };
}

macro_rules! both_orders {
    ($from:literal, $walked:literal, $driver:literal) => {
        [
            search!($from, $walked, $driver, ""),
            search!($from, $walked, $driver, " DESC"),
        ]
    };
}

/// Each in both orders.
pub(super) const ALL: [&str; 2] = both_orders!("FROM journal j", "j.sequence", "");

/// The second condition lets SQLite use the index, which leaves the empty ones out.
pub(super) const BY_REFERENCE: [&str; 2] = both_orders!(
    "FROM journal j",
    "j.sequence",
    " AND j.reference = $4 AND j.reference <> ''"
);

pub(super) const BY_LABEL: [&str; 2] = both_orders!(
    "FROM label k JOIN journal j ON j.sequence = k.sequence",
    "k.sequence",
    " AND k.key = $5 AND k.value = $6"
);

/// Within one band of the index.
pub(super) const BY_ACCOUNT: [&str; 2] = both_orders!(
    "FROM leg k JOIN journal j ON j.sequence = k.sequence",
    "k.sequence",
    " AND (k.sequence >> 13) = (CAST($1 AS bigint) + 1) >> 13 AND k.account_key = $3
      AND NOT EXISTS (SELECT 1 FROM leg e WHERE e.sequence = k.sequence
                      AND e.account_key = k.account_key AND e.position < k.position)"
);

impl ListTransactions {
    pub(super) async fn read(self, reader: impl Reader) -> Result<Page, Unavailable> {
        let filter = &self.0;
        let mut page = Page {
            transactions: Vec::new(),
            more: false,
            time: rows::time(reader, filter.now).await?,
        };
        let account_key = match &filter.account_id {
            None => None,
            Some(account_id) => match account_key(reader, account_id).await? {
                None => return Ok(page),
                found => found,
            },
        };
        let mut walked_by = None;
        let searches = if filter.reference.is_some() {
            BY_REFERENCE
        } else if !filter.labels.is_empty() {
            BY_LABEL
        } else if account_key.is_some() {
            walked_by = account_key;
            BY_ACCOUNT
        } else {
            ALL
        };
        let (mut low, mut high) = bounds(reader, filter).await?;
        if walked_by.is_some() {
            high = high.min(rows::last(reader).await? + 1);
        }
        let mut bytes = 0;
        loop {
            let (low_now, high_now) = match walked_by {
                None => (low, high),
                Some(account_key) => {
                    let band = bands::next(reader, account_key, (low, high), filter.order);
                    match band.await? {
                        None => return Ok(page),
                        Some(band) => band,
                    }
                }
            };
            let chunk = CHUNK.min(filter.limit - page.transactions.len() + 1);
            let rows = {
                let label = |n: usize| filter.labels.get(n);
                let key = |n| Param::OptText(label(n).map(|(key, _)| &**key));
                let value = |n| Param::OptText(label(n).map(|(_, value)| &**value));
                let params = [
                    Param::Int(low_now),
                    Param::Int(high_now),
                    Param::OptInt(account_key),
                    Param::OptText(filter.reference.as_deref()),
                    key(0),
                    value(0),
                    key(1),
                    value(1),
                    key(2),
                    value(2),
                    key(3),
                    value(3),
                    Param::OptInt(filter.effective_from),
                    Param::OptInt(filter.effective_before),
                    Param::OptInt(filter.state.map(number)),
                    Param::Int(page.time),
                    Param::Int(i64::try_from(chunk).unwrap_or(i64::MAX)),
                ];
                let [ascending, descending] = searches;
                let sql = match filter.order {
                    Order::Ascending => ascending,
                    Order::Descending => descending,
                };
                reader.rows(sql, &params).await?
            };
            for row in &rows {
                bytes += row.blob(6)?.len();
                let started = !page.transactions.is_empty();
                if page.transactions.len() == filter.limit || (started && bytes > PAGE_BYTES_MAX) {
                    page.more = true;
                    return Ok(page);
                }
                page.transactions.push(shown(reader, row).await?);
            }
            let last = page.transactions.last().filter(|_| rows.len() == chunk);
            match (last, filter.order) {
                (None, _) if walked_by.is_none() => return Ok(page),
                // On with the next band.
                (None, Order::Ascending) => low = high_now - 1,
                (None, Order::Descending) => high = low_now + 1,
                (Some(last), Order::Ascending) => low = last.sequence,
                (Some(last), Order::Descending) => high = last.sequence,
            }
        }
    }
}

/// Between which places, both excluded, the page can be.
async fn bounds(reader: impl Reader, filter: &Filter) -> Result<(i64, i64), Unavailable> {
    let mut low = match filter.recorded_from {
        None => 0,
        Some(from) => first_after(reader, from.saturating_sub(1)).await? - 1,
    };
    let mut high = match filter.recorded_before {
        None => i64::MAX,
        Some(before) => first_after(reader, before.saturating_sub(1)).await?,
    };
    match (filter.after, filter.order) {
        (None, _) => {}
        (Some(after), Order::Ascending) => low = low.max(after),
        (Some(after), Order::Descending) => high = high.min(after),
    }
    Ok((low, high))
}

/// The first place of which the record time is after `time`, or the one after the last. Times do
/// not go back, so halving finds it.
pub(super) async fn first_after(reader: impl Reader, time: Micros) -> Result<i64, Unavailable> {
    const RECORD_TIME: &str = "SELECT record_time FROM journal WHERE sequence = $1";
    let head = reader.row(rows::HEAD, &[]).await?;
    let (mut low, mut high) = (1, head.map_or(Ok(0), |row| row.int(0))? + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let row = reader.row(RECORD_TIME, &[Param::Int(middle)]).await?;
        let row = row.ok_or_else(|| Unavailable::damaged("a gap in the journal"))?;
        if row.int(0)? > time {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(low)
}

async fn account_key(reader: impl Reader, account_id: &str) -> Result<Option<i64>, Unavailable> {
    const SQL: &str = "SELECT account_key FROM account WHERE account_id = $1";
    let row = reader.row(SQL, &[Param::Text(account_id)]).await?;
    row.map(|row| row.int(0)).transpose()
}

/// As the searches name them.
const fn number(state: State) -> i64 {
    match state {
        State::Posted => 1,
        State::Pending => 2,
        State::Voided => 3,
        State::Expired => 4,
    }
}
