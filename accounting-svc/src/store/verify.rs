//! Reading the books back to check them.

use std::collections::HashMap;

use ::store::Unavailable;

use crate::domain::{
    AccountRow, Content, Entry, Fault, GENESIS, Hash, Head, KeyedLeg, Kind, Micros, Part, Verifier,
    Written,
};

use super::{
    file::no_transaction,
    reader::{Cells, Param, Reader},
    rows,
};

/// How many entries are held in memory at once.
const CHUNK: i64 = 512;

/// What a check found.
#[derive(Debug, Clone)]
pub struct Verified {
    /// The last entry that was checked.
    pub sequence: i64,
    /// The hash of the journal there.
    pub hash: Hash,
    /// Whether that is the end.
    pub complete: bool,
    /// First by sequence.
    pub faults: Vec<Fault>,
}

#[derive(Debug)]
pub(super) struct Verify {
    pub(super) after: i64,
    pub(super) limit: i64,
    pub(super) content: fn(Kind, &[u8]) -> Option<Content>,
}

const ENTRIES: &str = "
    SELECT sequence, kind, transaction_id, request_id, target, reference, effective_time,
           record_time, expire_time, body, hash
    FROM journal WHERE sequence > $1 ORDER BY sequence LIMIT $2";

const LEGS: &str = "
    SELECT l.sequence, l.position, l.account_key, l.currency, l.side, l.amount, a.account_id
    FROM leg l LEFT JOIN account a ON a.account_key = l.account_key
    WHERE l.sequence > $1 AND l.sequence <= $2 ORDER BY l.sequence, l.position";

impl Verify {
    pub(super) async fn read(self, reader: impl Reader) -> Result<Verified, Unavailable> {
        const HASH: &str = "SELECT hash FROM journal WHERE sequence = $1";
        let head = reader.row(rows::HEAD, &[]).await?;
        let head = head.map(|row| rows::head(&row)).transpose()?.flatten();
        let before = match self.after {
            0 => GENESIS,
            after => {
                let row = reader.row(HASH, &[Param::Int(after)]).await?;
                let hash = row.map(|row| row.hash(0)).transpose()?.flatten();
                hash.unwrap_or(GENESIS)
            }
        };
        let mut verifier = Verifier::after(self.after, before);
        let mut left = self.limit;
        let mut complete = false;
        while left > 0 && !complete {
            let size = CHUNK.min(left);
            // One more, to see what it is tied to.
            let chunk = read_chunk(reader, verifier.sequence(), size + 1).await?;
            let held = usize::try_from(size).unwrap_or(usize::MAX);
            complete = chunk.len() <= held;
            for (index, written) in chunk.iter().take(held).enumerate() {
                let entry = written.entry.as_ref();
                let content = entry.and_then(|e| (self.content)(e.kind, &e.body));
                let next = chunk.get(index + 1);
                verifier.check(written, content.as_ref(), |hash| match (next, &head) {
                    (Some(next), _) => next
                        .entry
                        .as_ref()
                        .is_some_and(|e| Some(e.hash_after(hash)) == next.hash),
                    (None, Some(head)) => head.hash == *hash,
                    (None, None) => false,
                });
            }
            left -= size;
        }
        if complete {
            check_head(reader, &mut verifier).await?;
            check_accounts(reader, &mut verifier).await?;
            check_balances(reader, &mut verifier).await?;
        }
        Ok(Verified {
            sequence: verifier.sequence(),
            hash: verifier.hash(),
            complete,
            faults: verifier.faults,
        })
    }
}

async fn read_chunk(
    reader: impl Reader,
    after: i64,
    size: i64,
) -> Result<Vec<Written>, Unavailable> {
    let params = [Param::Int(after), Param::Int(size)];
    let rows = reader.rows(ENTRIES, &params).await?;
    let last = match rows.last() {
        None => return Ok(Vec::new()),
        Some(row) => row.int(0)?,
    };
    let mut legs: HashMap<i64, Vec<Cells>> = HashMap::new();
    for row in reader
        .rows(LEGS, &[Param::Int(after), Param::Int(last)])
        .await?
    {
        legs.entry(row.int(0)?).or_default().push(row);
    }
    let mut chunk = Vec::with_capacity(rows.len());
    for row in &rows {
        let sequence = row.int(0)?;
        let legs = legs.remove(&sequence).unwrap_or_default();
        let ids = legs
            .iter()
            .map(|leg| leg.text(6).unwrap_or_default().to_owned());
        chunk.push(Written {
            sequence,
            hash: row.hash(10).ok().flatten(),
            account_ids: ids.collect(),
            // A column that cannot be read is a fault to tell, not one to stumble over.
            entry: read_entry(row, &legs).ok(),
        });
    }
    Ok(chunk)
}

