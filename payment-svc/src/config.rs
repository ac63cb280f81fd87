//! The flags of the service, each with an environment variable.

use std::{net::SocketAddr, path::PathBuf};

use mizan::args::{ProcessArgs, ServerArgs, local};

use crate::DEFAULT_PORT;

/// What [`serve`](crate::serve) needs to know.
#[derive(clap::Args, Clone, Debug)]
pub struct Config {
    /// The folder for the service's file, `payment.db`; instances that share it share their
    /// payments, and each takes over what another leaves unfinished.
    #[arg(long, env = "MIZAN_DATA", default_value = ".mizan")]
    pub data: PathBuf,

    /// The most transactions a second that this instance asks accounting to record.
    #[arg(long, env = "MIZAN_LEDGER_RATE", default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..))]
    pub ledger_rate: u32,

    /// How many of them may come at once.
    #[arg(long, env = "MIZAN_LEDGER_BURST", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    pub ledger_burst: u32,

    /// The flags that every server takes.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// What the process needs to know.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The address to listen on.
    #[arg(long, env = "MIZAN_LISTEN", default_value_t = local(DEFAULT_PORT))]
    pub listen: SocketAddr,

    /// What the service takes.
    #[command(flatten)]
    pub config: Config,

    /// What every process takes.
    #[command(flatten)]
    pub process: ProcessArgs,
}
