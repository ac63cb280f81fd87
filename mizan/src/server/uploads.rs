//! The bodies of plain requests: they come within a time, and are counted while they may be held.
//!
//! A route that wants the whole body keeps what has come of it until it is there, so a client that
//! sends a little now and then makes it keep that for as long as it likes, and many clients much of it.
//! A body must come at a least rate (as with Apache's `RequestReadTimeout`), and what has come counts
//! with all that the server holds, until the request was answered.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{connections::Connections, life::Received, rest::Left};

/// How long a body may take however small it is; and one second more for so many bytes.
const PATIENCE: Duration = Duration::from_secs(10);
const RATE: usize = 16 << 10;

/// Of one body no more is counted: what routes keep whole is smaller (axum's own bound is 2 MiB), and
/// what is larger is passed on as it comes.
const COUNTED_MAX: usize = 2 << 20;

/// A body on its way in, as the one who answers the request sees it. Dropped, nothing of it counts.
#[derive(Debug)]
pub(super) struct Upload(Arc<State>);

#[derive(Debug)]
struct State {
    received: Received,
    late: AtomicBool,
}

impl Upload {
    /// Watches a request's body, of one of these connections.
    pub(super) fn watch(
        request: Request<Left>,
        received: Received,
        connections: Arc<Connections>,
    ) -> (Request<Body>, Self) {
        let state = Arc::new(State {
            received,
            late: AtomicBool::new(false),
        });
        let upload = Self(Arc::clone(&state));
        let request = request.map(|inner| {
            if http_body::Body::is_end_stream(&inner) {
                // As nearly always: nothing to wait for.
                return Body::empty();
            }
            let begun = Instant::now();
            Body::new(Watched {
                inner,
                state,
                connections,
                begun,
                bytes: 0,
                alarm: Box::pin(sleep_until(begun + PATIENCE)),
            })
        });
        (request, upload)
    }

    /// Whether it did not come in time.
    pub(super) fn is_late(&self) -> bool {
        self.0.late.load(Ordering::Relaxed)
    }

    /// The answer, unless the body did not come: then that is the answer.
    pub(super) fn answered(&self, answer: Response) -> Response {
        if !self.is_late() {
            return answer;
        }
        let text = "The body of the request came too slowly: at least 16 KiB a second after the first 10 s.\n";
        let close = [(http::header::CONNECTION, "close")];
        (StatusCode::REQUEST_TIMEOUT, close, text).into_response()
    }
}

/// By when a body must be there of which so many bytes have come.
fn due(begun: Instant, bytes: usize) -> Instant {
    let seconds = u64::try_from(bytes / RATE).unwrap_or(u64::MAX);
    let more = Duration::from_secs(seconds);
    (begun + PATIENCE)
        .checked_add(more)
        .unwrap_or(begun + PATIENCE)
}

struct Watched {
    inner: Left,
    state: Arc<State>,
    connections: Arc<Connections>,
    begun: Instant,
    bytes: usize,
    alarm: Pin<Box<Sleep>>,
}

impl Watched {
    fn came(&mut self, bytes: usize) {
        let room = COUNTED_MAX.saturating_sub(self.bytes);
        self.bytes = self.bytes.saturating_add(bytes);
        let counted = bytes.min(room);
        let received = &self.state.received;
        if counted > 0 && !received.add(counted) {
            self.connections.make_room_or_go(received.connection());
        }
        self.alarm.as_mut().reset(due(self.begun, self.bytes));
    }
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        let this = &mut *self;
        match Pin::new(&mut this.inner).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    this.came(data.len());
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending if this.alarm.as_mut().poll(context).is_ready() => {
                this.state.late.store(true, Ordering::Relaxed);
                Poll::Ready(Some(Err("the body came too slowly".into())))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_ten_seconds_and_one_for_each_sixteen_kibibytes() {
        let begun = Instant::now();
        let seconds = |bytes| (due(begun, bytes) - begun).as_secs();
        assert_eq!(seconds(0), 10);
        assert_eq!(seconds(RATE - 1), 10);
        assert_eq!(seconds(512 << 10), 42, "the most that the registry takes");
        assert!(seconds(usize::MAX) > 1_000_000);
    }
}
