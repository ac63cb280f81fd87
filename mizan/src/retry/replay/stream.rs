//! A body that is still being written, read by several attempts.
//!
//! ```text
//!  source ─► [ chunk | chunk | chunk ] ◄─ base: what is still kept
//!                ▲               ▲
//!          attempt 1        attempt 0    each knows its own place; whoever needs more reads it
//! ```
//!
//! A source wakes every attempt that waits, so that none depends on another being polled.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use bytes::Bytes;
use http_body::{Body as _, Frame};
use parking_lot::Mutex;
use tonic::{Status, body::Body};

use super::memory::Share;

/// A stream that is kept as far as it was read. Clones share it.
#[derive(Clone)]
pub(super) struct Stream {
    buffer: Arc<Mutex<Buffer>>,
    /// Apart from the buffer, because the source holds it: it must not keep itself alive, and it
    /// may wake while it is being read.
    waiting: Arc<Waiting>,
}

struct Buffer {
    /// `None` once it ended.
    source: Option<Body>,
    broken_off: Option<Status>,
    chunks: VecDeque<Bytes>,
    /// How many chunks were let go.
    base: usize,
    share: Share,
    /// Whether everything that is in `chunks` could be taken from the memory.
    fits: bool,
    owner: Option<u32>,
    /// How far each attempt has read.
    places: Vec<(u32, usize)>,
    /// Given to the source.
    waker: Waker,
}

#[derive(Default)]
struct Waiting(Mutex<Vec<(u32, Waker)>>);

impl Stream {
    pub(super) fn new(chunks: VecDeque<Bytes>, source: Option<Body>, mut share: Share) -> Self {
        let waiting = Arc::new(Waiting::default());
        let fits = chunks.iter().all(|chunk| share.take(chunk.len()));
        let buffer = Buffer {
            source,
            broken_off: None,
            chunks,
            base: 0,
            share,
            fits,
            owner: None,
            places: Vec::new(),
            waker: waiting.clone().into(),
        };
        Self {
            buffer: Arc::new(Mutex::new(buffer)),
            waiting,
        }
    }

    /// The body of attempt `id`, from the beginning.
    pub(super) fn reader(&self, id: u32) -> Option<Reader> {
        self.can_be_sent().then(|| Reader {
            stream: self.clone(),
            id,
            next: 0,
        })
    }

    pub(super) fn can_be_sent(&self) -> bool {
        let buffer = self.buffer.lock();
        buffer.owner.is_none() && buffer.broken_off.is_none()
    }

    pub(super) fn commit(&self, id: u32) {
        let mut buffer = self.buffer.lock();
        let owner = *buffer.owner.get_or_insert(id);
        let passed = buffer.places.iter().find(|(id, _)| *id == owner);
        let passed = passed.map_or(0, |(_, place)| *place);
        buffer.release(passed);
        drop(buffer);
        // The others find that they are not the owner.
        self.waiting.wake_all();
    }

    pub(super) fn committed_to(&self) -> Option<u32> {
        self.buffer.lock().owner
    }

    pub(super) fn broken_off(&self) -> Option<Status> {
        self.buffer.lock().broken_off.clone()
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}

impl Waiting {
    fn register(&self, id: u32, waker: &Waker) {
        let mut waiting = self.0.lock();
        match waiting.iter_mut().find(|(waits, _)| *waits == id) {
            Some((_, old)) => old.clone_from(waker),
            None => waiting.push((id, waker.clone())),
        }
    }

    fn forget(&self, id: u32) {
        self.0.lock().retain(|(waits, _)| *waits != id);
    }

    fn wake_all(&self) {
        // As many as there are now: one that comes back at once has seen the news.
        let count = self.0.lock().len();
        for _ in 0..count {
            // Woken after the lock is given back: a waker may do anything.
            let waiting = self.0.lock().pop();
            if let Some((_, waker)) = waiting {
                waker.wake();
            }
        }
    }
}

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        self.wake_all();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_all();
    }
}

impl Buffer {
    /// The chunk at this place, if it was read already. Commits to the reader when it is the last
    /// and could not be kept.
    fn read(&mut self, id: u32, place: usize) -> Option<Bytes> {
        let index = place.checked_sub(self.base)?;
        let chunk = self.chunks.get(index)?.clone();
        match self.places.iter_mut().find(|(reader, _)| *reader == id) {
            Some((_, passed)) => *passed = place + 1,
            None => self.places.push((id, place + 1)),
        }
        if !self.fits && index + 1 == self.chunks.len() {
            self.owner.get_or_insert(id);
        }
        Some(chunk)
    }

    /// Lets go of everything before this place.
    fn release(&mut self, place: usize) {
        while self.base < place
            && let Some(chunk) = self.chunks.pop_front()
        {
            self.share.give_back(chunk.len());
            self.base += 1;
        }
    }

    /// Reads one more chunk from the source. `Ready` when there is something new to look at.
    fn pull(&mut self) -> Poll<()> {
        let Some(source) = &mut self.source else {
            return Poll::Ready(());
        };
        let mut context = Context::from_waker(&self.waker);
        match Pin::new(source).poll_frame(&mut context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Some(Ok(frame))) => {
                // Requests have no trailers.
                if let Ok(data) = frame.into_data() {
                    self.fits = self.fits && (self.owner.is_some() || self.share.take(data.len()));
                    self.chunks.push_back(data);
                }
            }
            Poll::Ready(Some(Err(status))) => {
                self.source = None;
                self.broken_off = Some(status);
            }
            Poll::Ready(None) => self.source = None,
        }
        Poll::Ready(())
    }
}

/// The body of one attempt.
pub(super) struct Reader {
    stream: Stream,
    id: u32,
    next: usize,
}

impl Reader {
    /// The next chunk, and whether the others have something to look at.
    fn poll(&mut self, context: &Context<'_>) -> (Poll<Option<Result<Bytes, Status>>>, bool) {
        let mut buffer = self.stream.buffer.lock();
        let mut news = false;
        loop {
            if buffer.owner.is_some_and(|owner| owner != self.id) {
                let status = Status::cancelled("another attempt of this call goes on");
                return (Poll::Ready(Some(Err(status))), news);
            }
            if let Some(chunk) = buffer.read(self.id, self.next) {
                self.next += 1;
                if buffer.owner == Some(self.id) {
                    buffer.release(self.next);
                    news = true;
                }
                return (Poll::Ready(Some(Ok(chunk))), news);
            }
            if let Some(status) = &buffer.broken_off {
                return (Poll::Ready(Some(Err(status.clone()))), news);
            }
            if buffer.source.is_none() {
                return (Poll::Ready(None), news);
            }
            // Before the source is asked: it may wake at once.
            self.stream.waiting.register(self.id, context.waker());
            if buffer.pull().is_pending() {
                return (Poll::Pending, news);
            }
            self.stream.waiting.forget(self.id);
            news = true;
        }
    }
}

impl http_body::Body for Reader {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let (polled, news) = self.poll(context);
        if news {
            self.stream.waiting.wake_all();
        }
        polled.map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stream.waiting.forget(self.id);
    }
}
