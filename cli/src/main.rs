//! The `mizan` command: runs everything, pays files of payments, looks at the registry.

mod backup;
mod look;
mod payments;
mod reach;
mod replay;
mod signals;
mod terminal;
mod up;
mod zakat;

use std::{future::Future, process::ExitCode};

use clap::{Parser, Subcommand};

/// Mizan: gRPC services that stay up, and money that stays right.
#[derive(Debug, Parser)]
#[command(name = "mizan", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::Args),
    Replay(replay::Args),
    Backup(backup::Args),
    Restore(backup::RestoreArgs),
    Payments(payments::Args),
    Services(look::ServicesArgs),
    Instances(look::InstancesArgs),
    Watch(look::WatchArgs),
    Top(look::TopArgs),
    Drain(look::DrainArgs),
    Maint(look::MaintArgs),
    Deregister(look::DeregisterArgs),
    /// Runs the registry.
    Registry(registry::Args),
    Zakat(zakat::ZakatArgs),
    /// Runs one instance of the invoice service.
    Invoice(invoice_svc::Args),
    /// Runs one instance of the accounting service.
    Accounting(accounting_svc::Args),
    /// Runs one instance of the payment service.
    Payment(payment_svc::Args),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Up(args) => block_on(up::run(args)),
        Command::Replay(args) => block_on(replay::run(args)),
        Command::Backup(args) => backup::run(&args),
        Command::Restore(args) => backup::restore(&args),
        Command::Payments(args) => block_on(payments::run(args)),
        Command::Services(args) => block_on(look::services(args)),
        Command::Instances(args) => block_on(look::instances(args)),
        Command::Watch(args) => block_on(look::watch(args)),
        Command::Top(args) => block_on(look::top(args)),
        Command::Drain(args) => block_on(look::drain(args)),
        Command::Maint(args) => block_on(look::maint(args)),
        Command::Deregister(args) => block_on(look::deregister(args)),
        Command::Registry(args) => registry::run(args),
        Command::Zakat(args) => zakat::run(args),
        Command::Invoice(args) => invoice_svc::run(args),
        Command::Accounting(args) => accounting_svc::run(args),
        Command::Payment(args) => payment_svc::run(args),
    }
}

/// Runs a command on this thread alone: all of them wait more than they compute.
fn block_on(command: impl Future<Output = ExitCode>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(command),
        Err(error) => {
            terminal::say(&format!("mizan: cannot start a runtime: {error}"));
            ExitCode::FAILURE
        }
    }
}
