//! A channel over a fixed list of instances, one of which is dead: no call notices.
//!
//! `cargo run -p mizan --example fixed_list`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{collections::BTreeMap, error::Error, future::pending};

use mizan::{Channel, Server};
use tokio::net::TcpListener;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Three instances of a service that does nothing but answer health, and an address where
    // nobody listens. Yours are elsewhere: put their addresses here.
    let mut instances = vec!["127.0.0.1:1".to_owned()];
    for _ in 0..3 {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        instances.push(listener.local_addr()?.to_string());
        let server = Server::builder("greeter").unregistered();
        tokio::spawn(server.serve(listener, pending()));
    }

    let channel = Channel::builder("greeter").fixed(instances).connect()?;
    // Any client that tonic generated takes it.
    let mut client = HealthClient::new(channel.clone());
    for _ in 0..1_000 {
        client.check(HealthCheckRequest::default()).await?;
    }

    let calls: BTreeMap<_, _> = channel.stats().calls;
    println!("calls by status: {calls:?}");
    for instance in channel.stats().instances {
        println!("{} is {}", instance.authority, instance.state);
    }
    Ok(())
}
