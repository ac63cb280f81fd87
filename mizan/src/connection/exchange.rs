//! One call on a connection: the request out, and the wait for the response.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use bytes::Bytes;
use h2::{Reason, SendStream, client::SendRequest};
use http::{
    HeaderValue, Request, Response, Uri,
    header::USER_AGENT,
    uri::{Authority, Scheme},
};
use http_body::{Body as _, Frame};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Status, body::Body};

use super::{
    failure::{SendError, classify, not_sent},
    headers,
    incoming::Incoming,
    innermost,
    streams::Slot,
    wire::Wire,
};

/// Who is spoken to. Held by the connection and by each of its calls.
#[derive(Debug)]
pub(super) struct Peer {
    /// What it was reached at.
    pub(super) address: String,
    /// What it is called in requests.
    pub(super) authority: Authority,
    pub(super) scheme: Scheme,
    pub(super) wire: Arc<Wire>,
    /// The most bytes of headers, and of trailers, that it may answer with.
    pub(super) headers_max: u32,
}

/// What a request carries.
#[derive(Debug)]
pub(crate) enum Payload {
    /// All there is, as for any unary call.
    Whole(Bytes),
    /// A beginning, perhaps none, and more to come.
    Stream(VecDeque<Bytes>, Body),
}

impl Payload {
    /// Takes what a body has ready: that of a unary call is whole.
    pub(super) async fn of(mut body: Body) -> Result<Self, Status> {
        match poll_fn(|context| Poll::Ready(begin(&mut body, context))).await? {
            Start::Whole(bytes) => Ok(Self::Whole(bytes)),
            Start::Part(chunks) => Ok(Self::Stream(chunks, body)),
        }
    }
}

/// What a request's body gives at once.
enum Start {
    Whole(Bytes),
    Part(VecDeque<Bytes>),
}

/// Sends a request, in its place, and waits for the response's headers.
pub(super) async fn send(
    handle: &SendRequest<Bytes>,
    mut slot: Slot,
    mut request: Request<()>,
    payload: Payload,
) -> Result<Response<Incoming>, SendError> {
    let peer = slot.peer.clone();
    if peer.wire.is_stalled() {
        peer.wire.alive().await;
    }
    if peer.wire.is_over() {
        return Err(not_sent(&peer));
    }
    address(&peer, &mut request);
    headers::may_go(&peer, &request).map_err(SendError::Ours)?;
    let empty = matches!(&payload, Payload::Whole(bytes) if bytes.is_empty());
    let whole = matches!(&payload, Payload::Whole(_));
    let sent = slot.begin(whole, || {
        let sent = handle.clone().send_request(request, empty)?;
        Ok::<_, h2::Error>((sent.0.stream_id().as_u32(), sent))
    });
    let (response, mut stream) = match sent {
        Ok(sent) => sent,
        // The connection ended in this instant, or has no stream numbers left.
        Err(error) => {
            peer.wire.end(|| innermost(&error));
            return Err(not_sent(&peer));
        }
    };
    let pipe = match payload {
        Payload::Whole(bytes) => {
            // If it fails, so does the response, which says why.
            let _ = (!empty).then(|| stream.send_data(bytes, true));
            None
        }
        Payload::Stream(chunks, body) => {
            let failure = Arc::new(OnceLock::new());
            let pipe = pipe(body, stream, chunks, failure.clone());
            let _task = AbortOnDropHandle::new(tokio::spawn(pipe));
            Some(Pipe { failure, _task })
        }
    };
    let unanswered = Unanswered(Some(&peer.wire));
    let response = response.await;
    unanswered.answered();
    match response {
        Ok(mut response) => {
            headers::may_come(&peer, response.headers_mut(), "headers").map_err(SendError::Ours)?;
            Ok(response.map(|stream| Incoming::new(stream, pipe, slot)))
        }
        Err(error) => Err(match pipe.as_ref().and_then(Pipe::failure) {
            Some(own) => SendError::Ours(own.clone()),
            None => classify(&peer, slot.number(), &error),
        }),
    }
}

