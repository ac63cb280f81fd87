//! One program for all: registering, looking up and watching, in each registry's own words, over
//! the same HTTP/2 client.
//!
//! It shares two cores with what it measures, so it does the same for each: a request is written
//! without a detour, and of an answer it reads how many instances there are, not what they say.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use mizan_contracts::registry::v1 as pb;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tonic::transport::{Channel, Endpoint};

use super::{
    server::Kind,
    watchers::Board,
    wire::{self, Answered, Ignored, Payload, Pushed},
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
            client.set_up(drop).await?;
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
                    ..pb::RegisterRequest::default()
                };
                let path = "/mizan.registry.v1.RegistryService/Register";
                let _: Ignored = wire::unary(&self.channel, path, request).await?;
            }
            Kind::Etcd | Kind::EtcdMemory => {
                let port = instance.port();
                let value = format!(
                    r#"{{"Op":0,"Addr":"127.0.0.1:{port}","Metadata":{{"{CHANGE}":"{change}"}}}}"#
                );
                let request = wire::PutRequest {
                    key: format!("{service}/{id}").into_bytes(),
                    value: value.into_bytes(),
                    lease: self.lease,
                };
                let _: Ignored =
                    wire::unary(&self.channel, "/etcdserverpb.KV/Put", request).await?;
            }
            Kind::NacosPersistent | Kind::Nacos => {
                // What is said about an instance stays as it was first said, until a person changes
                // it; the weight follows, and is what tells one change from the next.
                let (port, ephemeral) = (instance.port(), self.kind == Kind::Nacos);
                let body = format!(
                    r#"{{"namespace":"public","serviceName":"{service}","groupName":"DEFAULT_GROUP","type":"registerInstance","module":"naming","instance":{{"ip":"127.0.0.1","port":{port},"weight":{change},"healthy":true,"enabled":true,"ephemeral":{ephemeral},"clusterName":"DEFAULT","metadata":{{"{CHANGE}":"{change}"}}}}}}"#
                );
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
                let path = "/mizan.registry.v1.RegistryService/ListInstances";
                let answer: wire::ListInstancesResponse =
                    wire::unary(&self.channel, path, request).await?;
                answer.instances.len()
            }
            Kind::Etcd | Kind::EtcdMemory => {
                let path = "/etcdserverpb.KV/Range";
                let answer: wire::RangeResponse =
                    wire::unary(&self.channel, path, prefix(&service)).await?;
                answer.kvs.len()
            }
            Kind::NacosPersistent | Kind::Nacos => {
                let body = format!(
                    r#"{{"namespace":"public","serviceName":"{service}","groupName":"DEFAULT_GROUP","healthyOnly":true}}"#
                );
                let answer = self.nacos("ServiceQueryRequest", body).await?;
                answer.hosts()
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
                let path = "/mizan.registry.v1.RegistryService/WatchInstances";
                let asks = stream::iter([request]);
                let mut stream: tonic::Streaming<wire::WatchInstancesResponse> =
                    wire::streaming(&client.channel, path, asks).await?;
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
                            let held: wire::Held = serde_json::from_slice(&kv.value).ok()?;
                            held.metadata.get(CHANGE)?.parse().ok()
                        });
                        seen.saw(values.max());
                    }
                });
            }
            Kind::NacosPersistent | Kind::Nacos => {
                client.set_up(move |said| seen.saw(said.change())).await?;
                let body = json!({
                    "namespace": "public", "serviceName": service, "groupName": "DEFAULT_GROUP",
                    "subscribe": true, "clusters": "",
                });
                client
                    .nacos("SubscribeServiceRequest", body.to_string())
                    .await?;
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

    async fn nacos(&self, kind: &str, body: String) -> Result<Answered, Error> {
        let payload = Payload::new(kind, body);
        let answer: Payload = wire::unary(&self.channel, "/Request/request", payload).await?;
        let said = answer.read::<Answered>();
        if said.result_code != 200 {
            return Err(format!("{kind}: {}", answer.read::<Value>()).into());
        }
        Ok(said)
    }

    /// Opens the stream on which Nacos pushes, and answers what it wants answered.
    async fn set_up(
        &mut self,
        mut pushed: impl FnMut(Pushed) + Send + 'static,
    ) -> Result<(), Error> {
        let (say, said) = mpsc::channel(16);
        let hello = json!({
            "clientVersion": "2.1.0", "tenant": "", "labels": {"source": "sdk", "module": "naming"},
            "abilities": {},
        });
        say.send(Payload::new("ConnectionSetupRequest", hello.to_string()))
            .await?;
        let said = tokio_stream::wrappers::ReceiverStream::new(said);
        let path = "/BiRequestStream/requestBiStream";
        let mut pushes: tonic::Streaming<Payload> =
            wire::streaming(&self.channel, path, said).await?;
        let answers = say.clone();
        tokio::spawn(async move {
            while let Ok(Some(push)) = pushes.message().await {
                let (kind, mut body) = (push.kind(), push.read::<Pushed>());
                let answer = json!({"resultCode": 200, "requestId": body.request_id.take()});
                if kind == "NotifySubscriberRequest" {
                    pushed(body);
                }
                let kind = kind.replace("Request", "Response");
                if answers
                    .send(Payload::new(&kind, answer.to_string()))
                    .await
                    .is_err()
                {
                    return;
                }
            }
        });
        self._pushes = Some(say);
        // Until it knows the connection, it refuses what is registered on it.
        for _ in 0..200 {
            if self
                .nacos("HealthCheckRequest", "{}".to_owned())
                .await
                .is_ok()
            {
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
