//! One child process: started, asked to stop, killed.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    process::{ExitStatus, Stdio},
};

use mizan::args::LogFormat;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, ChildStdin, Command},
    task::JoinSet,
};

use super::{
    lines::{LastLine, forward},
    plan::{Member, REGISTRY},
};

/// Settings of the environment that are for one process and not for all children.
const NOT_INHERITED: [&str; 3] = ["MIZAN_LISTEN", "MIZAN_ADVERTISE", "MIZAN_INSTANCE_ID"];

/// What all children have in common.
#[derive(Debug)]
pub(super) struct Launch {
    /// This very program.
    pub(super) program: PathBuf,
    pub(super) registry: SocketAddr,
    pub(super) data: PathBuf,
    pub(super) log_format: LogFormat,
}

/// A child that was started. Dropped, it is killed.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    /// Kept open: a child drains when it closes, which the system does when this process dies.
    _stdin: Option<ChildStdin>,
    lines: JoinSet<()>,
    last_line: LastLine,
}

impl Launch {
    /// Starts a child in a process group of its own, so that Ctrl-C reaches only this process.
    pub(super) fn start(&self, member: &Member, prefix: &str) -> io::Result<Process> {
        let mut child = self.command(member).spawn()?;
        let last_line = LastLine::default();
        let mut lines = JoinSet::new();
        if let Some(out) = child.stdout.take() {
            lines.spawn(forward(out, prefix.to_owned(), LastLine::default()));
        }
        if let Some(err) = child.stderr.take() {
            lines.spawn(forward(err, prefix.to_owned(), last_line.clone()));
        }
        Ok(Process {
            _stdin: child.stdin.take(),
            child,
            lines,
            last_line,
        })
    }

    fn command(&self, member: &Member) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg(member.service)
            .args(["--listen", &member.listen.to_string()])
            .arg("--stop-with-stdin")
            .args(["--log-format", log_format(self.log_format)])
            .env("MIZAN_DATA", &self.data)
            .process_group(0)
            .kill_on_drop(true)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for name in NOT_INHERITED {
            command.env_remove(name);
        }
        if member.service != REGISTRY {
            command
                .args(["--instance-id", &member.name])
                .args(["--registry", &self.registry.to_string()]);
        }
        command
    }
}

fn log_format(format: LogFormat) -> &'static str {
    match format {
        LogFormat::Pretty => "pretty",
        LogFormat::Json => "json",
        LogFormat::Auto => "auto",
    }
}

impl Process {
    /// The pid; none once it has ended.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for its end, and for the last of its lines.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        while self.lines.join_next().await.is_some() {}
        Ok(status)
    }

    /// Asks it to drain, by SIGTERM. One that has ended needs no asking.
    pub(super) fn ask_to_stop(&self) {
        let pid = self.pid().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// Kills it.
    pub(super) fn kill(&mut self) {
        let _ = self.child.start_kill();
    }

    /// The last line that it wrote to standard error.
    pub(super) fn last_line(&self) -> String {
        self.last_line.get()
    }
}
