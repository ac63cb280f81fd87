//! An instance belongs to the process that registered it: servers of ours against the registry.

use std::{net::SocketAddr, time::Duration};

use mizan::{Server, args::ServerArgs};
use mizan_contracts::registry::v1::{
    DeregisterRequest, HealthCheck, HeartbeatRequest, Instance, InstanceStatus, NoCheck,
    RegisterRequest, WatchInstancesResponse, health_check::Kind,
};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::{
    consul::client::{get, send},
    support::{Client, Registry, Watch, list, listen, soon},
};

/// A server of ours. Aborted, it is as if its process was killed.
struct Process {
    port: u16,
    stop: CancellationToken,
    serving: JoinHandle<Result<(), mizan::server::ServeError>>,
}

impl Process {
    async fn start(service: &str, id: &str, registry: &Registry) -> Self {
        Self::on(listen().await, service, Some((id, registry)))
    }

    /// Where an earlier one was, and registered nowhere.
    async fn squat(port: u16, service: &str) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Self::on(TcpListener::bind(address).await.unwrap(), service, None)
    }

    fn on(listener: TcpListener, service: &str, registered: Option<(&str, &Registry)>) -> Self {
        let port = listener.local_addr().unwrap().port();
        let registries = registered.map(|(_, registry)| registry.authority());
        let args = ServerArgs {
            instance_id: registered.map(|(id, _)| id.to_owned()),
            ..ServerArgs::with_registry(registries.into_iter().collect())
        };
        let stop = CancellationToken::new();
        let server = Server::builder(service).args(&args);
        let serving = server.serve(listener, stop.clone().cancelled_owned());
        Self {
            port,
            stop,
            serving: tokio::spawn(serving),
        }
    }

    async fn kill(self) -> u16 {
        self.serving.abort();
        assert!(soon(self.serving).await.unwrap_err().is_cancelled());
        self.port
    }

    async fn terminate(self) {
        self.stop.cancel();
        soon(self.serving).await.unwrap().unwrap();
    }
}

/// Whether the answer is one passing instance, there.
fn passes_at(port: u16) -> impl Fn(&WatchInstancesResponse) -> bool {
    move |message| {
        matches!(&message.instances[..], [one]
            if one.port == u32::from(port) && one.status() == InstanceStatus::Passing)
    }
}

#[tokio::test]
async fn a_service_that_was_killed_is_not_passing_at_the_port_that_another_took() {
    for service in ["invoice", "payment"] {
        let registry = Registry::start().await;
        let mut client = registry.client().await;
        let mut watch = Watch::open(&mut client, &["invoice"], true).await;
        let killed = Process::start("invoice", "a", &registry).await;
        watch.until(passes_at(killed.port)).await;
        let port = killed.kill().await;
        // Another service, or another process of the same one.
        let _other = Process::squat(port, service).await;
        let told = watch
            .until(|message| {
                let [one] = &message.instances[..] else {
                    panic!("{message:?}");
                };
                assert_ne!(one.status(), InstanceStatus::Passing);
                one.status_reason != "heartbeat lost"
            })
            .await;
        let why = &told.instances[0].status_reason;
        // Asked before or after the other one began to listen there.
        assert!(
            why.contains("it may be another process") || why == "connection refused",
            "{why}"
        );
    }
}

#[tokio::test]
async fn the_end_of_an_old_process_takes_nothing_from_the_new_one_of_its_id() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let mut watch = Watch::open(&mut client, &["invoice"], true).await;
    let old = Process::start("invoice", "a", &registry).await;
    watch.until(passes_at(old.port)).await;
    let new = Process::start("invoice", "a", &registry).await;
    let passing = watch.until(passes_at(new.port)).await;
    old.terminate().await;
    let held = list(&mut client, true).await;
    assert_eq!(held.revision, passing.revision);
    assert!(passes_at(new.port)(&WatchInstancesResponse {
        instances: held.instances.clone(),
        ..WatchInstancesResponse::default()
    }));
    let one = &held.instances[0];
    assert!(one.takeovers == 1 && one.takeover_time.is_some(), "{one:?}");
    new.terminate().await;
    assert!(list(&mut client, true).await.instances.is_empty());
}

#[tokio::test]
async fn of_two_processes_with_one_id_the_survivor_is_back_with_its_next_beat() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let mut watch = Watch::open(&mut client, &["invoice"], true).await;
    let old = Process::start("invoice", "a", &registry).await;
    watch.until(passes_at(old.port)).await;
    for _ in 0..2 {
        let new = Process::start("invoice", "a", &registry).await;
        watch.until(passes_at(new.port)).await;
        new.kill().await;
        watch.until(passes_at(old.port)).await;
    }
    // Also when the newer one leaves in good order.
    let new = Process::start("invoice", "a", &registry).await;
    watch.until(passes_at(new.port)).await;
    new.terminate().await;
    watch.until(passes_at(old.port)).await;
}

