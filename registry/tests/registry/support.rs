//! A registry on a port of its own, and what talks to it.

use std::{collections::BTreeMap, future::Future, net::SocketAddr, path::Path, time::Duration};

use mizan::Connection;
use mizan_contracts::registry::v1::{
    HealthCheck, HeartbeatRequest, HeartbeatResponse, Instance, InstanceStatus,
    ListInstancesRequest, ListInstancesResponse, RegisterRequest, WatchInstancesRequest,
    WatchInstancesResponse, health_check::Kind, registry_service_client::RegistryServiceClient,
};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

/// Longer than anything here takes on a loaded machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) type Client = RegistryServiceClient<Connection>;

/// Awaits what must happen.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what)
        .await
        .expect("it did not happen")
}

pub(crate) async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// A registry in this process.
pub(crate) struct Registry {
    address: SocketAddr,
    stop: CancellationToken,
    served: JoinHandle<Result<(), registry::Error>>,
}

impl Registry {
    pub(crate) async fn start() -> Self {
        Self::on(listen().await)
    }

    /// On the address that an earlier one had.
    pub(crate) async fn restart(authority: &str) -> Self {
        Self::on(TcpListener::bind(authority).await.unwrap())
    }

    fn on(listener: TcpListener) -> Self {
        Self::with(listener, registry::Config::default())
    }

    /// On a port of its own, keeping what it knows in this folder.
    pub(crate) async fn keeping(data: &Path) -> Self {
        Self::with(listen().await, keeping(data))
    }

    /// On the address that an earlier one had, with the folder that it kept what it knew in.
    pub(crate) async fn restart_keeping(authority: &str, data: &Path) -> Self {
        Self::with(TcpListener::bind(authority).await.unwrap(), keeping(data))
    }

    /// With other settings.
    pub(crate) fn with(listener: TcpListener, config: registry::Config) -> Self {
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let shutdown = stop.clone().cancelled_owned();
        let served = tokio::spawn(registry::serve(listener, config, shutdown));
        Self {
            address,
            stop,
            served,
        }
    }

    /// HOST:PORT.
    pub(crate) fn authority(&self) -> String {
        self.address.to_string()
    }

    /// A client on a connection of its own.
    pub(crate) async fn client(&self) -> Client {
        let connection = Connection::open(&self.authority(), PATIENCE).await.unwrap();
        Client::new(connection)
    }

    /// Asks it to stop.
    pub(crate) fn begin_stop(&self) {
        self.stop.cancel();
    }

    /// Asks it to stop and waits until it did.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        soon(self.served).await.unwrap().unwrap();
    }
}

fn keeping(data: &Path) -> registry::Config {
    registry::Config {
        data: data.to_owned(),
        ..registry::Config::default()
    }
}

/// A registration with the default check.
pub(crate) fn instance(id: &str, port: u16) -> Instance {
    Instance {
        instance_id: id.to_owned(),
        service: "invoice".to_owned(),
        address: "127.0.0.1".to_owned(),
        port: u32::from(port),
        ..Instance::default()
    }
}

/// The same, checked so.
pub(crate) fn checked(id: &str, port: u16, kind: Option<Kind>, interval: Duration) -> Instance {
    let check = HealthCheck {
        kind,
        interval: Some(interval.try_into().unwrap()),
        // What is slow here is the machine.
        timeout: (interval > PATIENCE).then(|| PATIENCE.try_into().unwrap()),
        ..HealthCheck::default()
    };
    Instance {
        check: Some(check),
        ..instance(id, port)
    }
}

pub(crate) async fn register(client: &mut Client, instance: Instance) -> Instance {
    let request = RegisterRequest {
        instance: Some(instance),
        ..RegisterRequest::default()
    };
    let answer = soon(client.register(request)).await.unwrap();
    answer.into_inner().instance.unwrap()
}

pub(crate) async fn list(client: &mut Client, include_unhealthy: bool) -> ListInstancesResponse {
    let request = ListInstancesRequest {
        service: "invoice".to_owned(),
        include_unhealthy,
        filter: None,
    };
    soon(client.list_instances(request))
        .await
        .unwrap()
        .into_inner()
}

