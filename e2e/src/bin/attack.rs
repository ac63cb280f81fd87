//! Attacks a running whole, one attack after the other, each beside well-behaved clients.
//! `just attack`.

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use e2e::attack;

/// Attacks the registry and the services, and judges what it costs others.
#[derive(Debug, Parser)]
struct Args {
    /// Attacks to make, by name; all of them when none is named.
    #[arg(value_name = "ATTACK")]
    only: Vec<String>,

    /// How long each goes on, in seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,

    /// Fails also when the slowest of a hundred calls beside takes more than three times as long as in
    /// quiet.
    #[arg(long)]
    judge_time: bool,

    /// Only says which attacks there are.
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let known = attack::names();
    if args.list {
        let lines: String = known
            .iter()
            .map(|(name, what)| format!("{name:<12} {what}\n"))
            .collect();
        return ended(io::stdout().write_all(lines.as_bytes()).is_ok());
    }
    if let Some(other) = args
        .only
        .iter()
        .find(|only| !known.iter().any(|(name, _)| name == *only))
    {
        let said = format!("attack: there is no attack {other:?}; --list names them\n");
        let _ = io::stderr().write_all(said.as_bytes());
        return ExitCode::FAILURE;
    }
    let report = attack::run(&attack::Plan {
        only: args.only,
        time: Duration::from_secs(args.seconds),
        judge_time: args.judge_time,
    });
    let told = writeln!(io::stdout(), "{report:#}").is_ok();
    ended(told && report["right"] == true)
}

fn ended(well: bool) -> ExitCode {
    if well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
