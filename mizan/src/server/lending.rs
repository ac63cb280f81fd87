//! The bodies of calls: one that waits for its client lends its place to others.
//!
//! *Problem.* A place is for work. A client that sends headers and no message, or a byte of one now and
//! then, and says that it has all the time in the world, would hold a place for as long.
//!
//! *What it does.* A call may wait for its client for [`PATIENCE`] in all, and longer as more comes (as
//! bodies of pages). From then on it costs memory only, like a quiet stream: others may have the place.
//! When more comes it needs a place again; where there is none it ends.
//!
//! *What it does not do.* End a call that waits: that is its deadline's. A stream that is quiet for an
//! hour may go on.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::Code;

use super::life::Seat;
use crate::status;

/// How long a call may wait for its client in its place; and one second more for so many bytes.
const PATIENCE: Duration = Duration::from_secs(10);
const RATE: u32 = 16 << 10;

/// When to call again whose place others have.
const RETRY: Duration = Duration::from_millis(100);

/// A request's body, and the place of its call.
pub(super) struct Lending<B> {
    inner: B,
    seat: Option<Arc<Seat>>,
    /// How long it may still wait.
    patience: Duration,
    waiting: Option<Waiting>,
}

struct Waiting {
    since: Instant,
    /// Nothing once the place is lent.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<B> Lending<B> {
    /// The request of a call that has this place, or needs none.
    pub(super) fn of(request: Request<B>, seat: Option<Arc<Seat>>) -> Request<Self> {
        request.map(|inner| Self {
            inner,
            seat,
            patience: PATIENCE,
            waiting: None,
        })
    }

    fn waits(&mut self, context: &mut Context<'_>) {
        let Some(seat) = &self.seat else { return };
        let patience = self.patience;
        let waiting = self.waiting.get_or_insert_with(|| {
            let since = Instant::now();
            let alarm = Some(Box::pin(sleep_until(since + patience)));
            Waiting { since, alarm }
        });
        if let Some(alarm) = &mut waiting.alarm
            && alarm.as_mut().poll(context).is_ready()
        {
            waiting.alarm = None;
            seat.lend();
        }
    }

    /// Whether its call has a place for what came.
    fn goes_on(&mut self, bytes: usize) -> bool {
        let Some(seat) = &self.seat else { return true };
        if let Some(waiting) = self.waiting.take() {
            self.patience = self.patience.saturating_sub(waiting.since.elapsed());
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let earned = Duration::from_secs(1) * bytes / RATE;
        self.patience = self.patience.saturating_add(earned).min(PATIENCE);
        seat.resume()
    }
}

impl<B> http_body::Body for Lending<B>
where
    B: http_body::Body<Data = Bytes, Error: Into<axum::BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) else {
            this.waits(context);
            return Poll::Pending;
        };
        let bytes = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
            Some(Err(_)) | None => 0,
        };
        if this.goes_on(bytes) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let lost = status::retry_later(
            Code::ResourceExhausted,
            "PLACE_LENT",
            "the rest of the request came too late, and the server handles as many other calls as it can",
            RETRY,
        );
        Poll::Ready(Some(Err(lost.into())))
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
    use http_body_util::{BodyExt as _, StreamBody};
    use tokio::{sync::mpsc, time::sleep};
    use tokio_stream::wrappers::UnboundedReceiverStream;

    use super::*;
    use crate::server::life::{ConnectionLoad, Life, Load};

    type Came = Result<Frame<Bytes>, std::convert::Infallible>;

    /// A body that a test sends, of a call on a server with one place, and the server's load.
    fn call(
        load: &Arc<Load>,
    ) -> (
        mpsc::UnboundedSender<Came>,
        impl http_body::Body<Data = Bytes, Error = axum::BoxError> + Unpin + use<>,
        Life,
    ) {
        let (client, body) = mpsc::unbounded_channel::<Came>();
        let connection = Arc::new(ConnectionLoad::new(Arc::clone(load), 1 << 20));
        let life = Life::counted(&connection);
        let body = StreamBody::new(UnboundedReceiverStream::new(body));
        let request = Lending::of(Request::new(body), life.seat());
        (client, request.into_body(), life)
    }

    fn data(bytes: usize) -> Came {
        Ok(Frame::data(vec![0; bytes].into()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_waits_for_its_client_lends_its_place_and_takes_one_again() {
        let load = Arc::new(Load::new(1, 1 << 20));
        let (client, mut body, life) = call(&load);
        let reading = tokio::spawn(async move { (body.frame().await, body) });
        sleep(PATIENCE - Duration::from_millis(1)).await;
        assert_eq!(load.taken(), 1);
        sleep(Duration::from_millis(2)).await;
        assert_eq!(load.taken(), 0);
        client.send(data(1)).unwrap();
        let (frame, mut body) = reading.await.unwrap();
        assert!(frame.unwrap().is_ok());
        assert_eq!(load.taken(), 1, "it works again");
        // It has no patience left: a byte now and then holds nothing.
        let reading = tokio::spawn(async move { body.frame().await });
        sleep(Duration::from_millis(2)).await;
        assert_eq!(load.taken(), 0);
        let other = call(&load);
        client.send(data(1)).unwrap();
        let lost = reading.await.unwrap().unwrap().unwrap_err();
        let lost = lost.downcast::<tonic::Status>().unwrap();
        assert_eq!(status::reason(&lost).as_deref(), Some("PLACE_LENT"));
        drop((life, other));
        assert_eq!((load.taken(), load.calls()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_that_comes_at_its_rate_keeps_its_place_for_as_long_as_it_takes() {
        let load = Arc::new(Load::new(1, 1 << 20));
        let (client, mut body, _life) = call(&load);
        let reading = tokio::spawn(async move { while body.frame().await.is_some() {} });
        for _ in 0..100 {
            sleep(Duration::from_secs(4)).await;
            assert_eq!(load.taken(), 1);
            client.send(data(64 << 10)).unwrap();
        }
        drop(client);
        reading.await.unwrap();
    }
}
