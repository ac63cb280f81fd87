//! Polling: what the registry finds out by asking.

use std::{
    future::ready,
    io,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};

use mizan::connection::{Connecting, Connector, Tcp};
use mizan_contracts::registry::v1::{
    CheckTls, GrpcCheck, HealthCheck, HttpCheck, Instance, InstanceStatus, NoCheck, TcpCheck,
    WatchInstancesResponse, health_check::Kind,
};
use tokio::{io::AsyncWriteExt as _, net::TcpListener, sync::watch};
use tonic_health::ServingStatus;

use crate::{
    support::{Registry, Watch, checked, instance, list, listen, register, soon},
    target::Checked,
};

const OFTEN: Duration = Duration::from_millis(100);

/// Long enough for a slow machine to connect to itself.
const LONG: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_healthy_instance_passes_at_once_and_is_listed() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let target = Checked::start().await;
    let mut watch = Watch::open(&mut client, &["invoice"], true).await;
    let before = watch.next().await.unwrap();
    assert!(before.instances.is_empty() && before.revision > 0);

    let held = register(&mut client, instance("a", target.port)).await;
    assert_eq!(held.status(), InstanceStatus::Critical);
    assert_eq!(held.status_reason, "not checked yet");
    // The default interval is 10 s; the first check does not wait for it.
    let after = watch.until_passing().await;
    assert!(after.revision > before.revision);
    let one = &after.instances[0];
    assert_eq!((one.status_reason.as_str(), one.weight), ("", 1));
    assert_eq!(one.register_time, held.register_time);
    assert_eq!(list(&mut client, false).await.instances, after.instances);
    registry.stop().await;
}

#[tokio::test]
async fn an_instance_that_dies_turns_critical_and_one_that_returns_passes() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let target = Checked::start().await;
    let port = target.port;
    let mut watch = Watch::open(&mut client, &["invoice"], true).await;
    register(&mut client, checked("a", port, None, OFTEN)).await;
    watch.until_passing().await;

    target.die().await;
    watch.until_critical("connection refused").await;
    assert!(list(&mut client, false).await.instances.is_empty());

    let _again = Checked::restart(port).await;
    watch.until_passing().await;
}

#[tokio::test]
async fn checks_share_one_connection() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let target = Checked::start().await;
    let mut watch = Watch::open(&mut client, &["invoice"], true).await;
    // A check may take as long as there is between two; one that took longer would connect anew.
    let seldom = Duration::from_secs(2);
    register(&mut client, checked("a", target.port, None, seldom)).await;
    watch.until_passing().await;
    for (status, passing) in [
        (ServingStatus::NotServing, false),
        (ServingStatus::Serving, true),
        (ServingStatus::Unknown, false),
    ] {
        target.health.set_service_status("", status).await;
        if passing {
            watch.until_passing().await;
        } else {
            let word = if status == ServingStatus::Unknown {
                "UNKNOWN"
            } else {
                "NOT_SERVING"
            };
            watch.until_critical(word).await;
        }
    }
    assert_eq!(*target.accepted.borrow(), 1);
}

#[tokio::test]
async fn the_service_asked_about_is_the_check_s() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let target = Checked::start().await;
    target
        .health
        .set_service_status("known", ServingStatus::Serving)
        .await;
    let ask = |service: &str| {
        let service = service.to_owned();
        checked(
            "a",
            target.port,
            Some(Kind::Grpc(GrpcCheck {
                service,
                ..GrpcCheck::default()
            })),
            OFTEN,
        )
    };
    let mut watch = Watch::open(&mut client, &["invoice"], true).await;
    register(&mut client, ask("known")).await;
    watch.until_passing().await;
    register(&mut client, ask("unknown")).await;
    let failed = watch
        .until(|m| {
            m.instances[0]
                .status_reason
                .starts_with("health check answered NotFound")
        })
        .await;
    assert_eq!(failed.instances[0].status(), InstanceStatus::Critical);
}

#[tokio::test]
async fn an_instance_that_hangs_times_out() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    // The system accepts for it; nobody answers.
    let hung = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut instance = instance("a", hung.local_addr().unwrap().port());
    instance.check = Some(HealthCheck {
        timeout: Some(LONG.try_into().unwrap()),
        ..HealthCheck::default()
    });
    let mut watch = Watch::open(&mut client, &["invoice"], true).await;
    register(&mut client, instance).await;
    watch
        .until_critical("timed out after 1s waiting for the headers of its answer")
        .await;
}

#[tokio::test]
async fn what_takes_too_long_is_told() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let halting = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (at_headers, at_body) = (silent.local_addr().unwrap(), halting.local_addr().unwrap());
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = halting.accept().await {
            let part = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nha";
            stream.write_all(part).await.unwrap();
            open.push(stream);
        }
    });
    let http = |at: std::net::SocketAddr| {
        let url = format!("http://{at}/");
        Kind::Http(HttpCheck {
            url,
            ..HttpCheck::default()
        })
    };
    let tcp = Kind::Tcp(TcpCheck {
        tls: Some(CheckTls::default()),
        ..TcpCheck::default()
    });
    let mut watch = Watch::open(&mut client, &["invoice"], true).await;
    for (id, kind, waited) in [
        (
            "a",
            http(at_headers),
            "waiting for the headers of its answer",
        ),
        ("b", http(at_body), "reading the body of its answer"),
        ("c", tcp, "agreeing on TLS"),
    ] {
        let mut instance = checked(id, at_headers.port(), Some(kind), LONG);
        instance.check.as_mut().unwrap().timeout = LONG.try_into().ok();
        register(&mut client, instance).await;
        let reason = format!("timed out after 1s {waited}");
        let told = |m: &WatchInstancesResponse| {
            let mut one = m.instances.iter().filter(|one| one.instance_id == id);
            one.any(|one| one.status_reason == reason)
        };
        watch.until(told).await;
    }
}