/// A request's stream on its way out. Dropped, it ends.
#[derive(Debug)]
pub(super) struct Pipe {
    /// Why it failed on this side, if it did; then the stream was reset.
    failure: Arc<OnceLock<Status>>,
    _task: AbortOnDropHandle<()>,
}

impl Pipe {
    pub(super) fn failure(&self) -> Option<&Status> {
        self.failure.get()
    }
}

/// A request that left and has no response yet; dropped so, it was given up.
struct Unanswered<'a>(Option<&'a Wire>);

impl Unanswered<'_> {
    fn answered(mut self) {
        if let Some(wire) = self.0.take() {
            wire.answered();
        }
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(wire) = self.0 {
            wire.gave_up();
        }
    }
}

/// Completes the request: tonic's generated clients give only the path.
fn address(peer: &Peer, request: &mut Request<()>) {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(peer.scheme.clone());
    parts.authority = Some(peer.authority.clone());
    // A path and an authority always make a URI.
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    request
        .headers_mut()
        .entry(USER_AGENT)
        .or_insert(HeaderValue::from_static(concat!(
            "mizan/",
            env!("CARGO_PKG_VERSION")
        )));
}

/// Reads what the body has ready: of a stream, two messages at most.
fn begin(body: &mut Body, context: &mut Context<'_>) -> Result<Start, Status> {
    if body.is_end_stream() {
        return Ok(Start::Whole(Bytes::new()));
    }
    let mut chunks = VecDeque::new();
    loop {
        let chunk = match Pin::new(&mut *body).poll_frame(context) {
            // Requests of gRPC have no trailers.
            Poll::Ready(Some(frame)) => frame?.into_data().unwrap_or_default(),
            Poll::Ready(None) => return Ok(Start::Whole(chunks.pop_front().unwrap_or_default())),
            Poll::Pending => return Ok(Start::Part(chunks)),
        };
        match chunks.len() {
            0 if body.is_end_stream() => return Ok(Start::Whole(chunk)),
            0 => chunks.push_back(chunk),
            _ => {
                chunks.push_back(chunk);
                return Ok(Start::Part(chunks));
            }
        }
    }
}

/// Writes the rest of a streaming request as the peer has room for it, until it ends, or the peer
/// wants no more of it.
async fn pipe(
    mut body: Body,
    mut stream: SendStream<Bytes>,
    mut chunks: VecDeque<Bytes>,
    failure: Arc<OnceLock<Status>>,
) {
    loop {
        let frame = match chunks.pop_front() {
            Some(bytes) => Some(Ok(Frame::data(bytes))),
            None => {
                let next = poll_fn(|context| {
                    if stream.poll_reset(context).is_ready() {
                        return Poll::Ready(Err(()));
                    }
                    Pin::new(&mut body).poll_frame(context).map(Ok)
                });
                match next.await {
                    Ok(frame) => frame,
                    Err(()) => return,
                }
            }
        };
        let over = match frame.map(|frame| frame.map(Frame::into_data)) {
            Some(Ok(Ok(bytes))) => write(&mut stream, bytes).await.is_none(),
            Some(Ok(Err(frame))) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                let _ = stream.send_trailers(trailers);
                true
            }
            Some(Err(status)) => {
                // The caller's stream failed: so does the call. Said before the reset is seen.
                let _ = failure.set(status);
                stream.send_reset(Reason::CANCEL);
                true
            }
            None => {
                let _ = stream.send_data(Bytes::new(), true);
                true
            }
        };
        if over {
            return;
        }
    }
}

/// Writes all of it, or returns `None` when the stream is over.
async fn write(stream: &mut SendStream<Bytes>, mut bytes: Bytes) -> Option<()> {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let room = poll_fn(|context| stream.poll_capacity(context))
            .await?
            .ok()?;
        let part = bytes.split_to(room.min(bytes.len()));
        stream.send_data(part, false).ok()?;
    }
    Some(())
}