/// An entry, for the chain.
pub(super) fn read_entry(row: &Cells, legs: &[Cells]) -> Result<Entry, Unavailable> {
    let leg = |leg: &Cells| {
        Ok(KeyedLeg {
            position: leg.int(1)?,
            account_key: leg.int(2)?,
            currency: leg.currency(3)?,
            side: leg.word(4)?,
            minor: leg.int(5)?,
        })
    };
    let request_id = match row.opt_text(3)? {
        None => row.text(2)?,
        // What stands in for a transaction's id is not hashed: it may be nothing else.
        Some(_) if row.text(2)? != no_transaction(row.int(0)?) => {
            return Err(Unavailable::damaged("an id of no transaction"));
        }
        Some(request_id) => request_id,
    };
    Ok(Entry {
        sequence: row.int(0)?,
        kind: row.word(1)?,
        request_id: request_id.to_owned(),
        target: row.opt_int(4)?,
        reference: row.text(5)?.to_owned(),
        effective_time: row.int(6)?,
        record_time: row.int(7)?,
        expire_time: row.opt_int(8)?,
        body: row.blob(9)?.into(),
        legs: legs.iter().map(leg).collect::<Result<_, Unavailable>>()?,
        hash: row.hash(10)?.unwrap_or(GENESIS),
    })
}

async fn check_head(reader: impl Reader, verifier: &mut Verifier) -> Result<(), Unavailable> {
    const COUNT: &str = "SELECT count(*) FROM journal WHERE kind <= 3";
    let head = reader.row(rows::HEAD, &[]).await?;
    let head = head.and_then(|row| rows::head(&row).ok()).flatten();
    let count = reader.row(COUNT, &[]).await?;
    let count = count.map_or(Ok(0), |row| row.int(0))?;
    let sound = head.is_some_and(|head| {
        head.sequence == verifier.sequence()
            && head.hash == verifier.hash()
            && head.transactions == count
    });
    if !sound {
        let words = "does not name the last entry, its hash and the number of transactions";
        verifier.note(0, Part::Head, "", words);
    }
    check_time(reader, head, verifier).await
}

/// The books' own time is that of something that was decided: a later one would let expire what has
/// not, and an earlier one judge again what has.
async fn check_time(
    reader: impl Reader,
    head: Option<Head>,
    verifier: &mut Verifier,
) -> Result<(), Unavailable> {
    const DECIDED: &str = "
        SELECT (SELECT record_time FROM journal ORDER BY sequence DESC LIMIT 1),
               (SELECT max(create_time) FROM account), (SELECT max(record_time) FROM refused)";
    let row = reader.row(DECIDED, &[]).await?;
    let row = row.ok_or_else(|| Unavailable::damaged("no row of times"))?;
    let entry = row.opt_int(0)?.unwrap_or(Micros::MIN);
    let (account, refusal) = (row.opt_int(1)?, row.opt_int(2)?);
    let latest = account.into_iter().chain(refusal).fold(entry, Micros::max);
    let sound = head.is_none_or(|head| (entry..=latest).contains(&head.record_time));
    if !sound {
        let words = "has a time at which nothing was decided";
        verifier.note(0, Part::Head, "", words);
    }
    Ok(())
}

async fn check_accounts(reader: impl Reader, verifier: &mut Verifier) -> Result<(), Unavailable> {
    const ACCOUNTS: &str = "
        SELECT account_key, account_id, type, currency, limits, create_time, request_id, body, hash
        FROM account WHERE account_key > $1 ORDER BY account_key LIMIT $2";
    let (mut last, mut before) = (0, GENESIS);
    loop {
        let params = [Param::Int(last), Param::Int(CHUNK)];
        let rows = reader.rows(ACCOUNTS, &params).await?;
        for row in &rows {
            let (key, account_id) = (row.int(0)?, row.text(1).unwrap_or_default());
            if key != last + 1 {
                let words = "accounts before this one are missing";
                verifier.note(0, Part::Account, account_id, words);
            } else if hash_account(row, &before)? != row.hash(8)? {
                let words = "is not as it was created";
                verifier.note(0, Part::Account, account_id, words);
            }
            last = key;
            before = row.hash(8)?.unwrap_or(GENESIS);
        }
        if rows.is_empty() {
            break;
        }
    }
    let head = reader.row(rows::HEAD, &[]).await?;
    let head = head.and_then(|row| rows::head(&row).ok()).flatten();
    if head.is_some_and(|head| head.accounts != last || head.accounts_hash != before) {
        let words = "does not name the last account and its hash";
        verifier.note(0, Part::Head, "", words);
    }
    Ok(())
}

/// The hash that an account's row should have.
pub(super) fn hash_account(row: &Cells, before: &Hash) -> Result<Option<Hash>, Unavailable> {
    let account = AccountRow {
        account_key: row.int(0)?,
        account_id: row.text(1)?,
        account_type: row.int(2)?,
        currency: row.text(3)?,
        limit: row.int(4)?,
        create_time: row.int(5)?,
        request_id: row.text(6)?,
        body: row.blob(7)?,
    };
    Ok(Some(account.hash_after(before)))
}

