//! One instance of the invoice service.

use std::process::ExitCode;

use clap::Parser;

/// Mizan's invoice service.
#[derive(Debug, Parser)]
#[command(version)]
struct Command {
    #[command(flatten)]
    args: invoice_svc::Args,
}

fn main() -> ExitCode {
    invoice_svc::run(Command::parse().args)
}
