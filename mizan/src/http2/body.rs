//! The bodies of requests that are streams, and of responses.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http_body::{Body as _, Frame, SizeHint};
use tokio::task::JoinHandle;
use tonic::body::Body;

use super::UnderWay;

/// The task that sends a request's stream; it ends with the call.
#[derive(Debug)]
pub(super) struct Pumping(JoinHandle<()>);

impl Pumping {
    pub(super) fn new(task: JoinHandle<()>) -> Self {
        Self(task)
    }
}

impl Drop for Pumping {
    fn drop(&mut self) {
        // What is not sent by now nobody waits for; h2 resets the stream if it is still open.
        self.0.abort();
    }
}

/// Sends a body as far as the server's window allows, until it ends or the server had enough.
pub(super) async fn pump(mut body: Body, mut stream: SendStream<Bytes>) {
    loop {
        let next = poll_fn(|context| {
            if stream.poll_reset(context).is_ready() {
                return Poll::Ready(Next::Unwanted);
            }
            Pin::new(&mut body).poll_frame(context).map(Next::from)
        });
        let sent = match next.await {
            Next::Unwanted => return,
            Next::End => stream.send_data(Bytes::new(), true),
            Next::Data(data) => {
                let last = body.is_end_stream();
                match send(&mut stream, data, last).await {
                    Ok(()) if !last => continue,
                    sent => sent,
                }
            }
            Next::Broken => {
                stream.send_reset(Reason::CANCEL);
                return;
            }
        };
        if let Err(error) = sent {
            tracing::debug!(%error, "request stream not sent to its end");
        }
        return;
    }
}

enum Next {
    Data(Bytes),
    End,
    /// The caller's stream failed.
    Broken,
    /// The server wants no more of it.
    Unwanted,
}

impl<E> From<Option<Result<Frame<Bytes>, E>>> for Next {
    fn from(frame: Option<Result<Frame<Bytes>, E>>) -> Self {
        match frame {
            None => Self::End,
            Some(Err(_)) => Self::Broken,
            // A client's body has no trailers; what is not data carries nothing.
            Some(Ok(frame)) => Self::Data(frame.into_data().unwrap_or_default()),
        }
    }
}

async fn send(
    stream: &mut SendStream<Bytes>,
    mut data: Bytes,
    last: bool,
) -> Result<(), h2::Error> {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let window = match poll_fn(|context| stream.poll_capacity(context)).await {
            Some(window) => window?,
            // Closed under our hands; the response says why.
            None => return Ok(()),
        };
        let part = data.split_to(window.min(data.len()));
        let end = last && data.is_empty();
        stream.send_data(part, end)?;
    }
    Ok(())
}

/// The body of a response, as it comes in.
#[derive(Debug)]
pub(crate) struct Incoming {
    received: RecvStream,
    /// The data is over; trailers may follow.
    data_over: bool,
    over: bool,
    pumping: Option<Pumping>,
    _under_way: Option<UnderWay>,
}

impl Incoming {
    pub(super) fn new(
        received: RecvStream,
        pumping: Option<Pumping>,
        under_way: Option<UnderWay>,
    ) -> Self {
        Self {
            received,
            data_over: false,
            over: false,
            pumping,
            _under_way: under_way,
        }
    }

    fn end(&mut self) {
        self.over = true;
        self.pumping = None;
    }

    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, h2::Error>>> {
        let data = match ready!(self.received.poll_data(context)) {
            // An early but complete response (RFC 9113 8.1): trailers were all there was to come.
            Some(Err(error)) if error.reason() == Some(Reason::NO_ERROR) && error.is_reset() => {
                return Poll::Ready(None);
            }
            Some(Ok(data)) => data,
            other => return Poll::Ready(other),
        };
        // Read is read: the window opens again by as much.
        match self.received.flow_control().release_capacity(data.len()) {
            Ok(()) => Poll::Ready(Some(Ok(data))),
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        if !this.data_over {
            match ready!(this.poll_data(context)) {
                Some(Ok(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Some(Err(error)) => {
                    this.end();
                    return Poll::Ready(Some(Err(error)));
                }
                None => this.data_over = true,
            }
        }
        let trailers = ready!(this.received.poll_trailers(context));
        this.end();
        Poll::Ready(match trailers {
            Ok(trailers) => trailers.map(|trailers| Ok(Frame::trailers(trailers))),
            Err(error) if error.reason() == Some(Reason::NO_ERROR) && error.is_reset() => None,
            Err(error) => Some(Err(error)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.over || (self.received.is_end_stream() && self.data_over)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