#[tokio::test]
async fn an_instance_that_lives_and_was_forgotten_is_back_at_once() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let mut watch = Watch::open(&mut client, &["invoice"], true).await;
    let server = Process::start("invoice", "a", &registry).await;
    watch.until(passes_at(server.port)).await;
    for _ in 0..3 {
        // Bound again after it registered: only then would the registry know that it lives.
        let mut beating = false;
        while !beating {
            let request = DeregisterRequest {
                instance_id: "a".to_owned(),
                ..DeregisterRequest::default()
            };
            let left = soon(client.deregister(request)).await.unwrap();
            beating = left.into_inner().beating;
            watch.until(passes_at(server.port)).await;
        }
    }
}

#[tokio::test]
async fn a_server_asks_to_be_removed_an_hour_after_it_crashed() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let mut watch = Watch::open(&mut client, &["invoice"], true).await;
    let server = Process::start("invoice", "a", &registry).await;
    let message = watch.until(passes_at(server.port)).await;
    let check = message.instances[0].check.clone().unwrap();
    let after = check.deregister_critical_after.unwrap();
    assert_eq!(after.seconds, 3600);
    let Some(Kind::Grpc(asked)) = check.kind else {
        panic!("{check:?}");
    };
    assert!(asked.service.starts_with("invoice/"), "{}", asked.service);
}

/// A beat of this life is answered so: whether it is registered, and superseded.
struct Beats {
    life: &'static str,
    beats: mpsc::UnboundedSender<HeartbeatRequest>,
    answers: tonic::Streaming<mizan_contracts::registry::v1::HeartbeatResponse>,
}

impl Beats {
    async fn open(client: &mut Client, life: &'static str) -> Self {
        let (beats, outgoing) = mpsc::unbounded_channel();
        let call = client.heartbeat(UnboundedReceiverStream::new(outgoing));
        let answers = soon(call).await.unwrap().into_inner();
        Self {
            life,
            beats,
            answers,
        }
    }

    async fn beat(&mut self) -> (bool, bool) {
        let beat = HeartbeatRequest {
            instance_id: "a".to_owned(),
            life: self.life.to_owned(),
            ..HeartbeatRequest::default()
        };
        self.beats.send(beat).unwrap();
        self.told().await
    }

    async fn told(&mut self) -> (bool, bool) {
        let answer = soon(self.answers.message()).await.unwrap().unwrap();
        (answer.registered, answer.superseded)
    }
}

async fn try_register(
    client: &mut Client,
    service: &str,
    port: u32,
    life: &str,
) -> Result<(), tonic::Status> {
    let check = HealthCheck {
        kind: Some(Kind::None(NoCheck {})),
        interval: Some(Duration::from_secs(3600).try_into().unwrap()),
        ..HealthCheck::default()
    };
    let request = RegisterRequest {
        instance: Some(Instance {
            instance_id: "a".to_owned(),
            service: service.to_owned(),
            address: "127.0.0.1".to_owned(),
            port,
            check: Some(check),
            ..Instance::default()
        }),
        life: life.to_owned(),
    };
    soon(client.register(request)).await.map(drop)
}

#[tokio::test]
async fn whoever_names_a_life_is_told_unasked_that_another_has_its_id_and_that_it_is_gone() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    try_register(&mut client, "invoice", 1, "old")
        .await
        .unwrap();
    let mut old = Beats::open(&mut client, "old").await;
    assert_eq!(old.beat().await, (true, false));
    try_register(&mut client, "invoice", 2, "new")
        .await
        .unwrap();
    assert_eq!(old.told().await, (true, true));
    assert_eq!(old.beat().await, (true, true));
    let mut new = Beats::open(&mut client, "new").await;
    assert_eq!(new.beat().await, (true, false));
    drop(new);
    assert_eq!(old.told().await, (false, false));
}

#[tokio::test]
async fn the_id_of_another_services_process_is_refused_and_a_life_has_few_characters() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    try_register(&mut client, "invoice", 1, "one")
        .await
        .unwrap();
    let mut one = Beats::open(&mut client, "one").await;
    assert_eq!(one.beat().await, (true, false));
    let refused = try_register(&mut client, "payment", 2, "two").await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    assert_eq!(
        mizan::status::reason(&refused).as_deref(),
        Some("INSTANCE_HELD")
    );
    assert!(
        refused
            .message()
            .contains("a process of invoice at 127.0.0.1:1")
    );
    assert_eq!(list(&mut client, false).await.instances.len(), 1);
    for life in ["x".repeat(65), "two words".to_owned()] {
        let refused = try_register(&mut client, "invoice", 1, &life).await;
        assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    }
}

