//! A process that is killed: how long until every watcher knows.

use std::{
    env,
    io::{self, BufRead as _, BufReader, Write},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, future::try_join_all};
use mizan_contracts::registry::v1 as pb;
use pb::registry_service_client::RegistryServiceClient;
use tokio::{net::TcpListener, time::timeout};
use tonic::{
    Streaming,
    transport::{Channel, Endpoint},
};

use super::{
    Plan,
    server::{Kind, Server},
};
use crate::{
    Error,
    stats::{each, median},
};

/// The name of the subcommand that registers, and lives until it is killed.
pub const INSTANCE: &str = "registry-instance";

const WATCHERS: usize = 100;
const INTERVAL: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_millis(500);
const FAILURES: u32 = 2;
const PATIENCE: Duration = Duration::from_secs(60);

type Client = RegistryServiceClient<Channel>;

/// Measures and writes what it saw.
pub(super) async fn run(plan: &Plan, out: &mut impl Write) -> Result<(), Error> {
    let (with, without) = if plan.quick { (3, 1) } else { (50, 10) };
    let server = Server::start(Kind::Mizan, &plan.programs).await?;
    let figures = |times: &[f64]| {
        let longest = times.iter().copied().fold(0.0, f64::max);
        format!(
            "median {:.1} ms, longest {longest:.1} ms",
            median(times.to_vec())
        )
    };
    let heartbeat = killed(&server, true, with).await?;
    let polling = killed(&server, false, without).await?;
    let bound = INTERVAL * FAILURES + TIMEOUT;
    writeln!(
        out,
        "### `kill -9` until the last of {WATCHERS} watchers knows\n\n- with a heartbeat stream, \
         {with} times: {}\n- by polling alone, every {INTERVAL:?}, {FAILURES} failures, timeout \
         {TIMEOUT:?} (at most {bound:?}), {without} times: {}\n",
        figures(&heartbeat),
        figures(&polling)
    )?;
    Ok(())
}

async fn killed(server: &Server, heartbeat: bool, times: usize) -> Result<Vec<f64>, Error> {
    let mut watches = Vec::new();
    for _ in 0..WATCHERS {
        let mut client = connect(server.port()).await?;
        let request = pb::WatchInstancesRequest {
            services: vec!["dying".to_owned()],
            ..pb::WatchInstancesRequest::default()
        };
        watches.push(client.watch_instances(request).await?.into_inner());
    }
    let mut taken = Vec::new();
    for _ in 0..times {
        let mut child = start(server.port(), heartbeat)?;
        // All know that it lives, before it dies.
        try_join_all(watches.iter_mut().map(|watch| until(watch, 1))).await?;
        let begun = Instant::now();
        child.kill()?;
        try_join_all(watches.iter_mut().map(|watch| until(watch, 0))).await?;
        let micros = u64::try_from(begun.elapsed().as_micros())?;
        taken.push(each(micros, 1000));
        child.wait()?;
    }
    Ok(taken)
}

async fn until(
    watch: &mut Streaming<pb::WatchInstancesResponse>,
    passing: usize,
) -> Result<(), Error> {
    loop {
        let said = timeout(PATIENCE, watch.message()).await??;
        if said.ok_or("a watch ended")?.instances.len() == passing {
            return Ok(());
        }
    }
}

fn start(port: u16, heartbeat: bool) -> Result<Child, Error> {
    let mut command = Command::new(env::current_exe()?);
    command.args([INSTANCE, "--port", &port.to_string()]);
    if heartbeat {
        command.arg("--heartbeat");
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    // It passes from registering on; until its stream counts, nobody would miss it.
    let said = child.stdout.take().ok_or("an instance without a voice")?;
    BufReader::new(said).read_line(&mut String::new())?;
    Ok(child)
}

pub(super) async fn connect(port: u16) -> Result<Client, Error> {
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}"))?;
    Ok(RegistryServiceClient::new(endpoint.connect().await?))
}

fn say_ready() -> Result<(), Error> {
    Ok(writeln!(io::stdout(), "ready")?)
}

/// What a child does: registers, with a heartbeat stream or a port that can be checked, and stays.
///
/// # Errors
/// A registry that is not there or refuses.
pub async fn instance(port: u16, heartbeat: bool) -> Result<(), Error> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let own = listener.local_addr()?.port();
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let kind = if heartbeat {
        pb::health_check::Kind::None(pb::NoCheck {})
    } else {
        pb::health_check::Kind::Tcp(pb::TcpCheck::default())
    };
    let check = pb::HealthCheck {
        kind: Some(kind),
        interval: INTERVAL.try_into().ok().filter(|_| !heartbeat),
        timeout: TIMEOUT.try_into().ok().filter(|_| !heartbeat),
        failures_before_critical: FAILURES,
        ..pb::HealthCheck::default()
    };
    let request = pb::RegisterRequest {
        instance: Some(pb::Instance {
            instance_id: "dying".to_owned(),
            service: "dying".to_owned(),
            address: "127.0.0.1".to_owned(),
            port: own.into(),
            check: Some(check),
            ..pb::Instance::default()
        }),
        ..pb::RegisterRequest::default()
    };
    let mut client = connect(port).await?;
    client.register(request).await?;
    if heartbeat {
        let beat = pb::HeartbeatRequest {
            instance_id: "dying".to_owned(),
            ..pb::HeartbeatRequest::default()
        };
        let beats = futures_util::stream::iter([beat]).chain(futures_util::stream::pending());
        let mut answers = client.heartbeat(beats).await?.into_inner();
        answers.message().await?;
        say_ready()?;
        while answers.message().await?.is_some() {}
    } else {
        say_ready()?;
    }
    std::future::pending().await
}
