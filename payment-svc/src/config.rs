//! The flags of the service, each with an environment variable.

use std::path::PathBuf;

use mizan::args::{Listen, ProcessArgs, ServerArgs, local};

use crate::DEFAULT_PORT;

/// What [`serve`](crate::serve) needs to know.
#[derive(clap::Args, Clone, Debug)]
pub struct Config {
    /// The folder for the service's file, `payment.db`; instances that share it share their
    /// payments, and each takes over what another leaves unfinished.
    #[arg(long, env = "MIZAN_DATA", default_value = ".mizan")]
    pub data: PathBuf,

    /// A PostgreSQL database to keep the payments in instead, in its schema `payment`:
    /// `postgres://USER:PASSWORD@HOST:PORT/DATABASE`. For instances on several machines.
    #[arg(long, env = "MIZAN_DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,

    /// The most transactions a second that this instance asks accounting to record.
    #[arg(long, env = "MIZAN_LEDGER_RATE", default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..))]
    pub ledger_rate: u32,

    /// How many of them may come at once.
    #[arg(long, env = "MIZAN_LEDGER_BURST", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    pub ledger_burst: u32,

    /// How many times in a row a step may fail before its payment is parked as NEEDS_ATTENTION.
    /// The pauses between grow to 5 s, so the default is about a quarter of an hour. Once the money
    /// has moved, and once it is certain that it will not, a payment is never parked for that.
    #[arg(long, env = "MIZAN_ATTEMPTS_MAX", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub attempts_max: u32,

    /// For how long a payment waits for a ledger that certainly got nothing of it (no instance, the
    /// breaker open, the limiter), in seconds; then it is undone.
    #[arg(long, env = "MIZAN_LEDGER_WAIT_SECONDS", default_value_t = 60)]
    pub ledger_wait_seconds: u32,

    /// The flags that every server takes.
    #[command(flatten)]
    pub server: ServerArgs,
}

impl Config {
    /// What tests and embedders start from: the defaults of the flags.
    #[must_use]
    pub fn new(data: PathBuf, server: ServerArgs) -> Self {
        Self {
            data,
            database_url: None,
            ledger_rate: 5000,
            ledger_burst: 500,
            attempts_max: 200,
            ledger_wait_seconds: 60,
            server,
        }
    }
}

/// What the process needs to know.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Where to listen: IP:PORT, or unix:PATH, a socket for the same user alone.
    #[arg(long, env = "MIZAN_LISTEN", default_value_t = local(DEFAULT_PORT).into())]
    pub listen: Listen,

    /// What the service takes.
    #[command(flatten)]
    pub config: Config,

    /// What every process takes.
    #[command(flatten)]
    pub process: ProcessArgs,
}
