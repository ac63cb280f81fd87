//! Tests of the balancer over a network in memory.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    sync::mpsc,
};
use tonic_health::pb::health_check_response::ServingStatus;

use super::*;
use crate::{
    connection::{
        self, Config,
        testing::{Command, Health, Net, Server, request, until},
    },
    discover::{self, Endpoint, Updates},
    telemetry,
};

mod health;
mod streams;

const SECOND: Duration = Duration::from_secs(1);

/// Calls that fail, wait for nobody.
const FAST: Wait = Wait {
    deadline: None,
    for_ready: false,
};

fn call() -> Call {
    Call {
        hash: None,
        random: 0,
        now: Instant::now().into_std(),
    }
}

fn endpoints(authorities: &[&str]) -> Vec<Endpoint> {
    let endpoint = |authority: &&str| Endpoint::new(*authority).unwrap();
    authorities.iter().map(endpoint).collect()
}

struct World {
    net: Net,
    updates: Updates,
    balancer: Balancer,
}

impl World {
    fn new(net: Net, authorities: &[&str], change: impl FnOnce(&mut Settings)) -> Self {
        let (updates, discovery) = discover::channel();
        updates.instances(endpoints(authorities));
        let settings = Self::settings(&net, change);
        let metrics = telemetry::metrics::Registry::new().client("s");
        let balancer = Balancer::start("s", settings, discovery, metrics);
        Self {
            net,
            updates,
            balancer,
        }
    }

    fn settings(net: &Net, change: impl FnOnce(&mut Settings)) -> Settings {
        let mut settings = Settings::new(Arc::new(policy::RoundRobin::default()));
        settings.connector = Arc::new(net.clone());
        change(&mut settings);
        settings
    }

    async fn pick(&self) -> Result<Picked, Status> {
        self.balancer.pick(&call(), &[], FAST).await
    }

    async fn call(&self) -> Result<(), Status> {
        let sent = self.pick().await?.send(request("/ok")).await;
        sent.map(drop).map_err(SendError::into_status)
    }

    async fn refusal(&self) -> Status {
        self.pick().await.unwrap_err()
    }

    fn state(&self, authority: &str) -> Option<InstanceState> {
        let stats = self.balancer.stats();
        let found = stats.iter().find(|s| *s.authority == *authority);
        found.map(|stats| stats.state)
    }

    async fn until(&self, authority: &str, state: InstanceState) {
        until(|| self.state(authority) == Some(state)).await;
    }
}

#[tokio::test]
async fn equal_instances_take_turns_exactly() {
    let net = Net::default();
    let servers = ["a:1", "b:1", "c:1"].map(|authority| net.serve(authority));
    let world = World::new(net, &["a:1", "b:1", "c:1"], |_| {});
    for authority in ["a:1", "b:1", "c:1"] {
        world.until(authority, InstanceState::Ready).await;
    }
    for _ in 0..301 {
        world.call().await.unwrap();
    }
    let mut calls = servers.each_ref().map(Server::calls);
    calls.sort_unstable();
    assert_eq!(calls, [100, 100, 101]);
    assert!(servers.iter().all(|server| server.accepted() == 1));
}

