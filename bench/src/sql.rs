//! Books kept in plain SQL, without gRPC and without a ledger's rules: what ours is measured against.
//!
//! A transfer is one row and two counters; the id makes a repetition harmless. Each contender takes
//! one statement a transaction, so that it pays one round trip and one sync.

use std::{path::Path, sync::mpsc as threads, thread};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::{Client, NoTls};

use crate::Error;

/// How many accounts there are.
pub const ACCOUNTS: i64 = 1_000;

/// The most transfers in one statement of the batched contender.
const BATCH_MAX: usize = 512;

/// How many connections the contender has that commits each transfer by itself.
const CONNECTIONS: usize = 64;

const TABLES: &str = "
    CREATE TABLE account (id bigint PRIMARY KEY, debits bigint NOT NULL, credits bigint NOT NULL);
    CREATE TABLE transfer (id text PRIMARY KEY, debit bigint NOT NULL, credit bigint NOT NULL,
                           amount bigint NOT NULL)";

/// All of a batch in one statement: the rows, and each account's counters once.
const BATCH: &str = "
    WITH kept AS (
        INSERT INTO transfer (id, debit, credit, amount)
        SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[])
        ON CONFLICT (id) DO NOTHING
        RETURNING debit, credit, amount),
    moved AS (
        SELECT id, sum(debits)::bigint AS debits, sum(credits)::bigint AS credits FROM (
            SELECT debit AS id, amount AS debits, 0 AS credits FROM kept
            UNION ALL SELECT credit, 0, amount FROM kept) AS legs
        GROUP BY id)
    UPDATE account SET debits = account.debits + moved.debits,
                       credits = account.credits + moved.credits
      FROM moved WHERE account.id = moved.id";

/// One transfer in one statement; the accounts are locked in the order of their ids.
const ONE: &str = "
    WITH locked AS (
        SELECT id FROM account WHERE id IN ($2, $3) ORDER BY id FOR UPDATE),
    kept AS (
        INSERT INTO transfer (id, debit, credit, amount)
        SELECT $1, $2, $3, $4 FROM (SELECT count(*) FROM locked) AS both_locked
        ON CONFLICT (id) DO NOTHING
        RETURNING debit, credit, amount)
    UPDATE account SET
        debits = debits + CASE WHEN account.id = kept.debit THEN amount ELSE 0 END,
        credits = credits + CASE WHEN account.id = kept.credit THEN amount ELSE 0 END
      FROM kept WHERE account.id IN (kept.debit, kept.credit)";

/// A transfer of one minor unit between two accounts, by number.
#[derive(Debug, Clone)]
pub struct Transfer {
    /// The id.
    pub id: String,
    /// Who is debited.
    pub debit: i64,
    /// Who is credited.
    pub credit: i64,
}

type Asked = (Transfer, oneshot::Sender<()>);

/// Collects what waits, up to 512 transfers, and writes it in one statement; meanwhile the next
/// batch gathers.
#[derive(Debug, Clone)]
pub struct Batched(mpsc::Sender<Asked>);

impl Batched {
    /// Makes the tables in an empty database.
    ///
    /// # Errors
    /// The server's.
    pub async fn open(url: &str) -> Result<Self, Error> {
        let client = prepared(url).await?;
        let statement = client.prepare(BATCH).await?;
        let (queue, mut waiting) = mpsc::channel::<Asked>(2 * BATCH_MAX);
        tokio::spawn(async move {
            let mut batch = Vec::with_capacity(BATCH_MAX);
            while waiting.recv_many(&mut batch, BATCH_MAX).await > 0 {
                let transfers = || batch.iter().map(|(transfer, _)| transfer);
                let ids: Vec<_> = transfers().map(|t| t.id.as_str()).collect();
                let debits: Vec<_> = transfers().map(|t| t.debit).collect();
                let credits: Vec<_> = transfers().map(|t| t.credit).collect();
                let amounts = vec![1_i64; batch.len()];
                let written = client
                    .execute(&statement, &[&ids, &debits, &credits, &amounts])
                    .await
                    .is_ok();
                for (_, caller) in batch.drain(..) {
                    if written {
                        let _ = caller.send(());
                    }
                }
            }
        });
        Ok(Self(queue))
    }

