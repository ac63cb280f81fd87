//! The writer: one thread, one transaction for all who wait.

use std::{
    io,
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::{Unavailable, group, inline};

/// The most writes in one transaction: bounds how long the first of them waits for its answer.
const GROUP_MAX: usize = 256;

/// The most writes that may wait; further callers wait for a place before they are queued.
const QUEUE_MAX: usize = 1024;

#[derive(Clone, Debug)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Box<dyn Job>>,
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
    pub(crate) fn start(connection: Connection) -> io::Result<Self> {
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        if inline::here() {
            tokio::spawn(simulate_groups(connection, jobs));
            return Ok(Self { queue });
        }
        thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || write_groups(&connection, jobs))?;
        Ok(Self { queue })
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

/// Runs until every handle is gone. While one group commits, the next one gathers in the queue.
fn write_groups(connection: &Connection, mut jobs: mpsc::Receiver<Box<dyn Job>>) {
    while let Some(first) = jobs.blocking_recv() {
        let (group, committed) = commit(connection, first, &mut jobs);
        answer(group, &committed);
    }
}

/// The same as a task, with the time that a commit takes on the simulated clock.
async fn simulate_groups(connection: Connection, mut jobs: mpsc::Receiver<Box<dyn Job>>) {
    while let Some(first) = jobs.recv().await {
        let (group, committed) = commit(&connection, first, &mut jobs);
        inline::commit().await;
        answer(group, &committed);
    }
}

type Group = Vec<Box<dyn Job>>;

fn commit(
    connection: &Connection,
    first: Box<dyn Job>,
    jobs: &mut mpsc::Receiver<Box<dyn Job>>,
) -> (Group, Result<(), Unavailable>) {
    let mut group = vec![first];
    let committed = write_group(connection, &mut group, jobs);
    if let Err(error) = &committed {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        tracing::error!(cause, writes = group.len(), "group not written");
        if !connection.is_autocommit() {
            // If even this fails, the next BEGIN does too, and its callers are told.
            let _ = connection.execute_batch("ROLLBACK");
        }
    }
    (group, committed)
}

fn answer(group: Group, committed: &Result<(), Unavailable>) {
    for job in group {
        job.answer(committed.clone());
    }
}

fn write_group(
    connection: &Connection,
    group: &mut Vec<Box<dyn Job>>,
    jobs: &mut mpsc::Receiver<Box<dyn Job>>,
) -> Result<(), Unavailable> {
    // IMMEDIATE: waits here, not in the middle, for another process that shares the file.
    execute(connection, "BEGIN IMMEDIATE")?;
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
    execute(connection, "COMMIT")
}

/// Runs a job. One that panics is undone like one that fails, and its caller is told that nothing
/// was written: it must not take the thread, and so all later writes, with it.
fn run(job: &mut dyn Job, connection: &Connection) -> ControlFlow<()> {
    catch_unwind(AssertUnwindSafe(|| job.run(connection))).unwrap_or_else(|_| {
        tracing::error!("a write panicked and was undone");
        ControlFlow::Break(())
    })
}

fn execute(connection: &Connection, sql: &str) -> Result<(), Unavailable> {
    connection.prepare_cached(sql)?.execute([])?;
    Ok(())
}
