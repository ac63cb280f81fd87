//! Instances that are none: what listens there accepts, and does not answer as a server does.

use std::time::Duration;

use mizan::{
    Channel, Connection, status,
    telemetry::metrics::{Format, Registry},
};
use mizan_contracts::registry::v1::registry_service_client::RegistryServiceClient;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::{
    ends::until,
    support::{Client, Running, Scripted, call, client},
};

/// Accepts, and says this.
async fn listener(says: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            // What the client says is read first, or closing would reset the connection.
            let mut preface = [0; 24];
            stream.read_exact(&mut preface).await.unwrap();
            stream.write_all(says).await.unwrap();
            kept.push(stream);
        }
    });
    authority
}

fn client_with_deadline(authority: String, deadline: Duration) -> Client {
    let channel = Channel::builder("scripted").fixed(vec![authority]);
    RegistryServiceClient::new(channel.deadline(deadline).connect().unwrap())
}

#[tokio::test]
async fn listeners_that_are_no_servers_never_get_a_call() {
    let service = Scripted::ok();
    let server = Running::start(&service).await;
    let client = client(vec![
        listener(b"").await,
        server.authority(),
        listener(b"HTTP/1.1 400 Bad Request\r\n\r\n").await,
    ]);
    for _ in 0..500 {
        call(&client).await.unwrap();
    }
    assert_eq!(service.calls(), 500, "and none was sent twice");
}

#[tokio::test]
async fn an_http_1_server_is_told_to_be_one() {
    let authority = listener(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let error = Connection::open(&authority, Duration::from_secs(20)).await;
    assert_eq!(
        error.unwrap_err().to_string(),
        format!("cannot connect to {authority}: it speaks HTTP/1, not HTTP/2")
    );
    let refusal = call(&client(vec![authority])).await.unwrap_err();
    assert_eq!(status::reason(&refusal).as_deref(), Some("NO_INSTANCES"));
    assert!(
        refusal.message().contains("it speaks HTTP/1"),
        "{}",
        refusal.message()
    );
}

#[tokio::test]
async fn a_call_that_waits_for_a_silent_listener_says_so() {
    let authority = listener(b"").await;
    let client = client_with_deadline(authority.clone(), Duration::from_millis(200));
    let late = call(&client).await.unwrap_err();
    assert_eq!(status::reason(&late).as_deref(), Some("DEADLINE_EXCEEDED"));
    let standing = format!("{authority} connecting");
    assert!(late.message().contains(&standing), "{}", late.message());
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_froze_costs_a_few_calls_and_not_its_share_of_all() {
    let frozen = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = frozen.local_addr().unwrap().to_string();
    let hold = tokio::spawn(async move {
        let (mut stream, _) = frozen.accept().await.unwrap();
        const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        stream.write_all(&SETTINGS).await.unwrap();
        std::future::pending::<()>().await;
    });
    let server = Running::start(&Scripted::ok()).await;
    let channel = Channel::builder("scripted")
        .fixed(vec![authority, server.authority()])
        .deadline(Duration::from_millis(10))
        .no_breaker()
        .connect()
        .unwrap();
    let client = RegistryServiceClient::new(channel.clone());
    until(|| channel.stats().ready() == 2).await;
    let mut failed = 0;
    for _ in 0..1_000 {
        failed += u32::from(call(&client).await.is_err());
    }
    assert!(
        (1..=30).contains(&failed),
        "{failed}: by then it is passed over"
    );
    hold.abort();
}

#[tokio::test(start_paused = true)]
async fn five_hundred_calls_that_run_out_of_time_at_once_do_not_cost_the_connection() {
    const SLOW: usize = 500;
    let service = Scripted::new(|before| async move {
        if before < SLOW {
            std::future::pending::<()>().await;
        }
        Ok(())
    });
    let server = Running::start(&service).await;
    let channel = Channel::builder("scripted")
        .fixed(vec![server.authority()])
        .deadline(Duration::from_secs(1))
        .no_breaker();
    let channel = channel.connect().unwrap();
    let client = RegistryServiceClient::new(channel.clone());
    let calls: Vec<_> = (0..SLOW)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { call(&client).await })
        })
        .collect();
    for late in calls {
        let late = late.await.unwrap().unwrap_err();
        assert_eq!(status::reason(&late).as_deref(), Some("DEADLINE_EXCEEDED"));
    }
    assert_eq!(service.calls(), SLOW);
    let before = channel.stats().instances[0].since;
    call(&client).await.unwrap();
    let instance = &channel.stats().instances[0];
    assert_eq!(instance.since, before, "never anything but ready");
}

#[tokio::test]
async fn a_connection_on_which_nothing_is_answered_stands_on_the_page() {
    let service = Scripted::silent();
    let server = Running::start(&service).await;
    let channel = Channel::builder("stalling").fixed(vec![server.authority()]);
    let client = RegistryServiceClient::new(channel.connect().unwrap());
    let shows = |stalled: u32| {
        let line =
            format!(r#"mizan_client_connections_stalled{{grpc_target="stalling"}} {stalled}"#);
        Registry::global()
            .render(Format::Prometheus)
            .contains(&line)
    };
    for given_up in 1..=20 {
        assert!(shows(0));
        tokio::select! {
            _ = call(&client) => panic!("nobody answers"),
            () = until(|| service.calls() == given_up) => {}
        }
    }
    assert!(shows(1));
}
