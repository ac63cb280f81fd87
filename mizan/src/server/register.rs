//! Being known to the registry, for as long as the server lives.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket},
    sync::Arc,
    time::Duration,
};

use mizan_contracts::registry::v1::{
    DeregisterRequest, DeregisterResponse, GrpcCheck, HealthCheck, HeartbeatRequest, Instance,
    RegisterRequest, health_check::Kind, registry_service_client::RegistryServiceClient,
};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::health::State;
use crate::{
    Connection,
    args::ServerArgs,
    connection::{Config, ConnectError, Connector},
};

/// How often an instance shows that it is alive. The stream itself tells the registry of a death
/// at once; the beat is there to learn that the registry forgot us.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How long one registry may take to answer before the next one is tried.
const ANSWER: Duration = Duration::from_secs(2);

/// What `GET /health` says of an instance whose id another process took.
const SUPERSEDED: &str = "another process registered under this instance id, and nobody discovers this one \
                          while that one lives; give each its own (--instance-id)";

/// How the reason begins when the id is that of another service's process.
const TAKEN: &str = "AlreadyExists";

/// The pause between two tries: short at first, because a registry usually starts beside us.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// This life of the server, by which the registry tells it from every other process.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    /// Random, and named in every call to the registry.
    life: String,
    /// What the server's health answers to beside its services' names, and what the registry asks
    /// for: whoever listens at this address later does not know it.
    health: String,
}

impl Identity {
    /// Of a server of this service that begins now.
    pub(super) fn new(service: &str) -> Self {
        let life = format!("{:032x}", fastrand::u128(..));
        Self {
            health: format!("{service}/{life}"),
            life,
        }
    }

    /// The name under which its health is asked for.
    pub(super) fn health(&self) -> &str {
        &self.health
    }
}

/// What is registered, and whose it is.
#[derive(Debug, Clone)]
pub(super) struct Registration {
    instance: Instance,
    life: String,
}

impl Registration {
    /// The port that others reach it by; 0 where there is none.
    pub(super) fn port(&self) -> u32 {
        self.instance.port
    }
}

/// Where to register, and what the way there is made of.
pub(super) struct Registries {
    pub(super) authorities: Vec<String>,
    pub(super) connector: Arc<dyn Connector>,
}

impl Registries {
    async fn open(&self, authority: &str) -> Result<Connection, ConnectError> {
        let config = Config {
            connect_timeout: ANSWER,
            ..Config::default()
        };
        Connection::open_with(authority, &config, &*self.connector).await
    }
}

/// What this server registers as. It is checked under the name of this life, and removed when it was
/// away for so long that nobody will bring it back.
pub(super) fn registration(
    service: &str,
    identity: &Identity,
    address: Option<SocketAddr>,
    args: &ServerArgs,
) -> Registration {
    let (host, port) = advertised(address, args);
    let id = args.instance_id.clone();
    let check = HealthCheck {
        kind: Some(Kind::Grpc(GrpcCheck {
            service: identity.health.clone(),
            ..GrpcCheck::default()
        })),
        deregister_critical_after: args
            .deregister_after()
            .and_then(|after| after.try_into().ok()),
        ..HealthCheck::default()
    };
    let instance = Instance {
        check: Some(check),
        instance_id: id
            .unwrap_or_else(|| format!("{service}-{}:{port}", host.trim_matches(['[', ']']))),
        service: service.to_owned(),
        address: host,
        port: u32::from(port),
        weight: args.weight,
        zone: args.zone.clone(),
        ..Instance::default()
    };
    Registration {
        instance,
        life: identity.life.clone(),
    }
}

/// The address of a listener, or, when it listens on all of them, the one that the registry is
/// reached from.
fn reachable_host(listener: SocketAddr, args: &ServerArgs) -> String {
    let mut ip = listener.ip();
    if ip.is_unspecified() {
        ip = args.registry.iter().find_map(|r| route_to(r)).unwrap_or(ip);
    }
    ip.to_string()
}

