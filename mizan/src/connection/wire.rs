//! The byte stream of a connection, watched: what was seen on it is shared with the connection's
//! handles.

use std::{
    io::{self, IoSlice},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll, ready},
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{Notify, oneshot},
};
use tokio_util::sync::CancellationToken;

use super::{
    Transport,
    frames::{Frames, GoAway, Seen, Settings},
    streams::{Freed, Streams},
};

/// How many calls may be given up on a connection on which nothing arrives: further ones wait, in
/// this process, until the peer shows a sign of life. Each given up is a RST_STREAM, and a peer that
/// is too busy to look at them needs no more; 20 is what careful servers (h2, and so hyper and
/// tonic) take before they end the connection and with it all calls that would still be answered.
pub(super) const GIVEN_UP_MAX: u32 = 20;

/// How many streams may be reset on a connection before it is replaced. The HTTP/2 library counts
/// what still arrives of them once they are forgotten, ends the connection at [`STRAYS_MAX`] such
/// frames, and with it every call it carries; so it is replaced in time, and what it carries is
/// finished. An answer is three frames as a rule.
pub(super) const RESETS_MAX: u32 = 1 << 18;
/// Four times as many.
pub(super) const STRAYS_MAX: usize = 1 << 20;

/// What the handles of a connection share about its state.
#[derive(Debug)]
pub(super) struct Wire {
    /// No new stream may begin. Beside the token, because a pick asks it, without a lock.
    over: AtomicBool,
    /// The same, to wait for.
    ending: CancellationToken,
    /// Nothing is carried any more.
    gone: CancellationToken,
    /// Counts what arrives, for keepalive; wraps.
    reads: AtomicU32,
    /// Calls given up before their response, since something arrived last.
    given_up: AtomicU32,
    /// Calls given up before their response, since one got its response.
    fruitless: AtomicU32,
    /// Tells calls that wait for it of a sign of life.
    alive: Notify,
    /// Tells keepalive to ask for one. Without keepalive nobody asks, and no call waits.
    ask: Notify,
    asks: bool,
    parting: Mutex<Parting>,
    streams: Streams,
    /// The most bytes of headers that the peer takes; no limit until it says one.
    headers_max: AtomicU32,
    resets: AtomicU32,
    resets_max: u32,
}

#[derive(Debug, Default)]
struct Parting {
    goodbye: Option<GoAway>,
    reason: Option<String>,
}

impl Wire {
    /// Of a connection whose peer can be asked whether it is alive, or cannot, which tells `freed` of
    /// its free streams, and ends for new calls after so many resets.
    pub(super) fn new(asks: bool, freed: Arc<Freed>, resets_max: u32) -> Self {
        Self {
            over: AtomicBool::default(),
            ending: CancellationToken::default(),
            gone: CancellationToken::default(),
            reads: AtomicU32::default(),
            given_up: AtomicU32::default(),
            fruitless: AtomicU32::default(),
            alive: Notify::default(),
            ask: Notify::default(),
            asks,
            parting: Mutex::default(),
            streams: Streams::new(freed),
            headers_max: AtomicU32::new(u32::MAX),
            resets: AtomicU32::default(),
            resets_max,
        }
    }

    pub(super) fn streams(&self) -> &Streams {
        &self.streams
    }

    /// The most bytes of headers that the peer takes.
    pub(super) fn headers_max(&self) -> u32 {
        self.headers_max.load(Ordering::Relaxed)
    }

    fn settled(&self, settings: Settings) {
        if let Some(max) = settings.headers_max {
            self.headers_max.store(max, Ordering::Relaxed);
        }
        if let Some(max) = settings.streams_max {
            self.streams.allow(max);
        }
    }

    /// A stream is reset, whose answer may still come.
    pub(super) fn reset(&self) {
        if self
            .resets
            .fetch_add(1, Ordering::Relaxed)
            .saturating_add(1)
            == self.resets_max
        {
            self.end(|| format!("{} calls on it were given up", self.resets_max));
        }
    }

    /// A call was given up before its response began.
    pub(super) fn gave_up(&self) {
        let fruitless = self.fruitless.fetch_add(1, Ordering::Relaxed);
        if fruitless.saturating_add(1).is_multiple_of(GIVEN_UP_MAX) {
            self.streams.freed().want();
        }
        let before = self.given_up.fetch_add(1, Ordering::Relaxed);
        if before.saturating_add(1) == GIVEN_UP_MAX {
            self.ask.notify_one();
        }
    }

    /// A call's response began.
    pub(super) fn answered(&self) {
        if self.fruitless.load(Ordering::Relaxed) > 0 {
            self.fruitless.store(0, Ordering::Relaxed);
        }
    }

