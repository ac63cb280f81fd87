//! The zakat service (`mizan.zakat.v1.ZakatService`).
//!
//! It applies the rule that the caller names, to exact amounts, and says which one it was. It keeps
//! nothing, so any number of instances may run. Not a fatwa.
//!
//! [`domain`] holds the rule and is pure; `grpc.rs` alone knows the wire.

mod config;
pub mod domain;
mod grpc;

use std::{future::Future, process::ExitCode};

use tokio::net::TcpListener;

pub use config::{Args, Config};
pub use mizan::server::ServeError;

/// The name in the registry.
pub const NAME: &str = "zakat";

/// Where the service listens when nobody says.
pub const DEFAULT_PORT: u16 = 50051;

/// Serves until `shutdown`, then drains.
///
/// # Errors
/// As [`mizan::Server`] says.
pub async fn serve(
    listener: TcpListener,
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    mizan::Server::builder(NAME)
        .args(&config.server)
        .add_service(grpc::service())
        .serve(listener, shutdown)
        .await
}

/// Runs the service as a process, until it is told to stop.
#[must_use]
pub fn run(args: Args) -> ExitCode {
    let Args {
        listen,
        config,
        process,
    } = args;
    mizan::process::run(NAME, listen, &process, |listener, shutdown| {
        serve(listener, config, shutdown)
    })
}
