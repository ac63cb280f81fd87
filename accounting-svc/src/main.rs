//! The accounting service as a process of its own.

use std::process::ExitCode;

use clap::Parser;

/// Double-entry accounting over gRPC.
#[derive(Debug, Parser)]
#[command(name = "accounting", version)]
struct Cli {
    #[command(flatten)]
    args: accounting_svc::Args,
}

fn main() -> ExitCode {
    accounting_svc::run(Cli::parse().args)
}
