//! One instance of the zakat service.

use std::process::ExitCode;

use clap::Parser;

/// Mizan's zakat service.
#[derive(Debug, Parser)]
#[command(version)]
struct Command {
    #[command(flatten)]
    args: zakat_svc::Args,
}

fn main() -> ExitCode {
    zakat_svc::run(Command::parse().args)
}
