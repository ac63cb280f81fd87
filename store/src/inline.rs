//! Databases without threads of their own, for deterministic simulations.
//!
//! A simulation runs all its machines on one thread and a simulated clock. A writer thread, or a
//! blocking one for reads, would answer after a real time, and no run would be like another. Here a
//! transaction runs where it is asked for, at once and by itself; what is kept, and when it may be
//! acknowledged, is the same.

use std::{cell::Cell, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::Unavailable;

thread_local! {
    static INLINE: Cell<bool> = const { Cell::new(false) };
}

/// How long a commit takes on the simulated clock: a machine may die after it and before the answer.
const COMMIT: Duration = Duration::from_millis(1);

/// From now on, databases that are opened by this thread have no threads of their own. Files are
/// not synced: in a simulation processes die, and the real machine does not.
#[doc(hidden)]
pub fn simulate_on_this_thread() {
    INLINE.set(true);
}

/// A connection of such a database.
#[derive(Clone, Debug)]
pub(crate) struct Inline(Arc<Mutex<Connection>>);

impl Inline {
    /// The connection, if this thread simulates.
    pub(crate) fn of(connection: Connection) -> Result<Self, Connection> {
        if !INLINE.get()
            || connection
                .pragma_update(None, "synchronous", "off")
                .is_err()
        {
            return Err(connection);
        }
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    /// A write: kept if the job is done, undone if it fails.
    pub(crate) async fn write<T, E>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E>
    where
        E: From<Unavailable>,
    {
        let answer = self.transact(TransactionBehavior::Immediate, job);
        tokio::time::sleep(COMMIT).await;
        answer
    }

    /// A read: one snapshot.
    pub(crate) fn read<T, E>(&self, job: impl FnOnce(&Connection) -> Result<T, E>) -> Result<T, E>
    where
        E: From<Unavailable>,
    {
        self.transact(TransactionBehavior::Deferred, job)
    }

    fn transact<T, E>(
        &self,
        behavior: TransactionBehavior,
        job: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E>
    where
        E: From<Unavailable>,
    {
        let connection = self.0.lock();
        let transaction = Transaction::new_unchecked(&connection, behavior);
        let transaction = transaction.map_err(Unavailable::from)?;
        // Dropped, it is rolled back.
        let answer = job(&transaction)?;
        transaction.commit().map_err(Unavailable::from)?;
        Ok(answer)
    }
}
