//! What a `main` needs: logging, a runtime, signals, open files, and one clear line when it cannot go on.

use std::{
    collections::HashMap,
    error::Error,
    fmt,
    future::Future,
    io::{self, Write as _},
    pin::Pin,
    process::ExitCode,
    task::{Context, Poll},
    time::Duration,
};

use parking_lot::Mutex;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    net::TcpListener,
    signal::unix,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    args::{Listen, ProcessArgs},
    server::{Listener, Unix, seldom::Seldom},
    telemetry,
};

/// Signals within this time are one request: far less than a person takes to ask again.
const TOGETHER: Duration = Duration::from_millis(50);

/// Any error that ends a process.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Resolves when the process is asked to stop: SIGTERM, SIGINT, or the end of standard input when
/// the process is to end with its supervisor. Who asks by a signal once more does not want to wait for
/// the drain: the process ends at once, by 128 and the signal's number. Signals that come together are
/// one request: `timeout`, say, sends one to the process and one to its group.
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

/// Runs a server process to its end: starts logging and the runtime, listens, hands `serve` the
/// listener and the shutdown, and says in one line on standard error why it failed, if it did.
pub fn run<S, F, E>(name: &str, listen: impl Into<Listen>, args: &ProcessArgs, serve: S) -> ExitCode
where
    S: FnOnce(Listener, Shutdown) -> F,
    F: Future<Output = Result<(), E>>,
    E: Into<BoxError>,
{
    match start(&listen.into(), args, serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "mizan {name}: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

fn start<S, F, E>(listen: &Listen, args: &ProcessArgs, serve: S) -> Result<(), BoxError>
where
    S: FnOnce(Listener, Shutdown) -> F,
    F: Future<Output = Result<(), E>>,
    E: Into<BoxError>,
{
    telemetry::init(args)?;
    bound_panics();
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers())
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let shutdown = asked_to_stop(args.stop_with_stdin)?;
        let listener = bind(listen).await?;
        serve(listener, shutdown).await.map_err(Into::into)
    })
}

/// As many as there are cores, but at most four: a service waits more than it computes.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(1, 4))
}

fn asked_to_stop(with_stdin: bool) -> io::Result<Shutdown> {
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
        tokio::spawn(async move {
            let together = async {
                loop {
                    tokio::select! {
                        _ = terminate.recv() => {}
                        _ = interrupt.recv() => {}
                    }
                }
            };
            let _: Result<(), _> = timeout(TOGETHER, together).await;
            let (signal, code) = tokio::select! {
                _ = terminate.recv() => ("SIGTERM", 128 + 15),
                _ = interrupt.recv() => ("SIGINT", 128 + 2),
            };
            tracing::warn!(
                signal,
                "asked to stop once more: ends at once, without the rest of the drain"
            );
            #[expect(
                clippy::exit,
                reason = "who asks twice does not want to wait for destructors"
            )]
            std::process::exit(code);
        });
    })))
}

/// Whoever finds a call that panics can make it without end, and must not fill the disk that standard
/// error goes to: a panic at one place is told once in 10 s. The server's own lines count them.
fn bound_panics() {
    let (tell, panics) = (std::panic::take_hook(), Panics::default());
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(|at| (at.file(), at.line()));
        if panics.is_told(place, Instant::now()) {
            tell(panic);
        }
    }));
}

/// When panics were told, by file and line.
#[derive(Debug, Default)]
struct Panics(Mutex<HashMap<Option<(String, u32)>, Seldom>>);

impl Panics {
    fn is_told(&self, place: Option<(&str, u32)>, now: Instant) -> bool {
        let place = place.map(|(file, line)| (file.to_owned(), line));
        self.0
            .lock()
            .entry(place)
            .or_default()
            .happened(now)
            .is_some()
    }
}

/// Each connection is a file, and many systems begin with no more than 1,024: as many as may be.
fn raise_open_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: maximum,
        maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, all) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// Why nobody can listen there.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {listen}: {cause}")]
pub struct BindError {
    listen: Listen,
    cause: io::Error,
}

/// Listens on an address, or on a Unix socket that only the same user may connect to.
///
/// # Errors
/// [`BindError`] names the place and the cause, such as a port in use.
pub async fn bind(listen: &Listen) -> Result<Listener, BindError> {
    let bound = match listen {
        Listen::Tcp(address) => TcpListener::bind(address).await.map(Listener::from),
        Listen::Unix(path) => Unix::bind(path, OWNER_ONLY).map(Listener::from),
    };
    bound.map_err(|cause| BindError {
        listen: listen.clone(),
        cause,
    })
}

/// Who may connect to a Unix socket of a process: its own user.
const OWNER_ONLY: u32 = 0o600;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_without_end_is_told_seldom_and_hides_no_other() {
        let (panics, now) = (Panics::default(), Instant::now());
        let (here, there) = (Some(("a.rs", 1)), Some(("a.rs", 2)));
        assert!(panics.is_told(here, now));
        assert!((0..1000).all(|_| !panics.is_told(here, now)));
        assert!(panics.is_told(there, now) && panics.is_told(None, now));
        assert!(panics.is_told(here, now + Duration::from_secs(10)));
    }
}
