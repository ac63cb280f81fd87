//! Writing to a SQLite file: one thread, one transaction for all who wait.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};

use rusqlite::Connection;
use tokio::sync::mpsc;

use crate::{
    Unavailable,
    group::{self, Asked, Group, Queue},
    inline,
    seam::Writes,
};

/// Starts the thread, which runs until every handle is gone.
pub(crate) fn start<W: Writes>(connection: Connection) -> io::Result<Queue<W>> {
    let (queue, waiting) = Queue::new();
    if inline::here() {
        tokio::spawn(simulate_groups::<W>(connection, waiting));
        return Ok(queue);
    }
    thread::Builder::new()
        .name("store-writer".into())
        .spawn(move || write_groups::<W>(&connection, waiting))?;
    Ok(queue)
}

/// While one group commits, the next one gathers in the queue.
fn write_groups<W: Writes>(connection: &Connection, mut waiting: mpsc::Receiver<Asked<W>>) {
    let mut asked = Vec::new();
    while waiting.blocking_recv_many(&mut asked, group::most()) > 0 {
        let group = Group::of(&mut asked);
        if group.is_empty() {
            continue;
        }
        match write::<W>(connection, &group.commands) {
            Err(error) if group.fails_by_a_command(&error) => {
                for one in group.alone() {
                    let written = write::<W>(connection, &one.commands);
                    one.answer(written);
                }
            }
            written => group.answer(written),
        }
    }
}

/// The same as a task, with the time that a commit takes on the simulated clock.
async fn simulate_groups<W: Writes>(connection: Connection, mut waiting: mpsc::Receiver<Asked<W>>) {
    let mut asked = Vec::new();
    while waiting.recv_many(&mut asked, group::most()).await > 0 {
        let group = Group::of(&mut asked);
        if group.is_empty() {
            continue;
        }
        let written = write::<W>(&connection, &group.commands);
        inline::commit().await;
        match written {
            Err(error) if group.fails_by_a_command(&error) => {
                for one in group.alone() {
                    let written = write::<W>(&connection, &one.commands);
                    inline::commit().await;
                    one.answer(written);
                }
            }
            written => group.answer(written),
        }
    }
}

fn write<W: Writes>(
    connection: &Connection,
    commands: &[W::Command],
) -> Result<Vec<W::Outcome>, Unavailable> {
    let written = transact::<W>(connection, commands);
    if written.is_err() && !connection.is_autocommit() {
        // If even this fails, the next BEGIN does too, and its callers are told.
        let _ = connection.execute_batch("ROLLBACK");
    }
    written
}

fn transact<W: Writes>(
    connection: &Connection,
    commands: &[W::Command],
) -> Result<Vec<W::Outcome>, Unavailable> {
    // IMMEDIATE: waits here, not in the middle, for another process that shares the file.
    execute(connection, "BEGIN IMMEDIATE")?;
    let outcomes = catch_unwind(AssertUnwindSafe(|| W::in_file(connection, commands)))
        .unwrap_or_else(|_| Err(group::panicked()))?;
    let outcomes = group::one_each::<W>(commands, outcomes)?;
    if connection.is_autocommit() {
        // SQLite undoes a transaction by itself for some errors, and this one was not passed on.
        return Err(Unavailable::command("the transaction was undone"));
    }
    execute(connection, "COMMIT")?;
    Ok(outcomes)
}

fn execute(connection: &Connection, sql: &str) -> Result<(), Unavailable> {
    connection.prepare_cached(sql)?.execute([])?;
    Ok(())
}
