//! The lines that a process writes, as they come.

use std::{
    io::{BufRead as _, BufReader, Read},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

/// Far more than anything here takes: a test that hangs fails.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// Lines, read by a thread so that the writer never waits.
#[derive(Debug)]
pub struct Lines(Receiver<String>);

impl Lines {
    /// The lines of a pipe.
    pub fn of(pipe: impl Read + Send + 'static) -> Self {
        let (to, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines() {
                let Ok(line) = line else { break };
                if to.send(line).is_err() {
                    break;
                }
            }
        });
        Self(lines)
    }

    /// The next line.
    ///
    /// # Panics
    /// When there is none any more, or none for very long.
    #[must_use]
    pub fn next(&self) -> String {
        self.0.recv_timeout(LIMIT).expect("no more lines")
    }

    /// The next line, if there is one already.
    pub fn ready(&self) -> Option<String> {
        self.0.try_recv().ok()
    }

    /// The next line of which this is true.
    ///
    /// # Panics
    /// When none comes.
    pub fn wait_for(&self, wanted: impl Fn(&str) -> bool) -> String {
        loop {
            let line = self.next();
            if wanted(&line) {
                return line;
            }
        }
    }
}
