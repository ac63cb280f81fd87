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
        tokio::spawn(simulate_groups::<W>(Writer::new(connection), waiting));
        return Ok(queue);
    }
    thread::Builder::new()
        .name("store-writer".into())
        .spawn(move || write_groups::<W>(Writer::new(connection), waiting))?;
    Ok(queue)
}

/// A connection that writes, and what its last group left for the next.
struct Writer<W: Writes> {
    connection: Connection,
    memory: W::Memory,
    /// SQLite's count of what other connections wrote, at the last group.
    seen: Option<i64>,
}

/// While one group commits, the next one gathers in the queue.
#[expect(
    clippy::disallowed_methods,
    reason = "runs on the writer's own thread, never on a runtime worker"
)]
fn write_groups<W: Writes>(mut writer: Writer<W>, mut waiting: mpsc::Receiver<Asked<W>>) {
    let mut asked = Vec::new();
    let mut pace = Pace::default();
    while waiting.blocking_recv_many(&mut asked, group::most()) > 0 {
        if let Some(pause) = pace.pause::<W>() {
            thread::sleep(pause);
        }
        let (group, begun) = writer.begin_group(&mut asked, &mut waiting);
        pace.wrote(group.commands.len());
        writer.write_group(group, begun);
    }
}

/// The same as a task, with the time that a commit takes on the simulated clock.
async fn simulate_groups<W: Writes>(mut writer: Writer<W>, mut waiting: mpsc::Receiver<Asked<W>>) {
    let mut asked = Vec::new();
    while waiting.recv_many(&mut asked, group::most()).await > 0 {
        let group = Group::of(&mut asked);
        if group.is_empty() {
            continue;
        }
        let begun = writer.begin();
        let written = writer.write(begun, &group.commands);
        inline::commit().await;
        match written {
            Err(error) if group.fails_by_a_command(&error) => {
                for one in group.alone() {
                    let begun = writer.begin();
                    let written = writer.write(begun, &one.commands);
                    inline::commit().await;
                    one.answer(written);
                }
            }
            written => group.answer(written),
        }
    }
}

impl<W: Writes> Writer<W> {
    fn new(connection: Connection) -> Self {
        Self {
            connection,
            memory: W::Memory::default(),
            seen: None,
        }
    }

    /// Begins a transaction, and takes into its group who came while another process had the file.
    fn begin_group(
        &mut self,
        asked: &mut Vec<Asked<W>>,
        waiting: &mut mpsc::Receiver<Asked<W>>,
    ) -> (Group<W>, Result<(), Unavailable>) {
        let begun = self.begin();
        while asked.len() < group::most()
            && let Ok(next) = waiting.try_recv()
        {
            asked.push(next);
        }
        (Group::of(asked), begun)
    }

    fn write_group(&mut self, group: Group<W>, begun: Result<(), Unavailable>) {
        match self.write(begun, &group.commands) {
            Err(error) if group.fails_by_a_command(&error) => {
                for one in group.alone() {
                    let begun = self.begin();
                    let written = self.write(begun, &one.commands);
                    one.answer(written);
                }
            }
            written => group.answer(written),
        }
    }

    fn begin(&mut self) -> Result<(), Unavailable> {
        // IMMEDIATE: waits here, not in the middle, for another process that shares the file.
        execute(&self.connection, "BEGIN IMMEDIATE")?;
        let mut version = self.connection.prepare_cached("PRAGMA data_version")?;
        let version = version.query_row([], |row| row.get::<_, i64>(0))?;
        if self.seen.replace(version) != Some(version) {
            self.memory = W::Memory::default();
        }
        Ok(())
    }

    fn write(
        &mut self,
        begun: Result<(), Unavailable>,
        commands: &[W::Command],
    ) -> Result<Vec<W::Outcome>, Unavailable> {
        let written = begun.and_then(|()| self.transact(commands));
        if written.is_err() {
            self.memory = W::Memory::default();
            if !self.connection.is_autocommit() {
                // If even this fails, the next BEGIN does too, and its callers are told.
                let _ = self.connection.execute_batch("ROLLBACK");
            }
        }
        written
    }

    fn transact(&mut self, commands: &[W::Command]) -> Result<Vec<W::Outcome>, Unavailable> {
        let (connection, memory) = (&self.connection, &mut self.memory);
        let outcomes = catch_unwind(AssertUnwindSafe(|| {
            W::in_file(connection, memory, commands)
        }))
        .unwrap_or_else(|_| Err(group::panicked()))?;
        let outcomes = group::one_each::<W>(commands, outcomes)?;
        if connection.is_autocommit() {
            // SQLite undoes a transaction by itself for some errors, and this one was not passed on.
            return Err(Unavailable::command("the transaction was undone"));
        }
        execute(connection, "COMMIT")?;
        Ok(outcomes)
    }
}

fn execute(connection: &Connection, sql: &str) -> Result<(), Unavailable> {
    connection.prepare_cached(sql)?.execute([])?;
    Ok(())
}
