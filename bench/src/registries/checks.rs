//! What ten thousand checks every ten seconds cost the registry.

use std::{future::pending, io::Write, time::Duration};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use mizan::{Server, server::Limits};
use mizan_contracts::registry::v1 as pb;
use pb::{health_check::Kind as Check, registry_service_client::RegistryServiceClient};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::{Instant, sleep},
};
use tonic::transport::Channel;

use super::{
    Plan,
    dying::connect,
    server::{Kind, Server as Process},
};
use crate::{Error, stats::each};

const INTERVAL: Duration = Duration::from_secs(10);

/// Measures and writes what it saw.
pub(super) async fn run(plan: &Plan, out: &mut impl Write) -> Result<(), Error> {
    let (count, length) = if plan.quick {
        (500, Duration::from_secs(3))
    } else {
        (10_000, Duration::from_secs(20))
    };
    writeln!(out, "### {count} checks every {INTERVAL:?}\n")?;
    for name in ["TCP", "HTTP", "gRPC"] {
        let server = Process::start(Kind::MizanMemory, &plan.programs).await?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let target = match name {
            "gRPC" => tokio::spawn(serve(listener, count)),
            _ => tokio::spawn(answer(listener)),
        };
        let client = connect(server.port()).await?;
        let kind = match name {
            "TCP" => Check::Tcp(pb::TcpCheck::default()),
            "gRPC" => Check::Grpc(pb::GrpcCheck::default()),
            _ => Check::Http(pb::HttpCheck {
                url: format!("http://127.0.0.1:{port}/health"),
                ..pb::HttpCheck::default()
            }),
        };
        let registering = (0..count).map(|number| register(&client, number, port, kind.clone()));
        let registering = stream::iter(registering).buffer_unordered(64);
        registering.try_collect::<Vec<()>>().await?;
        // One round, in which all become spread over the interval.
        sleep(INTERVAL.min(length)).await;
        let (cpu, begun) = (server.cpu_time()?, Instant::now());
        sleep(length).await;
        let cpu = server.cpu_time()?.saturating_sub(cpu);
        let (micros, passed) = (cpu.as_micros(), begun.elapsed().as_micros());
        let share = each(u64::try_from(micros * 100)?, u64::try_from(passed)?);
        let runs = u64::try_from(count)? * length.as_secs() / INTERVAL.as_secs();
        let micros = each(u64::try_from(cpu.as_micros())?, runs);
        let resident = each(server.resident()?, 1024);
        writeln!(
            out,
            "- {name}: {share:.1} % of a core, {micros:.0} µs a check, {resident:.0} MiB resident"
        )?;
        let passing = passing(&client).await?;
        if passing != count {
            writeln!(out, "  **Only {passing} of {count} pass.**")?;
        }
        target.abort();
    }
    writeln!(out)?;
    Ok(())
}

/// How many instances pass: checks that fail cost something else.
async fn passing(client: &RegistryServiceClient<Channel>) -> Result<usize, Error> {
    let (mut client, mut passing, mut token) = (client.clone(), 0, String::new());
    loop {
        let request = pb::ListServicesRequest {
            page_size: 1_000,
            page_token: token,
        };
        let page = client.list_services(request).await?.into_inner();
        let counts = page.services.iter().map(|service| service.passing);
        passing += counts.sum::<u32>();
        token = page.next_page_token;
        if token.is_empty() {
            return Ok(usize::try_from(passing)?);
        }
    }
}

async fn register(
    client: &RegistryServiceClient<Channel>,
    number: usize,
    port: u16,
    kind: Check,
) -> Result<(), Error> {
    let check = pb::HealthCheck {
        kind: Some(kind),
        interval: INTERVAL.try_into().ok(),
        ..pb::HealthCheck::default()
    };
    let request = pb::RegisterRequest {
        instance: Some(pb::Instance {
            instance_id: format!("instance-{number}"),
            service: format!("service-{}", number / super::SIZE),
            address: "127.0.0.1".to_owned(),
            port: port.into(),
            check: Some(check),
            ..pb::Instance::default()
        }),
        ..pb::RegisterRequest::default()
    };
    client.clone().register(request).await?;
    Ok(())
}

/// A gRPC server, to which each check may keep a connection of its own.
async fn serve(listener: TcpListener, checks: usize) {
    let limits = Limits {
        connections_max: checks + 1,
        ..Limits::default()
    };
    let server = Server::builder("target").unregistered().limits(limits);
    // Ends with the run.
    let _ = server.serve(listener, pending()).await;
}

/// Says to everybody that all is well.
async fn answer(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut request = [0; 1024];
            if stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                let text = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
                let _ = stream.write_all(text).await;
            }
        });
    }
}