/// A watch of one service or several.
pub(crate) struct Watch(Streaming<WatchInstancesResponse>);

impl Watch {
    pub(crate) async fn open(
        client: &mut Client,
        services: &[&str],
        include_unhealthy: bool,
    ) -> Self {
        Self::ask(
            client,
            WatchInstancesRequest {
                services: services.iter().map(|&service| service.to_owned()).collect(),
                include_unhealthy,
                ..WatchInstancesRequest::default()
            },
        )
        .await
    }

    /// Goes on where an earlier watch of passing instances broke off.
    pub(crate) async fn resume(
        client: &mut Client,
        held: &[(&str, u64)],
        registry_epoch: &str,
    ) -> Self {
        let held = held.iter().map(|&(service, at)| (service.to_owned(), at));
        let after_revision: BTreeMap<_, _> = held.collect();
        Self::ask(
            client,
            WatchInstancesRequest {
                services: after_revision.keys().cloned().collect(),
                include_unhealthy: false,
                after_revision,
                registry_epoch: registry_epoch.to_owned(),
                ..WatchInstancesRequest::default()
            },
        )
        .await
    }

    pub(crate) async fn ask(client: &mut Client, request: WatchInstancesRequest) -> Self {
        let answer = soon(client.watch_instances(request)).await.unwrap();
        Self(answer.into_inner())
    }

    /// The next message, or none when the stream ended.
    pub(crate) async fn next(&mut self) -> Option<WatchInstancesResponse> {
        soon(self.0.message()).await.unwrap()
    }

    /// The first message that satisfies `wanted`: a watcher sees the latest, not every one.
    pub(crate) async fn until(
        &mut self,
        wanted: impl Fn(&WatchInstancesResponse) -> bool,
    ) -> WatchInstancesResponse {
        loop {
            let message = self.next().await.expect("the watch ended");
            if wanted(&message) {
                return message;
            }
        }
    }

    /// Waits until its only instance is passing.
    pub(crate) async fn until_passing(&mut self) -> WatchInstancesResponse {
        self.until(|message| {
            matches!(&message.instances[..], [one] if one.status() == InstanceStatus::Passing)
        })
        .await
    }

    /// Waits until its only instance is critical for this reason.
    pub(crate) async fn until_critical(&mut self, reason: &str) -> WatchInstancesResponse {
        self.until(|message| {
            matches!(&message.instances[..], [one]
                if one.status() == InstanceStatus::Critical && one.status_reason == reason)
        })
        .await
    }
}

/// A heartbeat stream.
pub(crate) struct Heartbeat {
    beats: mpsc::UnboundedSender<HeartbeatRequest>,
    answers: Streaming<HeartbeatResponse>,
}

impl Heartbeat {
    pub(crate) async fn open(client: &mut Client) -> Self {
        let (beats, outgoing) = mpsc::unbounded_channel();
        let call = client.heartbeat(UnboundedReceiverStream::new(outgoing));
        let answers = soon(call).await.unwrap().into_inner();
        Self { beats, answers }
    }

    /// Beats and tells whether the instance is known.
    pub(crate) async fn beat(&mut self, id: &str) -> Result<bool, tonic::Status> {
        let instance_id = id.to_owned();
        let beat = HeartbeatRequest {
            instance_id,
            ..HeartbeatRequest::default()
        };
        self.beats.send(beat).unwrap();
        let answer = soon(self.answers.message()).await?;
        Ok(answer.expect("the heartbeat ended").registered)
    }

    /// Waits for the registry to end it.
    pub(crate) async fn ended(mut self) {
        assert_eq!(soon(self.answers.message()).await.unwrap(), None);
    }

    /// Ends it in good order and waits until the registry saw that.
    pub(crate) async fn close(self) {
        let Self { beats, mut answers } = self;
        drop(beats);
        assert_eq!(soon(answers.message()).await.unwrap(), None);
    }
}