#[tokio::test]
async fn eleven_hundred_instances_are_no_trouble() {
    let net = Net::default();
    let authorities: Vec<_> = (0..1100).map(|i| format!("host-{i}:1")).collect();
    let names: Vec<_> = authorities.iter().map(String::as_str).collect();
    let servers: Vec<_> = names.iter().map(|authority| net.serve(authority)).collect();
    let world = World::new(net, &names, |_| {});
    until(|| {
        let ready = |s: &InstanceStats| s.state == InstanceState::Ready;
        let stats = world.balancer.stats();
        stats.len() == 1100 && stats.iter().all(ready)
    })
    .await;
    for _ in 0..2200 {
        world.call().await.unwrap();
    }
    assert!(servers.iter().all(|server| server.calls() == 2));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_names_the_instances_and_their_errors() {
    let authorities: Vec<_> = (0..11).map(|i| format!("dead-{i:02}:1")).collect();
    let names: Vec<_> = authorities.iter().map(String::as_str).collect();
    let world = World::new(Net::default(), &names, |_| {});
    let refusal = world.refusal().await;
    assert_eq!(status::reason(&refusal).as_deref(), Some("NO_INSTANCES"));
    let message = refusal.message();
    assert!(
        message.contains("dead-00:1 backoff (connection refused)"),
        "{message}"
    );
    assert!(message.ends_with("; and 3 more"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_dead_instance_is_tried_after_growing_pauses() {
    let world = World::new(Net::default(), &["a:1"], |_| {});
    world.refusal().await;
    tokio::time::sleep(300 * SECOND).await;
    let tries = world.net.tries("a:1");
    let mut expected = SECOND;
    for pair in tries.windows(2) {
        let pause = pair[1] - pair[0];
        // Timers are rounded up to milliseconds.
        let bounds = expected * 4 / 5..=expected * 6 / 5 + SECOND / 500;
        assert!(bounds.contains(&pause), "{pause:?}, not about {expected:?}");
        expected = (expected * 8 / 5).min(120 * SECOND);
    }
    assert!(tries.len() > 8, "{}", tries.len());
}

#[tokio::test(start_paused = true)]
async fn a_listener_without_settings_is_waited_for_and_never_picked() {
    let net = Net::default();
    let _accepted = net.listen("a:1");
    let world = World::new(net, &["a:1"], |_| {});
    let wait = Wait {
        deadline: Some(Instant::now() + 19 * SECOND),
        for_ready: false,
    };
    let late = world.balancer.pick(&call(), &[], wait).await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded, "{late:?}");
    let message = late.message();
    assert!(message.contains("a:1 connecting"), "{message}");
    let refusal = world.refusal().await;
    assert!(refusal.message().contains("SETTINGS"), "{refusal:?}");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_ready_waits_through_failures() {
    let net = Net::default();
    let world = World::new(net.clone(), &["a:1"], |_| {});
    world.refusal().await;
    let wait = |seconds| Wait {
        deadline: Some(Instant::now() + seconds * SECOND),
        for_ready: true,
    };
    let late = world.balancer.pick(&call(), &[], wait(5)).await;
    let late = late.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
    assert!(
        late.message().contains("connection refused"),
        "{}",
        late.message()
    );
    net.serve("a:1");
    assert!(world.balancer.pick(&call(), &[], wait(60)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_untried_instance_is_preferred() {
    let net = Net::default();
    for authority in ["a:1", "b:1"] {
        net.serve(authority);
    }
    let world = World::new(net, &["a:1", "b:1"], |_| {});
    world.until("a:1", InstanceState::Ready).await;
    world.until("b:1", InstanceState::Ready).await;
    let tried: [Arc<str>; 2] = ["a:1".into(), "b:1".into()];
    for _ in 0..5 {
        let picked = world.balancer.pick(&call(), &tried[..1], FAST).await;
        assert_eq!(*picked.unwrap().authority, *"b:1");
    }
    // When all were tried, any is better than none.
    assert!(world.balancer.pick(&call(), &tried, FAST).await.is_ok());
}

#[tokio::test]
async fn the_first_call_after_goaway_with_a_stream_open_never_fails() {
    for _ in 0..20 {
        let net = Net::default();
        let server = net.serve("a:1");
        let world = World::new(net, &["a:1"], |_| {});
        let picked = world.pick().await.unwrap();
        let long = tokio::spawn(async move { picked.send(request("/hang")).await });
        until(|| server.calls() == 1).await;
        server.command(Command::Drain);
        // As soon as the connection knows, and a new one is made: no call is needed to find out.
        until(|| server.accepted() == 2).await;
        world.call().await.unwrap();
        server.release();
        assert!(long.await.unwrap().is_ok(), "what it carried is finished");
    }
}

#[tokio::test]
async fn a_removed_instance_finishes_what_it_carries() {
    let net = Net::default();
    let servers = ["a:1", "b:1"].map(|authority| net.serve(authority));
    let world = World::new(net, &["a:1"], |_| {});
    let picked = world.pick().await.unwrap();
    let long = tokio::spawn(async move { picked.send(request("/hang")).await });
    until(|| servers[0].calls() == 1).await;
    world.updates.instances(endpoints(&["b:1"]));
    world.until("b:1", InstanceState::Ready).await;
    assert_eq!(world.state("a:1"), None);
    for _ in 0..5 {
        world.call().await.unwrap();
    }
    assert_eq!(servers[1].calls(), 5);
    servers[0].release();
    assert!(long.await.unwrap().is_ok());
    assert_eq!(servers[0].cancelled(), 0);
}

#[tokio::test]
async fn a_changed_weight_or_a_name_said_twice_reconnects_nobody() {
    let net = Net::default();
    let server = net.serve("a:1");
    let world = World::new(net, &["a:1", "a:1"], |_| {});
    world.until("a:1", InstanceState::Ready).await;
    let before = world.pick().await.unwrap();
    let heavier = Endpoint::new("a:1").unwrap().with_weight(7);
    world.updates.instances(vec![heavier]);
    until(|| world.balancer.stats()[0].weight == 7).await;
    let after = world.pick().await.unwrap();
    assert_eq!(after.weight, 7);
    assert!(Arc::ptr_eq(&before.load, &after.load), "one and the same");
    assert_eq!(world.balancer.stats().len(), 1);
    assert_eq!(server.accepted(), 1);
    assert_eq!(world.net.tries("a:1").len(), 1);
}

#[tokio::test]
async fn the_load_survives_a_reconnection() {
    let net = Net::default();
    let server = net.serve("a:1");
    let world = World::new(net, &["a:1"], |_| {});
    let before = world.pick().await.unwrap().load.clone();
    server.command(Command::Cut);
    until(|| server.accepted() == 2).await;
    assert!(Arc::ptr_eq(&before, &world.pick().await.unwrap().load));
}

#[tokio::test]
async fn several_connections_take_turns_and_can_become_more_or_fewer() {
    let net = Net::default();
    let server = net.serve("a:1");
    let world = World::new(net, &["a:1"], |s| s.connections = 3);
    until(|| {
        let stats = world.balancer.stats();
        stats.first().is_some_and(|s| s.connections == 3)
    })
    .await;
    assert_eq!(server.accepted(), 3);
    let mut turns = Vec::new();
    for _ in 0..6 {
        let picked = world.pick().await.unwrap();
        turns.push(picked.connection.id());
    }
    assert_eq!(turns[..3], turns[3..]);
    turns.sort_unstable();
    turns.dedup();
    assert_eq!(turns.len(), 3);

    for wanted in [1_u8, 4] {
        let settings = World::settings(&world.net, |s| s.connections = wanted.into());
        world.balancer.set(settings);
        until(|| world.balancer.stats()[0].connections == usize::from(wanted)).await;
        world.call().await.unwrap();
    }
    assert_eq!(server.accepted(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_dead_instance_is_tried_by_one_connection_only() {
    let world = World::new(Net::default(), &["a:1"], |s| s.connections = 8);
    world.refusal().await;
    assert_eq!(world.net.tries("a:1").len(), 1);
}

/// Accepts a connection, and says SETTINGS.
async fn settle(accepted: &mut mpsc::UnboundedReceiver<DuplexStream>) -> DuplexStream {
    let mut stream = accepted.recv().await.unwrap();
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    stream.write_all(&settings).await.unwrap();
    stream
}

#[tokio::test(start_paused = true)]
async fn a_server_that_complains_about_pings_is_pinged_half_as_often() {
    let net = Net::default();
    let mut accepted = net.listen("a:1");
    let world = World::new(net, &["a:1"], |_| {});
    let mut interval = Config::default().keep_alive_interval.unwrap();
    for _ in 0..3 {
        let mut stream = settle(&mut accepted).await;
        world.until("a:1", InstanceState::Ready).await;
        let begun = Instant::now();
        let mut seen = Vec::new();
        // Until the header of a PING.
        while !seen.windows(5).any(|bytes| bytes == [0, 0, 8, 6, 0]) {
            stream.read_buf(&mut seen).await.unwrap();
        }
        let pinged = begun.elapsed();
        assert!(
            pinged >= interval && pinged <= interval * 5 / 4,
            "{pinged:?}"
        );
        let debug = b"too_many_pings";
        let mut goaway = vec![0, 0, 22, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11];
        goaway.extend(debug);
        stream.write_all(&goaway).await.unwrap();
        interval *= 2;
    }
}

/// Picks nobody the first few times, as if a breaker had refused and admitted again right after.
#[derive(Debug)]
struct Late(Arc<AtomicUsize>);

impl policy::Policy for Late {
    fn picker(&self, _: &[policy::Candidate]) -> Box<dyn policy::Picker> {
        Box::new(Self(self.0.clone()))
    }
}

impl policy::Picker for Late {
    fn pick(&self, _: &Call, usable: &dyn Fn(usize) -> bool) -> Option<usize> {
        let early = self.0.fetch_add(1, Ordering::SeqCst) < 7;
        (!early && usable(0)).then_some(0)
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_became_usable_beside_a_pick_is_not_waited_for() {
    let net = Net::default();
    let _server = net.serve("a:1");
    let asked = Arc::new(AtomicUsize::new(usize::MAX / 2));
    let late = Late(asked.clone());
    let world = World::new(net, &["a:1"], |settings| settings.policy = Arc::new(late));
    world.until("a:1", InstanceState::Ready).await;
    asked.store(0, Ordering::SeqCst);
    let picked = tokio::time::timeout(SECOND, world.pick()).await;
    picked.expect("nothing will change").unwrap();
}

#[tokio::test]
async fn when_the_balancer_is_dropped_everything_ends() {
    let net = Net::default();
    let server = net.serve("a:1");
    let world = World::new(net, &["a:1"], |_| {});
    let picked = world.pick().await.unwrap();
    drop(world);
    let connection = picked.connection.clone();
    assert!(connection.send(request("/ok")).await.is_ok(), "still held");
    drop((picked, connection));
    until(|| server.ended() == 1).await;
}

/// Panics the first times.
#[derive(Debug)]
struct Defective {
    net: Net,
    panics: AtomicUsize,
}

impl connection::Connector for Defective {
    fn connect<'a>(&'a self, authority: &'a str) -> connection::Connecting<'a> {
        let left = self.panics.load(Ordering::SeqCst);
        self.panics.store(left.saturating_sub(1), Ordering::SeqCst);
        assert_eq!(left, 0, "a defect");
        self.net.connect(authority)
    }
}

#[tokio::test(start_paused = true)]
async fn a_keeper_that_panics_is_shown_and_begun_again() {
    let net = Net::default();
    net.serve("a:1");
    let connector = Arc::new(Defective {
        net: net.clone(),
        panics: AtomicUsize::new(2),
    });
    let world = World::new(net, &["a:1"], |s| s.connector = connector);
    let refusal = world.refusal().await;
    assert!(refusal.message().contains("panicked"), "{refusal}");
    let ready = Wait {
        for_ready: true,
        ..FAST
    };
    world.balancer.pick(&call(), &[], ready).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_empty_list_is_doubted_for_a_while_when_connected_instances_serve() {
    let net = Net::default();
    net.serve("a:1");
    let world = World::new(net, &["a:1"], |_| {});
    world.until("a:1", InstanceState::Ready).await;
    assert!(!world.balancer.is_doubted());
    world.updates.instances(Vec::new());
    until(|| world.balancer.is_doubted()).await;
    let nine = tokio::time::sleep(9 * SECOND);
    world.call().await.unwrap();
    nine.await;
    world.call().await.unwrap();
    // Said again, it is not doubted anew; and a list that names somebody ends the doubt.
    world.updates.instances(endpoints(&["a:1"]));
    until(|| !world.balancer.is_doubted()).await;
    world.updates.instances(Vec::new());
    until(|| world.balancer.is_doubted()).await;
    tokio::time::sleep(11 * SECOND).await;
    assert!(!world.balancer.is_doubted());
    let refusal = world.refusal().await;
    assert!(
        refusal.message().contains("none is registered"),
        "{refusal}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_empty_list_is_believed_when_those_who_were_on_it_hang_up() {
    let net = Net::default();
    let server = net.serve("a:1");
    let world = World::new(net, &["a:1"], |_| {});
    world.until("a:1", InstanceState::Ready).await;
    world.updates.instances(Vec::new());
    until(|| world.balancer.is_doubted()).await;
    server.command(Command::Drain);
    until(|| world.balancer.stats().is_empty()).await;
    assert_eq!(world.refusal().await.code(), Code::Unavailable);
}
