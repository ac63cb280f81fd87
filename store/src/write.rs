//! The writer: one thread, one transaction for all who wait.

use std::{
    io,
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};

use rusqlite::Connection;
use tokio::{
    runtime::Runtime,
    sync::{mpsc, oneshot},
};

use crate::{
    Unavailable, group, inline,
    keeper::{Keeper, execute},
    wait::{self, Closer, Closing, Next},
};

/// The most writes in one transaction: bounds how long the first of them waits for its answer.
const GROUP_MAX: usize = 256;

/// The most writes that may wait; further callers wait for a place before they are queued.
const QUEUE_MAX: usize = 1024;

#[derive(Clone, Debug)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Box<dyn Job>>,
    closer: Closer,
}

/// One caller's write: run once inside the group's transaction, then told how the commit went.
trait Job: Send {
    /// Runs the write and says whether it is to be kept.
    fn run(&mut self, connection: &Connection) -> ControlFlow<()>;
    /// Answers the caller.
    fn answer(self: Box<Self>, committed: Result<(), Unavailable>);
}

struct Pending<F, T, E> {
    work: Option<F>,
    outcome: Option<Result<T, E>>,
    caller: oneshot::Sender<Result<T, E>>,
}

impl<F, T, E> Job for Pending<F, T, E>
where
    F: FnOnce(&Connection) -> Result<T, E> + Send,
    T: Send,
    E: From<Unavailable> + Send,
{
    fn run(&mut self, connection: &Connection) -> ControlFlow<()> {
        let Some(work) = self.work.take() else {
            return ControlFlow::Break(());
        };
        let outcome = work(connection);
        let kept = outcome.is_ok();
        self.outcome = Some(outcome);
        if kept {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }

    fn answer(self: Box<Self>, committed: Result<(), Unavailable>) {
        let answer = match (committed, self.outcome) {
            (Ok(()), Some(outcome)) => outcome,
            (Ok(()), None) => Err(Unavailable::stopped().into()),
            (Err(unavailable), _) => Err(unavailable.into()),
        };
        // A caller who left does not want the answer; the write stands all the same.
        let _ = self.caller.send(answer);
    }
}

impl Writer {
    pub(crate) fn start(keeper: Keeper) -> io::Result<Self> {
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        let (closer, closing) = wait::closing();
        if inline::here() {
            tokio::spawn(simulate_groups(keeper, jobs, closing));
            return Ok(Self { queue, closer });
        }
        let clock = wait::clock()?;
        thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || write_groups(&clock, keeper, jobs, closing))?;
        Ok(Self { queue, closer })
    }

    /// Ends the writer, after what waits.
    pub(crate) async fn close(&self) {
        self.closer.close().await;
    }

    pub(crate) async fn run<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Unavailable> + Send + 'static,
    {
        let (caller, answer) = oneshot::channel();
        let job = Pending {
            work: Some(work),
            outcome: None,
            caller,
        };
        if self.queue.send(Box::new(job)).await.is_err() {
            return Err(Unavailable::stopped().into());
        }
        answer
            .await
            .unwrap_or_else(|_| Err(Unavailable::stopped().into()))
    }
}

/// Runs until every handle is gone or it is told to end. While one group commits, the next one
/// gathers in the queue.
fn write_groups(
    clock: &Runtime,
    mut keeper: Keeper,
    mut jobs: mpsc::Receiver<Box<dyn Job>>,
    mut closing: Closing,
) {
    let mut group = Vec::new();
    loop {
        let patience = keeper.patience();
        match clock.block_on(wait::next(&mut jobs, &mut closing, &mut group, 1, patience)) {
            Next::Work => {}
            Next::Quiet => {
                keeper.quiet();
                continue;
            }
            Next::End => break,
        }
        let committed = commit(&mut keeper, &mut group, &mut jobs);
        answer(&mut group, &committed);
        keeper.answered();
    }
    keeper.close(closing.was_asked());
}

/// The same as a task, with the time that a commit takes on the simulated clock.
async fn simulate_groups(
    mut keeper: Keeper,
    mut jobs: mpsc::Receiver<Box<dyn Job>>,
    mut closing: Closing,
) {
    let mut group = Vec::new();
    while wait::next(&mut jobs, &mut closing, &mut group, 1, None).await == Next::Work {
        let committed = commit(&mut keeper, &mut group, &mut jobs);
        inline::commit().await;
        answer(&mut group, &committed);
        keeper.answered();
    }
    keeper.close(closing.was_asked());
}

type Group = Vec<Box<dyn Job>>;

fn commit(
    keeper: &mut Keeper,
    group: &mut Group,
    jobs: &mut mpsc::Receiver<Box<dyn Job>>,
) -> Result<(), Unavailable> {
    let committed = write_group(keeper, group, jobs);
    if let Err(error) = &committed {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        tracing::error!(cause, writes = group.len(), "group not written");
        keeper.undo();
    }
    committed
}

fn answer(group: &mut Group, committed: &Result<(), Unavailable>) {
    for job in group.drain(..) {
        job.answer(committed.clone());
    }
}

fn write_group(
    keeper: &mut Keeper,
    group: &mut Group,
    jobs: &mut mpsc::Receiver<Box<dyn Job>>,
) -> Result<(), Unavailable> {
    keeper.begin()?;
    let connection = keeper.connection();
    let mut done = 0;
    while done < group.len() {
        execute(connection, "SAVEPOINT job")?;
        if run(&mut *group[done], connection).is_break() {
            execute(connection, "ROLLBACK TO job")?;
        }
        execute(connection, "RELEASE job")?;
        done += 1;
        if group.len() < GROUP_MAX.min(group::most())
            && let Ok(next) = jobs.try_recv()
        {
            group.push(next);
        }
    }
    keeper.commit()
}

/// Runs a job. One that panics is undone like one that fails, and its caller is told that nothing
/// was written: it must not take the thread, and so all later writes, with it.
fn run(job: &mut dyn Job, connection: &Connection) -> ControlFlow<()> {
    catch_unwind(AssertUnwindSafe(|| job.run(connection))).unwrap_or_else(|_| {
        tracing::error!("a write panicked and was undone");
        ControlFlow::Break(())
    })
}
