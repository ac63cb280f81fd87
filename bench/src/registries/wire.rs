//! What etcd and Nacos speak, as far as it is needed here: a few messages, by hand, so that nothing
//! has to be generated. Field numbers are those of `etcdserverpb` and of Nacos's
//! `nacos_grpc_service.proto`.

use std::collections::HashMap;

use bytes::Bytes;
use http::uri::PathAndQuery;
use prost::Message;
use serde::{Deserialize, de::IgnoredAny};
use tonic::{Request, Status, Streaming, client::Grpc, transport::Channel};
use tonic_prost::ProstCodec;

/// Stores one key.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
    #[prost(int64, tag = "3")]
    pub(super) lease: i64,
}

/// An answer of which nothing is read.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Ignored {}

/// Reads the keys from one up to another.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RangeRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) range_end: Vec<u8>,
}

/// What etcd found, not read further: how many there are is all that is asked.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RangeResponse {
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub(super) kvs: Vec<Bytes>,
}

/// What Mizan found, not read further either.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ListInstancesResponse {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(super) instances: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct KeyValue {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) key: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    pub(super) value: Vec<u8>,
}

/// Begins to watch; the others of its kinds are not needed.
#[derive(Clone, PartialEq, Message)]
pub(super) struct WatchRequest {
    #[prost(message, optional, tag = "1")]
    pub(super) create: Option<RangeRequest>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WatchResponse {
    #[prost(bool, tag = "3")]
    pub(super) created: bool,
    #[prost(message, repeated, tag = "11")]
    pub(super) events: Vec<Event>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Event {
    #[prost(message, optional, tag = "2")]
    pub(super) kv: Option<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct LeaseGrantRequest {
    /// In seconds.
    #[prost(int64, tag = "1")]
    pub(super) ttl: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct LeaseGrantResponse {
    #[prost(int64, tag = "2")]
    pub(super) id: i64,
}

/// Everything that Nacos says and is told: JSON, and its type beside it.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Payload {
    #[prost(message, optional, tag = "2")]
    pub(super) metadata: Option<Metadata>,
    #[prost(message, optional, tag = "3")]
    pub(super) body: Option<Any>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Metadata {
    #[prost(string, tag = "3")]
    pub(super) r#type: String,
    #[prost(map = "string, string", tag = "7")]
    pub(super) headers: HashMap<String, String>,
    #[prost(string, tag = "8")]
    pub(super) client_ip: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Any {
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

/// What Mizan tells who watches, and no more of it than what is looked for.
#[derive(Clone, PartialEq, Message)]
pub(super) struct WatchInstancesResponse {
    #[prost(message, repeated, tag = "2")]
    pub(super) instances: Vec<Told>,
}

/// An instance that Mizan tells of.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Told {
    #[prost(map = "string, string", tag = "6")]
    pub(super) metadata: HashMap<String, String>,
}

/// What a key of etcd holds, and no more of it than what is looked for.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Held {
    pub(super) metadata: HashMap<String, String>,
}

/// What Nacos answers, and no more of it than how it went and how many there are.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Answered {
    pub(super) result_code: u64,
    service_info: Option<ServiceInfo>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ServiceInfo {
    hosts: Vec<IgnoredAny>,
}

/// What Nacos pushes, and no more of it than what is looked for and is to be answered.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Pushed {
    pub(super) request_id: Option<String>,
    service_info: Option<Weights>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Weights {
    hosts: Vec<Weight>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Weight {
    weight: f64,
}

impl Pushed {
    /// The largest weight of an instance that it tells of.
    pub(super) fn change(&self) -> Option<u64> {
        let hosts = self.service_info.iter().flat_map(|info| &info.hosts);
        let weights = hosts.filter_map(|host| format!("{:.0}", host.weight).parse().ok());
        weights.max()
    }
}

impl Answered {
    /// How many instances it tells of.
    pub(super) fn hosts(&self) -> usize {
        self.service_info
            .as_ref()
            .map_or(0, |info| info.hosts.len())
    }
}

impl Payload {
    pub(super) fn new(kind: &str, body: String) -> Self {
        Self {
            metadata: Some(Metadata {
                r#type: kind.to_owned(),
                client_ip: "127.0.0.1".to_owned(),
                ..Metadata::default()
            }),
            body: Some(Any {
                value: body.into_bytes(),
            }),
        }
    }

    pub(super) fn kind(&self) -> &str {
        self.metadata.as_ref().map_or("", |m| &m.r#type)
    }

    /// Its body, as far as it is this.
    pub(super) fn read<T: serde::de::DeserializeOwned + Default>(&self) -> T {
        serde_json::from_slice(self.bytes()).unwrap_or_default()
    }

    fn bytes(&self) -> &[u8] {
        self.body.as_ref().map_or(&[], |body| &body.value)
    }
}

/// One call, one answer.
pub(super) async fn unary<Q, A>(
    channel: &Channel,
    path: &'static str,
    message: Q,
) -> Result<A, Status>
where
    Q: Message + Send + Sync + 'static,
    A: Message + Default + Send + Sync + 'static,
{
    let mut grpc = Grpc::new(channel.clone());
    ready(&mut grpc).await?;
    let codec = ProstCodec::<Q, A>::default();
    let path = PathAndQuery::from_static(path);
    let answer = grpc.unary(Request::new(message), path, codec).await?;
    Ok(answer.into_inner())
}

/// A stream in both directions.
pub(super) async fn streaming<Q, A>(
    channel: &Channel,
    path: &'static str,
    messages: impl futures_util::Stream<Item = Q> + Send + 'static,
) -> Result<Streaming<A>, Status>
where
    Q: Message + Send + Sync + 'static,
    A: Message + Default + Send + Sync + 'static,
{
    let mut grpc = Grpc::new(channel.clone());
    ready(&mut grpc).await?;
    let codec = ProstCodec::<Q, A>::default();
    let path = PathAndQuery::from_static(path);
    let answer = grpc.streaming(Request::new(messages), path, codec).await?;
    Ok(answer.into_inner())
}

async fn ready(grpc: &mut Grpc<Channel>) -> Result<(), Status> {
    let ready = grpc.ready().await;
    ready.map_err(|error| Status::unavailable(error.to_string()))
}
