//! A session of a server, inside a transaction.

use std::{
    collections::HashMap,
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use parking_lot::Mutex;
use tokio_postgres::{Client, Row, Statement, types::ToSql};

use crate::Unavailable;

/// A session inside a transaction that the store begins and ends. SQL texts are `'static`, so that
/// there are few of them: each is prepared once in a connection and found again by its text.
pub struct Session {
    client: Client,
    statements: Mutex<HashMap<&'static str, Statement>>,
    /// Statements of this transaction that were begun, and that went well. PostgreSQL answers the
    /// COMMIT of a transaction in which one failed with a ROLLBACK and no error; so a failure that
    /// was not passed on has to be noticed here.
    begun: AtomicU64,
    well: AtomicU64,
}

impl Session {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            statements: Mutex::default(),
            begun: AtomicU64::new(0),
            well: AtomicU64::new(0),
        }
    }

    /// The rows that a statement answers with.
    ///
    /// # Errors
    /// What the server refuses; pass it on, the transaction is lost.
    pub async fn query(
        &self,
        sql: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Unavailable> {
        self.begun.fetch_add(1, Relaxed);
        let statement = self.prepared(sql).await?;
        let rows = self.client.query(&statement, params).await?;
        self.well.fetch_add(1, Relaxed);
        Ok(rows)
    }

    /// The row that a statement answers with, if it does; more than one is an error.
    ///
    /// # Errors
    /// As [`Session::query`].
    pub async fn query_opt(
        &self,
        sql: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, Unavailable> {
        let mut rows = self.query(sql, params).await?;
        if rows.len() > 1 {
            return Err(Unavailable::command("more than one row"));
        }
        Ok(rows.pop())
    }

    /// How many rows a statement changed.
    ///
    /// # Errors
    /// As [`Session::query`].
    pub async fn execute(
        &self,
        sql: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, Unavailable> {
        self.begun.fetch_add(1, Relaxed);
        let statement = self.prepared(sql).await?;
        let changed = self.client.execute(&statement, params).await?;
        self.well.fetch_add(1, Relaxed);
        Ok(changed)
    }

    async fn prepared(&self, sql: &'static str) -> Result<Statement, Unavailable> {
        let known = self.statements.lock().get(sql).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.client.prepare(sql).await?;
        self.statements.lock().insert(sql, statement.clone());
        Ok(statement)
    }

    pub(super) async fn begin(&self) -> Result<(), Unavailable> {
        self.begun.store(0, Relaxed);
        self.well.store(0, Relaxed);
        self.batch("BEGIN").await
    }

    pub(super) async fn commit(&self) -> Result<(), Unavailable> {
        if self.begun.load(Relaxed) != self.well.load(Relaxed) {
            return Err(Unavailable::command("a failed statement was passed over"));
        }
        self.batch("COMMIT").await
    }

    pub(super) async fn rollback(&self) -> Result<(), Unavailable> {
        self.batch("ROLLBACK").await
    }

    /// Statements without parameters or answers.
    pub(super) async fn batch(&self, sql: &str) -> Result<(), Unavailable> {
        Ok(self.client.batch_execute(sql).await?)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}
