//! A registry that restarts and has forgotten everybody.

use mizan::{Channel, Server, args::ServerArgs, server::ServeError};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::support::{Registry, Watch, listen, soon};

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
