//! The service registry: instances register, the registry polls their health, and clients list
//! and watch those that are healthy.
//!
//! ```text
//!   api (gRPC) ──► registry ──► catalogue        decides: pure, time passed in
//!       ▲             │  ▲
//!       │             │  └────── check           polls, reports
//!       └── board ◄───┘                          one slot per service, latest wins
//! ```
//!
//! Nothing is stored: instances hold a heartbeat stream and register again when a registry that
//! restarted does not know them.

mod api;
mod board;
mod catalogue;
mod check;
mod clock;
mod config;
mod registry;

use std::process::ExitCode;

use mizan::{Server, server::ServeError};
use mizan_contracts::registry::v1::registry_service_server::RegistryServiceServer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use crate::config::{Args, Config};
use crate::{api::grpc::Api, check::Networks, registry::Registry};

/// The port registries listen on.
pub const DEFAULT_PORT: u16 = 8500;

/// Serves a registry until `shutdown` resolves. Then watches and heartbeat streams end at once, so
/// that they do not hold up the drain; their clients turn elsewhere.
///
/// # Errors
/// When the server cannot start; see [`ServeError`].
pub async fn serve(
    listener: TcpListener,
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let stop = CancellationToken::new();
    let registry = Registry::new(
        &config.node,
        Networks::new(&config.probe_allow),
        stop.clone(),
    );
    let served = Server::builder("registry")
        .args(&config.server())
        .unregistered()
        .add_service(RegistryServiceServer::new(Api::new(registry.clone())))
        .serve(listener, async move {
            shutdown.await;
            stop.cancel();
        })
        .await;
    registry.close().await;
    served
}

/// Runs the registry's process to its end.
#[must_use]
pub fn run(args: Args) -> ExitCode {
    let Args {
        listen,
        config,
        process,
    } = args;
    mizan::process::run("registry", listen, &process, |listener, shutdown| {
        serve(listener, config, shutdown)
    })
}