/// Connects as TCP does, or fails as the system would.
#[derive(Debug, Default)]
struct Lacking {
    /// The system's number of the error; 0 for none.
    error: AtomicI32,
    tried: watch::Sender<u64>,
}

impl Connector for Lacking {
    fn connect<'a>(&'a self, authority: &'a str) -> Connecting<'a> {
        self.tried.send_modify(|tried| *tried += 1);
        match self.error.load(Ordering::SeqCst) {
            0 => Tcp.connect(authority),
            error => Box::pin(ready(Err(io::Error::from_raw_os_error(error)))),
        }
    }
}

#[tokio::test]
async fn what_the_registry_itself_lacks_is_no_evidence() {
    let lacking = Arc::new(Lacking::default());
    let config = registry::Config {
        connector: Arc::clone(&lacking) as Arc<dyn Connector>,
        ..registry::Config::default()
    };
    let registry = Registry::with(listen().await, config);
    let mut client = registry.client().await;
    let target = Checked::start().await;
    let url = format!("http://127.0.0.1:{}/health", target.port);
    let http = Kind::Http(HttpCheck {
        url,
        ..HttpCheck::default()
    });
    // The connection of a gRPC check is kept, so that nothing is to be connected.
    for (id, kind) in [("http", http), ("tcp", Kind::Tcp(TcpCheck::default()))] {
        register(&mut client, checked(id, target.port, Some(kind), OFTEN)).await;
    }
    let mut watch = Watch::open(&mut client, &["invoice"], true).await;
    let all = |status: InstanceStatus| {
        move |m: &WatchInstancesResponse| {
            m.instances.len() == 2 && m.instances.iter().all(|one| one.status() == status)
        }
    };
    let before = watch.until(all(InstanceStatus::Passing)).await;
    // Files of the process, of the system; memory; buffers; ports.
    for error in [24, 23, 12, 105, 99] {
        lacking.error.store(error, Ordering::SeqCst);
        let mut tried = lacking.tried.subscribe();
        let enough = *tried.borrow() + 6;
        soon(tried.wait_for(|tried| *tried >= enough))
            .await
            .unwrap();
    }
    // A new one has no result either, good or bad.
    let tcp = Kind::Tcp(TcpCheck::default());
    register(&mut client, checked("new", target.port, Some(tcp), OFTEN)).await;
    let mut tried = lacking.tried.subscribe();
    let enough = *tried.borrow() + 6;
    soon(tried.wait_for(|tried| *tried >= enough))
        .await
        .unwrap();
    let held = list(&mut client, true).await;
    assert_eq!(held.revision, before.revision + 1);
    let said = |id: &str| {
        let mut found = held.instances.iter().filter(|one| one.instance_id == id);
        found.next().unwrap().clone()
    };
    assert_eq!(said("http").status(), InstanceStatus::Passing);
    assert_eq!(said("tcp").status(), InstanceStatus::Passing);
    assert_eq!(said("new").status_reason, "not checked yet");
    // What the other does is evidence.
    lacking.error.store(111, Ordering::SeqCst);
    let critical = |m: &WatchInstancesResponse| {
        let refused = |one: &Instance| one.status_reason == "connection refused";
        m.instances.iter().all(refused)
    };
    watch.until(critical).await;
    lacking.error.store(0, Ordering::SeqCst);
    watch
        .until(|m| {
            let passing = |one: &Instance| one.status() == InstanceStatus::Passing;
            m.instances.len() == 3 && m.instances.iter().all(passing)
        })
        .await;
}

#[tokio::test]
async fn a_port_that_opens_satisfies_a_tcp_check() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut watch = Watch::open(&mut client, &["invoice"], true).await;
    register(
        &mut client,
        checked("a", port, Some(Kind::Tcp(TcpCheck::default())), OFTEN),
    )
    .await;
    watch.until_passing().await;
    drop(listener);
    watch.until_critical("connection refused").await;
}

#[tokio::test]
async fn registering_again_hurries_the_check_of_a_critical_instance() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let target = Checked::start().await;
    let port = target.port;
    target.die().await;
    let hourly = checked("a", port, None, Duration::from_secs(3600));
    let mut watch = Watch::open(&mut client, &["invoice"], true).await;
    register(&mut client, hourly.clone()).await;
    watch.until_critical("connection refused").await;
    let _again = Checked::restart(port).await;
    register(&mut client, hourly).await;
    watch.until_passing().await;
}

#[tokio::test]
async fn without_a_check_an_instance_passes_by_registering() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let unpolled = checked("a", 1, Some(Kind::None(NoCheck {})), OFTEN);
    let held = register(&mut client, unpolled).await;
    assert_eq!(held.status(), InstanceStatus::Passing);
}
