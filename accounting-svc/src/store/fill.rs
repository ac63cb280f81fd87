//! A file of the first version: its rows are given their hashes, and their metadata is put where it
//! is searched. Once, in the transaction of the first write.

use ::store::{
    Unavailable,
    rusqlite::{Connection, params},
};
use mizan_contracts::accounting::v1::RecordTransactionRequest;
use prost::Message as _;

use crate::domain::GENESIS;

use super::{
    reader::{Param, Reader, at_once},
    verify,
};

/// How many rows are held in memory at once.
const CHUNK: i64 = 1000;

pub(super) fn hashes(file: &Connection) -> Result<(), Unavailable> {
    let accounts = accounts(file)?;
    let journal = journal(file)?;
    file.execute(
        "UPDATE head SET hash = ?1, accounts_hash = ?2",
        params![journal, accounts],
    )?;
    Ok(())
}

fn accounts(file: &Connection) -> Result<crate::domain::Hash, Unavailable> {
    const ACCOUNTS: &str = "
        SELECT account_key, account_id, type, currency, limits, create_time, request_id, body, hash
        FROM account WHERE account_key > $1 ORDER BY account_key LIMIT $2";
    let (mut last, mut hash) = (0, GENESIS);
    loop {
        let params = [Param::Int(last), Param::Int(CHUNK)];
        let rows = at_once(file.rows(ACCOUNTS, &params))?;
        if rows.is_empty() {
            return Ok(hash);
        }
        for row in &rows {
            last = row.int(0)?;
            hash = verify::hash_account(row, &hash)?.unwrap_or(GENESIS);
            file.prepare_cached("UPDATE account SET hash = ?2 WHERE account_key = ?1")?
                .execute(params![last, hash])?;
        }
    }
}

fn journal(file: &Connection) -> Result<crate::domain::Hash, Unavailable> {
    const ENTRIES: &str = "
        SELECT sequence, kind, transaction_id, request_id, target, reference, effective_time,
               record_time, expire_time, body, hash
        FROM journal WHERE sequence > $1 ORDER BY sequence LIMIT $2";
    const LEGS: &str = "
        SELECT sequence, position, account_key, currency, side, amount FROM leg
        WHERE sequence = $1 ORDER BY position";
    let reader = file;
    let (mut last, mut hash) = (0, GENESIS);
    loop {
        let params = [Param::Int(last), Param::Int(CHUNK)];
        let rows = at_once(reader.rows(ENTRIES, &params))?;
        if rows.is_empty() {
            return Ok(hash);
        }
        for row in &rows {
            last = row.int(0)?;
            let legs = at_once(reader.rows(LEGS, &[Param::Int(last)]))?;
            let entry = verify::read_entry(row, &legs)?;
            hash = entry.hash_after(&hash);
            file.prepare_cached("UPDATE journal SET hash = ?2 WHERE sequence = ?1")?
                .execute(params![last, hash])?;
            let request = RecordTransactionRequest::decode(&*entry.body)
                .map_err(|_| Unavailable::damaged("a request that cannot be read"))?;
            for (key, value) in &request.metadata {
                file.prepare_cached(
                    "INSERT INTO label (key, value, sequence) VALUES (?1, ?2, ?3)",
                )?
                .execute(params![key, value, last])?;
            }
        }
    }
}
