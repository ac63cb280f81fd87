//! Settings: flags, each with an environment variable.

use std::{fmt, path::PathBuf};

use mizan::args::{Listen, ProcessArgs, ServerArgs, local};
use store::Location;

use crate::store::{FILE, SCHEMA};

/// Where the service listens when nobody says.
pub const DEFAULT_PORT: u16 = 50071;

/// What the service needs to serve.
#[derive(Clone, clap::Args)]
pub struct Config {
    /// The directory that holds `accounting.db`; instances on one machine may share it.
    #[arg(long, env = "MIZAN_DATA", default_value = ".mizan")]
    pub data: PathBuf,

    /// A PostgreSQL server to keep the ledger on instead, in its schema `accounting`:
    /// `postgres://user:password@host:port/database`. Instances on any machine may share it.
    #[arg(long, env = "MIZAN_DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,

    /// How to register and drain.
    #[command(flatten)]
    pub server: ServerArgs,
}

impl Config {
    /// Where the ledger is.
    #[must_use]
    pub fn location(&self) -> Location {
        Location::new(self.database_url.as_deref(), SCHEMA, &self.data.join(FILE))
    }
}

/// Without the URL: there is a password in it.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("location", &self.location())
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

/// All flags of the process.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Where to listen: IP:PORT, or unix:PATH, a socket for the same user alone.
    #[arg(long, env = "MIZAN_LISTEN", default_value_t = local(DEFAULT_PORT).into())]
    pub listen: Listen,

    /// What the service needs.
    #[command(flatten)]
    pub config: Config,

    /// How the process logs.
    #[command(flatten)]
    pub process: ProcessArgs,
}
