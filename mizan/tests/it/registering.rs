//! How a server gets and keeps itself registered, with registries that the test plays.

use std::time::Duration;

use mizan::{Connection, Server, args::ServerArgs, server::Unix};
use mizan_contracts::registry::v1::{
    DeregisterRequest, GrpcCheck, HeartbeatRequest, HeartbeatResponse, RegisterRequest,
    health_check::Kind,
};
use prost::Message;
use tokio::{
    net::TcpListener,
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::advance,
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    ends::{hold_the_clock, within},
    serving::get,
    support::{Running, Scripted},
    wire::{Answering, Received, Wire},
};

/// The longest that a server waits for any answer of a registry.
const ANSWER: Duration = Duration::from_secs(2);
/// The pause after a registry was lost; it doubles until one takes the registration.
const PAUSE: Duration = Duration::from_millis(50);
/// Longer than any of this takes.
const PATIENCE: Duration = Duration::from_secs(20);
const HEARTBEAT: Duration = Duration::from_secs(5);

/// A registry that hands every call to the test.
pub(crate) struct Played {
    pub(crate) wire: Wire,
    calls: UnboundedReceiver<Received>,
}

impl Played {
    pub(crate) async fn start() -> Self {
        let (hand, calls) = unbounded_channel();
        let wire = Wire::start(move |call| {
            let _ = hand.send(call);
            std::future::ready(())
        });
        let wire = wire.await;
        Self { wire, calls }
    }

    /// The next call, which must be of this method, and its request.
    pub(crate) async fn asked<M: Message + Default>(&mut self, method: &str) -> (Received, M) {
        let next = within("a registry is asked", self.calls.recv()).await;
        let mut call = next.unwrap();
        assert_eq!(call.path.rsplit('/').next(), Some(method));
        let message = said(&mut call).await;
        (call, message)
    }

    /// Takes the registration, and the heartbeat that follows it.
    async fn takes(&mut self) -> (Received, RegisterRequest) {
        let (call, request) = self.asked("Register").await;
        call.ok();
        let (beating, _) = self.asked::<HeartbeatRequest>("Heartbeat").await;
        (beating, request)
    }
}

async fn said<M: Message + Default>(call: &mut Received) -> M {
    let message = within("a message comes", call.message()).await;
    M::decode(message.unwrap()).unwrap()
}

fn says(answer: &mut Answering, registered: bool, superseded: bool) {
    let response = HeartbeatResponse {
        registered,
        superseded,
    };
    answer.message(&response.encode_to_vec());
}

