//! Discovery by a watch on a registry, one of several.

mod state;

use std::{sync::Arc, time::Duration};

use mizan_contracts::registry::v1::{
    Instance, WatchInstancesRequest, WatchInstancesResponse,
    registry_service_client::RegistryServiceClient,
};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tonic::Streaming;

use super::{
    Discover, Discovering, Endpoint, InvalidAuthority, Updates, backoff::Backoff,
    endpoint::authority,
};
use crate::{
    Connection,
    connection::{Config, Connector, Tcp},
};
use state::{Answer, Held};

/// How long one registry may take to answer before the next one is tried.
const ANSWER: Duration = Duration::from_secs(2);

/// The pause between two tries: short at first, because a registry is usually back at once, and
/// another one may be next in the list.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// A watch that lasts shorter was turned away: the pauses go on growing.
const LASTING: Duration = Duration::from_secs(1);

/// How often a watch that stands and is silent is noted as a sign of life. That the connection
/// stands is what its keepalive says.
const ALIVE: Duration = Duration::from_secs(10);

/// The instances that a Mizan registry holds for passing.
///
/// The registries are asked in the order given, one at a time: when one is lost the next one is
/// tried, with pauses from 50 ms to 2 s. A watch that broke off is resumed by revision, so that an
/// answer that did not change is not sent again. While no registry answers, the instances known
/// last go on; a registry that restarted is not believed for 10 s in whom it leaves out.
#[derive(Debug, Clone)]
pub struct Registry {
    registries: Vec<String>,
    connector: Arc<dyn Connector>,
}

impl Registry {
    /// By these registries, each a HOST:PORT. With none, every call fails and says so.
    ///
    /// # Errors
    /// [`InvalidAuthority`], which names the first malformed one.
    pub fn new<A: Into<String>>(
        registries: impl IntoIterator<Item = A>,
    ) -> Result<Self, InvalidAuthority> {
        let checked = |registry: A| Ok(Endpoint::new(registry)?.authority);
        let registries = registries.into_iter().map(checked);
        Ok(Self {
            registries: registries.collect::<Result<_, _>>()?,
            connector: Arc::new(Tcp),
        })
    }

    /// Reaches the registries over this connector's streams. TCP by default.
    #[must_use]
    pub fn over(mut self, connector: Arc<dyn Connector>) -> Self {
        self.connector = connector;
        self
    }
}

impl Discover for Registry {
    fn discover(self: Box<Self>, service: String, updates: Updates) -> Discovering {
        Box::pin(follow(service, *self, updates))
    }
}

async fn follow(service: String, source: Registry, updates: Updates) {
    let mut held = Held::default();
    let mut backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
    for registry in source.registries.iter().cycle() {
        match watch(&service, registry, &*source.connector, &held).await {
            Ok(stream) => {
                let began = Instant::now();
                updates.alive();
                let reason = follow_one(&service, stream, &mut held, &updates).await;
                if began.elapsed() >= LASTING {
                    backoff.reset();
                }
                tracing::warn!(%service, %registry, %reason, "registry lost, going on with the instances known");
                updates.unreachable(format!("registry {registry}: {reason}"));
            }
            Err(reason) => {
                // Said once, not at every try.
                if backoff.is_fresh() {
                    tracing::warn!(%service, %registry, %reason, "registry unreachable, retrying");
                }
                updates.unreachable(format!("registry {registry}: {reason}"));
            }
        }
        sleep(backoff.pause(fastrand::u32(..))).await;
    }
    updates.unreachable("no registry is named");
}

/// Takes what one watch brings until it breaks; says why it did.
async fn follow_one(
    service: &str,
    mut stream: Streaming<WatchInstancesResponse>,
    held: &mut Held,
    updates: &Updates,
) -> String {
    let mut first = true;
    held.connected(Instant::now().into_std());
    loop {
        let doubt_ends = held.doubt_ends();
        tokio::select! {
            message = stream.message() => match message {
                Ok(Some(snapshot)) if snapshot.service == service => {
                    let answer = answer(snapshot, std::mem::take(&mut first));
                    tracing::debug!(%service, instances = answer.endpoints.len(), revision = answer.revision, "instances changed");
                    let now = Instant::now().into_std();
                    updates.instances(held.take(answer, updates.vouched(), now));
                    if held.doubt_ends().is_some() {
                        tracing::info!(%service, "a new registry leaves out instances, going on with them for a moment");
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => return "the watch ended".to_owned(),
                Err(status) => return status.message().to_owned(),
            },
            () = until(doubt_ends) => updates.instances(held.believe()),
            () = sleep(ALIVE) => updates.alive(),
        }
    }
}

async fn until(time: Option<std::time::Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

async fn watch(
    service: &str,
    registry: &str,
    connector: &dyn Connector,
    held: &Held,
) -> Result<Streaming<WatchInstancesResponse>, String> {
    let config = Config {
        connect_timeout: ANSWER,
        ..Config::default()
    };
    let connection = Connection::open_with(registry, &config, connector)
        .await
        .map_err(|e| e.reason().to_owned())?;
    let (revision, epoch) = held.resume().unzip();
    let request = WatchInstancesRequest {
        services: vec![service.to_owned()],
        include_unhealthy: false,
        after_revision: revision
            .map(|revision| (service.to_owned(), revision))
            .into_iter()
            .collect(),
        registry_epoch: epoch.unwrap_or_default().to_owned(),
        ..WatchInstancesRequest::default()
    };
    let mut client = RegistryServiceClient::new(connection);
    let response = timeout(ANSWER, client.watch_instances(request)).await;
    let stream = response.map_err(|_| format!("no answer within {ANSWER:?}"))?;
    Ok(stream
        .map_err(|status| status.message().to_owned())?
        .into_inner())
}

fn answer(snapshot: WatchInstancesResponse, first: bool) -> Answer {
    Answer {
        epoch: snapshot.registry_epoch,
        revision: snapshot.revision,
        endpoints: snapshot
            .instances
            .into_iter()
            .filter_map(endpoint)
            .collect(),
        first,
    }
}

/// None for an address that no connection could be made to: Consul's clients register services that
/// have no port.
fn endpoint(instance: Instance) -> Option<Endpoint> {
    let authority = authority(&instance.address, instance.port);
    match Endpoint::new(authority) {
        Ok(endpoint) => Some(
            endpoint
                .with_weight(instance.weight)
                .with_zone(instance.zone)
                .with_metadata(instance.metadata),
        ),
        Err(error) => {
            tracing::warn!(instance = %instance.instance_id, %error, "instance left out");
            None
        }
    }
}

#[cfg(test)]
mod tests;