    /// Whether so many calls in a row were given up, whatever else arrives: its windows may be taken
    /// by streams that nobody reads.
    pub(super) fn is_fruitless(&self) -> bool {
        self.fruitless.load(Ordering::Relaxed) >= GIVEN_UP_MAX
    }

    /// Whether so many calls were given up, and nothing arrived, that no more should be sent.
    pub(super) fn is_stalled(&self) -> bool {
        self.given_up.load(Ordering::Relaxed) >= GIVEN_UP_MAX && self.asks
    }

    /// Waits until the peer shows a sign of life, or is gone.
    pub(super) async fn alive(&self) {
        loop {
            let mut alive = pin!(self.alive.notified());
            // From now on it is told, so that no sign falls between.
            alive.as_mut().enable();
            if !self.is_stalled() || self.is_over() {
                return;
            }
            tokio::select! {
                () = alive => {}
                () = self.ending() => {}
            }
        }
    }

    /// Waits until a sign of life is wanted.
    pub(super) async fn asked(&self) {
        self.ask.notified().await;
    }

    fn heard(&self) {
        self.reads.fetch_add(1, Ordering::Relaxed);
        if self.given_up.load(Ordering::Relaxed) > 0
            && self.given_up.swap(0, Ordering::Relaxed) >= GIVEN_UP_MAX
        {
            self.alive.notify_waiters();
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Waits until no new stream may begin.
    pub(super) async fn ending(&self) {
        self.ending.cancelled().await;
    }

    /// Waits until nothing is carried any more.
    pub(super) async fn gone(&self) {
        self.gone.cancelled().await;
    }

    pub(super) fn reads(&self) -> u32 {
        self.reads.load(Ordering::Relaxed)
    }

    /// Why the connection ends or ended.
    pub(super) fn reason(&self) -> Option<String> {
        self.parting.lock().reason.clone()
    }

    pub(super) fn goodbye(&self) -> Option<GoAway> {
        self.parting.lock().goodbye.clone()
    }

    /// Whether the peer's GOAWAY says that it did not and will not process this stream.
    pub(super) fn excludes(&self, stream: u32) -> bool {
        let parting = self.parting.lock();
        parting
            .goodbye
            .as_ref()
            .is_some_and(|goodbye| goodbye.last_stream < stream)
    }

    /// No stream may begin from now on; the first reason given stays.
    pub(super) fn end(&self, reason: impl FnOnce() -> String) {
        self.parting.lock().reason.get_or_insert_with(reason);
        self.over.store(true, Ordering::Relaxed);
        self.ending.cancel();
    }

    /// Nothing is carried from now on.
    pub(super) fn lost(&self) {
        self.end(|| "the connection was closed".to_owned());
        self.gone.cancel();
    }

    fn goes_away(&self, goodbye: GoAway) {
        let code = goodbye.code;
        let debug = String::from_utf8_lossy(&goodbye.debug).into_owned();
        // Of several the last one counts: it names the lowest stream.
        self.parting.lock().goodbye = Some(goodbye);
        self.end(|| match (code, debug.is_empty()) {
            (0, _) => "the server is going away".to_owned(),
            (code, true) => format!("the server sent GOAWAY: {}", h2::Reason::from(code)),
            (code, false) => format!(
                "the server sent GOAWAY: {} ({debug:?})",
                h2::Reason::from(code)
            ),
        });
    }
}

/// Told once: the peer's SETTINGS arrived, or what it sent instead.
pub(super) type Settled = oneshot::Receiver<Result<(), &'static str>>;

/// A transport whose incoming frames are watched.
pub(super) struct Watched {
    transport: Box<dyn Transport>,
    frames: Frames,
    wire: Arc<Wire>,
    /// Dropped without a word when the stream ends before.
    settled: Option<oneshot::Sender<Result<(), &'static str>>>,
}

impl Watched {
    pub(super) fn new(transport: Box<dyn Transport>, wire: Arc<Wire>) -> (Self, Settled) {
        let (sender, settled) = oneshot::channel();
        let watched = Self {
            transport,
            frames: Frames::default(),
            wire,
            settled: Some(sender),
        };
        (watched, settled)
    }

    fn read(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            // The peer has closed its side; in time, HTTP/2 will say so too.
            self.settled = None;
            return;
        }
        self.wire.heard();
        let (settled, wire) = (&mut self.settled, &self.wire);
        self.frames.read(bytes, |seen| {
            let told = match seen {
                Seen::Settings(settings) => {
                    wire.settled(settings);
                    Ok(())
                }
                Seen::Stranger(what) => Err(what),
                Seen::Ended(stream) => return wire.streams.ended(stream),
                Seen::GoAway(goodbye) => return wire.goes_away(goodbye),
            };
            if let Some(settled) = settled.take() {
                // Nobody listens when opening took too long.
                let _ = settled.send(told);
            }
        });
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.transport).poll_read(context, buffer))?;
        self.read(buffer.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(context)
    }
}
