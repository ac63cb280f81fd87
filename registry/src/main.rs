//! The registry's process.

use std::process::ExitCode;

use clap::Parser;

/// The service registry: instances register, clients list and watch those that are healthy.
#[derive(Debug, Parser)]
#[command(name = "registry", version)]
struct Command {
    #[command(flatten)]
    args: registry::Args,
}

fn main() -> ExitCode {
    registry::run(Command::parse().args)
}
