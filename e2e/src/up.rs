//! A running `mizan up`, on free ports and with a folder of its own.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Instant,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{Lines, lines::LIMIT, mizan};

/// The processes of a `mizan up`. Dropped, all of them end.
#[derive(Debug)]
pub struct Up {
    process: Child,
    /// Kept open, so that it can go on writing.
    _stdout: Lines,
    /// What it says of its processes, and what they say.
    pub stderr: Lines,
    /// The registry's HOST:PORT.
    pub registry: String,
    /// Name, address and process id of each process, as first started.
    pub table: Vec<[String; 3]>,
    /// The processes of which it is known that they run.
    running: BTreeMap<String, Pid>,
    data: PathBuf,
    _folder: Option<tempfile::TempDir>,
}

impl Up {
    /// Starts it and waits until everything is passing.
    ///
    /// # Panics
    /// When that does not happen.
    #[must_use]
    pub fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut up = Self::start_in(data.path().to_owned());
        up._folder = Some(data);
        up
    }

    /// The same in a folder that was there before, or stays after it.
    ///
    /// # Panics
    /// When not everything is passing.
    #[must_use]
    pub fn start_in(data: PathBuf) -> Self {
        let mut process = Command::new(mizan())
            .args([
                "up",
                "--ephemeral-ports",
                "--registry-listen",
                "127.0.0.1:0",
                "--data",
            ])
            .arg(&data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = Lines::of(process.stdout.take().unwrap());
        let stderr = Lines::of(process.stderr.take().unwrap());
        stdout.wait_for(|line| line.starts_with("PROCESS"));
        let row = || -> [String; 3] {
            let cells: Vec<String> = stdout
                .next()
                .split_whitespace()
                .map(str::to_owned)
                .collect();
            cells.try_into().unwrap()
        };
        let table: Vec<_> = (0..9).map(|_| row()).collect();
        Self {
            registry: table[0][1].clone(),
            process,
            _stdout: stdout,
            stderr,
            running: table
                .iter()
                .map(|row| (row[0].clone(), pid(&row[2])))
                .collect(),
            table,
            data,
            _folder: None,
        }
    }

    /// Where its files are.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// A command of `mizan` for this registry.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(mizan());
        command.args(args).args(["--registry", &self.registry]);
        command
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// When it cannot be run.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs a command that only looks, until what it prints is so; what it printed.
    ///
    /// # Panics
    /// When that does not come, or the command fails.
    pub fn says(&self, args: &[&str], is_so: impl Fn(&str) -> bool) -> String {
        let began = Instant::now();
        loop {
            let output = self.run(args);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{args:?}: {said}");
            let text = String::from_utf8(output.stdout).unwrap();
            if is_so(&text) {
                return text;
            }
            assert!(began.elapsed() < LIMIT, "{args:?}: {text}");
        }
    }

    /// Pays files, and answers the exit code and the report.
    ///
    /// # Panics
    /// When there is no report.
    #[must_use]
    pub fn replay(&self, files: &[&str]) -> (Option<i32>, Value) {
        report(&self.run(&[&["replay", "--json"], files].concat()))
    }

    /// Sends a signal to a process, by its name in the table.
    ///
    /// # Panics
    /// When it is not there any more.
    pub fn signal(&self, name: &str, signal: Signal) {
        let row = self.table.iter().find(|row| row[0] == name).unwrap();
        kill_process(pid(&row[2]), signal).unwrap();
    }

    /// The processes that run, as far as `mizan up` has told. Reads what it said so far.
    ///
    /// # Panics
    /// When it says what it never says.
    pub fn running(&mut self) -> &BTreeMap<String, Pid> {
        while let Some(line) = self.stderr.ready() {
            let Some((name, said)) = line.split_once('|') else {
                continue;
            };
            let (name, said) = (name.trim(), said.trim());
            if said.starts_with(&format!("{name} died (")) {
                self.running.remove(name);
            } else if let Some(number) = said.strip_prefix(&format!("{name} runs again, PID ")) {
                self.running.insert(name.to_owned(), pid(number));
            }
        }
        &self.running
    }

    /// Sends `mizan up` itself the signal to stop, and does not wait for it.
    ///
    /// # Panics
    /// When it is not there any more.
    pub fn ask_to_stop(&self) {
        kill_process(Pid::from_child(&self.process), Signal::TERM).unwrap();
    }

    /// Kills `mizan up` itself, and nothing else.
    ///
    /// # Panics
    /// When it is not there any more.
    pub fn kill_supervisor(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Asks it to stop, waits until it did, and answers its exit code.
    ///
    /// # Panics
    /// When it is not there any more.
    #[must_use]
    pub fn stop(mut self) -> (Option<i32>, Vec<[String; 3]>) {
        self.ask_to_stop();
        let status = self.process.wait().unwrap();
        (status.code(), std::mem::take(&mut self.table))
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // After a failed assertion: the children follow, since their standard input closes.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The exit code and the JSON report of a replay.
///
/// # Panics
/// When it printed none.
#[must_use]
pub fn report(output: &Output) -> (Option<i32>, Value) {
    let said = String::from_utf8_lossy(&output.stderr);
    let report = serde_json::from_slice(&output.stdout).map_err(|e| format!("{e}: {said}"));
    (output.status.code(), report.unwrap())
}

/// A process id as printed.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn pid(text: &str) -> Pid {
    Pid::from_raw(text.parse().unwrap()).unwrap()
}
