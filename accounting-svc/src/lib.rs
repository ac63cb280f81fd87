//! The accounting service: double entry over gRPC.
//!
//! Accounts, and an append-only journal of transactions whose debits equal their credits in every
//! currency. A request goes through [`grpc`] (limits, messages), [`domain`] (the rules, pure) and
//! [`store`] (a SQLite file or PostgreSQL, which enforce the balance a second time).
//!
//! It depends on no other service and knows neither invoices nor payments.

pub mod config;
pub mod domain;
pub mod grpc;
pub mod store;

use std::{future::Future, process::ExitCode};

use mizan::server::ServeError;
use mizan_contracts::accounting::v1::accounting_service_server::AccountingServiceServer;

pub use crate::config::{Args, Config, DEFAULT_PORT};
use crate::{grpc::Api, store::Ledger};

/// The name that instances register under.
pub const NAME: &str = "accounting";

/// Why the service could not start or ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The ledger's store cannot be opened.
    #[error("no ledger")]
    Store(#[from] ::store::OpenError),
    /// The server could not start.
    #[error("cannot serve")]
    Serve(#[from] ServeError),
}

/// Serves on `listener` until `shutdown` resolves, then drains.
///
/// # Errors
/// [`Error`], when the store or the listener cannot be used.
pub async fn serve(
    listener: impl Into<mizan::server::Listener>,
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    let ledger = Ledger::open(&config.location()).await?;
    let served = mizan::Server::builder(NAME)
        .args(&config.server)
        .add_service(
            AccountingServiceServer::new(Api::new(ledger.clone()))
                .accept_compressed(tonic::codec::CompressionEncoding::Gzip)
                .accept_compressed(tonic::codec::CompressionEncoding::Zstd),
        )
        .serve(listener, shutdown)
        .await;
    ledger.close().await;
    Ok(served?)
}

/// Runs the service as this process: what `main` and `mizan accounting` do.
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
