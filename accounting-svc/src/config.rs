//! Settings: flags, each with an environment variable.

use std::{net::SocketAddr, path::PathBuf};

use mizan::args::{ProcessArgs, ServerArgs};

/// Where the service listens when nobody says.
pub const DEFAULT_PORT: u16 = 50071;

/// What the service needs to serve.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    /// The directory that holds `accounting.db`; instances on one machine may share it.
    #[arg(long, env = "MIZAN_DATA", default_value = ".mizan")]
    pub data: PathBuf,

    /// How to register and drain.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// All flags of the process.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The address to listen on.
    #[arg(long, env = "MIZAN_LISTEN", default_value_t = mizan::args::local(DEFAULT_PORT))]
    pub listen: SocketAddr,

    /// What the service needs.
    #[command(flatten)]
    pub config: Config,

    /// How the process logs.
    #[command(flatten)]
    pub process: ProcessArgs,
}
