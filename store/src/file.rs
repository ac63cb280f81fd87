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
    group::{self, Asked, Group, Pace, Queue},
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
#[expect(
    clippy::disallowed_methods,
    reason = "runs on the writer's own thread, never on a runtime worker"
)]
fn write_groups<W: Writes>(connection: &Connection, mut waiting: mpsc::Receiver<Asked<W>>) {
    let mut asked = Vec::new();
    let mut pace = Pace::default();
    while waiting.blocking_recv_many(&mut asked, group::most()) > 0 {
        if let Some(pause) = pace.pause::<W>() {
            thread::sleep(pause);
        }
        let group = begin_group::<W>(connection, &mut asked, &mut waiting);
        pace.wrote(group.0.commands.len());
        write_group(connection, group);
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
        let written = write::<W>(&connection, begin(&connection), &group.commands);
        inline::commit().await;
        match written {
            Err(error) if group.fails_by_a_command(&error) => {
                for one in group.alone() {
                    let written = write::<W>(&connection, begin(&connection), &one.commands);
                    inline::commit().await;
                    one.answer(written);
                }
            }
            written => group.answer(written),
        }
    }
}

/// A group, and whether its transaction has begun.
type Begun<W> = (Group<W>, Result<(), Unavailable>);

/// Begins a transaction, and takes into it who came while another process had the file.
fn begin_group<W: Writes>(
    connection: &Connection,
    asked: &mut Vec<Asked<W>>,
    waiting: &mut mpsc::Receiver<Asked<W>>,
) -> Begun<W> {
    let begun = begin(connection);
    while asked.len() < group::most()
        && let Ok(next) = waiting.try_recv()
    {
        asked.push(next);
    }
    (Group::of(asked), begun)
}

fn write_group<W: Writes>(connection: &Connection, (group, begun): Begun<W>) {
    match write::<W>(connection, begun, &group.commands) {
        Err(error) if group.fails_by_a_command(&error) => {
            for one in group.alone() {
                let written = write::<W>(connection, begin(connection), &one.commands);
                one.answer(written);
            }
        }
        written => group.answer(written),
    }
}

fn begin(connection: &Connection) -> Result<(), Unavailable> {
    // IMMEDIATE: waits here, not in the middle, for another process that shares the file.
    execute(connection, "BEGIN IMMEDIATE")
}

fn write<W: Writes>(
    connection: &Connection,
    begun: Result<(), Unavailable>,
    commands: &[W::Command],
) -> Result<Vec<W::Outcome>, Unavailable> {
    let written = begun.and_then(|()| transact::<W>(connection, commands));
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
