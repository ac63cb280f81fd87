//! A service config with hedging: one slow instance hides behind the others.
//!
//! `cargo run -p mizan --example hedging`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{error::Error, future::pending, time::Instant};

use mizan::{Channel, Server};
use tokio::net::TcpListener;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

/// If there is no answer after 20 ms, ask another instance too; whoever answers first wins. Only
/// for calls that may run twice.
const CONFIG: &str = r#"{
    "methodConfig": [{
        "name": [{"service": "grpc.health.v1.Health"}],
        "timeout": "2s",
        "hedgingPolicy": {"maxAttempts": 3, "hedgingDelay": "0.02s"}
    }]
}"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut instances = Vec::new();
    for _ in 0..2 {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        instances.push(listener.local_addr()?.to_string());
        let server = Server::builder("greeter").unregistered();
        tokio::spawn(server.serve(listener, pending()));
    }
    // The slow one: it speaks HTTP/2 and never answers a call.
    let silent = TcpListener::bind("127.0.0.1:0").await?;
    instances.push(silent.local_addr()?.to_string());
    tokio::spawn(async move {
        while let Ok((socket, _)) = silent.accept().await {
            tokio::spawn(async move {
                let mut held = Vec::new();
                let mut server = h2::server::handshake(socket).await.ok()?;
                while let Some(Ok(request)) = server.accept().await {
                    held.push(request);
                }
                Some(())
            });
        }
    });

    let channel = Channel::builder("greeter")
        .fixed(instances)
        .service_config(CONFIG)?
        .connect()?;
    let mut client = HealthClient::new(channel.clone());
    for _ in 0..9 {
        let begun = Instant::now();
        client.check(HealthCheckRequest::default()).await?;
        println!("answered after {:?}", begun.elapsed());
    }
    println!("{} of 9 calls were hedged", channel.stats().hedges);
    Ok(())
}
