//! Payments: each becomes a paid invoice and a balanced ledger transaction, exactly once.
//!
//! The payment is durable before anything is done for it. Then: the invoice is created and
//! finalized (through a circuit breaker), the transaction is recorded (through a rate limiter; from
//! here on the money has moved), the invoice is marked paid. When the ledger refuses, the invoice is
//! voided. Every step is a request with an id of its own, derived from the payment's, so it can be
//! repeated by any process at any time; what one leaves unfinished another takes over. What happens
//! when what fails, with the test of each, is in `docs/PAYMENTS.md`.
//!
//! `domain/` says where a payment stands and what is next, `saga/` does it, `store/` remembers.

mod answer;
mod config;
mod domain;
mod grpc;
mod request;
mod saga;
mod store;
mod waiting;
mod watching;

use std::{future::Future, process::ExitCode, sync::Arc, time::Duration};

use ::store::Location;
use mizan::{
    Channel, InvalidChannel, Server, breaker,
    limit::Rate,
    retry,
    server::{Listener, ServeError},
};
use mizan_contracts::{
    accounting::v1::accounting_service_client::AccountingServiceClient,
    invoice::v1::invoice_service_client::InvoiceServiceClient,
    payment::v1::payment_service_server::PaymentServiceServer,
};
use tokio_util::sync::CancellationToken;
use tonic::{codec::CompressionEncoding, server::NamedService};

pub use config::{Args, Config};

use crate::{domain::Policy, saga::Settings};

/// The port the service listens on when nobody says.
pub const DEFAULT_PORT: u16 = 50081;

/// The service's file in its data folder.
pub const FILE: &str = "payment.db";

/// The pause before a step is repeated, doubling.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A caller is answered after that, whatever its deadline: it may ask again.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Why the service could not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] ::store::OpenError),
    /// The store was opened and cannot be written.
    #[error("cannot write the payments' store")]
    Unwritable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A channel to another service cannot be made.
    #[error(transparent)]
    Channel(#[from] InvalidChannel),
    /// The server could not start.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// Serves until `shutdown`, then drains: calls are finished, payments that are not are left to
/// another instance or the next start.
///
/// # Errors
/// [`Error`], before anything is served.
pub async fn serve<F>(
    listener: impl Into<Listener>,
    config: Config,
    shutdown: F,
) -> Result<(), Error>
where
    F: Future<Output = ()> + Send + 'static,
{
    let location = Location::new(
        config.database_url.as_deref(),
        "payment",
        &config.data.join(FILE),
    );
    let store = store::Store::open(&location).await?;
    let outside: Arc<dyn saga::Outside> = Arc::new(peers(&config, store.clone())?);
    let settings = settings(&config);
    saga::join(&outside, &settings.worker)
        .await
        .map_err(|e| Error::Unwritable(e.into()))?;
    let coordinator = saga::Coordinator::new(outside, settings);
    let stop = CancellationToken::new();
    // Should this future be dropped, what it began ends with it.
    let _cut = (stop.clone().drop_guard(), coordinator.cut_on_drop());
    let recovery = tokio::spawn(saga::recover(
        store.clone(),
        coordinator.clone(),
        stop.clone(),
    ));
    let closing = CancellationToken::new();
    let payments = grpc::Payments {
        store: store.clone(),
        coordinator: coordinator.clone(),
        closing: closing.clone(),
    };
    let shutdown = async move {
        shutdown.await;
        closing.cancel();
    };
    let served = Server::builder("payment")
        .args(&config.server)
        .handler_timeout(
            <PaymentServiceServer<grpc::Payments> as NamedService>::NAME,
            Some(WAIT_MAX),
        )
        .add_service(
            PaymentServiceServer::new(payments)
                .accept_compressed(CompressionEncoding::Gzip)
                .accept_compressed(CompressionEncoding::Zstd),
        )
        .serve(listener, shutdown)
        .await;
    stop.cancel();
    // It never panics, and if it did there is nothing more to do.
    let _ = recovery.await;
    coordinator.stop().await;
    store.close().await;
    Ok(served?)
}

/// Runs the service as a process, to its end.
#[must_use]
pub fn run(args: Args) -> ExitCode {
    let Args {
        listen,
        config,
        process,
    } = args;
    mizan::process::run("payment", listen, &process, |listener, shutdown| {
        serve(listener, config, shutdown)
    })
}

fn settings(config: &Config) -> Settings {
    Settings {
        worker: uuid::Uuid::new_v4().to_string(),
        policy: Policy {
            attempts_max: config.attempts_max,
            ledger_wait_micros: i64::from(config.ledger_wait_seconds) * 1_000_000,
        },
        pause_min: PAUSE_MIN,
        pause_max: PAUSE_MAX,
    }
}

/// The store, and the channels to invoicing, with a breaker, and to accounting, with a limiter
/// besides.
fn peers(config: &Config, store: store::Store) -> Result<saga::Peers, InvalidChannel> {
    let channel = |service: &str| {
        Channel::builder(service)
            .registry(config.server.registry.clone())
            .connector(config.server.connector.clone())
            .contracts(mizan_contracts::FILE_DESCRIPTOR_SET)
            .breaker(breaker::Config::gobreaker())
            .retry(retry::Policy::never())
    };
    let mut ledger = channel("accounting");
    if let Some(rate) = Rate::new(config.ledger_rate, config.ledger_burst) {
        ledger = ledger.limit(rate);
    }
    Ok(saga::Peers {
        store,
        invoices: InvoiceServiceClient::new(channel("invoice").connect()?),
        undoing: InvoiceServiceClient::new(channel("invoice").connect()?),
        ledger: AccountingServiceClient::new(ledger.connect()?),
        accounts: Arc::default(),
    })
}
