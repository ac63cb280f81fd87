//! Keeps one process running until it is told to drain.

use std::{process::ExitStatus, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{
    board::Board,
    child::{Launch, Process},
    plan::Member,
    restart::{Deaths, Next},
};
use crate::terminal::say_coloured;

/// How long a child may take to drain: its own limit of 30 s, 10 s to close its store, and some more
/// to end.
const DRAIN_LIMIT: Duration = Duration::from_secs(45);

/// What a group of processes is to do. Only ever goes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Order {
    Run,
    Drain,
    Kill,
}

impl Order {
    /// To drain, unless the order is stronger already.
    pub(super) fn raise_to_drain(&mut self) -> bool {
        let raised = *self < Self::Drain;
        if raised {
            *self = Self::Drain;
        }
        raised
    }
}

/// The keeper of one process.
#[derive(Debug)]
pub(super) struct Supervisor {
    pub(super) member: Member,
    pub(super) prefix: String,
    pub(super) launch: Arc<Launch>,
    pub(super) board: Arc<Board>,
    pub(super) orders: watch::Receiver<Order>,
}

impl Supervisor {
    /// Runs the process, again after each death, until the order to drain.
    ///
    /// # Errors
    /// In one line, why the process cannot be started.
    pub(super) async fn run(mut self) -> Result<(), String> {
        let mut deaths = Deaths::default();
        let mut again = false;
        loop {
            let name = self.member.name.clone();
            let began = Instant::now();
            let mut process = self
                .launch
                .start(&self.member, &self.prefix)
                .map_err(|error| format!("{name} cannot be started: {error}"))?;
            if let Some(pid) = process.pid() {
                self.board.started(&name, pid);
                // The table has the first one; who looks for the process needs this one.
                if again {
                    say_coloured(&self.prefix, &format!("{name} runs again, PID {pid}"));
                }
            }
            again = true;
            let status = tokio::select! {
                status = process.ended() => status.map_err(|e| format!("{name} is lost: {e}"))?,
                () = until(&mut self.orders, Order::Drain) => {
                    self.stop(process).await;
                    return Ok(());
                }
            };
            let pause = match deaths.died(began.elapsed(), self.board.ever_passed(&name)) {
                Next::StartAfter(pause) => pause,
                Next::GiveUp => {
                    return Err(format!("{name} cannot start: {}", why(&process, status)));
                }
            };
            let pause_ms = pause.as_millis();
            let line = format!(
                "{name} died ({}); starting it again in {pause_ms} ms",
                ending(status)
            );
            say_coloured(&self.prefix, &line);
            tokio::select! {
                () = sleep(pause) => {}
                () = until(&mut self.orders, Order::Drain) => return Ok(()),
            }
        }
    }

    /// Lets the process drain, and kills it when it takes too long or by order.
    async fn stop(&mut self, mut process: Process) {
        process.ask_to_stop();
        let late = tokio::select! {
            ended = timeout(DRAIN_LIMIT, process.ended()) => ended.is_err(),
            () = until(&mut self.orders, Order::Kill) => true,
        };
        if late {
            say_coloured(&self.prefix, &format!("{} is killed", self.member.name));
            process.kill();
            let _ = process.ended().await;
        }
    }
}

/// Waits for an order at least as strong as this one. When nobody gives orders any more, it is
/// time to go.
async fn until(orders: &mut watch::Receiver<Order>, order: Order) {
    let _ = orders.wait_for(|given| *given >= order).await;
}

/// Why a process ended: by its own words, if it had any.
fn why(process: &Process, status: ExitStatus) -> String {
    match process.last_line() {
        line if line.is_empty() => ending(status),
        line => line,
    }
}

/// How a process ended: `exit status: 1`, `signal: 9 (SIGKILL)`.
fn ending(status: ExitStatus) -> String {
    status.to_string()
}
