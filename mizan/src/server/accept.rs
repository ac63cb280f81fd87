//! Connections: accepting, idling, closing.

use std::{convert::Infallible, net::IpAddr, pin::pin, sync::Arc, time::Duration};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use rustix::process::{Resource, getrlimit};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    Limits,
    calls::Calls,
    files,
    life::ConnectionLoad,
    listen::{Accepted, Listener},
    seldom::Seldom,
    transport::Watched,
    turns::Turns,
};

/// How often an HTTP/2 client is asked whether it is still there, and how long it has to answer. A
/// client that reads slowly finds the question behind all that is on its way to it, megabytes where
/// its window is large; at 10 s it was taken for dead in the middle of an answer.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(60);

/// The most calls one HTTP/2 connection may carry at once.
const STREAMS_MAX: u32 = 1000;

/// How many calls of a connection may be called off before the server has looked at them. A client
/// whose calls all run out of time while the server is busy calls off as many as it may have under
/// way, and must not lose its connection for it: the HTTP/2 library's own bound is 20, and answers
/// overload by cutting every call there is. More than that is the attack of CVE-2023-44487: the
/// connection ends with ENHANCE_YOUR_CALM.
const CALLED_OFF_MAX: usize = STREAMS_MAX as usize;

/// How long a connection that carries nothing may take to leave for another. Its client has been told by
/// GOAWAY; one that does not take even that is cut.
const LEAVE_MAX: Duration = Duration::from_secs(1);

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
    let files = getrlimit(Resource::Nofile).current;
    let connections_max = files::connections_max(limits.connections_max, files);
    let (mut full, mut failed) = (Seldom::default(), Seldom::default());
    loop {
        tokio::select! {
            () = closing.cancelled() => return connections,
            accepted = listener.accept() => match accepted {
                // Closed at once: left waiting, the client would not turn to another instance.
                Ok(_) if connections.len() >= connections_max && !calls.connections().make_way() => {
                    if let Some(times) = full.happened(Instant::now()) {
                        let connections = connections.len();
                        tracing::warn!(connections, times, "no more connections are taken: all carry calls");
                    }
                }
                Ok(Accepted { stream, local, .. }) => {
                    let local = local.map(|local| local.ip());
                    let connection =
                        carry(stream, local, calls.clone(), limits.clone(), closing.clone());
                    connections.spawn(connection);
                }
                Err(error) => {
                    // Out of files, as a rule: one that carries nothing may have one.
                    calls.connections().make_way();
                    if let Some(times) = failed.happened(Instant::now()) {
                        tracing::warn!(%error, times, "connections not accepted");
                    }
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

/// Carries one connection, to this address of ours, to its end.
async fn carry<S>(
    stream: S,
    local: Option<IpAddr>,
    calls: Arc<Calls>,
    limits: Limits,
    closing: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (load, others) = (calls.load().clone(), calls.connections().clone());
    let load = ConnectionLoad::new(load, limits.unread_max);
    let load = Arc::new(load.making_room(move |asking| others.make_room(asking)));
    let connected = calls.connections().enter(load.clone());
    let turns = Turns::new(load.clone(), limits.unread_timeout);
    // Whatever ends this connection: calls that it read and nobody began end with it.
    let _ending = turns.ending();
    let (counted, reading) = (load.clone(), turns.clone());
    let service = service_fn(move |request| {
        let calls = calls.clone();
        // Now, as the connection reads it, and not when its turn comes.
        let arrival = calls.arrive(&request, &counted);
        reading.read(arrival.progress());
        async move { Ok::<_, Infallible>(calls.handle(request, arrival, local).await) }
    });
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
    let stream = TokioIo::new(Watched::new(stream, load.clone()));
    let mut connection = pin!(builder.serve_connection(stream, service));
    let mut idle = pin!(idle(&load, limits.idle_timeout));
    let mut stalled = pin!(stalled(&load, limits.unread_timeout));
    let mut going = false;
    let mut leave_by = None;
    loop {
        tokio::select! {
            outcome = turns.carry(connection.as_mut()) => {
                if let Err(error) = outcome {
                    tracing::debug!(error = %crate::connection::innermost(&*error), "connection ended");
                }
                return;
            }
            () = connected.cut() => return,
            () = at(leave_by), if load.calls() == 0 => return,
            () = connected.leave(), if leave_by.is_none() => {
                leave_by = Some(Instant::now() + LEAVE_MAX);
            }
            () = stalled.as_mut() => {
                let (calls, unread) = (load.calls(), load.unread());
                tracing::info!(calls, unread, "connection cut: nothing of it was read for too long");
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

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// Resolves when a connection carried nothing for `limit`.
async fn idle(load: &ConnectionLoad, limit: Duration) {
    stays(load, limit, |load| load.calls() == 0 && load.unread() == 0).await;
}

/// Resolves when answers waited for a client for `limit`, the transport took no byte, and no call
/// began: nobody reads, and all calls of the connection are stuck behind it. Where it is one stream
/// of HTTP/2 that is not read, that one is ended by itself.
async fn stalled(load: &ConnectionLoad, limit: Duration) {
    stays(load, limit, |load| load.unread() > 0).await;
}

/// Resolves when a connection was in a state, without any motion, for `limit`. Looks every half of
/// it: cheap, and late by half of it at most.
async fn stays(load: &ConnectionLoad, limit: Duration, state: fn(&ConnectionLoad) -> bool) {
    let mut before = None;
    loop {
        sleep(limit / 2).await;
        let now = state(load).then(|| load.motion());
        if now.is_some() && now == before {
            return;
        }
        before = now;
    }
}

#[cfg(test)]
mod tests;
