//! Connections: accepting, idling, closing.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{Limits, body::InFlight, calls::Calls, listen::Listener};
use crate::connection::Transport;

/// How often an HTTP/2 client is asked whether it is still there, and how long it has to answer.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// The most calls one HTTP/2 connection may carry at once.
const STREAMS_MAX: u32 = 1000;

/// The pause after the system refused a connection (out of file descriptors, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts until `closing`, then lets connections finish for at most `drain`. Answers how many had
/// to be cut.
pub(super) async fn accept(
    listener: Listener,
    calls: Arc<Calls>,
    limits: Limits,
    closing: CancellationToken,
    drain: Duration,
) -> usize {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = closing.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(stream) => {
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
    drop(listener);
    let finished = timeout(drain, async {
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
async fn carry(
    stream: Box<dyn Transport>,
    calls: Arc<Calls>,
    limits: Limits,
    closing: CancellationToken,
) {
    let in_flight = InFlight::default();
    let counted = in_flight.clone();
    let service = service_fn(move |request| {
        let (calls, in_flight) = (calls.clone(), counted.clone());
        async move { Ok::<_, Infallible>(calls.handle(request, &in_flight).await) }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .max_concurrent_streams(STREAMS_MAX);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut idle = pin!(idle(&in_flight, limits.idle_timeout));
    let mut going = false;
    loop {
        tokio::select! {
            outcome = connection.as_mut() => {
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
mod tests {
    use tokio::time::Instant;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn short_calls_between_two_looks_keep_a_connection() {
        let in_flight = InFlight::default();
        let calls = async {
            for _ in 0..100 {
                sleep(LIMIT / 10).await;
                drop(in_flight.begin());
            }
        };
        tokio::select! {
            () = idle(&in_flight, LIMIT) => panic!("a busy connection was taken for idle"),
            () = calls => {}
        }
        let quiet = Instant::now();
        idle(&in_flight, LIMIT).await;
        assert!(quiet.elapsed() <= LIMIT * 3 / 2);
    }
}
