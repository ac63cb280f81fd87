//! The flags of the service, each with an environment variable.

use std::path::PathBuf;

use mizan::args::{Listen, ProcessArgs, ServerArgs, local};

use crate::DEFAULT_PORT;

/// What [`serve`](crate::serve) needs to know.
#[derive(clap::Args, Clone, Debug)]
pub struct Config {
    /// The folder for the service's file, `invoice.db`; instances that share it share their invoices.
    #[arg(long, env = "MIZAN_DATA", default_value = ".mizan")]
    pub data: PathBuf,

    /// A PostgreSQL server to keep the invoices on instead, for instances on several machines:
    /// `postgres://user:password@host/database`.
    #[arg(long, env = "MIZAN_DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,

    /// The flags that every server takes.
    #[command(flatten)]
    pub server: ServerArgs,
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
