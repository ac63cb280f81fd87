//! Discovery of one's own: a file with an address a line, read again every second.
//!
//! `cargo run -p mizan --example custom_discovery`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{error::Error, fs, future::pending, path::PathBuf, time::Duration};

use mizan::{
    Channel, Server,
    discover::{Discover, Discovering, Endpoint, Updates},
};
use tokio::{net::TcpListener, time::sleep};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

struct AddressFile(PathBuf);

impl Discover for AddressFile {
    fn discover(self: Box<Self>, _service: String, updates: Updates) -> Discovering {
        Box::pin(async move {
            loop {
                match fs::read_to_string(&self.0) {
                    // What is no HOST:PORT is left out.
                    Ok(text) => updates
                        .instances(text.lines().filter_map(|l| Endpoint::new(l).ok()).collect()),
                    // What was known stays.
                    Err(error) => updates.unreachable(error.to_string()),
                }
                sleep(Duration::from_secs(1)).await;
            }
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let file = std::env::temp_dir().join("greeter-instances.txt");
    fs::write(&file, listener.local_addr()?.to_string())?;
    tokio::spawn(
        Server::builder("greeter")
            .unregistered()
            .serve(listener, pending()),
    );

    let channel = Channel::builder("greeter")
        .discover(AddressFile(file))
        .connect()?;
    let answer = HealthClient::new(channel)
        .check(HealthCheckRequest::default())
        .await?;
    println!(
        "the instance in the file is {:?}",
        answer.into_inner().status()
    );
    Ok(())
}
