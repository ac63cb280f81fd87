//! The invoice service (`mizan.invoice.v1.InvoiceService`).
//!
//! Invoices and credit notes: drafted, finalized under a gap-free number, paid in one or several
//! parts, credited, given up or voided; each change exactly once, however often it is asked for.
//!
//! A request passes `grpc/` (calls and statuses), `request/` (the contract's rules), [`store`]
//! (one transaction for a group of requests), [`domain`] (the state machine, pure) and `answer.rs`.

mod answer;
mod config;
pub mod domain;
mod export;
mod grpc;
mod request;
pub mod store;

use std::{future::Future, process::ExitCode};

use ::store::Location;

pub use config::{Args, Config};

/// The name in the registry.
pub const NAME: &str = "invoice";

/// Where the service listens when nobody says.
pub const DEFAULT_PORT: u16 = 50061;

/// The service's file in its data folder.
pub const FILE: &str = "invoice.db";

/// The service's schema on a server.
const SCHEMA: &str = "invoice";

/// Why the service could not start or ended early.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Its store cannot be opened.
    #[error(transparent)]
    Store(#[from] ::store::OpenError),
    /// The server cannot run.
    #[error(transparent)]
    Server(#[from] mizan::server::ServeError),
}

/// Serves until `shutdown`, then drains.
///
/// # Errors
/// When the store cannot be opened, or as [`mizan::Server`] says.
pub async fn serve(
    listener: impl Into<mizan::server::Listener>,
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let url = config.database_url.as_deref();
    let location = Location::new(url, SCHEMA, &config.data.join(FILE));
    let invoices = store::Invoices::open(&location).await?;
    let served = mizan::Server::builder(NAME)
        .args(&config.server)
        .add_service(grpc::service(invoices.clone()))
        .serve(listener, shutdown)
        .await;
    invoices.close().await;
    Ok(served?)
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
