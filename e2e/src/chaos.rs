//! Killing at random: while something runs, one process after another gets SIGKILL.

use std::{
    collections::BTreeMap,
    process::{Child, Output},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Signal, kill_process};

use crate::Up;

/// The killer. The same seed chooses the same names in the same order; whether the chosen one runs
/// at that moment is the system's affair, and then the next is chosen.
#[derive(Debug)]
pub struct Chaos {
    choice: fastrand::Rng,
    period: Duration,
    next: Instant,
    /// How often each process was killed, by its name.
    pub kills: BTreeMap<String, u32>,
}

impl Chaos {
    /// One that kills once in each period.
    #[must_use]
    pub fn new(seed: u64, period: Duration) -> Self {
        Self {
            choice: fastrand::Rng::with_seed(seed),
            period,
            next: Instant::now() + period,
            kills: BTreeMap::new(),
        }
    }

    /// How many were killed.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.kills.values().sum()
    }

    /// Kills until a command has ended, and answers what it said.
    ///
    /// # Panics
    /// When the command cannot be waited for.
    #[must_use]
    pub fn during(&mut self, up: &mut Up, command: Child) -> Output {
        let ended = ending(command);
        loop {
            let left = self.next.saturating_duration_since(Instant::now());
            match ended.recv_timeout(left) {
                Ok(output) => return output,
                Err(RecvTimeoutError::Timeout) => {
                    self.kill_one(up);
                    self.next += self.period;
                }
                Err(RecvTimeoutError::Disconnected) => panic!("the command is lost"),
            }
        }
    }

    /// Kills one that runs; none while none does.
    fn kill_one(&mut self, up: &mut Up) {
        let mut names: Vec<String> = up.table.iter().map(|row| row[0].clone()).collect();
        self.choice.shuffle(&mut names);
        let running = up.running();
        for name in names {
            let Some(pid) = running.get(&name) else {
                continue;
            };
            // One that ended since is not there any more.
            if kill_process(*pid, Signal::KILL).is_ok() {
                *self.kills.entry(name).or_default() += 1;
                return;
            }
        }
    }
}

fn ending(command: Child) -> Receiver<Output> {
    let (to, ended) = channel();
    thread::spawn(move || {
        let output = command.wait_with_output().unwrap();
        // The receiver waits for it, unless its test failed.
        let _ = to.send(output);
    });
    ended
}
