//! The service registry: instances register, the registry checks their health, and clients list
//! and watch those that are healthy.
//!
//! ```text
//!   api (gRPC) ──► registry ──► catalogue        decides: pure, time passed in
//!       ▲             │  ▲
//!       │             │  └────── check           runs, reports
//!       │             ├────────► keep            what survives a restart
//!       └── board ◄───┘                          one slot per service, latest wins
//! ```
//!
//! What was registered is durable before it is acknowledged (`keep`), unless there is no folder to
//! keep it in: then instances, which hold a heartbeat stream, register again with a registry that
//! restarted and does not know them.

mod api;
mod board;
mod catalogue;
mod check;
mod clock;
mod config;
mod keep;
mod metrics;
mod registry;

use std::process::ExitCode;

use mizan::{
    Server,
    server::{Limits, ServeError},
};
use tokio_util::sync::CancellationToken;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub use crate::api::consul::fuzz;
use crate::{
    api::{consul, encoded, grpc::Api},
    check::Networks,
    metrics::Metrics,
    registry::Registry,
};
pub use crate::{
    config::{Args, Config},
    keep::{FILE, KeepError},
};

/// The port registries listen on.
pub const DEFAULT_PORT: u16 = 8500;

/// The most connections at once: each watch and each heartbeat stream may come on its own.
const CONNECTIONS_MAX: usize = api::WATCHES_MAX + api::HEARTBEATS_MAX;

/// Why the registry could not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What was kept cannot be used.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// The server could not start.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// Serves a registry until `shutdown` resolves. Then watches and heartbeat streams end at once, so
/// that they do not hold up the drain; their clients turn elsewhere.
///
/// # Errors
/// When the server cannot start; see [`Error`].
pub async fn serve(
    listener: impl Into<mizan::server::Listener>,
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    clock::begin();
    let listener = listener.into();
    let stop = CancellationToken::new();
    let metrics = Metrics::default();
    let networks = Networks::new(&config.probe_allow).over(config.connector.clone());
    let kept = if config.data.as_os_str().is_empty() {
        tracing::info!("nothing is kept over a restart: no folder to keep it in");
        None
    } else {
        let kept = keep::open(&config.data, clock::now(), metrics.clone()).await?;
        tracing::info!(records = kept.stored.len(), "begins from what was kept");
        Some(kept)
    };
    let registry = Registry::new(&config.node, networks, kept, metrics, stop.clone());
    // A page of its own: tests run several registries in one process.
    let page = mizan::telemetry::metrics::Registry::new();
    page.with(|page| registry.metrics().show(page, registry.clone()));
    let address = listener.local_addr().map_err(ServeError::from)?;
    let host = config.host(address.ip());
    if let Err(error) = registry.begin_local_node(host).await {
        tracing::warn!(%error, "the registry's own node is not durable");
    }
    let served = Server::builder("registry")
        .args(&config.server())
        .limits(Limits {
            connections_max: CONNECTIONS_MAX,
            ..Limits::default()
        })
        .unregistered()
        .metrics(page)
        .add_service(encoded::Server::new(Api::new(registry.clone())))
        .routes(consul::router(registry.clone(), address))
        .serve(listener, async move {
            shutdown.await;
            stop.cancel();
        })
        .await;
    registry.close().await;
    Ok(served?)
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
