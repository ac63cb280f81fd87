//! Bringing a schema to the current version.

use std::time::Duration;

use crate::Unavailable;

use super::{MIGRATION_LOCK_MAX, Session};

/// The longest that migrations may work: they may rewrite a table.
const MIGRATION_MAX: Duration = Duration::from_secs(3600);

/// Runs the steps that the schema has not seen, all in one transaction, under a lock of the whole
/// database that instances which start at once take in turn.
pub(super) async fn run(
    session: &Session,
    schema: &str,
    migrations: &'static [&'static str],
) -> Result<(), Unavailable> {
    session.begin().await?;
    let migrated = steps(session, schema, migrations).await;
    match migrated {
        Ok(()) => session.commit().await,
        Err(error) => {
            // If even this fails, the connection is gone, and the transaction with it.
            let _ = session.rollback().await;
            Err(error)
        }
    }
}

async fn steps(
    session: &Session,
    schema: &str,
    migrations: &'static [&'static str],
) -> Result<(), Unavailable> {
    let limits = format!(
        "SET LOCAL lock_timeout = {}; SET LOCAL statement_timeout = {};
         SET LOCAL idle_in_transaction_session_timeout = 0",
        MIGRATION_LOCK_MAX.as_millis(),
        MIGRATION_MAX.as_millis(),
    );
    session.batch(&limits).await?;
    session
        .query(
            "SELECT 1 FROM pg_catalog.pg_advisory_xact_lock(
                 pg_catalog.hashtextextended('migrations of ' || $1::text, 0))",
            &[&schema],
        )
        .await?;
    // Looked for first: CREATE ... IF NOT EXISTS asks for the right to create before it looks.
    let found = session
        .query_opt(
            "SELECT pg_catalog.to_regclass($1::text || '.schema_version') IS NOT NULL,
                    pg_catalog.to_regnamespace($1::text) IS NOT NULL",
            &[&schema],
        )
        .await?;
    let (table, namespace) = match found {
        Some(row) => (row.try_get(0)?, row.try_get(1)?),
        None => (false, false),
    };
    if !namespace {
        session
            .batch(&format!("CREATE SCHEMA \"{schema}\""))
            .await?;
    }
    if !table {
        session
            .batch(
                "CREATE TABLE schema_version (
                     version bigint PRIMARY KEY,
                     reached timestamptz NOT NULL DEFAULT now())",
            )
            .await?;
    }
    let version = session
        .query_opt("SELECT coalesce(max(version), 0) FROM schema_version", &[])
        .await?;
    let version: i64 = match version {
        Some(row) => row.try_get(0)?,
        None => 0,
    };
    for (step, sql) in (1_i64..).zip(migrations) {
        if step > version {
            session.batch(sql).await?;
            session
                .execute("INSERT INTO schema_version (version) VALUES ($1)", &[&step])
                .await?;
        }
    }
    Ok(())
}
