//! Watching the registry: which of our processes are passing.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use mizan::Connection;
use mizan_contracts::registry::v1::{
    WatchInstancesRequest, registry_service_client::RegistryServiceClient,
};
use tokio::time::sleep;

use super::{
    board::Board,
    plan::{REGISTRY, services},
};
use crate::look::show::address;

/// How long one try to connect may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// The pause between two tries: short, since it is part of the start that people wait for.
const PAUSE: Duration = Duration::from_millis(20);

/// Notes on the board who is passing, for as long as it is run.
pub(super) async fn follow(registry: String, board: Arc<Board>) {
    loop {
        if let Ok(connection) = Connection::open(&registry, CONNECT_LIMIT).await {
            watch(connection, &registry, &board).await;
            board.passing(REGISTRY, BTreeMap::new());
        }
        sleep(PAUSE).await;
    }
}

/// One watch, until it breaks. The registry is passing while it answers it.
async fn watch(connection: Connection, registry: &str, board: &Board) {
    let request = WatchInstancesRequest {
        services: services(),
        include_unhealthy: false,
        ..WatchInstancesRequest::default()
    };
    let mut client = RegistryServiceClient::new(connection);
    let Ok(answer) = client.watch_instances(request).await else {
        return;
    };
    board.passing(
        REGISTRY,
        [(REGISTRY.to_owned(), registry.to_owned())].into(),
    );
    let mut snapshots = answer.into_inner();
    while let Ok(Some(snapshot)) = snapshots.message().await {
        let instances = snapshot
            .instances
            .iter()
            .map(|instance| (instance.instance_id.clone(), address(instance)))
            .collect();
        board.passing(&snapshot.service, instances);
    }
}
