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
use rustix::process::{Resource, getrlimit};
use tokio_util::sync::CancellationToken;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub use crate::api::consul::fuzz;
use crate::{
    api::{consul, encoded, grpc::Api},
    check::{KEPT_SHARE, Networks},
    metrics::Metrics,
    registry::Registry,
};
pub use crate::{
    check::NoRoots,
    config::{Args, Config},
    keep::{FILE, KeepError},
};

/// The port registries listen on.
pub const DEFAULT_PORT: u16 = 8500;

/// The most connections at once: each watch and each heartbeat stream may come on its own.
const CONNECTIONS_MAX: usize = api::WATCHES_MAX + api::HEARTBEATS_MAX;

/// Files of the process that are neither connections nor checks: the store's, the logs, the listener,
/// what asks about names.
const OTHER_FILES: usize = 48;

/// Why the registry could not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What was kept cannot be used.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// Nobody could be verified by the certificates that the environment names.
    #[error(transparent)]
    Roots(#[from] NoRoots),
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
    let networks = Networks::new(&config.probe_allow)
        .and(&config.allow_check_address)
        .over(config.connector.clone());
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
    if let Err(error) = registry.begin_local_node(host, &config).await {
        tracing::warn!(%error, "the registry's own node is not durable");
    }
    let served = Server::builder("registry")
        .args(&config.server())
        .limits(Limits {
            connections_max: connections_max(getrlimit(Resource::Nofile).current),
            ..Limits::default()
        })
        .unregistered()
        .metrics(page)
        .trouble(registry.trouble())
        .add_service(encoded::Server::new(Api::new(registry.clone())))
        .routes(consul::router(
            registry.clone(),
            address,
            config.consul_service,
        ))
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
    mizan::process::run("registry", listen, &process, async |listener, shutdown| {
        // Not for those who serve a registry within: whether their environment's roots are for it, they
        // know, and reading them takes time that a simulation cannot foresee.
        check::begin_tls().await?;
        serve(listener, config, shutdown).await
    })
}

/// The most connections that leave the checks their files, and the store and the logs theirs.
fn connections_max(files: Option<u64>) -> usize {
    let all = files.map_or(usize::MAX, |files| {
        usize::try_from(files).unwrap_or(usize::MAX)
    });
    let kept = files.map_or(0, |files| {
        usize::try_from(files / KEPT_SHARE).unwrap_or(usize::MAX)
    });
    let kept = kept.min(catalogue::limits::INSTANCES_MAX);
    let others = check::files_of_checks(files) + kept + OTHER_FILES;
    all.saturating_sub(others).clamp(1, CONNECTIONS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_the_checks_their_files() {
        for files in [160, 1024, 4096, 65_536, 1_048_576] {
            let kept = usize::try_from(files / KEPT_SHARE).unwrap();
            let most = connections_max(Some(files))
                + check::files_of_checks(Some(files))
                + kept.min(catalogue::limits::INSTANCES_MAX)
                + OTHER_FILES;
            assert!(most <= usize::try_from(files).unwrap(), "{files}");
        }
        assert_eq!(connections_max(Some(1_048_576)), CONNECTIONS_MAX);
        assert_eq!(connections_max(None), CONNECTIONS_MAX);
        assert_eq!(connections_max(Some(10)), 1);
    }
}
