//! The zakat service (`mizan.zakat.v1.ZakatService`).
//!
//! It applies the rules that the caller names, to exact amounts, and says which they were and where
//! they come from. It keeps nothing, so any number of instances may run. Not a fatwa.
//!
//! [`domain`] holds the rules and is pure; `grpc` alone knows the wire; [`Assessor`] is the
//! calculator without a server. The rules themselves are data, in `policies/`.

mod assessor;
mod config;
pub mod domain;
mod grpc;

use std::{future::Future, process::ExitCode};

pub use assessor::{Assessor, LoadError};
pub use config::{Args, Config};
pub use mizan::server::ServeError;

/// The name in the registry.
pub const NAME: &str = "zakat";

/// Where the service listens when nobody says.
pub const DEFAULT_PORT: u16 = 50051;

/// Serves until `shutdown`, then drains.
///
/// # Errors
/// [`Error::Load`] when the policies cannot be loaded; else as [`mizan::Server`] says.
pub async fn serve(
    listener: impl Into<mizan::server::Listener>,
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    let assessor = match &config.policies {
        Some(folder) => Assessor::with_folder(folder)?,
        None => Assessor::new()?,
    };
    mizan::Server::builder(NAME)
        .args(&config.server)
        .add_service(grpc::service(assessor))
        .serve(listener, shutdown)
        .await?;
    Ok(())
}

/// Why the service could not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The policies cannot be loaded.
    #[error("cannot load the policies")]
    Load(#[from] LoadError),
    /// The server cannot serve.
    #[error(transparent)]
    Serve(#[from] ServeError),
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
