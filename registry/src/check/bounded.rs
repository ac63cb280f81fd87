//! How much a check reads: an answer that never begins must cost no more than one that does.
//!
//! HTTP allows any number of interim answers (1xx) before the one that counts, and the libraries read
//! them for as long as they come. A target that sends them without end would keep a worker busy with
//! nothing else.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use mizan::connection::Transport;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most bytes that one run of a check reads: far more than the headers that are taken and the part
/// of a body that is shown, with all that TLS needs around them.
const READ_MAX: usize = 128 << 10;

/// How much a check may still read. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Allowance(Arc<AtomicUsize>);

impl Allowance {
    /// That of one run.
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicUsize::new(READ_MAX)))
    }

    /// Another run begins, on the same connection.
    pub(crate) fn renew(&self) {
        self.0.store(READ_MAX, Ordering::Relaxed);
    }

    /// The stream, read no further than that.
    pub(crate) fn of(&self, stream: Box<dyn Transport>) -> Box<dyn Transport> {
        Box::new(Bounded {
            stream,
            left: self.clone(),
        })
    }
}

struct Bounded {
    stream: Box<dyn Transport>,
    left: Allowance,
}

impl AsyncRead for Bounded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let left = self.left.0.load(Ordering::Relaxed);
        if left == 0 {
            let text = format!("it sent {} KiB and no answer", READ_MAX >> 10);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, text)));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let read = buffer.filled().len() - before;
        let left = left.saturating_sub(read);
        self.left.0.store(left, Ordering::Relaxed);
        polled
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
