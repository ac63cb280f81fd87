//! Connections: accepting, idling, closing.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{Limits, body::InFlight, calls::Calls, listen::Listener, turns::Turns};

/// How often an HTTP/2 client is asked whether it is still there, and how long it has to answer.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// The most calls one HTTP/2 connection may carry at once.
const STREAMS_MAX: u32 = 1000;

/// How many calls of a connection may be called off before the server has looked at them. A client
/// whose calls all run out of time while the server is busy calls off as many as it may have under
/// way, and must not lose its connection for it: the HTTP/2 library's own bound is 20, and answers
/// overload by cutting every call there is. More than that is the attack of CVE-2023-44487: the
/// connection ends with ENHANCE_YOUR_CALM.
const CALLED_OFF_MAX: usize = STREAMS_MAX as usize;

/// The pause after the system refused a connection (out of file descriptors, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts until `closing`: then no longer, and what is left are the connections that finish.
pub(super) async fn accept(
    listener: Listener,
    calls: Arc<Calls>,
    limits: Limits,
    closing: CancellationToken,
) -> JoinSet<()> {
    let mut connections = JoinSet::new();
    let mut full = false;
    loop {
        tokio::select! {
            () = closing.cancelled() => return connections,
            accepted = listener.accept() => match accepted {
                // Closed at once: left waiting, the client would not turn to another instance.
                Ok(_) if connections.len() >= limits.connections_max => {
                    if !std::mem::replace(&mut full, true) {
                        let connections = connections.len();
                        tracing::warn!(connections, "no more connections are taken");
                    }
                }
                Ok(stream) => {
                    full = false;
                    let connection = carry(stream, calls.clone(), limits.clone(), closing.clone());
                    connections.spawn(connection);
                }
                Err(error) => {
                    tracing::warn!(%error, "connection not accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            // Reaps those that ended, so that the set does not grow.
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Lets connections finish until `end`. Answers how many had to be cut.
pub(super) async fn finish(mut connections: JoinSet<()>, end: Instant) -> usize {
    let finished = timeout_at(end, async {
        while connections.join_next().await.is_some() {}
    });
    if finished.await.is_ok() {
        return 0;
    }
    let unfinished = connections.len();
    connections.shutdown().await;
    unfinished
}

/// Carries one connection to its end.
async fn carry<S>(stream: S, calls: Arc<Calls>, limits: Limits, closing: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let in_flight = InFlight::default();
    let counted = in_flight.clone();
    let service = service_fn(move |request| {
        let calls = calls.clone();
        // Now, as the connection reads it, and not when its turn comes.
        let arrival = calls.arrive(&request, &counted);
        async move { Ok::<_, Infallible>(calls.handle(request, arrival).await) }
    });
    let turns = Turns::default();
    let mut builder = Builder::new(turns.clone());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(CALLED_OFF_MAX);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut idle = pin!(idle(&in_flight, limits.idle_timeout));
    let mut going = false;
    loop {
        tokio::select! {
            outcome = turns.carry(connection.as_mut()) => {
                if let Err(error) = outcome {
                    tracing::debug!(error = %crate::connection::innermost(&*error), "connection ended");
                }
                return;
            }
            () = closing.cancelled(), if !going => {}
            () = idle.as_mut(), if !going => {}
        }
        going = true;
        // GOAWAY, or the last HTTP/1 answer; what is in flight is finished.
        connection.as_mut().graceful_shutdown();
    }
}

/// Resolves when a connection carried nothing for `limit`. Looks every half of it: cheap, and idle
/// connections are closed after at most one and a half times the limit.
async fn idle(in_flight: &InFlight, limit: Duration) {
    let mut before = None;
    loop {
        sleep(limit / 2).await;
        let now = in_flight.idle_after();
        if now.is_some() && now == before {
            return;
        }
        before = now;
    }
}

#[cfg(test)]
mod tests;
