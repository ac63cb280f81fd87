//! Everybody at once, as after an outage. By itself: it keeps the whole machine busy.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../registry/support.rs"]
#[allow(dead_code, reason = "shared with the other tests")]
mod support;

use std::time::Duration;

use futures_util::{StreamExt as _, future, stream};
use mizan::status;
use mizan_contracts::registry::v1::{
    ListServicesRequest, NoCheck, RegisterRequest, health_check::Kind,
};
use tonic::Status;

use support::{Client, Registry, checked, soon};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const INSTANCES: u16 = 10_000;
const CONNECTIONS: u16 = 100;
/// Twice what the registry has in hand at a time: what is turned away asks again.
const AT_ONCE_OF_EACH: usize = 20;

/// Asks again as often as it is told to come later, and by nothing else.
async fn until_taken<T>(ask: impl AsyncFn() -> Result<T, Status>) -> T {
    loop {
        match ask().await {
            Ok(taken) => return taken,
            Err(refusal) => {
                let reason = status::reason(&refusal);
                assert_eq!(reason.as_deref(), Some("OVERLOADED"), "{refusal}");
                assert!(status::retry_after(&refusal).is_some(), "{refusal}");
                tokio::task::yield_now().await;
            }
        }
    }
}

async fn come(client: &Client, number: u16) {
    let standing = Some(Kind::None(NoCheck {}));
    let mut instance = checked(
        &format!("i-{number}"),
        1,
        standing,
        Duration::from_secs(3_600),
    );
    instance.service = format!("service-{}", number % 100);
    let request = RegisterRequest {
        instance: Some(instance),
        ..RegisterRequest::default()
    };
    until_taken(async || client.clone().register(request.clone()).await).await;
}

/// All of them, from many processes at once.
async fn everybody(registry: &Registry) {
    let comers = (0..CONNECTIONS).map(async |connection| {
        let client = registry.client().await;
        let own = (0..INSTANCES).filter(|number| number % CONNECTIONS == connection);
        let comings = stream::iter(own.map(|number| come(&client, number)));
        comings
            .buffer_unordered(AT_ONCE_OF_EACH)
            .for_each(async |_| ())
            .await;
    });
    future::join_all(comers).await;
}

/// How many instances of all services pass.
async fn known(client: &Client) -> u32 {
    let request = ListServicesRequest {
        page_size: 1_000,
        ..ListServicesRequest::default()
    };
    let listed = until_taken(async || client.clone().list_services(request.clone()).await).await;
    let services = listed.into_inner().services;
    services.iter().map(|service| service.passing).sum()
}

/// The calls that the registry has in hand, the one that asks among them.
async fn carried(registry: &Registry) -> [String; 2] {
    let mut stream = TcpStream::connect(registry.authority()).await.unwrap();
    let request = "GET /metrics HTTP/1.1\r\nHost: registry\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut page = String::new();
    soon(stream.read_to_string(&mut page)).await.unwrap();
    ["mizan_server_calls_open ", "mizan_server_calls_admitted "].map(|name| {
        let mut values = page.lines().filter_map(|line| line.strip_prefix(name));
        values.next().unwrap().to_owned()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_that_return_at_once_are_all_known_again_and_everybody_is_answered() {
    let data = tempfile::tempdir().unwrap();
    let registry = Registry::keeping(data.path()).await;
    let client = registry.client().await;
    let quiet = carried(&registry).await;
    let other = registry.client().await;
    let beside = async {
        loop {
            known(&other).await;
        }
    };
    let comings = async {
        // Those who come anew, and the same again.
        for _ in 0..2 {
            everybody(&registry).await;
            assert_eq!(known(&client).await, u32::from(INSTANCES));
        }
    };
    tokio::select! {
        () = comings => {}
        () = beside => {}
    }
    let rests = async { while carried(&registry).await != quiet {} };
    soon(rests).await;
    registry.stop().await;
}
