//! One program for all: registering, looking up and watching, in each registry's own words, over
//! the same HTTP/2 client.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use mizan_contracts::registry::v1 as pb;
use pb::registry_service_client::RegistryServiceClient;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tonic::transport::{Channel, Endpoint};

use super::{
    server::Kind,
    watchers::Board,
    wire::{self, Ignored, Payload},
};
use crate::Error;

/// What tells one change from the one before, in an instance's metadata.
const CHANGE: &str = "change";

/// A connection to a registry.
#[derive(Debug, Clone)]
pub(super) struct Client {
    kind: Kind,
    channel: Channel,
    /// etcd's lease for all keys; 0 elsewhere.
    lease: i64,
    /// Keeps Nacos's stream of pushes open: what was registered lives as long as it.
    _pushes: Option<mpsc::Sender<Payload>>,
}

/// What an instance says, and is to say next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Instance {
    pub(super) service: usize,
    pub(super) number: usize,
    pub(super) change: u64,
}

impl Instance {
    fn service(self) -> String {
        format!("service-{}", self.service)
    }

    fn port(self) -> u32 {
        u32::try_from(1 + self.number % 60_000).unwrap_or(1)
    }
}

impl Client {
    /// Connects.
    pub(super) async fn connect(kind: Kind, port: u16) -> Result<Self, Error> {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}"))?;
        let endpoint = endpoint
            .connect_timeout(Duration::from_secs(20))
            .tcp_nodelay(true);
        let mut client = Self {
            kind,
            channel: endpoint.connect().await?,
            lease: 0,
            _pushes: None,
        };
        if kind.is_etcd() {
            // Longer than the run: nothing expires in it, and nobody renews.
            let request = wire::LeaseGrantRequest { ttl: 3_600 };
            let path = "/etcdserverpb.Lease/LeaseGrant";
            let granted: wire::LeaseGrantResponse =
                wire::unary(&client.channel, path, request).await?;
            client.lease = granted.id;
        } else if kind.is_nacos() {
            client.set_up(|_| {}).await?;
        }
        Ok(client)
    }

    /// Registers an instance, or changes what it says.
    pub(super) async fn register(&self, instance: Instance) -> Result<(), Error> {
        let (service, id) = (instance.service(), format!("instance-{}", instance.number));
        let change = instance.change.to_string();
        match self.kind {
            Kind::Mizan | Kind::MizanMemory => {
                let none = pb::health_check::Kind::None(pb::NoCheck {});
                let instance = pb::Instance {
                    instance_id: id,
                    service,
                    address: "127.0.0.1".to_owned(),
                    port: instance.port(),
                    metadata: [(CHANGE.to_owned(), change)].into(),
                    check: Some(pb::HealthCheck {
                        kind: Some(none),
                        ..pb::HealthCheck::default()
                    }),
                    ..pb::Instance::default()
                };
                let request = pb::RegisterRequest {
                    instance: Some(instance),
                };
                RegistryServiceClient::new(self.channel.clone())
                    .register(request)
                    .await?;
            }
            Kind::Etcd | Kind::EtcdMemory => {
                let value = json!({
                    "Op": 0, "Addr": format!("127.0.0.1:{}", instance.port()),
                    "Metadata": {CHANGE: change},
                });
                let request = wire::PutRequest {
                    key: format!("{service}/{id}").into_bytes(),
                    value: value.to_string().into_bytes(),
                    lease: self.lease,
                };
                let _: Ignored =
                    wire::unary(&self.channel, "/etcdserverpb.KV/Put", request).await?;
            }
            Kind::NacosPersistent | Kind::Nacos => {
                let body = json!({
                    "namespace": "public", "serviceName": service, "groupName": "DEFAULT_GROUP",
                    "type": "registerInstance", "module": "naming",
                    "instance": {
                        // What is said about an instance stays as it was first said, until a person
                        // changes it; the weight follows, and is what tells one change from the next.
                        "ip": "127.0.0.1", "port": instance.port(), "weight": instance.change, "healthy": true,
                        "enabled": true, "ephemeral": self.kind == Kind::Nacos, "clusterName": "DEFAULT",
                        "metadata": {CHANGE: change},
                    },
                });
                self.nacos("InstanceRequest", body).await?;
            }
        }
        Ok(())
    }

    /// How many instances a service has.
    pub(super) async fn lookup(&self, service: usize) -> Result<usize, Error> {
        let service = format!("service-{service}");
        Ok(match self.kind {
            Kind::Mizan | Kind::MizanMemory => {
                let request = pb::ListInstancesRequest {
                    service,
                    ..pb::ListInstancesRequest::default()
                };
                let mut client = RegistryServiceClient::new(self.channel.clone());
                let answer = client.list_instances(request).await?;
                answer.get_ref().instances.len()
            }
            Kind::Etcd | Kind::EtcdMemory => {
                let path = "/etcdserverpb.KV/Range";
                let answer: wire::RangeResponse =
                    wire::unary(&self.channel, path, prefix(&service)).await?;
                answer.kvs.len()
            }
            Kind::NacosPersistent | Kind::Nacos => {
                let body = json!({
                    "namespace": "public", "serviceName": service, "groupName": "DEFAULT_GROUP",
                    "healthyOnly": true,
                });
                let answer = self.nacos("ServiceQueryRequest", body).await?;
                let hosts = &answer["serviceInfo"]["hosts"];
                hosts.as_array().map_or(0, Vec::len)
            }
        })
    }

    /// Watches a service on a connection of its own, and tells the board what it hears, until the
    /// stream or this process ends. Answers once the registry has said that it watches.
    pub(super) async fn watch(
        kind: Kind,
        port: u16,
        service: usize,
        board: Arc<Board>,
    ) -> Result<(), Error> {
        let mut seen = board.watcher();
        let mut client = Self::connect_bare(kind, port).await?;
        let service = format!("service-{service}");
        match kind {
            Kind::Mizan | Kind::MizanMemory => {
                let request = pb::WatchInstancesRequest {
                    services: vec![service],
                    ..pb::WatchInstancesRequest::default()
                };
                let channel = client.channel.clone();
                let mut registry = RegistryServiceClient::new(channel);
                let mut stream = registry.watch_instances(request).await?.into_inner();
                stream.message().await?;
                tokio::spawn(async move {
                    let _client = client;
                    while let Ok(Some(snapshot)) = stream.message().await {
                        let said = snapshot.instances.iter();
                        let said = said.filter_map(|one| one.metadata.get(CHANGE));
                        seen.saw(said.filter_map(|text| text.parse().ok()).max());
                    }
                });
            }
            Kind::Etcd | Kind::EtcdMemory => {
                let request = wire::WatchRequest {
                    create: Some(prefix(&service)),
                };
                let asks = stream::iter([request]).chain(stream::pending());
                let path = "/etcdserverpb.Watch/Watch";
                let mut stream: tonic::Streaming<wire::WatchResponse> =
                    wire::streaming(&client.channel, path, asks).await?;
                while stream.message().await?.is_some_and(|said| !said.created) {}
                tokio::spawn(async move {
                    let _client = client;
                    while let Ok(Some(said)) = stream.message().await {
                        let values = said.events.into_iter().filter_map(|event| event.kv);
                        let values = values.filter_map(|kv| {
                            let value: Value = serde_json::from_slice(&kv.value).ok()?;
                            value["Metadata"][CHANGE].as_str()?.parse().ok()
                        });
                        seen.saw(values.max());
                    }
                });
            }
            Kind::NacosPersistent | Kind::Nacos => {
                client
                    .set_up(move |said| {
                        let hosts = said["serviceInfo"]["hosts"].as_array();
                        let said = hosts.into_iter().flatten();
                        let said = said.filter_map(|host| host["weight"].as_f64());
                        seen.saw(said.filter_map(|it| format!("{it:.0}").parse().ok()).max());
                    })
                    .await?;
                let body = json!({
                    "namespace": "public", "serviceName": service, "groupName": "DEFAULT_GROUP",
                    "subscribe": true, "clusters": "",
                });
                client.nacos("SubscribeServiceRequest", body).await?;
                // Its pushes come for as long as its connection is held.
                board.hold(client);
            }
        }
        Ok(())
    }

    async fn connect_bare(kind: Kind, port: u16) -> Result<Self, Error> {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}"))?;
        let endpoint = endpoint
            .connect_timeout(Duration::from_secs(60))
            .tcp_nodelay(true);
        Ok(Self {
            kind,
            channel: endpoint.connect().await?,
            lease: 0,
            _pushes: None,
        })
    }

    async fn nacos(&self, kind: &str, body: Value) -> Result<Value, Error> {
        let payload = Payload::new(kind, &body);
        let answer: Payload = wire::unary(&self.channel, "/Request/request", payload).await?;
        let said = answer.json();
        if said["resultCode"].as_u64() != Some(200) {
            return Err(format!("{kind}: {said}").into());
        }
        Ok(said)
    }

    /// Opens the stream on which Nacos pushes, and answers what it wants answered.
    async fn set_up(
        &mut self,
        mut pushed: impl FnMut(Value) + Send + 'static,
    ) -> Result<(), Error> {
        let (say, said) = mpsc::channel(16);
        let hello = json!({
            "clientVersion": "2.1.0", "tenant": "", "labels": {"source": "sdk", "module": "naming"},
            "abilities": {},
        });
        say.send(Payload::new("ConnectionSetupRequest", &hello))
            .await?;
        let said = tokio_stream::wrappers::ReceiverStream::new(said);
        let path = "/BiRequestStream/requestBiStream";
        let mut pushes: tonic::Streaming<Payload> =
            wire::streaming(&self.channel, path, said).await?;
        let answers = say.clone();
        tokio::spawn(async move {
            while let Ok(Some(push)) = pushes.message().await {
                let (kind, body) = (push.kind().replace("Request", "Response"), push.json());
                let id = body["requestId"].clone();
                if push.kind() == "NotifySubscriberRequest" {
                    pushed(body);
                }
                let answer = json!({"resultCode": 200, "requestId": id});
                if answers.send(Payload::new(&kind, &answer)).await.is_err() {
                    return;
                }
            }
        });
        self._pushes = Some(say);
        // Until it knows the connection, it refuses what is registered on it.
        for _ in 0..200 {
            if self.nacos("HealthCheckRequest", json!({})).await.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err("r-nacos does not answer on a new connection".into())
    }
}

/// Everything below a service's name: up to the character behind the slash.
fn prefix(service: &str) -> wire::RangeRequest {
    wire::RangeRequest {
        key: format!("{service}/").into_bytes(),
        range_end: format!("{service}0").into_bytes(),
    }
}
