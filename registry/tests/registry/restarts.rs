//! A registry that restarts: one that has forgotten everybody, and one that has not.

use mizan::{Channel, Server, args::ServerArgs, server::ServeError};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use std::time::Duration;

use mizan_contracts::registry::v1::{InstanceStatus, NoCheck, health_check::Kind};

use crate::{
    support::{Registry, Watch, checked, listen, register, soon},
    target::Checked,
};

/// A Mizan server that registers as `invoice`.
struct Instance {
    stop: CancellationToken,
    served: JoinHandle<Result<(), ServeError>>,
}

impl Instance {
    async fn start(registry: &str) -> Self {
        let stop = CancellationToken::new();
        let args = ServerArgs::with_registry(vec![registry.to_owned()]);
        let served = Server::builder("invoice")
            .args(&args)
            .serve(listen().await, stop.clone().cancelled_owned());
        let served = tokio::spawn(served);
        Self { stop, served }
    }

    async fn stop(self) {
        self.stop.cancel();
        soon(self.served).await.unwrap().unwrap();
    }
}

type Caller = HealthClient<Channel>;

async fn call(caller: &Caller) -> Result<(), Status> {
    let request = HealthCheckRequest::default();
    soon(caller.clone().check(request)).await.map(drop)
}

/// Calls without a pause until told to stop; answers how often. Every call must succeed.
fn call_all_the_while(caller: &Caller, stop: &CancellationToken) -> JoinHandle<u32> {
    let (caller, stop) = (caller.clone(), stop.clone());
    tokio::spawn(async move {
        let mut calls = 0;
        while !stop.is_cancelled() {
            call(&caller).await.unwrap();
            calls += 1;
        }
        calls
    })
}

#[tokio::test]
async fn a_registry_that_restarts_learns_of_its_instances_and_their_callers_notice_nothing() {
    let registry = Registry::start().await;
    let authority = registry.authority();
    let instance = Instance::start(&authority).await;
    let mut client = registry.client().await;
    let mut watch = Watch::open(&mut client, &["invoice"], true).await;
    watch.until_passing().await;
    let channel = Channel::builder("invoice").registry(vec![authority.clone()]);
    let caller = Caller::new(channel.connect().unwrap());
    call(&caller).await.unwrap();

    let enough = CancellationToken::new();
    let calling = call_all_the_while(&caller, &enough);
    registry.stop().await;
    for _ in 0..100 {
        // Nobody is there to ask: the instances known last go on.
        call(&caller).await.unwrap();
    }
    let registry = Registry::restart(&authority).await;
    let mut client = registry.client().await;
    let mut watch = Watch::open(&mut client, &["invoice"], true).await;
    watch.until_passing().await;
    enough.cancel();
    assert!(soon(calling).await.unwrap() > 0);

    // The channel follows the new registry: nobody else knows of the second instance.
    instance.stop().await;
    let second = Instance::start(&authority).await;
    soon(async {
        while call(&caller).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    second.stop().await;
    registry.stop().await;
}

#[tokio::test]
async fn a_registry_that_keeps_what_it_knows_shows_no_watcher_an_empty_service() {
    let data = tempfile::tempdir().unwrap();
    let registry = Registry::keeping(data.path()).await;
    let authority = registry.authority();
    let mut client = registry.client().await;
    let target = Checked::start().await;
    let hourly = Duration::from_secs(3600);
    let mut all = Watch::open(&mut client, &["invoice"], true).await;
    register(&mut client, checked("a", target.port, None, hourly)).await;
    all.until_passing().await;
    let standing = Some(Kind::None(NoCheck {}));
    register(&mut client, checked("b", 1, standing, hourly)).await;
    let mut passing = Watch::open(&mut client, &["invoice"], false).await;
    let before = passing.until(|m| m.instances.len() == 2).await;
    registry.stop().await;

    // It is polled again at once, though nobody waits for that to list it.
    let mut accepted = target.accepted.clone();
    let seen = *accepted.borrow_and_update();
    let registry = Registry::restart_keeping(&authority, data.path()).await;
    let mut client = registry.client().await;
    let held = [("invoice", before.revision)];
    let mut resumed = Watch::resume(&mut client, &held, &before.registry_epoch).await;
    let first = resumed.next().await.unwrap();
    assert_eq!(first.registry_epoch, before.registry_epoch);
    assert!(first.revision > before.revision);
    let ids = |m: &[mizan_contracts::registry::v1::Instance]| {
        let ids = m.iter().map(|one| (one.instance_id.clone(), one.status()));
        ids.collect::<Vec<_>>()
    };
    let both = ["a", "b"].map(|id| (id.to_owned(), InstanceStatus::Passing));
    assert_eq!(ids(&first.instances), both);
    assert_eq!(
        first.instances[0].register_time,
        before.instances[0].register_time
    );
    soon(accepted.wait_for(|accepted| *accepted > seen))
        .await
        .unwrap();
    registry.stop().await;
}

#[tokio::test]
async fn an_instance_that_died_meanwhile_is_found_out_at_once() {
    let data = tempfile::tempdir().unwrap();
    let registry = Registry::keeping(data.path()).await;
    let authority = registry.authority();
    let mut client = registry.client().await;
    let target = Checked::start().await;
    let mut watch = Watch::open(&mut client, &["invoice"], true).await;
    let hourly = Duration::from_secs(3600);
    register(&mut client, checked("a", target.port, None, hourly)).await;
    watch.until_passing().await;
    // Without another, it would be believed to live for a while longer.
    let standing = Some(Kind::None(NoCheck {}));
    register(&mut client, checked("b", 1, standing, hourly)).await;
    registry.stop().await;
    target.die().await;
    let registry = Registry::restart_keeping(&authority, data.path()).await;
    let mut client = registry.client().await;
    let mut watch = Watch::open(&mut client, &["invoice"], true).await;
    watch
        .until(|message| {
            let a = message.instances.iter().find(|one| one.instance_id == "a");
            a.is_some_and(|a| a.status_reason == "connection refused")
        })
        .await;
    registry.stop().await;
}

#[tokio::test]
async fn a_registry_whose_store_is_damaged_says_so_and_does_not_start() {
    let data = tempfile::tempdir().unwrap();
    std::fs::write(
        data.path().join("registry.db"),
        "not a database, but long".repeat(500),
    )
    .unwrap();
    let config = registry::Config {
        data: data.path().to_owned(),
        ..registry::Config::default()
    };
    let served = registry::serve(listen().await, config, std::future::pending());
    let said = mizan::process::chain(&soon(served).await.unwrap_err());
    assert!(
        said.contains("registry.db") && said.contains("not a database"),
        "{said}"
    );
}
