//! A rolling replacement: three instances, one after the other, under a steady stream of calls.
//!
//! Everything is a process of its own: a registry, the instances (the echo on Mizan's server), and
//! this one, which calls. The stream is an open loop: a call leaves every millisecond, whether or
//! not those before were answered, so an instance that goes away badly cannot slow it down and
//! hide what it did. Nobody is pinned to a core.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Write},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::{Child, Command, ExitCode, ExitStatus, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use mizan::{
    Channel, Server,
    args::{ProcessArgs, ServerArgs},
    process,
};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};

use crate::{
    Error,
    echo::{self, Client, payload},
    machine, stats,
    table::Table,
};

/// The names of the hidden subcommands that the processes run.
pub const INSTANCE: &str = "instance";
/// See [`INSTANCE`].
pub const REGISTRY: &str = "registry-server";

/// The service that the instances register as.
const SERVICE: &str = "echo";

/// How many instances there are.
const INSTANCES: usize = 3;

/// A call leaves so often: a thousand a second.
const PACE: Duration = Duration::from_millis(1);

/// Latencies are kept up to a minute, in nanoseconds.
const SLOWEST: u64 = 60_000_000_000;

/// How long to wait for something that takes a moment.
const PATIENCE: Duration = Duration::from_secs(30);

/// A process of ours, killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    process: Child,
    pub(crate) address: String,
}

impl Running {
    fn start(arguments: &[&str]) -> Result<Self, Error> {
        Self::of(Command::new(env::current_exe()?).args(arguments))
    }

