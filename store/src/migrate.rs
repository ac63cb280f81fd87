//! Bringing a file to the current version.

use rusqlite::{Connection, TransactionBehavior};

/// Runs the steps that the file has not seen, each with its new version number in one transaction.
/// Two processes may open a new file at once: the write lock is taken before the version is read.
pub(crate) fn run(connection: &mut Connection, migrations: &[&str]) -> rusqlite::Result<()> {
    for (step, sql) in migrations.iter().enumerate() {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let version: i64 =
            transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        if version == step {
            transaction.execute_batch(sql)?;
            transaction.pragma_update(None, "user_version", step + 1)?;
        }
        transaction.commit()?;
    }
    Ok(())
}
