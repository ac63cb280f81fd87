//! Discovery by a watch on the registry.

use std::time::Duration;

use mizan_contracts::registry::v1::{
    Instance, WatchInstancesRequest, WatchInstancesResponse,
    registry_service_client::RegistryServiceClient,
};
use tokio::{sync::watch, time::timeout};
use tonic::Streaming;

use super::{Endpoint, Known};
use crate::{Connection, retry};

/// How long one registry may take to answer before the next one is tried.
const ANSWER: Duration = Duration::from_secs(2);

/// The pause between two tries, doubling, with jitter.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// How long a registry that we came to anew may say that nobody is there before it is believed.
/// One that restarted knows nobody until its instances, which look for it every 2 s, are back and
/// checked, which takes 2 s at most; the rest is for slow machines.
const DOUBT: Duration = Duration::from_secs(10);

/// Keeps `known` up to date until nobody looks at it any more. While no registry answers, what is
/// known stays.
pub(super) async fn follow(service: String, registries: Vec<String>, known: watch::Sender<Known>) {
    if registries.is_empty() {
        known.send_replace(Known::Unreachable("no registry is named".to_owned()));
    }
    let mut pause = PAUSE_MIN;
    for registry in registries.iter().cycle() {
        let followed = tokio::select! {
            () = known.closed() => return,
            followed = follow_one(&service, registry, &known) => followed,
        };
        match followed {
            Followed::Lost => {
                tracing::warn!(%service, %registry, "registry lost, going on with the instances known");
                pause = PAUSE_MIN;
            }
            Followed::Unreachable(reason) => {
                // Said once, not at every try.
                if pause == PAUSE_MIN {
                    tracing::warn!(%service, %registry, %reason, "registry unreachable, retrying");
                }
                known.send_if_modified(|known| {
                    let nothing = matches!(known, Known::Unknown);
                    if nothing {
                        *known = Known::Unreachable(format!("registry {registry}: {reason}"));
                    }
                    nothing
                });
            }
        }
        tokio::select! {
            () = known.closed() => return,
            () = tokio::time::sleep(retry::spread(pause, fastrand::u32(..))) => {}
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

enum Followed {
    Unreachable(String),
    Lost,
}

async fn follow_one(service: &str, registry: &str, known: &watch::Sender<Known>) -> Followed {
    let mut stream = match watch_instances(service, registry).await {
        Ok(stream) => stream,
        Err(reason) => return Followed::Unreachable(reason),
    };
    let mut next = stream.message().await;
    let nobody = matches!(&next, Ok(Some(snapshot)) if snapshot.instances.is_empty());
    if nobody && knows_somebody(known) {
        tracing::info!(%service, %registry, "registry knows nobody, going on with the instances known");
        if let Ok(second) = timeout(DOUBT, stream.message()).await {
            next = second;
        }
    }
    while let Ok(Some(snapshot)) = next {
        let endpoints: Vec<_> = snapshot.instances.iter().map(endpoint).collect();
        tracing::debug!(%service, instances = endpoints.len(), revision = snapshot.revision, "instances changed");
        known.send_replace(Known::Instances(endpoints));
        next = stream.message().await;
    }
    Followed::Lost
}

fn knows_somebody(known: &watch::Sender<Known>) -> bool {
    matches!(&*known.borrow(), Known::Instances(endpoints) if !endpoints.is_empty())
}

async fn watch_instances(
    service: &str,
    registry: &str,
) -> Result<Streaming<WatchInstancesResponse>, String> {
    let connection = Connection::open(registry, ANSWER)
        .await
        .map_err(|e| e.reason().to_owned())?;
    let request = WatchInstancesRequest {
        services: vec![service.to_owned()],
        include_unhealthy: false,
    };
    let mut client = RegistryServiceClient::new(connection);
    let response = timeout(ANSWER, client.watch_instances(request)).await;
    let stream = response.map_err(|_| format!("no answer within {ANSWER:?}"))?;
    Ok(stream
        .map_err(|status| status.message().to_owned())?
        .into_inner())
}

fn endpoint(instance: &Instance) -> Endpoint {
    let Instance { address, port, .. } = instance;
    let ipv6 = address.contains(':');
    Endpoint {
        authority: if ipv6 {
            format!("[{address}]:{port}")
        } else {
            format!("{address}:{port}")
        },
        weight: instance.weight.max(1),
    }
}