    /// Starts any program that runs as our services do.
    pub(crate) fn of(command: &mut Command) -> Result<Self, Error> {
        let mut process = command
            .args(["--log-format", "json", "--stop-with-stdin"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(process.stderr.take().ok_or("no voice")?).lines();
        let mut address = None;
        for line in lines.by_ref() {
            let line = line?;
            if line.contains("\"serving\"") {
                let rest = line.split_once("\"address\":\"").map(|(_, rest)| rest);
                let said = rest.and_then(|rest| rest.split_once('"'));
                address = said.map(|(address, _)| address.to_owned());
                break;
            }
        }
        // Read to the end, or it would wait for a reader.
        thread::spawn(move || lines.for_each(drop));
        let Some(address) = address else {
            let _ = process.kill();
            return Err("a process did not say where it serves".into());
        };
        Ok(Self { process, address })
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Asks it to end, as who deploys does, and waits until it has.
    async fn end(mut self) -> Result<ExitStatus, Error> {
        kill_process(Pid::from_child(&self.process), Signal::TERM)?;
        let ended = tokio::task::spawn_blocking(move || self.process.wait());
        Ok(ended.await??)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A folder for the registry, gone with the measurement.
struct Kept(PathBuf);

impl Kept {
    fn new() -> Result<Self, Error> {
        let folder = env::temp_dir().join(format!("mizan-bench-rolling-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What the callers saw.
struct Seen {
    latencies: Histogram<u64>,
    failed: Vec<String>,
}

/// What an instance does: serves the echo until it is asked to end.
#[must_use]
pub fn instance(server: &ServerArgs, settings: &ProcessArgs) -> ExitCode {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    process::run(SERVICE, listen, settings, |listener, shutdown| {
        let server = Server::builder(SERVICE).args(server);
        server.add_service(echo::Echo).serve(listener, shutdown)
    })
}

/// Replaces all instances, with so long a pause after each, and says what the callers saw.
///
/// # Errors
/// A process that did not start or end well, or an output that is gone.
pub fn run(pause: Duration, output: &mut impl Write) -> Result<(), Error> {
    writeln!(output, "{}", machine::describe())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let replaced = runtime.block_on(replace(pause))?;
    writeln!(output, "{replaced}{}", machine::repeat())?;
    Ok(())
}

async fn replace(pause: Duration) -> Result<String, Error> {
    let kept = Kept::new()?;
    let data = kept.0.to_str().ok_or("a folder with an odd name")?;
    let registry = Running::start(&[REGISTRY, "--listen", "127.0.0.1:0", "--data", data])?;
    let start = || Running::start(&[INSTANCE, "--registry", &registry.address]);
    let old: Vec<_> = (0..INSTANCES).map(|_| start()).collect::<Result<_, _>>()?;
    let channel = Channel::builder(SERVICE).registry(vec![registry.address.clone()]);
    let channel = channel.connect()?;
    ready(&channel, INSTANCES).await?;

    let (stop, stopped) = watch::channel(false);
    let begun = Instant::now();
    let calling = tokio::spawn(call_steadily(channel.clone(), stopped));
    sleep(pause).await;
    let (mut new, mut drains) = (Vec::new(), Vec::new());
    for leaving in old {
        new.push(start()?);
        ready(&channel, INSTANCES + 1).await?;
        let asked = Instant::now();
        let status = leaving.end().await?;
        if !status.success() {
            return Err(format!("an instance ended with {status}").into());
        }
        drains.push(format!("{} ms", asked.elapsed().as_millis()));
        ready(&channel, INSTANCES).await?;
        sleep(pause).await;
    }
    stop.send_replace(true);
    let seen = calling.await??;
    let elapsed = begun.elapsed();
    Ok(report(&seen, elapsed, &drains, &channel))
}

fn report(seen: &Seen, elapsed: Duration, drains: &[String], channel: &Channel) -> String {
    let failed = u64::try_from(seen.failed.len()).unwrap_or(u64::MAX);
    let made = seen.latencies.len() + failed;
    let millis = |nanos: u64| {
        format!(
            "{:.2}",
            stats::micros_each(Duration::from_nanos(nanos), 1000)
        )
    };
    let told = channel.stats();
    let mut table = Table::new(&["rolling replacement of 3 instances", ""]);
    for (what, figure) in [
        ("calls", made.to_string()),
        (
            "calls/s",
            format!("{:.0}", stats::per_second(made, elapsed)),
        ),
        ("failed", failed.to_string()),
        ("p50 ms", millis(seen.latencies.value_at_quantile(0.5))),
        ("p99 ms", millis(seen.latencies.value_at_quantile(0.99))),
        ("slowest ms", millis(seen.latencies.max())),
        ("retries", told.retries.to_string()),
        ("transparent retries", told.transparent_retries.to_string()),
        ("SIGTERM to exit", drains.join(", ")),
    ] {
        table.row(vec![what.to_owned(), figure]);
    }
    let mut text = table.render();
    for failure in seen.failed.iter().take(5) {
        text.push_str(failure);
        text.push('\n');
    }
    text
}

async fn ready(channel: &Channel, number: usize) -> Result<(), Error> {
    let begun = Instant::now();
    while channel.stats().ready() != number {
        if begun.elapsed() > PATIENCE {
            return Err(format!("not {number} instances: {:#?}", channel.stats()).into());
        }
        sleep(PACE).await;
    }
    Ok(())
}

/// A call every [`PACE`], those that are late made up for, until told to stop; then waits for all
/// that are under way.
async fn call_steadily(channel: Channel, stopped: watch::Receiver<bool>) -> Result<Seen, Error> {
    let client = Client::new(vec![channel]);
    let payload = payload();
    let seen = Arc::new(Mutex::new(Seen {
        latencies: Histogram::new_with_bounds(1, SLOWEST, 3)?,
        failed: Vec::new(),
    }));
    let mut calls = JoinSet::new();
    let mut ticks = interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while !*stopped.borrow() {
        ticks.tick().await;
        let (mut client, payload, seen) = (client.clone(), payload.clone(), seen.clone());
        calls.spawn(async move {
            let begun = Instant::now();
            let answer = client.call(&payload).await;
            let nanos = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
            let mut seen = seen.lock();
            match answer {
                Ok(true) => seen.latencies.saturating_record(nanos),
                Ok(false) => seen.failed.push("an answer with other bytes".to_owned()),
                Err(status) => seen.failed.push(format!("{status:?}")),
            }
        });
        while calls.try_join_next().transpose()?.is_some() {}
    }
    while calls.join_next().await.transpose()?.is_some() {}
    let seen = Arc::into_inner(seen).ok_or("a call goes on")?;
    Ok(seen.into_inner())
}
