//! One call on a connection: the request out, the response in, and what a failure means.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, client::SendRequest};
use http::{
    HeaderMap, HeaderValue, Request, Response, Uri,
    header::USER_AGENT,
    uri::{Authority, Scheme},
};
use http_body::{Body as _, Frame};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Code, Status, body::Body};

use super::{innermost, wire::Wire};
use crate::status;

/// The most of a response that is held back.
const HELD_BYTES_MAX: usize = 64 * 1024;

/// Who is spoken to. Held by the connection and by each of its calls.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) authority: Authority,
    pub(super) scheme: Scheme,
    pub(super) wire: Arc<Wire>,
}

/// Why a request got no response. The first two are safe to send again (gRFC A6, transparent
/// retries), the third only if its caller says so.
#[derive(Debug)]
pub(crate) enum SendError {
    /// It never left this process. May be sent elsewhere as often as the deadline allows.
    NotSent(Status),
    /// It left, and the server's library turned it away before the application saw it: by
    /// REFUSED_STREAM, or by a GOAWAY that names a lower stream. May be sent elsewhere once.
    RefusedUnseen(Status),
    /// It left, and nobody knows whether it was processed.
    Unknown(Status),
    /// The request's own stream failed, on this side, and the call with it: this says why, and
    /// nothing of the peer.
    BrokenOff(Status),
}

impl SendError {
    pub(crate) fn into_status(self) -> Status {
        match self {
            Self::NotSent(status)
            | Self::RefusedUnseen(status)
            | Self::Unknown(status)
            | Self::BrokenOff(status) => status,
        }
    }
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

/// Sends a request and waits for the response's headers.
pub(super) async fn send(
    handle: &SendRequest<Bytes>,
    peer: &Arc<Peer>,
    mut request: Request<()>,
    payload: Payload,
) -> Result<Response<Incoming>, SendError> {
    if peer.wire.is_stalled() {
        peer.wire.alive().await;
    }
    if peer.wire.is_over() {
        return Err(not_sent(peer));
    }
    address(peer, &mut request);
    let empty = matches!(&payload, Payload::Whole(bytes) if bytes.is_empty());
    let sent = handle.clone().send_request(request, empty);
    let (response, mut stream) = match sent {
        Ok(sent) => sent,
        // The connection ended in this instant, or has no stream numbers left.
        Err(error) => {
            peer.wire.end(|| innermost(&error));
            return Err(not_sent(peer));
        }
    };
    let number = response.stream_id().as_u32();
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
    // Held from here to the end of the response: by it, keepalive knows that a call is under way.
    let peer = peer.clone();
    let unanswered = Unanswered(Some(&peer.wire));
    let response = response.await;
    unanswered.answered();
    match response {
        Ok(response) => Ok(response.map(|stream| Incoming {
            stream,
            held: Held::default(),
            peer,
            phase: Phase::Data,
            pipe,
        })),
        Err(error) => Err(match pipe.as_ref().and_then(Pipe::failure) {
            Some(own) => SendError::BrokenOff(own.clone()),
            None => classify(&peer, number, &error),
        }),
    }
}

/// A request's stream on its way out. Dropped, it ends.
#[derive(Debug)]
struct Pipe {
    /// Why it failed on this side, if it did; then the stream was reset.
    failure: Arc<OnceLock<Status>>,
    _task: AbortOnDropHandle<()>,
}

impl Pipe {
    fn failure(&self) -> Option<&Status> {
        self.failure.get()
    }
}

/// A request that left and has no response yet; dropped so, it was given up.
struct Unanswered<'a>(Option<&'a Wire>);