#[tokio::test]
async fn nobodys_registration_takes_no_id_from_a_server_that_lives() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let mut watch = Watch::open(&mut client, &["invoice"], true).await;
    let server = Process::start("invoice", "a", &registry).await;
    watch.until(passes_at(server.port)).await;
    let port = server.port;
    let before = list(&mut client, true).await;

    let refused = try_register(&mut client, "payment", u32::from(port), "").await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    let reason = mizan::status::reason(&refused);
    assert_eq!(reason.as_deref(), Some("INSTANCE_HELD"));
    let moved = try_register(&mut client, "invoice", 1, "").await;
    assert_eq!(moved.unwrap_err().code(), Code::AlreadyExists);
    let agent = "/v1/agent/service/register";
    let catalog = "/v1/catalog/register";
    for (path, body) in [
        (agent, r#"{"ID": "a", "Name": "payment"}"#.to_owned()),
        (agent, r#"{"ID": "a", "Name": "invoice", "Port": 1}"#.to_owned()),
        (
            catalog,
            r#"{"Node": "mizan", "Address": "10.9.9.9", "Service": {"ID": "a", "Service": "payment"}}"#
                .to_owned(),
        ),
    ] {
        let answer = send(&registry, "PUT", path, &body).await;
        assert_eq!(answer.status, 409, "{answer:?}");
        let whose = format!("a process of invoice at 127.0.0.1:{port}");
        assert!(answer.body.contains(&whose), "{answer:?}");
    }
    // Nothing of what was refused is there: nor the node's new address.
    let node = get(&registry, "/v1/catalog/node/mizan").await;
    assert!(!node.body.contains("10.9.9.9"), "{node:?}");
    assert_eq!(list(&mut client, true).await.revision, before.revision);

    // The same, and the same without saying where, is no other.
    for body in [
        r#"{"ID": "a", "Name": "invoice"}"#.to_owned(),
        format!(r#"{{"ID": "a", "Name": "invoice", "Address": "127.0.0.1", "Port": {port}}}"#),
    ] {
        let answer = send(&registry, "PUT", agent, &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let held = list(&mut client, true).await.instances.remove(0);
        assert_eq!(
            (held.address.as_str(), held.port),
            ("127.0.0.1", u32::from(port))
        );
        assert_eq!(
            (held.takeovers, held.status()),
            (0, InstanceStatus::Passing)
        );
    }
    server.terminate().await;
    assert!(list(&mut client, true).await.instances.is_empty());
}

#[tokio::test]
async fn an_id_is_looked_for_on_the_node_that_was_meant() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let elsewhere = |id: &str| Instance {
        node: "elsewhere".to_owned(),
        ..crate::support::checked(
            id,
            1,
            Some(Kind::None(NoCheck {})),
            Duration::from_secs(3600),
        )
    };
    crate::support::register(&mut client, elsewhere("a")).await;
    let mut remove = async |node: &str| {
        let request = DeregisterRequest {
            instance_id: "a".to_owned(),
            node: node.to_owned(),
            ..DeregisterRequest::default()
        };
        let left = soon(client.deregister(request)).await.unwrap();
        left.into_inner().removed
    };
    assert!(!remove("").await);
    assert!(!remove("third").await);
    assert!(remove("elsewhere").await);
}

#[tokio::test]
async fn an_instance_is_removed_by_whatever_id_consuls_clients_gave_it() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    for id in ["a b", "a%20b", "é漢", "x?y#z", "a+b", "\u{27}quoted\u{27}"] {
        let body = serde_json::json!({"ID": id, "Name": "invoice", "Port": 1}).to_string();
        let answer = send(&registry, "PUT", "/v1/agent/service/register", &body).await;
        assert_eq!(answer.status, 200, "{id}: {answer:?}");
        let request = DeregisterRequest {
            instance_id: id.to_owned(),
            ..DeregisterRequest::default()
        };
        let left = soon(client.deregister(request)).await.unwrap();
        assert!(left.into_inner().removed, "{id}");
    }
    assert!(list(&mut client, true).await.instances.is_empty());
    for id in [
        String::new(),
        "a/b".to_owned(),
        "x".repeat(129),
        "a\nb".to_owned(),
    ] {
        let request = DeregisterRequest {
            instance_id: id.clone(),
            ..DeregisterRequest::default()
        };
        let refused = soon(client.deregister(request)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{id}");
    }
}
