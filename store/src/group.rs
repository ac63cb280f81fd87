//! Commands that wait, gathered into one transaction.

use std::{env, sync::OnceLock, time::Duration};

use tokio::sync::{mpsc, oneshot};

use crate::{Unavailable, seam::Writes};

/// The most commands in one transaction: bounds how long the first of them waits for its answer,
/// and how much a failed group has to do again.
pub(crate) const GROUP_MAX: usize = 512;

/// The most commands in one transaction of this process. `MIZAN_BENCH_GROUP_MAX` makes it smaller, so
/// that `mizan-bench` can measure what grouping is worth; nothing else is to set it.
pub(crate) fn most() -> usize {
    static MOST: OnceLock<usize> = OnceLock::new();
    *MOST.get_or_init(|| {
        let asked = env::var("MIZAN_BENCH_GROUP_MAX").ok();
        let asked = asked.and_then(|asked| asked.parse().ok());
        asked.unwrap_or(GROUP_MAX).clamp(1, GROUP_MAX)
    })
}

/// The most commands that may wait; further callers wait for a place before they are queued. Two
/// groups: one that is being written, and the next.
pub(crate) const QUEUE_MAX: usize = 2 * GROUP_MAX;

type Answer<W> = Result<<W as Writes>::Outcome, Unavailable>;

/// One caller's command.
pub(crate) struct Asked<W: Writes> {
    command: W::Command,
    caller: oneshot::Sender<Answer<W>>,
}

/// The way into a writer's queue.
pub(crate) struct Queue<W: Writes> {
    queue: mpsc::Sender<Asked<W>>,
}

impl<W: Writes> Clone for Queue<W> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
        }
    }
}

impl<W: Writes> Queue<W> {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Asked<W>>) {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        (Self { queue }, waiting)
    }

    pub(crate) async fn ask(&self, command: W::Command) -> Answer<W> {
        let (caller, answer) = oneshot::channel();
        if self.queue.send(Asked { command, caller }).await.is_err() {
            return Err(Unavailable::stopped());
        }
        answer.await.unwrap_or_else(|_| Err(Unavailable::stopped()))
    }
}

/// Whether a group waits for more. A caller alone gains nothing by that; where callers come together,
/// the commit is what costs, and one a little later serves several times as many.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    together: bool,
}

impl Pace {
    /// How long to wait before the next group begins.
    pub(crate) fn pause<W: Writes>(&self) -> Option<Duration> {
        let waits = self.together && most() > 1 && !W::GATHER.is_zero();
        waits.then_some(W::GATHER)
    }

    /// Notes how many commands a group had.
    pub(crate) fn wrote(&mut self, commands: usize) {
        self.together = commands > 1;
    }
}

/// The commands of one transaction, and who waits for them.
pub(crate) struct Group<W: Writes> {
    pub(crate) commands: Vec<W::Command>,
    callers: Vec<oneshot::Sender<Answer<W>>>,
}

impl<W: Writes> Group<W> {
    /// Takes what was asked. Who has left is left out: his command has not begun, and he will ask
    /// again if he still wants it.
    pub(crate) fn of(asked: &mut Vec<Asked<W>>) -> Self {
        let wanted = asked.drain(..).filter(|asked| !asked.caller.is_closed());
        let (commands, callers) = wanted.map(|asked| (asked.command, asked.caller)).unzip();
        Self { commands, callers }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Whether a failure may be one command's alone, so that the others are worth trying.
    pub(crate) fn fails_by_a_command(&self, error: &Unavailable) -> bool {
        let by_one = self.commands.len() > 1 && error.is_a_commands_doing();
        if by_one {
            tracing::warn!(
                cause = error.chain(),
                commands = self.commands.len(),
                "group undone; each command is tried alone"
            );
        }
        by_one
    }

    /// Tells each caller its outcome, or all of them that there is none. One who has left in the
    /// meantime does not want it; what was written stands all the same.
    pub(crate) fn answer(self, written: Result<Vec<W::Outcome>, Unavailable>) {
        match written {
            Ok(outcomes) => {
                for (caller, outcome) in self.callers.into_iter().zip(outcomes) {
                    let _ = caller.send(Ok(outcome));
                }
            }
            Err(unavailable) => {
                tracing::error!(
                    cause = unavailable.chain(),
                    commands = self.commands.len(),
                    "group not written"
                );
                for caller in self.callers {
                    let _ = caller.send(Err(unavailable.clone()));
                }
            }
        }
    }

    /// A group of each command.
    pub(crate) fn alone(self) -> impl Iterator<Item = Self> {
        let pairs = self.commands.into_iter().zip(self.callers);
        pairs.map(|(command, caller)| Self {
            commands: vec![command],
            callers: vec![caller],
        })
    }
}

/// A group with another number of outcomes than commands would tell callers each other's.
pub(crate) fn one_each<W: Writes>(
    commands: &[W::Command],
    outcomes: Vec<W::Outcome>,
) -> Result<Vec<W::Outcome>, Unavailable> {
    if commands.len() == outcomes.len() {
        Ok(outcomes)
    } else {
        Err(Unavailable::command("not one outcome for each command"))
    }
}

/// What a command that panicked comes to.
pub(crate) fn panicked() -> Unavailable {
    Unavailable::command("a command panicked")
}