/// What is kept beside the journal, against the journal added up.
async fn check_balances(reader: impl Reader, verifier: &mut Verifier) -> Result<(), Unavailable> {
    const POSTED: &str = "
        SELECT l.account_key, l.side, CAST(sum(l.amount) AS bigint)
        FROM leg l JOIN journal j ON j.sequence = l.sequence
        WHERE j.kind IN (1, 3, 4) GROUP BY l.account_key, l.side";
    const PENDING: &str = "
        SELECT l.account_key, l.side, CAST(sum(l.amount) AS bigint)
        FROM hold h JOIN leg l ON l.sequence = h.sequence GROUP BY l.account_key, l.side";
    const CLOSED: &str = "SELECT target, kind FROM journal WHERE kind IN (6, 7) ORDER BY sequence";
    const KEPT: &str = "
        SELECT a.account_key, a.account_id, a.currency, a.limits, t.limits, t.closed, t.debits,
               t.credits, t.pending_debits, t.pending_credits
        FROM account a LEFT JOIN turnover t ON t.account_key = a.account_key
        ORDER BY a.account_key";
    // Pending, not settled, not expired when the last entry was written, and yet not held; or held
    // without being so.
    const HELD: &str = "
        SELECT j.sequence FROM journal j, head
        WHERE j.kind = 2
            AND (j.expire_time IS NULL OR j.expire_time > head.record_time)
            AND NOT EXISTS (SELECT 1 FROM journal s WHERE s.target = j.sequence AND s.kind IN (4, 5))
            AND NOT EXISTS (SELECT 1 FROM hold h WHERE h.sequence = j.sequence)
        UNION
        SELECT h.sequence FROM hold h LEFT JOIN journal j ON j.sequence = h.sequence
        WHERE j.kind IS NULL OR j.kind <> 2 OR h.expire_time IS DISTINCT FROM j.expire_time
            OR EXISTS (SELECT 1 FROM journal s WHERE s.target = h.sequence AND s.kind IN (4, 5))
        ORDER BY 1 LIMIT 100";
    const TOTALS: &str =
        "SELECT currency, debits, credits, pending_debits, pending_credits FROM total";
    let mut sums: HashMap<i64, [i64; 4]> = HashMap::new();
    for (sql, offset) in [(POSTED, 0), (PENDING, 2)] {
        for row in reader.rows(sql, &[]).await? {
            let place = offset + usize::from(row.int(1)? == 2);
            sums.entry(row.int(0)?).or_default()[place] = row.int(2)?;
        }
    }
    let mut closed: HashMap<i64, bool> = HashMap::new();
    for row in reader.rows(CLOSED, &[]).await? {
        closed.insert(row.int(0)?, row.int(1)? == 6);
    }
    let mut totals: HashMap<String, [i128; 4]> = HashMap::new();
    for row in reader.rows(KEPT, &[]).await? {
        let key = row.int(0)?;
        let sum = sums.remove(&key).unwrap_or_default();
        let numbers = [row.int(6), row.int(7), row.int(8), row.int(9)].map(Result::ok);
        let as_closed = i64::from(closed.get(&key).copied().unwrap_or_default());
        let sound = numbers == sum.map(Some)
            && row.int(5).ok() == Some(as_closed)
            && row.int(4).ok() == row.int(3).ok();
        if !sound {
            let words = "what it holds is not what the journal adds up to";
            verifier.note(0, Part::Balance, row.text(1).unwrap_or_default(), words);
        }
        let total = totals.entry(row.text(2)?.to_owned()).or_default();
        for (total, one) in total.iter_mut().zip(sum) {
            *total += i128::from(one);
        }
    }
    if !sums.is_empty() {
        let words = "legs name accounts that do not exist";
        verifier.note(0, Part::Balance, "", words);
    }
    for row in reader.rows(HELD, &[]).await? {
        let words = "is not held as the journal says it is pending";
        verifier.note(row.int(0)?, Part::Balance, "", words);
    }
    for row in reader.rows(TOTALS, &[]).await? {
        let kept = [row.int(1)?, row.int(2)?, row.int(3)?, row.int(4)?];
        let sum = totals.remove(row.text(0)?).unwrap_or_default();
        if kept.map(i128::from) != sum {
            let words = format!("of {} is not what the accounts add up to", row.text(0)?);
            verifier.note(0, Part::Total, "", &words);
        }
    }
    for (code, _) in totals.into_iter().filter(|(_, sum)| *sum != [0; 4]) {
        verifier.note(0, Part::Total, "", &format!("of {code} is missing"));
    }
    Ok(())
}