/// Which of our addresses packets to `target` leave from. Connecting a UDP socket sends nothing.
fn route_to(target: &str) -> Option<IpAddr> {
    target.to_socket_addrs().ok()?.find_map(|target| {
        let any: IpAddr = if target.is_ipv6() {
            Ipv6Addr::UNSPECIFIED.into()
        } else {
            Ipv4Addr::UNSPECIFIED.into()
        };
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect(target).ok()?;
        Some(socket.local_addr().ok()?.ip())
    })
}

/// Registers and stays registered until `stop`, then deregisters. Answers whether it was
/// registered at the end, so that there is something for watchers to see.
pub(super) async fn keep_registered(
    registration: Registration,
    registries: Registries,
    state: State,
    stop: CancellationToken,
) -> bool {
    if registries.authorities.is_empty() {
        // Nothing to register with: `--registry ""`, or a test.
        stop.cancelled().await;
        return false;
    }
    let mut pause = PAUSE_MIN;
    let mut complained = false;
    for registry in registries.authorities.iter().cycle() {
        let session = hold(&registries, registry, &registration, &state, &stop);
        match session.await {
            Ended::Stopped { deregistered } => return deregistered,
            Ended::Lost {
                was_registered,
                reason,
            } => {
                state.unregistered(registry, &reason);
                if was_registered {
                    (pause, complained) = (PAUSE_MIN, false);
                }
                // Said once, not at every try.
                if !complained {
                    complained = true;
                    if reason.starts_with(TAKEN) {
                        tracing::error!(%registry, %reason, "not registered, retrying");
                    } else {
                        tracing::warn!(%registry, %reason, "registry unreachable, retrying");
                    }
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return false,
            () = sleep(pause) => pause = (pause * 2).min(PAUSE_MAX),
        }
    }
    false
}

enum Ended {
    /// We were told to stop.
    Stopped { deregistered: bool },
    /// The registry went away.
    Lost {
        was_registered: bool,
        reason: String,
    },
}

/// One session with one registry: register, then beat until it breaks or we stop.
async fn hold(
    registries: &Registries,
    registry: &str,
    registration: &Registration,
    state: &State,
    stop: &CancellationToken,
) -> Ended {
    let mut was_registered = false;
    let mut session = Box::pin(beat(
        registries,
        registry,
        registration,
        state,
        &mut was_registered,
    ));
    let outcome = tokio::select! {
        outcome = &mut session => outcome,
        // The session is still open here: were it dropped first, the registry would take us for
        // dead before it learns that we leave.
        () = stop.cancelled() => {
            let deregistered = deregister(registries, registry, registration).await;
            return Ended::Stopped { deregistered };
        }
    };
    drop(session);
    let reason = match outcome {
        Ok(()) => "the registry closed the stream".to_owned(),
        Err(reason) => reason,
    };
    Ended::Lost {
        was_registered,
        reason,
    }
}

async fn beat(
    registries: &Registries,
    registry: &str,
    registration: &Registration,
    state: &State,
    was_registered: &mut bool,
) -> Result<(), String> {
    let connection = registries
        .open(registry)
        .await
        .map_err(|e| e.reason().to_owned())?;
    let mut client = RegistryServiceClient::new(connection);
    register(&mut client, registration).await?;
    state.registered();
    *was_registered = true;
    let id = &registration.instance.instance_id;
    tracing::info!(%registry, instance = %id, "registered");

    let (beats, outgoing) = mpsc::channel(1);
    let message = HeartbeatRequest {
        instance_id: id.clone(),
        life: registration.life.clone(),
        node: String::new(),
    };
    beats.try_send(message.clone()).map_err(|e| e.to_string())?;
    let call = client.heartbeat(ReceiverStream::new(outgoing));
    let mut answers = timeout(ANSWER, call)
        .await
        .map_err(slow)?
        .map_err(said)?
        .into_inner();
    let mut ticks = interval(HEARTBEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut superseded = false;
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                // Full means that the last beat still waits to be sent: the stream will break.
                let _ = beats.try_send(message.clone());
            }
            answer = answers.next() => match answer {
                None => return Ok(()),
                Some(Err(status)) => return Err(said(status)),
                Some(Ok(answer)) if answer.superseded => {
                    state.unregistered(registry, SUPERSEDED);
                    if !std::mem::replace(&mut superseded, true) {
                        tracing::error!(%registry, instance = %id,
                            "another process registered under this instance id: nobody discovers \
                             this one while that one lives; give each its own (--instance-id)");
                    }
                }
                Some(Ok(answer)) if answer.registered => {
                    state.registered();
                }
                Some(Ok(_)) => {
                    register(&mut client, registration).await?;
                    state.registered();
                    superseded = false;
                    tracing::info!(%registry, instance = %id, "registered again");
                    // Bound again at once.
                    let _ = beats.try_send(message.clone());
                }
            },
        }
    }
}

