//! Reading the journal.

use ::store::{
    Unavailable,
    rusqlite::{self, CachedStatement, Connection, OptionalExtension as _, Row, ToSql},
};

use crate::store::Receipt;

/// The most bytes of requests on one page, so that the answer stays within the 4 MiB that gRPC
/// clients accept by default. A page has at least one transaction: the largest allowed one, with
/// 1,000 legs and full metadata, is about a tenth of this.
const PAGE_BYTES_MAX: usize = 3 << 20;

/// Which transactions to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only those that touch this account.
    pub account_id: Option<String>,
    /// Only those with this reference; not empty.
    pub reference: Option<String>,
    /// Only those after this place in the journal.
    pub after: i64,
    /// The most to return.
    pub limit: usize,
}

/// Some transactions, in the order they were recorded.
#[derive(Debug, Clone)]
pub struct Page {
    /// Not more than asked for, and not more than a message holds.
    pub transactions: Vec<SavedTransaction>,
    /// Whether there are more after them.
    pub more: bool,
}

/// A transaction as it was recorded.
#[derive(Debug, Clone)]
pub struct SavedTransaction {
    /// Where and when.
    pub receipt: Receipt,
    /// The request in its canonical encoding.
    pub body: Vec<u8>,
}

pub(super) fn get(
    file: &Connection,
    transaction_id: &str,
) -> Result<Option<SavedTransaction>, Unavailable> {
    Ok(file
        .prepare_cached(
            "SELECT sequence, record_time, body FROM journal WHERE transaction_id = ?1",
        )?
        .query_row([transaction_id], saved)
        .optional()?)
}

// Each combination of filters has a statement that walks an index in the order of the journal, so
// that reading can stop when the page is full.

pub(super) const ALL: &str = "
    SELECT sequence, record_time, body FROM journal WHERE sequence > ?1 ORDER BY sequence";

/// The second condition lets SQLite use the index, which leaves the empty ones out.
pub(super) const BY_REFERENCE: &str = "
    SELECT sequence, record_time, body FROM journal
    WHERE reference = ?2 AND reference <> '' AND sequence > ?1 ORDER BY sequence";

/// `CROSS JOIN` keeps SQLite from turning the order round.
pub(super) const BY_ACCOUNT: &str = "
    SELECT sequence, record_time, body
    FROM (SELECT DISTINCT sequence FROM leg
          WHERE account_key = ?2 AND sequence > ?1 ORDER BY sequence)
    CROSS JOIN journal USING (sequence)";

pub(super) const BY_ACCOUNT_AND_REFERENCE: &str = "
    SELECT sequence, record_time, body FROM journal
    WHERE reference = ?3 AND reference <> '' AND sequence > ?1
        AND EXISTS (SELECT 1 FROM leg
                    WHERE account_key = ?2 AND leg.sequence = journal.sequence)
    ORDER BY sequence";

pub(super) fn list(file: &Connection, filter: &Filter) -> Result<Page, Unavailable> {
    let key = match &filter.account_id {
        None => None,
        Some(account_id) => match account_key(file, account_id)? {
            None => return Ok(Page::empty()),
            key => key,
        },
    };
    let after = filter.after;
    let (sql, parameters): (_, Vec<&dyn ToSql>) = match (&key, &filter.reference) {
        (None, None) => (ALL, vec![&after]),
        (None, Some(reference)) => (BY_REFERENCE, vec![&after, reference]),
        (Some(key), None) => (BY_ACCOUNT, vec![&after, key]),
        (Some(key), Some(reference)) => (BY_ACCOUNT_AND_REFERENCE, vec![&after, key, reference]),
    };
    page(file.prepare_cached(sql)?, &parameters, filter.limit)
}

fn account_key(file: &Connection, account_id: &str) -> Result<Option<i64>, Unavailable> {
    Ok(file
        .prepare_cached("SELECT account_key FROM account WHERE account_id = ?1")?
        .query_row([account_id], |row| row.get(0))
        .optional()?)
}

fn page(
    mut statement: CachedStatement<'_>,
    parameters: &[&dyn ToSql],
    limit: usize,
) -> Result<Page, Unavailable> {
    let mut page = Page::empty();
    let mut bytes = 0;
    let mut rows = statement.query(parameters)?;
    while let Some(row) = rows.next()? {
        let transaction = saved(row)?;
        bytes += transaction.body.len();
        let started = !page.transactions.is_empty();
        if page.transactions.len() == limit || (started && bytes > PAGE_BYTES_MAX) {
            page.more = true;
            break;
        }
        page.transactions.push(transaction);
    }
    Ok(page)
}

fn saved(row: &Row<'_>) -> rusqlite::Result<SavedTransaction> {
    Ok(SavedTransaction {
        receipt: Receipt {
            sequence: row.get(0)?,
            record_time: row.get(1)?,
        },
        body: row.get(2)?,
    })
}

impl Page {
    const fn empty() -> Self {
        Self {
            transactions: Vec::new(),
            more: false,
        }
    }
}