async fn until_it_is(server: &Running, status: &str) {
    until_it_says(server, &format!(r#""status":"{status}""#)).await;
}

async fn until_it_says(server: &Running, words: &str) {
    let is_so = async {
        while !get(server, "/health").await.contains(words) {
            tokio::task::yield_now().await;
        }
    };
    within("its health says so", is_so).await;
}

async fn health_of(server: &Running, service: &str) -> ServingStatus {
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let connection = Connection::open(&server.authority(), PATIENCE).await;
    let mut health = HealthClient::new(connection.unwrap());
    health.check(request).await.unwrap().into_inner().status()
}

/// Gives whatever would be wrong the time to happen, and fails if this is asked then.
pub(crate) async fn is_not_asked(registry: &mut Played) {
    for _ in 0..5_000 {
        tokio::task::yield_now().await;
    }
    assert!(registry.calls.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn what_the_operator_says_of_an_instance_is_what_the_registry_is_told() {
    let clock = hold_the_clock();
    let mut registry = Played::start().await;
    let args = ServerArgs {
        advertise: Some("svc.example:80".to_owned()),
        instance_id: Some("me".to_owned()),
        zone: "z".to_owned(),
        weight: 7,
        deregister_after_seconds: 90,
        drain_seconds: 1,
        ..ServerArgs::with_registry(vec![registry.wire.authority.clone()])
    };
    let server = Server::builder("scripted").args(&args);
    let server = Running::start_server(server, &Scripted::ok()).await;
    let (call, RegisterRequest { instance, life }) = registry.asked("Register").await;
    let instance = instance.unwrap();
    assert_eq!(
        (&*instance.service, &*instance.instance_id, &*instance.zone),
        ("scripted", "me", "z")
    );
    assert_eq!(
        (&*instance.address, instance.port, instance.weight),
        ("svc.example", 80, 7)
    );
    let check = instance.check.unwrap();
    assert_eq!(check.deregister_critical_after.unwrap().seconds, 90);
    // By a name that no other process has: who got the port later does not pass for this one.
    assert!(!life.is_empty());
    let service = format!("scripted/{life}");
    let kind = GrpcCheck {
        service: service.clone(),
        ..GrpcCheck::default()
    };
    assert_eq!(check.kind, Some(Kind::Grpc(kind)));
    call.ok();
    let (mut beating, beat) = registry.asked::<HeartbeatRequest>("Heartbeat").await;
    assert_eq!((&*beat.instance_id, &beat.life), ("me", &life));
    let answer = beating.begin();
    assert_eq!(health_of(&server, &service).await, ServingStatus::Serving);
    server.begin_stop();
    let (_silent, leaving) = registry.asked::<DeregisterRequest>("Deregister").await;
    assert_eq!((&*leaving.instance_id, &leaving.life), ("me", &life));
    // No longer than the drain may take, though that is shorter than a registry may.
    advance(Duration::from_secs(1)).await;
    server.stopped().await;
    drop((clock, answer));
}

#[tokio::test(start_paused = true)]
async fn a_server_is_as_healthy_as_the_registry_says_and_registers_again_when_told_to() {
    let clock = hold_the_clock();
    let mut registry = Played::start().await;
    let args = ServerArgs::with_registry(vec![registry.wire.authority.clone()]);
    let server = Server::builder("scripted").args(&args);
    let server = Running::start_server(server, &Scripted::ok()).await;
    let (call, first) = registry.asked::<RegisterRequest>("Register").await;
    until_it_is(&server, "degraded").await;
    call.ok();
    until_it_is(&server, "healthy").await;
    let (mut beating, _) = registry.asked::<HeartbeatRequest>("Heartbeat").await;
    let mut answer = beating.begin();
    said::<HeartbeatRequest>(&mut beating).await;

    says(&mut answer, false, true);
    until_it_is(&server, "degraded").await;
    says(&mut answer, true, false);
    until_it_is(&server, "healthy").await;

    says(&mut answer, false, true);
    until_it_is(&server, "degraded").await;
    says(&mut answer, false, false);
    let (call, again) = registry.asked::<RegisterRequest>("Register").await;
    assert_eq!(again, first);
    until_it_is(&server, "degraded").await;
    call.ok();
    until_it_is(&server, "healthy").await;
    // Bound again at once, and then at every beat: no time has passed until here.
    said::<HeartbeatRequest>(&mut beating).await;
    for _ in 0..3 {
        advance(HEARTBEAT).await;
        said::<HeartbeatRequest>(&mut beating).await;
    }
    drop((clock, answer));
    server.begin_stop();
    let (call, _) = registry.asked::<DeregisterRequest>("Deregister").await;
    call.ok();
    server.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_lost_or_silent_gives_way_to_the_next_one_after_a_pause() {
    let _clock = hold_the_clock();
    let (mut one, mut two) = (Played::start().await, Played::start().await);
    let registries = [&one, &two].map(|played| played.wire.authority.clone());
    let args = ServerArgs::with_registry(registries.to_vec());
    let server = Server::builder("scripted").args(&args);
    let server = Running::start_server(server, &Scripted::ok()).await;

    let (mut beating, registered) = one.takes().await;
    let answer = beating.begin();
    until_it_is(&server, "healthy").await;
    answer.end(0);
    until_it_is(&server, "degraded").await;
    advance(PAUSE).await;
    let (call, again) = two.asked::<RegisterRequest>("Register").await;
    assert_eq!(again, registered, "the same life, wherever");

    // Refused: the pause is twice as long, and no shorter.
    call.refuse(6, &[]);
    until_it_says(&server, &two.wire.authority).await;
    advance(PAUSE * 2 - Duration::from_millis(1)).await;
    is_not_asked(&mut one).await;
    advance(PAUSE * 2).await;
    let (silent, _) = one.asked::<RegisterRequest>("Register").await;

    // It says nothing: neither to the registration ...
    advance(ANSWER).await;
    tokio::task::yield_now().await;
    is_not_asked(&mut two).await;
    advance(PAUSE * 4).await;
    let (silent_too, _) = two.takes().await;
    until_it_is(&server, "healthy").await;
    // ... nor, the other one, to the heartbeat.
    advance(ANSWER).await;
    until_it_is(&server, "degraded").await;
    // One that took the registration makes the pause short again.
    advance(PAUSE).await;
    let (mut beating, _) = one.takes().await;
    let _answer = beating.begin();
    until_it_is(&server, "healthy").await;
    drop((silent, silent_too));

    server.begin_stop();
    // It does not say whether that is done either, and holds nothing up.
    let (_silent, _) = one.asked::<DeregisterRequest>("Deregister").await;
    advance(ANSWER).await;
    server.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_is_no_registry_is_passed_over() {
    let _clock = hold_the_clock();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = listener.local_addr().unwrap().to_string();
    let mut registry = Played::start().await;
    // An empty name is none.
    let registries = vec![String::new(), nobody, registry.wire.authority.clone()];
    let server = Server::builder("scripted").args(&ServerArgs::with_registry(registries));
    let server = Running::start_server(server, &Scripted::ok()).await;
    let kept = within("it is called", listener.accept()).await;
    advance(ANSWER).await;
    is_not_asked(&mut registry).await;
    advance(PAUSE).await;
    let (mut beating, _) = registry.takes().await;
    let _answer = beating.begin();
    until_it_is(&server, "healthy").await;
    drop(kept);
}

#[tokio::test]
async fn who_has_no_address_that_others_could_call_asks_no_registry() {
    let folder = tempfile::tempdir().unwrap();
    let mut registry = Played::start().await;
    let args = ServerArgs::with_registry(vec![registry.wire.authority.clone()]);
    let serve = |args: &ServerArgs, name: &str| {
        let listener = Unix::bind(folder.path().join(name), 0o600).unwrap();
        let server = Server::builder("scripted").args(args);
        tokio::spawn(server.serve(listener, std::future::pending()))
    };
    let unreachable = serve(&args, "one");
    is_not_asked(&mut registry).await;
    let advertise = Some("svc.example:80".to_owned());
    let reachable = serve(&ServerArgs { advertise, ..args }, "two");
    let (_, request) = registry.asked::<RegisterRequest>("Register").await;
    assert_eq!(request.instance.unwrap().address, "svc.example");
    unreachable.abort();
    reachable.abort();
}
