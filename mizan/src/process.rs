//! What a `main` needs: logging, a runtime, signals, and one clear line when it cannot go on.

use std::{
    error::Error,
    fmt,
    future::Future,
    io::{self, Write as _},
    net::SocketAddr,
    pin::Pin,
    process::ExitCode,
    task::{Context, Poll},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{net::TcpListener, signal::unix};
use tokio_util::sync::CancellationToken;

use crate::{args::ProcessArgs, telemetry};

/// Any error that ends a process.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Resolves when the process is asked to stop: SIGTERM, SIGINT, or the end of standard input when
/// the process is to end with its supervisor.
pub struct Shutdown(Pin<Box<dyn Future<Output = ()> + Send>>);

impl Shutdown {
    /// A shutdown that resolves when `token` is cancelled.
    #[must_use]
    pub fn by(token: CancellationToken) -> Self {
        Self(Box::pin(async move { token.cancelled().await }))
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shutdown")
    }
}

impl Future for Shutdown {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(context)
    }
}

/// Runs a server process to its end: starts logging and the runtime, raises the limit of open files to
/// what the system allows, listens, hands `serve` the listener and the shutdown, and says in one line
/// on standard error why it failed, if it did. A second SIGTERM or SIGINT, while it drains, ends it at
/// once: what is in flight is cut, and the exit code is 1.
pub fn run<S, F, E>(name: &str, listen: SocketAddr, args: &ProcessArgs, serve: S) -> ExitCode
where
    S: FnOnce(TcpListener, Shutdown) -> F,
    F: Future<Output = Result<(), E>>,
    E: Into<BoxError>,
{
    match start(listen, args, serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "mizan {name}: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

fn start<S, F, E>(listen: SocketAddr, args: &ProcessArgs, serve: S) -> Result<(), BoxError>
where
    S: FnOnce(TcpListener, Shutdown) -> F,
    F: Future<Output = Result<(), E>>,
    E: Into<BoxError>,
{
    telemetry::init(args)?;
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers())
        .enable_all()
        .build()?;
    let again = CancellationToken::new();
    let ended = runtime.block_on(async {
        let shutdown = asked_to_stop(args.stop_with_stdin, again.clone())?;
        let listener = bind(listen).await?;
        tokio::select! {
            served = serve(listener, shutdown) => served.map_err(Into::into),
            () = again.cancelled() => Err(Cut.into()),
        }
    });
    // Whoever asks twice waits for nothing that still blocks a thread.
    if again.is_cancelled() {
        runtime.shutdown_background();
    }
    ended
}

/// Asked twice to stop, the process did not finish draining.
#[derive(Debug, thiserror::Error)]
#[error("asked to stop a second time: what was in flight is cut")]
struct Cut;

/// Each connection is a file, and many systems begin with no more than 1,024: as many as may be.
fn raise_open_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    let all = Rlimit {
        current: maximum,
        maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, all) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// As many as there are cores, but at most four: a service waits more than it computes.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(1, 4))
}

fn asked_to_stop(with_stdin: bool, again: CancellationToken) -> io::Result<Shutdown> {
    let mut terminate = unix::signal(unix::SignalKind::terminate())?;
    let mut interrupt = unix::signal(unix::SignalKind::interrupt())?;
    let orphaned = CancellationToken::new();
    if with_stdin {
        let orphaned = orphaned.clone();
        // A thread of its own: a blocking read of standard input cannot be cancelled, and the
        // process must be able to end without it.
        std::thread::Builder::new()
            .name("stdin".into())
            .spawn(move || {
                let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
                orphaned.cancel();
            })?;
    }
    Ok(Shutdown(Box::pin(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!(signal = "SIGTERM", "asked to stop"),
            _ = interrupt.recv() => tracing::info!(signal = "SIGINT", "asked to stop"),
            () = orphaned.cancelled() => tracing::info!("standard input closed, asked to stop"),
        }
        // From now on somebody may lose patience with the drain.
        tokio::spawn(async move {
            let signal = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            tracing::warn!(signal, "asked to stop again: what is in flight is cut");
            again.cancel();
        });
    })))
}

/// Why an address could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {cause}")]
pub struct BindError {
    address: SocketAddr,
    cause: io::Error,
}

/// Listens on an address.
///
/// # Errors
/// [`BindError`] names the address and the cause, such as a port in use.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address)
        .await
        .map_err(|cause| BindError { address, cause })
}

/// An error and its causes in one line.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        line = format!("{line}: {next}");
        cause = next.source();
    }
    line
}
