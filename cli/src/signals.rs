//! The signals by which a person, or a supervisor, asks a command to stop.

use std::{io, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::Instant,
};

/// Signals within this time are one request: `timeout`, say, sends one to the process and one to its
/// group.
const TOGETHER: Duration = Duration::from_millis(50);

/// SIGINT and SIGTERM. From its making on, neither ends the process by itself.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    asked: Option<Instant>,
}

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            asked: None,
        })
    }

    /// Waits until it is asked to stop, or asked once more.
    pub(crate) async fn next(&mut self) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => {}
            }
            let now = Instant::now();
            if self.asked.is_none_or(|asked| now - asked > TOGETHER) {
                self.asked = Some(now);
                return;
            }
        }
    }
}