impl Unanswered<'_> {
    fn answered(mut self) {
        self.0 = None;
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

/// The body of a response.
#[derive(Debug)]
pub(crate) struct Incoming {
    stream: RecvStream,
    held: Held,
    peer: Arc<Peer>,
    phase: Phase,
    /// Ends the request's stream with the response: whoever has the answer, or lost interest, has
    /// nothing more to say.
    pipe: Option<Pipe>,
}

/// What came of a response and was not given out yet.
#[derive(Debug, Default)]
struct Held {
    /// The first of them needs no allocation: as a rule there is one.
    first: Option<Bytes>,
    further: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Held {
    fn keep(&mut self, frame: Frame<Bytes>) {
        match frame.into_data() {
            Ok(bytes) if self.first.is_none() && self.further.is_empty() => {
                self.first = Some(bytes);
            }
            Ok(bytes) => self.further.push_back(bytes),
            Err(frame) => self.trailers = frame.into_trailers().ok(),
        }
    }

    fn next(&mut self) -> Option<Frame<Bytes>> {
        let data = self.first.take().or_else(|| self.further.pop_front());
        data.map(Frame::data)
            .or_else(|| self.trailers.take().map(Frame::trailers))
    }

    fn is_empty(&self) -> bool {
        self.first.is_none() && self.further.is_empty() && self.trailers.is_none()
    }
}

/// How far a response came that was held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Came {
    /// To its end, or to where nothing more is held: its size, its deadline.
    Well,
    /// It takes its time, as a stream does.
    Slowly,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Data,
    Trailers,
    Over,
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.held.next() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => self.poll_next(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_empty() && (self.phase == Phase::Over || self.stream.is_end_stream())
    }
}

impl Incoming {
    /// Holds the response back until it is there to its end, for `patience` at most, and not beyond
    /// the deadline.
    ///
    /// # Errors
    /// Why its end will never be there. What was there of it is gone.
    pub(crate) async fn hold(
        &mut self,
        patience: Duration,
        deadline: Option<Instant>,
    ) -> Result<Came, Status> {
        let until = Instant::now() + patience;
        let late = deadline.filter(|deadline| *deadline < until);
        match timeout_at(late.unwrap_or(until), self.gather()).await {
            Ok(gathered) => gathered.map(|()| Came::Well),
            Err(_) if late.is_some() => Ok(Came::Well),
            Err(_) => Ok(Came::Slowly),
        }
    }

    async fn gather(&mut self) -> Result<(), Status> {
        let mut bytes = 0;
        while bytes < HELD_BYTES_MAX
            && let Some(frame) = poll_fn(|context| self.poll_next(context))
                .await
                .transpose()?
        {
            bytes += frame.data_ref().map_or(0, Bytes::len);
            self.held.keep(frame);
        }
        Ok(())
    }

    fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.phase == Phase::Data {
            match ready!(self.stream.poll_data(context)) {
                Some(Ok(bytes)) => {
                    // Never more than was received, so it cannot be refused.
                    let _ = self.stream.flow_control().release_capacity(bytes.len());
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(Err(error)) => return Poll::Ready(self.failed(&error)),
                None => self.phase = Phase::Trailers,
            }
        }
        if self.phase == Phase::Over {
            return Poll::Ready(None);
        }
        let trailers = ready!(self.stream.poll_trailers(context));
        self.phase = Phase::Over;
        Poll::Ready(match trailers {
            Ok(trailers) => trailers.map(|trailers| Ok(Frame::trailers(trailers))),
            Err(error) => self.failed(&error),
        })
    }

    /// Whether the call failed because the request's own stream did.
    pub(crate) fn is_broken_off(&self) -> bool {
        self.pipe.as_ref().is_some_and(|p| p.failure().is_some())
    }

    fn failed(&mut self, error: &h2::Error) -> Option<Result<Frame<Bytes>, Status>> {
        self.phase = Phase::Over;
        // A server that answered in full may stop a request it needs no more of (RFC 9113, 8.1).
        let complete = error.is_reset() && error.reason() == Some(Reason::NO_ERROR);
        if let Some(own) = self.pipe.as_ref().and_then(Pipe::failure) {
            return Some(Err(own.clone()));
        }
        let number = self.stream.stream_id().as_u32();
        (!complete).then(|| Err(classify(&self.peer, number, error).into_status()))
    }
}

fn not_sent(peer: &Peer) -> SendError {
    let reason = peer.wire.reason().unwrap_or_default();
    let message = format!("{}: {reason}", peer.authority);
    SendError::NotSent(status::refused(Code::Unavailable, "NOT_SENT", message))
}

/// What the failure of a stream that left means.
fn classify(peer: &Peer, stream: u32, error: &h2::Error) -> SendError {
    let reset = error
        .reason()
        .filter(|_| error.is_reset() && error.is_remote());
    if reset == Some(Reason::REFUSED_STREAM) || peer.wire.excludes(stream) {
        let message = format!("{}: {}", peer.authority, innermost(error));
        return SendError::RefusedUnseen(status::refused(Code::Unavailable, "NOT_SENT", message));
    }
    SendError::Unknown(match reset {
        Some(reason) => {
            let message = format!("{}: {}", peer.authority, innermost(error));
            status::refused(code_of(reason), "STREAM_RESET", message)
        }
        None => {
            // A timeout of keepalive, say, explains more than "broken pipe".
            let reason = peer.wire.reason().unwrap_or_else(|| innermost(error));
            let message = format!("{}: {reason}", peer.authority);
            status::refused(Code::Unavailable, "CONNECTION_LOST", message)
        }
    })
}

/// gRPC's reading of RST_STREAM codes ("gRPC over HTTP2", errors).
fn code_of(reason: Reason) -> Code {
    match reason {
        Reason::CANCEL => Code::Cancelled,
        Reason::ENHANCE_YOUR_CALM => Code::ResourceExhausted,
        Reason::INADEQUATE_SECURITY => Code::PermissionDenied,
        Reason::NO_ERROR
        | Reason::PROTOCOL_ERROR
        | Reason::INTERNAL_ERROR
        | Reason::FLOW_CONTROL_ERROR
        | Reason::SETTINGS_TIMEOUT
        | Reason::FRAME_SIZE_ERROR
        | Reason::COMPRESSION_ERROR
        | Reason::CONNECT_ERROR => Code::Internal,
        _ => Code::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resets_read_as_grpc_says() {
        assert_eq!(code_of(Reason::CANCEL), Code::Cancelled);
        assert_eq!(code_of(Reason::INTERNAL_ERROR), Code::Internal);
        assert_eq!(code_of(Reason::ENHANCE_YOUR_CALM), Code::ResourceExhausted);
        assert_eq!(code_of(Reason::HTTP_1_1_REQUIRED), Code::Unknown);
    }
}
