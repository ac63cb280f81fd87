//! Connections: accepting, idling, closing.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use rustix::process::{Resource, getrlimit};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    Http2, Limits,
    calls::{Calls, Peer},
    connections::Connected,
    life::ConnectionLoad,
    listen::{Accepted, Listener},
    seldom::Seldom,
    transport::Watched,
    turns::Turns,
};

/// How many calls of a connection may be called off before the server has looked at them. A client
/// whose calls all run out of time while the server is busy calls off as many as it may have under
/// way, and must not lose its connection for it: the HTTP/2 library's own bound is 20, and answers
/// overload by cutting every call there is. More than that is the attack of CVE-2023-44487: the
/// connection ends with ENHANCE_YOUR_CALM.
const CALLED_OFF_MAX: usize = 1000;

/// The pause after the system refused a connection (out of file descriptors, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The most connections that are told to go at once to make room for others, above the bound until
/// they have gone.
const LEAVING_MAX: usize = 64;

/// How long a connection that was told to go to make room may take, if it carries nothing.
const LEAVE: Duration = Duration::from_secs(1);

/// How connections are carried.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) limits: Limits,
    pub(super) http2: Http2,
}

/// Accepts until `closing`: then no longer, and what is left are the connections that finish.
pub(super) async fn accept(
    listener: Listener,
    calls: Arc<Calls>,
    settings: Settings,
    closing: CancellationToken,
) -> JoinSet<()> {
    let mut connections = JoinSet::new();
    let max = connections_max(settings.limits.connections_max);
    let leaving_max = (max / 16).clamp(1, LEAVING_MAX);
    let (mut refusing, mut failing) = (Seldom::default(), Seldom::default());
    loop {
        tokio::select! {
            () = closing.cancelled() => return connections,
            accepted = listener.accept() => match accepted {
                Ok(Accepted { stream, local, info, .. }) => {
                    let beyond = (connections.len() + 1).saturating_sub(max);
                    // A few at a time, so that not each newcomer has to look for one.
                    let leaving = if beyond > 0 { calls.connections().send_away(leaving_max) } else { 0 };
                    if beyond > leaving {
                        // Closed at once: left waiting, the client would not turn to another instance.
                        if let Some(times) = refusing.happened(Instant::now()) {
                            tracing::warn!(max, times, "no more connections are taken: none is idle");
                        }
                        continue;
                    }
                    let local = local.map(|local| local.ip());
                    let peer = Peer { local, info };
                    let connection =
                        carry(stream, peer, calls.clone(), settings.clone(), closing.clone());
                    connections.spawn(connection);
                }
                Err(error) => {
                    // Where files are short, those that carry nothing give theirs back.
                    calls.connections().send_away(leaving_max);
                    if let Some(times) = failing.happened(Instant::now()) {
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

/// So many connections, and a quarter of the files that the process may open is left for others:
/// stores, and connections of its own.
fn connections_max(wanted: usize) -> usize {
    let files = getrlimit(Resource::Nofile).current;
    let files = files.map_or(usize::MAX, |files| {
        usize::try_from(files).unwrap_or(usize::MAX)
    });
    wanted.min(files - files / 4)
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
async fn carry<S>(
    stream: S,
    peer: Peer,
    calls: Arc<Calls>,
    settings: Settings,
    closing: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let Settings { limits, http2 } = settings;
    let (load, others) = (calls.load().clone(), calls.connections().clone());
    let load = ConnectionLoad::new(load, limits.unread_max);
    let load = Arc::new(load.making_room(move |asking| others.make_room(asking)));
    let connected = calls.connections().enter(load.clone());
    let turns = Turns::new(load.clone(), limits.unread_timeout);
    // Whatever ends this connection: calls that it read and nobody began end with it.
    let _ending = turns.ending();
    let (counted, reading, peer) = (load.clone(), turns.clone(), Arc::new(peer));
    let service = service_fn(move |request| {
        let (calls, peer) = (calls.clone(), peer.clone());
        // Now, as the connection reads it, and not when its turn comes.
        let arrival = calls.arrive(&request, &counted);
        reading.read(arrival.progress());
        async move { Ok::<_, Infallible>(calls.handle(request, arrival, &peer).await) }
    });
    let mut builder = Builder::new(turns.clone());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(http2.stream_window)
        .initial_connection_window_size(http2.connection_window)
        .keep_alive_interval(http2.keep_alive_interval)
        .keep_alive_timeout(http2.keep_alive_timeout)
        .max_concurrent_streams(http2.streams_max)
        .max_pending_accept_reset_streams(CALLED_OFF_MAX.max(http2.streams_max as usize));
    let stream = TokioIo::new(Watched::new(stream, load.clone()));
    let mut connection = pin!(builder.serve_connection(stream, service));
    let mut idle = pin!(idle(&load, limits.idle_timeout));
    let mut stalled = pin!(stalled(&load, limits.unread_timeout));
    let mut going = false;
    let mut leaving = pin!(left(&connected, &load));
    loop {
        tokio::select! {
            outcome = turns.carry(connection.as_mut()) => {
                if let Err(error) = outcome {
                    tracing::debug!(error = %crate::connection::innermost(&*error), "connection ended");
                }
                return;
            }
            () = connected.cut() => return,
            () = leaving.as_mut() => return,
            () = stalled.as_mut() => {
                let (calls, unread) = (load.calls(), load.unread());
                tracing::info!(calls, unread, "connection cut: nothing of it was read for too long");
                return;
            }
            () = closing.cancelled(), if !going => {}
            () = connected.sent_away(), if !going => {}
            () = idle.as_mut(), if !going => {}
        }
        going = true;
        // GOAWAY, or the last HTTP/1 answer; what is in flight is finished.
        connection.as_mut().graceful_shutdown();
    }
}

/// Resolves when a connection that was sent away has not gone, though it carries nothing: its client
/// does not answer.
async fn left(connected: &Connected, load: &ConnectionLoad) {
    connected.sent_away().await;
    loop {
        sleep(LEAVE).await;
        if load.idle_since().is_some() {
            return;
        }
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
