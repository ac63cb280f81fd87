//! A connection's bytes, watched: whether they leave, and whether what was begun comes.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::{frames::Frames, life::ConnectionLoad};

/// A transport that notes when it takes bytes and when it takes no more. Only here can a client that
/// reads slowly be told from one that does not read: what it has in its window was handed on long
/// before.
///
/// It breaks off when a client of HTTP/2 does not finish in time what it began: its own beginning, a
/// frame, headers of several.
pub(super) struct Watched<S> {
    stream: S,
    load: Arc<ConnectionLoad>,
    frames: Frames,
    time: Duration,
    /// What the alarm is set for.
    owed: Option<u64>,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<S> Watched<S> {
    /// What a client begins has so much time.
    pub(super) fn new(stream: S, load: Arc<ConnectionLoad>, time: Duration) -> Self {
        Self {
            stream,
            load,
            frames: Frames::default(),
            time,
            owed: None,
            alarm: None,
        }
    }

    /// Nothing is there to be read: whether what is owed is late.
    fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        let owed = self.frames.owed();
        if owed != self.owed {
            self.owed = owed;
            match (owed, &mut self.alarm, Instant::now().checked_add(self.time)) {
                (Some(_), Some(alarm), Some(until)) => alarm.as_mut().reset(until),
                (Some(_), alarm, Some(until)) => *alarm = Some(Box::pin(sleep_until(until))),
                _ => {}
            }
        }
        let alarm = self.alarm.as_mut().filter(|_| owed.is_some());
        alarm.is_some_and(|alarm| alarm.as_mut().poll(context).is_ready())
    }

    fn note(&self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Ready(Ok(_)) => self.load.wrote(),
            Poll::Pending => self.load.blocks(),
            Poll::Ready(Err(_)) => {}
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        match &read {
            Poll::Ready(Ok(())) => self.frames.read(&buffer.filled()[before..]),
            Poll::Pending if self.is_late(context) => {
                let text = "what the client began to say did not come";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, text)));
            }
            _ => {}
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.note(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
