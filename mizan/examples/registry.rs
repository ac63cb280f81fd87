//! Discovery by the registry: instances come and go, the channel follows.
//!
//! Start the system first (`just up`), then: `cargo run -p mizan --example registry`.
//! With other registries or another service: `-- 127.0.0.1:8500,127.0.0.1:8501 invoice`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{env, error::Error, time::Duration};

use mizan::{Channel, retry::Policy};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let registries = arguments.next().unwrap_or_else(|| "127.0.0.1:8500".into());
    let service = arguments.next().unwrap_or_else(|| "zakat".into());

    let channel = Channel::builder(&service)
        .registry(registries.split(',').map(str::to_owned).collect())
        // If every registry is gone when this program starts next, it goes on from here.
        .cache(env::temp_dir().join(format!("{service}-instances.json")))
        .deadline(Duration::from_secs(2))
        .retry(Policy::default())
        .connect()?;

    let mut client = HealthClient::new(channel.clone());
    for _ in 0..10 {
        let answer = client.check(HealthCheckRequest::default()).await?;
        println!("{:?}", answer.into_inner().status());
    }
    let stats = channel.stats();
    for instance in &stats.instances {
        println!(
            "{} in zone {:?} is {}",
            instance.authority, instance.zone, instance.state
        );
    }
    println!("heard of them {:?} ago", stats.discovery_age);
    Ok(())
}
