//! The flags of the service, each with an environment variable.

use std::path::PathBuf;

use mizan::args::{Listen, ProcessArgs, ServerArgs, local};

use crate::DEFAULT_PORT;

/// What [`serve`](crate::serve) needs to know.
#[derive(clap::Args, Clone, Debug)]
pub struct Config {
    /// The flags that every server takes.
    #[command(flatten)]
    pub server: ServerArgs,

    /// A folder of policies (*.json) to serve beside those built in; one of the same id and a
    /// higher version takes its place.
    #[arg(long, env = "MIZAN_ZAKAT_POLICIES", value_name = "FOLDER")]
    pub policies: Option<PathBuf>,
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
