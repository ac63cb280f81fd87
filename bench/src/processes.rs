//! The servers: this program again, each in a process of its own, ended when its parent ends.

use std::{
    env,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::Ipv4Addr,
    process::{Child, ChildStdout, Command, Stdio},
};

use tokio::{net::TcpListener, runtime};

use crate::{Error, echo, machine};

/// The name of the subcommand that serves.
pub const SERVER: &str = "server";

/// Running servers; dropped, they end.
#[derive(Debug)]
pub struct Servers {
    children: Vec<Child>,
    addresses: Vec<String>,
}

impl Servers {
    /// Starts so many, on one core if one is given.
    ///
    /// # Errors
    /// A process that could not be started or said no port.
    pub fn start(count: usize, core: Option<usize>) -> Result<Self, Error> {
        let mut servers = Self {
            children: Vec::new(),
            addresses: Vec::new(),
        };
        for _ in 0..count {
            let mut command = Command::new(env::current_exe()?);
            command.arg(SERVER);
            if let Some(core) = core {
                command.args(["--core", &core.to_string()]);
            }
            let mut child = command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?;
            let said = child.stdout.take();
            servers.children.push(child);
            servers.addresses.push(address(said)?);
        }
        Ok(servers)
    }

    /// Where they listen, HOST:PORT.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }
}

fn address(said: Option<ChildStdout>) -> Result<String, Error> {
    let mut line = String::new();
    BufReader::new(said.ok_or("a server without a voice")?).read_line(&mut line)?;
    let port: u16 = line.trim().parse()?;
    Ok(format!("127.0.0.1:{port}"))
}

impl Drop for Servers {
    fn drop(&mut self) {
        for child in &mut self.children {
            // One that is gone already needs no ending.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What a child does: serves the echo with one worker, says its port, and ends with its parent.
///
/// # Errors
/// No runtime, no port, or the transport's.
pub fn serve(core: Option<usize>) -> Result<(), Error> {
    if let Some(core) = core {
        // The parent says in its report when pinning is not possible.
        let _ = machine::pin(core);
    }
    let runtime = one_worker("echo-server")?;
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", listener.local_addr()?.port())?;
    stdout.flush()?;
    runtime.spawn(echo::serve(listener));
    // The parent holds the other end and never writes: this returns when it is gone.
    let mut nothing: Vec<u8> = Vec::new();
    std::io::stdin().read_to_end(&mut nothing)?;
    Ok(())
}

/// A runtime with one worker thread, on either side; a profiler tells them apart by its name.
///
/// # Errors
/// What the system says.
pub fn one_worker(name: &str) -> Result<runtime::Runtime, Error> {
    let mut builder = runtime::Builder::new_multi_thread();
    Ok(builder
        .worker_threads(1)
        .thread_name(name)
        .enable_all()
        .build()?)
}