    /// Returns once the transfer is durable.
    ///
    /// # Errors
    /// When it is not.
    pub async fn transfer(&self, transfer: Transfer) -> Result<(), Error> {
        let (caller, answer) = oneshot::channel();
        self.0.send((transfer, caller)).await?;
        Ok(answer.await?)
    }
}

/// Commits each transfer by itself, on 64 connections.
#[derive(Debug, Clone)]
pub struct Single(Vec<std::sync::Arc<(Client, tokio_postgres::Statement)>>);

impl Single {
    /// Makes the tables in an empty database.
    ///
    /// # Errors
    /// The server's.
    pub async fn open(url: &str) -> Result<Self, Error> {
        let mut clients = Vec::with_capacity(CONNECTIONS);
        let mut client = prepared(url).await?;
        for _ in 0..CONNECTIONS {
            let statement = client.prepare(ONE).await?;
            clients.push(std::sync::Arc::new((client, statement)));
            client = connect(url).await?;
        }
        Ok(Self(clients))
    }

    /// Returns once the transfer is durable.
    ///
    /// # Errors
    /// When it is not.
    pub async fn transfer(&self, caller: usize, transfer: Transfer) -> Result<(), Error> {
        let (client, statement) = &*self.0[caller % self.0.len()];
        let Transfer { id, debit, credit } = &transfer;
        client
            .execute(statement, &[id, debit, credit, &1_i64])
            .await?;
        Ok(())
    }
}

async fn connect(url: &str) -> Result<Client, Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    client.batch_execute("SET synchronous_commit = on").await?;
    Ok(client)
}

async fn prepared(url: &str) -> Result<Client, Error> {
    let client = connect(url).await?;
    client.batch_execute(TABLES).await?;
    let accounts =
        "INSERT INTO account SELECT n, 0, 0 FROM generate_series(0, $1::bigint - 1) AS n";
    client.execute(accounts, &[&ACCOUNTS]).await?;
    Ok(client)
}

/// How many transfers a database holds, each of which moved both its accounts.
///
/// # Errors
/// The server's; books that do not balance.
pub async fn count(url: &str) -> Result<u64, Error> {
    let client = connect(url).await?;
    let row = client
        .query_one(
            "SELECT (SELECT count(*) FROM transfer), sum(debits)::bigint, sum(credits)::bigint
               FROM account",
            &[],
        )
        .await?;
    let [count, debits, credits]: [i64; 3] = [row.get(0), row.get(1), row.get(2)];
    if count != debits || debits != credits {
        return Err(format!("{count} transfers, debits {debits}, credits {credits}").into());
    }
    Ok(u64::try_from(count)?)
}

/// Commits each transfer by itself, in a SQLite file: one thread, write-ahead log, synced in full.
#[derive(Debug, Clone)]
pub struct File(threads::Sender<Asked>);

impl File {
    /// Makes the file.
    ///
    /// # Errors
    /// SQLite's.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = Connection::open(path)?;
        file.pragma_update(None, "journal_mode", "wal")?;
        file.pragma_update(None, "synchronous", "full")?;
        file.execute_batch(TABLES)?;
        for account in 0..ACCOUNTS {
            file.execute("INSERT INTO account VALUES (?1, 0, 0)", [account])?;
        }
        let (queue, waiting) = threads::channel::<Asked>();
        thread::spawn(move || {
            for (transfer, caller) in waiting {
                if write(&file, &transfer).is_ok() {
                    let _ = caller.send(());
                }
            }
        });
        Ok(Self(queue))
    }

    /// Returns once the transfer is durable.
    ///
    /// # Errors
    /// When it is not.
    pub async fn transfer(&self, transfer: Transfer) -> Result<(), Error> {
        let (caller, answer) = oneshot::channel();
        self.0.send((transfer, caller))?;
        Ok(answer.await?)
    }
}

fn write(file: &Connection, transfer: &Transfer) -> rusqlite::Result<()> {
    let Transfer { id, debit, credit } = transfer;
    file.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    file.prepare_cached("INSERT INTO transfer VALUES (?1, ?2, ?3, 1)")?
        .execute((id, debit, credit))?;
    file.prepare_cached("UPDATE account SET debits = debits + 1 WHERE id = ?1")?
        .execute([debit])?;
    file.prepare_cached("UPDATE account SET credits = credits + 1 WHERE id = ?1")?
        .execute([credit])?;
    file.prepare_cached("COMMIT")?.execute([])?;
    Ok(())
}
