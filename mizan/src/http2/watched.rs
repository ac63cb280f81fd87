//! A socket that notes what came in: whether the other side speaks HTTP/2, and whether it is alive.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

/// A frame's header: a length of three bytes, the type, flags, and the stream's four.
const FRAME_HEADER: usize = 9;
const SETTINGS: u8 = 4;

/// What came in so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Something, since last asked.
    lately: AtomicBool,
    /// The peer's first frame, which must be SETTINGS (RFC 9113 3.4).
    settings: CancellationToken,
}

impl Seen {
    /// Whether anything came since this was last asked.
    pub(super) fn lately(&self) -> bool {
        self.lately.swap(false, Ordering::Relaxed)
    }

    /// Waits for the peer's SETTINGS.
    pub(super) async fn settings(&self) {
        self.settings.cancelled().await;
    }
}

/// A socket, watched.
#[derive(Debug)]
pub(super) struct Watched<IO> {
    io: IO,
    seen: Arc<Seen>,
    /// How many bytes of the first frame's header have come; `None` once its type is known.
    preface: Option<usize>,
}

impl<IO> Watched<IO> {
    pub(super) fn new(io: IO, seen: Arc<Seen>) -> Self {
        Self {
            io,
            seen,
            preface: Some(0),
        }
    }

    fn note(&mut self, read: &[u8]) {
        self.seen.lately.store(true, Ordering::Relaxed);
        let Some(before) = self.preface else { return };
        let kind = 3_usize.checked_sub(before).and_then(|at| read.get(at));
        let after = before + read.len();
        if kind.is_some_and(|kind| *kind != SETTINGS) {
            // No HTTP/2: h2 says so by itself.
            self.preface = None;
        } else if after >= FRAME_HEADER {
            self.preface = None;
            self.seen.settings.cancel();
        } else {
            self.preface = Some(after);
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Watched<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(context, buffer);
        if let Some(new) = buffer.filled().get(before..)
            && !new.is_empty()
        {
            self.note(new);
        }
        read
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Watched<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(chunks: &[&[u8]]) -> bool {
        let seen = Arc::new(Seen::default());
        let mut watched = Watched::new((), seen.clone());
        for chunk in chunks {
            watched.note(chunk);
        }
        seen.settings.is_cancelled()
    }

    #[test]
    fn only_a_settings_frame_is_http2() {
        let settings: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
        assert!(seen(&[settings]));
        let bytes: Vec<_> = settings.chunks(1).collect();
        assert!(seen(&bytes));
        assert!(!seen(&[&settings[..8]]));
        assert!(!seen(&[b"HTTP/1.1 400 Bad Request\r\n"]));
        assert!(!seen(&[b"HTT", b"P/1.1 400 Bad Request\r\n"]));
    }

    #[test]
    fn life_is_told_once() {
        let seen = Arc::new(Seen::default());
        let mut watched = Watched::new((), seen.clone());
        assert!(!seen.lately());
        watched.note(b"x");
        assert!(seen.lately());
        assert!(!seen.lately());
    }
}
