//! Writing to a SQLite file: one thread, one transaction for all who wait.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};

use tokio::{runtime::Runtime, sync::mpsc};

use crate::{
    Unavailable,
    group::{self, Asked, Group, Pace, Queue},
    inline,
    keeper::Keeper,
    seam::Writes,
    wait::{self, Closer, Closing, Next},
};

/// Starts the thread, which runs until every handle is gone or it is told to end.
pub(crate) fn start<W: Writes>(keeper: Keeper) -> io::Result<(Queue<W>, Closer)> {
    let (queue, waiting) = Queue::new();
    let (closer, closing) = wait::closing();
    let writer = Writer::new(keeper);
    if inline::here() {
        tokio::spawn(simulate_groups::<W>(writer, waiting, closing));
        return Ok((queue, closer));
    }
    let clock = wait::clock()?;
    thread::Builder::new()
        .name("store-writer".into())
        .spawn(move || write_groups::<W>(&clock, writer, waiting, closing))?;
    Ok((queue, closer))
}

/// A connection that writes, and what its last group left for the next.
struct Writer<W: Writes> {
    keeper: Keeper,
    memory: W::Memory,
    /// SQLite's count of what other connections wrote, at the last group.
    seen: Option<i64>,
}

/// While one group commits, the next one gathers in the queue.
#[expect(
    clippy::disallowed_methods,
    reason = "runs on the writer's own thread, never on a runtime worker"
)]
fn write_groups<W: Writes>(
    clock: &Runtime,
    mut writer: Writer<W>,
    mut waiting: mpsc::Receiver<Asked<W>>,
    mut closing: Closing,
) {
    let mut asked = Vec::new();
    let mut pace = Pace::default();
    loop {
        let patience = writer.keeper.patience();
        let next = wait::next(
            &mut waiting,
            &mut closing,
            &mut asked,
            group::most(),
            patience,
        );
        match clock.block_on(next) {
            Next::Work => {}
            Next::Quiet => {
                writer.keeper.quiet();
                continue;
            }
            Next::End => break,
        }
        if let Some(pause) = pace.pause::<W>() {
            thread::sleep(pause);
        }
        let (group, begun) = writer.begin_group(&mut asked, &mut waiting);
        pace.wrote(group.commands.len());
        writer.write_group(group, begun);
        writer.keeper.answered();
    }
    writer.keeper.close(closing.was_asked());
}

/// The same as a task, with the time that a commit takes on the simulated clock.
async fn simulate_groups<W: Writes>(
    mut writer: Writer<W>,
    mut waiting: mpsc::Receiver<Asked<W>>,
    mut closing: Closing,
) {
    let mut asked = Vec::new();
    while wait::next(&mut waiting, &mut closing, &mut asked, group::most(), None).await
        == Next::Work
    {
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
        writer.keeper.answered();
    }
    writer.keeper.close(closing.was_asked());
}

impl<W: Writes> Writer<W> {
    fn new(keeper: Keeper) -> Self {
        Self {
            keeper,
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
        self.keeper.begin()?;
        let mut version = self
            .keeper
            .connection()
            .prepare_cached("PRAGMA data_version")?;
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
            self.keeper.undo();
        }
        written
    }

    fn transact(&mut self, commands: &[W::Command]) -> Result<Vec<W::Outcome>, Unavailable> {
        let (connection, memory) = (self.keeper.connection(), &mut self.memory);
        let outcomes = catch_unwind(AssertUnwindSafe(|| {
            W::in_file(connection, memory, commands)
        }))
        .unwrap_or_else(|_| Err(group::panicked()))?;
        let outcomes = group::one_each::<W>(commands, outcomes)?;
        if connection.is_autocommit() {
            // SQLite undoes a transaction by itself for some errors, and this one was not passed on.
            return Err(Unavailable::command("the transaction was undone"));
        }
        self.keeper.commit()?;
        Ok(outcomes)
    }
}
