//! The task that moves a connection's bytes, notices GOAWAY, and asks a silent peer for a sign.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
};

use bytes::Bytes;
use h2::{
    Ping, PingPong,
    client::{Connection, SendRequest},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, Sleep, sleep},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::{
    Ended, KeepAlive, State,
    watched::{Seen, Watched},
};

/// Drives one connection until it is gone.
pub(super) struct Driver<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    connection: Connection<Watched<IO>, Bytes>,
    /// To look whether requests are still taken; let go when no handle is left, since the
    /// connection stays open for as long as there is one.
    send: Option<SendRequest<Bytes>>,
    dropped: Pin<Box<WaitForCancellationFutureOwned>>,
    state: Arc<State>,
    pinger: Option<Pinger>,
}

impl<IO> Driver<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    pub(super) fn new(
        mut connection: Connection<Watched<IO>, Bytes>,
        send: SendRequest<Bytes>,
        state: Arc<State>,
        seen: Arc<Seen>,
        dropped: CancellationToken,
        keep_alive: Option<KeepAlive>,
    ) -> Self {
        let pinger = keep_alive.and_then(|config| {
            Some(Pinger {
                pings: connection.ping_pong()?,
                alarm: Box::pin(sleep(config.interval)),
                waiting: false,
                seen,
                config,
            })
        });
        Self {
            connection,
            send: Some(send),
            dropped: Box::pin(dropped.cancelled_owned()),
            state,
            pinger,
        }
    }

    fn ended(&self, reason: Option<h2::Reason>, message: String) {
        tracing::debug!(message, "connection lost");
        // It is set once: the driver ends with it.
        let _ = self.state.ended.set(Ended { reason, message });
    }
}

impl<IO> Future for Driver<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.send.is_some() && this.dropped.as_mut().poll(context).is_ready() {
            this.send = None;
        }
        if let Poll::Ready(ended) = Pin::new(&mut this.connection).poll(context) {
            if let Err(error) = ended {
                this.ended(error.reason(), error.to_string());
            }
            return Poll::Ready(());
        }
        // After a GOAWAY this fails, also while calls are under way.
        if let Some(send) = &mut this.send
            && matches!(send.poll_ready(context), Poll::Ready(Err(_)))
        {
            this.state.go();
        }
        let state = &this.state;
        let under_way = || {
            state
                .under_way
                .as_ref()
                .map_or(0, |n| n.load(Ordering::Relaxed))
        };
        let busy = || under_way() > 0;
        let Some(pinger) = &mut this.pinger else {
            return Poll::Pending;
        };
        if pinger.poll(context, busy).is_ready() {
            let silence = pinger.config.timeout;
            this.ended(None, format!("keepalive unanswered for {silence:?}"));
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl<IO> Drop for Driver<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    fn drop(&mut self) {
        self.state.go();
        self.state.closed.cancel();
    }
}

struct Pinger {
    pings: PingPong,
    alarm: Pin<Box<Sleep>>,
    /// A ping is out, and the alarm is its time limit.
    waiting: bool,
    seen: Arc<Seen>,
    config: KeepAlive,
}

impl Pinger {
    /// Ready when the other side is not there any more.
    fn poll(&mut self, context: &mut Context<'_>, busy: impl Fn() -> bool) -> Poll<()> {
        loop {
            if self.waiting {
                match self.pings.poll_pong(context) {
                    Poll::Ready(Ok(_)) => self.rest(),
                    // The connection is going; it says so itself.
                    Poll::Ready(Err(_)) => return Poll::Pending,
                    Poll::Pending if self.alarm.as_mut().poll(context).is_ready() => {
                        return Poll::Ready(());
                    }
                    Poll::Pending => return Poll::Pending,
                }
            }
            if self.alarm.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            let silent = !self.seen.lately();
            if silent && (self.config.while_idle || busy()) {
                if self.pings.send_ping(Ping::opaque()).is_err() {
                    return Poll::Pending;
                }
                self.waiting = true;
                self.alarm
                    .as_mut()
                    .reset(Instant::now() + self.config.timeout);
            } else {
                self.rest();
            }
        }
    }

    fn rest(&mut self) {
        self.waiting = false;
        self.alarm
            .as_mut()
            .reset(Instant::now() + self.config.interval);
    }
}
