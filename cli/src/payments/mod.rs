//! `mizan payments`: a person looks at payments, and acts on those that cannot go on by themselves.
//!
//! ```text
//! list ─┐                       ┌─ view (as data: what --json prints)
//! show ─┼─ service (one call) ──┤
//! retry, cancel (steer) ─┘      └─ text, timeline (for people)
//! ```

mod list;
mod service;
mod show;
mod steer;
mod text;
mod time;
mod timeline;
mod view;

use std::process::ExitCode;

use clap::Subcommand;
use mizan::process::chain;

use self::service::Trouble;
use crate::{reach::RegistryArgs, terminal::say};

/// The service, or the command itself, refuses what was asked: asking again does not help.
const REFUSED: u8 = 3;

/// Lists and shows payments; lets those go on, or end, that wait for a person.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes:\n  \
    0  done\n  \
    1  could not be asked, or the answer is not known; run it again\n  \
    2  the command line is wrong\n  \
    3  refused: no such payment, or it is not one that this can be done to")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(list::Args),
    Show(show::Args),
    Retry(steer::RetryArgs),
    Cancel(steer::CancelArgs),
}

/// What all of them take.
#[derive(Debug, Clone, clap::Args)]
struct Common {
    #[command(flatten)]
    registry: RegistryArgs,

    /// How long to wait for an answer, in seconds.
    #[arg(
        long,
        env = "MIZAN_PAYMENTS_TIMEOUT",
        default_value_t = 10,
        value_name = "SECONDS",
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    timeout: u16,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> ExitCode {
    let outcome = match args.command {
        Command::List(args) => list::run(args).await,
        Command::Show(args) => show::run(args).await,
        Command::Retry(args) => steer::retry(args).await,
        Command::Cancel(args) => steer::cancel(args).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            say(&format!("mizan payments: {}", chain(&trouble)));
            code(&trouble)
        }
    }
}

fn code(trouble: &Trouble) -> ExitCode {
    match trouble.is_refusal() {
        true => ExitCode::from(REFUSED),
        false => ExitCode::FAILURE,
    }
}