async fn register(
    client: &mut RegistryServiceClient<Connection>,
    registration: &Registration,
) -> Result<(), String> {
    let request = RegisterRequest {
        instance: Some(registration.instance.clone()),
        life: registration.life.clone(),
    };
    timeout(ANSWER, client.register(request))
        .await
        .map_err(slow)?
        .map_err(said)?;
    Ok(())
}

async fn deregister(registries: &Registries, registry: &str, registration: &Registration) -> bool {
    let request = DeregisterRequest {
        instance_id: registration.instance.instance_id.clone(),
        life: registration.life.clone(),
        node: String::new(),
    };
    let call = async {
        let connection = registries.open(registry).await.ok()?;
        RegistryServiceClient::new(connection)
            .deregister(request)
            .await
            .ok()
    };
    let answer = timeout(ANSWER, call).await.ok().flatten();
    match answer.map(tonic::Response::into_inner) {
        Some(DeregisterResponse { removed: true, .. }) => true,
        Some(DeregisterResponse {
            superseded: true, ..
        }) => {
            tracing::info!(%registry, "not deregistered: another process has this instance id");
            false
        }
        _ => {
            tracing::warn!(%registry, "not deregistered: the registry will notice by itself");
            false
        }
    }
}

fn slow(_: tokio::time::error::Elapsed) -> String {
    format!("no answer within {ANSWER:?}")
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function in map_err"
)]
fn said(status: Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}

/// The host, without the brackets of IPv6, and the port that others reach a listener by; port 0
/// where there is none.
fn advertised(address: Option<SocketAddr>, args: &ServerArgs) -> (String, u16) {
    let port = address.map_or(0, |address| address.port());
    let plain = |host: &str| host.trim_matches(['[', ']']).to_owned();
    let Some(advertise) = args.advertise.as_deref() else {
        let host = address.map(|address| reachable_host(address, args));
        return (host.unwrap_or_default(), port);
    };
    if let Ok(ip) = plain(advertise).parse::<IpAddr>() {
        // The colons of an IPv6 address announce no port.
        return (ip.to_string(), port);
    }
    match advertise
        .rsplit_once(':')
        .map(|(host, port)| (host, port.parse()))
    {
        Some((host, Ok(port))) => (plain(host), port),
        _ => (plain(advertise), port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_advertised_wins_over_where_it_listens() {
        let args = |advertise: Option<&str>| ServerArgs {
            advertise: advertise.map(str::to_owned),
            ..ServerArgs::with_registry(Vec::new())
        };
        let listening: SocketAddr = "[::1]:50051".parse().unwrap();
        for (advertise, host, port) in [
            (None, "::1", 50051),
            (Some("svc.example:80"), "svc.example", 80),
            (Some("svc.example"), "svc.example", 50051),
            (Some("[2001:db8::1]:80"), "2001:db8::1", 80),
            (Some("[2001:db8::1]"), "2001:db8::1", 50051),
            (Some("2001:db8::1"), "2001:db8::1", 50051),
            (Some("192.0.2.1"), "192.0.2.1", 50051),
        ] {
            let found = advertised(Some(listening), &args(advertise));
            assert_eq!(found, (host.to_owned(), port), "{advertise:?}");
        }
    }

    #[test]
    fn a_listener_on_all_addresses_advertises_the_one_the_registry_is_reached_from() {
        let reachable = |registry: &str| {
            let args = ServerArgs::with_registry(vec![registry.to_owned()]);
            reachable_host("[::]:50051".parse().unwrap(), &args)
        };
        assert_eq!(reachable("127.0.0.1:8500"), "127.0.0.1");
        // Not every machine has IPv6.
        if UdpSocket::bind("[::1]:0").is_ok() {
            assert_eq!(reachable("[::1]:8500"), "::1");
        }
    }
}
