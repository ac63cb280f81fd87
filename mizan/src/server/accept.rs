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
    time::{Instant, sleep, sleep_until, timeout_at},
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

/// How long a connection that was told to go to make room may take, if it carries nothing: what a
/// client far away needs to say that it knows.
const LEAVE: Duration = Duration::from_millis(500);

/// The same in a drain, where nobody waits for its place.
const DRAINED: Duration = Duration::from_secs(1);

/// How long a newcomer waits for the place of one that goes. Others wait behind it, in the system's
/// own queue.
const ROOM: Duration = Duration::from_secs(2);

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
    let (mut refusing, mut failing) = (Seldom::default(), Seldom::default());
    loop {
        tokio::select! {
            () = closing.cancelled() => return connections,
            accepted = listener.accept() => match accepted {
                Ok(Accepted { stream, local, info, .. }) => {
                    let room = tokio::select! {
                        room = room(&mut connections, &calls, max) => room,
                        () = closing.cancelled() => return connections,
                    };
                    if let Err(why) = room {
                        if let Some(times) = refusing.happened(Instant::now()) {
                            tracing::warn!(max, times, "a connection is not taken: {why}");
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
                    calls.connections().send_away(few(max));
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

/// How many idle connections are told to go when one is asked for: not each newcomer has to look for
/// one.
fn few(max: usize) -> usize {
    (max / 16).clamp(1, LEAVING_MAX)
}

/// Waits until there is room for one more connection: a place, or one that idle ones are leaving.
///
/// # Errors
/// Why there is none. Where it is known at once it is said at once: left waiting, the client would not
/// turn to another instance.
async fn room(
    connections: &mut JoinSet<()>,
    calls: &Calls,
    max: usize,
) -> Result<(), &'static str> {
    let until = Instant::now() + ROOM;
    loop {
        let beyond = (connections.len() + 1).saturating_sub(max);
        if beyond == 0 {
            return Ok(());
        }
        let wanted = beyond.clamp(few(max), LEAVING_MAX.min(max).max(1));
        let leaving = calls.connections().send_away(wanted);
        if beyond <= leaving {
            return Ok(());
        }
        if leaving == 0 {
            return Err("there are as many as may be, and each of them carries a call");
        }
        tokio::select! {
            Some(_) = connections.join_next() => {}
            () = sleep_until(until) => {
                return Err("there are as many as may be, and those that were told to go have not gone");
            }
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
    let stream = TokioIo::new(Watched::new(stream, load.clone(), limits.header_timeout));
    let mut connection = pin!(builder.serve_connection(stream, service));
    let mut idle = pin!(idle(&load, limits.idle_timeout));
    let mut stalled = pin!(stalled(&load, limits.unread_timeout));
    let mut going = false;
    let mut leaving = pin!(left(&connected, &closing, &load));
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

/// Resolves when a connection that was told to go has not gone, though it carries nothing: its client
/// does not answer. One whose last answers are still leaving carries those.
async fn left(connected: &Connected, closing: &CancellationToken, load: &ConnectionLoad) {
    let time = tokio::select! {
        () = connected.sent_away() => LEAVE,
        () = closing.cancelled() => DRAINED,
    };
    let idle = || {
        let since = load.idle_since()?;
        Some((since, load.is_blocked().then(|| load.motion())))
    };
    let mut before = idle();
    loop {
        sleep(time).await;
        let now = idle();
        if now.is_some() && now == before {
            return;
        }
        before = now;
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
