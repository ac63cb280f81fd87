//! One instance of the payment service.

use std::process::ExitCode;

use clap::Parser;

/// Mizan's payment service.
#[derive(Debug, Parser)]
#[command(version)]
struct Command {
    #[command(flatten)]
    args: payment_svc::Args,
}

fn main() -> ExitCode {
    payment_svc::run(Command::parse().args)
}
