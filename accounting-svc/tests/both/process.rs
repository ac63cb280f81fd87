//! The service as a process of its own, to be killed.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use mizan::Connection;
use tokio::net::TcpSocket;

use crate::{Client, verified};

/// Longer than any of this takes: a hang fails instead of lasting.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// What a number of the environment says, or what is enough for every day.
pub(crate) fn asked(variable: &str, otherwise: u32) -> u32 {
    let asked = std::env::var(variable).ok();
    asked.map_or(otherwise, |number| number.parse().unwrap())
}

/// One at a time, on the same port and the same store.
pub(crate) struct Process {
    data: PathBuf,
    url: Option<String>,
    /// Sits on the port without listening, so that nobody else is given it between two lives.
    port: TcpSocket,
    /// A user that is not root, if it is to be run as one.
    user: Option<u32>,
    child: Option<Child>,
}

impl Process {
    pub(crate) fn new(data: &Path, url: Option<&str>) -> Self {
        let port = TcpSocket::new_v4().unwrap();
        port.set_reuseaddr(true).unwrap();
        port.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self {
            data: data.to_owned(),
            url: url.map(str::to_owned),
            port,
            user: None,
            child: None,
        }
    }

    pub(crate) fn run_by(mut self, user: u32) -> Self {
        self.user = Some(user);
        self
    }

    /// Starts it, and waits until it serves.
    pub(crate) async fn start(&mut self) -> Client {
        let mut program = PathBuf::from(env!("CARGO_BIN_EXE_accounting-svc"));
        if self.user.is_some() {
            // Where somebody else may run it, wherever this was built.
            let copy = self.data.join("program");
            if !copy.exists() {
                std::fs::copy(&program, &copy).unwrap();
            }
            program = copy;
        }
        // A file that may not grow is an error to the service, not its death.
        let mut command = Command::new("sh");
        command
            .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
            .arg(program)
            .args(["--listen", &self.address()])
            .arg("--data")
            .arg(&self.data)
            // Nobody listens on port 1: it serves without a registry.
            .args(["--registry", "127.0.0.1:1"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Some(url) = &self.url {
            command.args(["--database-url", url]);
        }
        if let Some(user) = self.user {
            std::os::unix::process::CommandExt::uid(&mut command, user);
        }
        self.child = Some(command.spawn().unwrap());
        let mut tries = tokio::time::interval(Duration::from_millis(10));
        let address = self.address();
        let asking = async {
            loop {
                tries.tick().await;
                if let Ok(connection) = Connection::open(&address, Duration::from_secs(30)).await {
                    return Client::new(connection);
                }
            }
        };
        tokio::time::timeout(PATIENCE, asking).await.unwrap()
    }

    fn address(&self) -> String {
        self.port.local_addr().unwrap().to_string()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Asks it to stop, and waits until it did.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let asked = Command::new("kill").arg(child.id().to_string()).status();
            assert!(asked.unwrap().success());
            assert!(child.wait().unwrap().success());
        }
    }

    /// Starts it where it is not to come up; what it said at its end.
    pub(crate) fn refused(&self) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_accounting-svc"))
            .args(["--listen", &self.address(), "--registry", "127.0.0.1:1"])
            .arg("--data")
            .arg(&self.data)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    }

    /// As `kill -9` does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Checks the journal after an entry that was checked before, to its end; returns the last entry.
pub(crate) async fn sound_after(client: &mut Client, mut after: i64) -> i64 {
    loop {
        let found = verified(client, after).await;
        assert!(found.valid, "{found:?}");
        after = found.verified_sequence;
        if found.complete {
            return after;
        }
    }
}
