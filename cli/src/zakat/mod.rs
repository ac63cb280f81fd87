//! `mizan zakat`: runs one instance of the service; `mizan zakat assess` assesses a file.
//!
//! ```text
//! FILE.json ─┐
//!            ├─ file, holdings ─ request ─ the calculator, in this process ─ report
//! FILE.csv ──┘                                                └─ --pay ─ ProcessPayment
//! ```
//! Assessing needs nothing that runs; paying does.

mod assess;
mod file;
mod holding;
mod pay;
mod report;
mod words;

use std::process::ExitCode;

/// Runs one instance of the zakat service, or assesses a file.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct ZakatArgs {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    server: zakat_svc::Args,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Assess(Box<assess::Args>),
}

/// Runs the command.
pub(crate) fn run(args: ZakatArgs) -> ExitCode {
    match args.command {
        Some(Command::Assess(args)) => crate::block_on(assess::run(*args)),
        None => zakat_svc::run(args.server),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use crate::Cli;

    fn parses(line: &str) -> bool {
        Cli::try_parse_from(line.split(' ')).is_ok()
    }

    #[test]
    fn the_command_serves_or_assesses() {
        Cli::command().debug_assert();
        assert!(parses("mizan zakat"));
        assert!(parses("mizan zakat --listen 127.0.0.1:0"));
        assert!(parses("mizan zakat assess a.json"));
        assert!(parses("mizan zakat assess a.json --pay --amil Mosque"));
        assert!(!parses("mizan zakat assess"));
        assert!(!parses("mizan zakat assess a.json --pay"));
        assert!(!parses("mizan zakat --listen 127.0.0.1:0 assess a.json"));
    }
}
