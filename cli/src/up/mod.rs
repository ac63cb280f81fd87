//! `mizan up`: the registry and two instances of each service, as child processes of this binary.
//!
//! ```text
//! plan ──► crew ──► supervise (child, restart, lines) ──┐
//!                                                       ├──► board ──► welcome
//! the registry ──► ready ───────────────────────────────┘
//! ```
//!
//! Children are in process groups of their own, so Ctrl-C reaches only this process, which drains
//! them in order; and they hold the other end of a pipe, so they drain by themselves when this
//! process dies.

mod board;
mod child;
mod crew;
mod lines;
mod plan;
mod ready;
mod restart;
mod supervise;
mod welcome;

use std::{
    io::{self, IsTerminal as _},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use mizan::args::{LogFormat, local};
use tokio::{net::TcpSocket, time::Instant};

use self::{
    board::Board,
    child::Launch,
    crew::Crew,
    plan::{members, reachable},
    welcome::Invocation,
};
use crate::{
    signals::Signals,
    terminal::{print, say},
};

/// Starts Mizan: the registry and two instances of each service, kept running until Ctrl-C.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Where all state is kept.
    #[arg(long, env = "MIZAN_DATA", default_value = ".mizan", value_name = "DIR")]
    data: PathBuf,

    /// Where the registry listens; port 0 chooses a free one.
    #[arg(long, value_name = "ADDR", default_value_t = local(registry::DEFAULT_PORT))]
    registry_listen: SocketAddr,

    /// Let the services choose free ports; the table shows which.
    #[arg(long)]
    ephemeral_ports: bool,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> ExitCode {
    match up(&args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(line) => {
            say(&format!("mizan up: {line}"));
            ExitCode::FAILURE
        }
    }
}

async fn up(args: &Args) -> Result<(), String> {
    let began = Instant::now();
    let mut signals = Signals::new().map_err(|e| format!("cannot listen for signals: {e}"))?;
    let program =
        std::env::current_exe().map_err(|e| format!("cannot find its own program: {e}"))?;
    let data = &args.data;
    store::backup::make_folder(data)
        .map_err(|e| format!("cannot use the data directory {}: {e}", data.display()))?;
    let (listen, _kept) = free(args.registry_listen)?;
    let members = members(listen, args.ephemeral_ports);
    let registry = reachable(listen);
    let launch = Arc::new(Launch {
        program: program.clone(),
        registry,
        data: data.clone(),
        log_format: if io::stderr().is_terminal() {
            LogFormat::Pretty
        } else {
            LogFormat::Json
        },
    });
    let board = Arc::new(Board::default());
    let mut crew = Crew::start(&members, &launch, &board);
    let follow = tokio::spawn(ready::follow(registry.to_string(), board.clone()));

    let names: Vec<String> = members.iter().map(|m| m.name.clone()).collect();
    let outcome = tokio::select! {
        addresses = board.all_passing(&names) => {
            let named = (registry != local(registry::DEFAULT_PORT)).then(|| registry.to_string());
            let invocation = Invocation::current(&program);
            let took = began.elapsed();
            print(&welcome::text(&members, &board, &addresses, took, &invocation, named.as_deref()));
            tokio::select! {
                failure = crew.failure() => Err(failure),
                () = signals.next() => Ok(()),
            }
        }
        failure = crew.failure() => Err(failure),
        () = signals.next() => Ok(()),
    };
    follow.abort();
    crew.drain(&mut signals).await;
    outcome
}

/// The registry's address with a port that is free, and what keeps it so. Nobody else's registry may
/// be there: the services would register with it.
///
/// On Linux a port on which somebody sits who does not listen is given to nobody who asks for any,
/// while the registry, which asks for this one, has it: also when it is started again.
fn free(listen: SocketAddr) -> Result<(SocketAddr, Option<TcpSocket>), String> {
    let sit = || {
        let socket = match listen {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.bind(listen)?;
        Ok((socket.local_addr()?, socket))
    };
    let (address, socket) = sit().map_err(|error: io::Error| {
        format!("registry cannot start: cannot listen on {listen}: {error}")
    })?;
    Ok((address, cfg!(target_os = "linux").then_some(socket)))
}

#[cfg(test)]
mod tests {
    use mizan::args::local;
    use tokio::net::TcpListener;

    use super::free;

    #[tokio::test]
    async fn a_port_is_kept_for_the_registry_and_another_s_is_refused() {
        let (listen, kept) = free(local(0)).unwrap();
        for _ in 0..2 {
            let registry = TcpListener::bind(listen).await.unwrap();
            let refused = free(listen).unwrap_err();
            assert!(refused.contains(&listen.to_string()), "{refused}");
            drop(registry);
        }
        drop(kept);
    }
}
