//! Answers on their way out: in parts, counted, ended.

use std::{future::poll_fn, time::Duration};

use http_body_util::StreamBody;
use tokio_stream::{Stream, StreamExt as _};

use super::*;
use crate::{
    server::life::{ConnectionLoad, Load},
    telemetry::{TraceContext, metrics::Registry},
};

/// A call on a connection that may leave so much unread, of a server that may hold so much.
fn ways(unread_max: usize, held_max: usize) -> (Arc<ConnectionLoad>, impl Fn() -> Way) {
    let server = Arc::new(Load::new(1, held_max));
    let load = Arc::new(ConnectionLoad::new(server, unread_max));
    let way = {
        let load = load.clone();
        move || Way {
            life: Life::exempt(&load),
            progress: Arc::default(),
        }
    };
    (load, way)
}

fn data(bytes: usize) -> Result<Frame<Bytes>, axum::Error> {
    Ok(Frame::data(Bytes::from(vec![7; bytes])))
}

fn answered_by<S>(stream: S, deadline: Option<Instant>) -> (ResponseBody, CallContext)
where
    S: Stream<Item = Result<Frame<Bytes>, axum::Error>> + Send + 'static,
{
    answered_on(ways(1 << 20, 1 << 20).1(), stream, deadline)
}

fn answered_on<S>(way: Way, stream: S, deadline: Option<Instant>) -> (ResponseBody, CallContext)
where
    S: Stream<Item = Result<Frame<Bytes>, axum::Error>> + Send + 'static,
{
    let context = CallContext::new(deadline, TraceContext::root());
    let metrics = Registry::new().server();
    let answering = Answering {
        record: Record::begin(
            &metrics,
            &Arc::default(),
            "/a.B/C",
            tracing::Span::none(),
            Instant::now(),
        ),
        context: context.clone(),
        deadline,
        alarm: None,
    };
    let inner = Body::new(StreamBody::new(stream));
    let body = ResponseBody::new(inner, way);
    (body.answering(answering), context)
}

async fn next(body: &mut ResponseBody) -> Option<Frame<Bytes>> {
    let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await;
    frame.map(Result::unwrap)
}

#[tokio::test]
async fn a_stream_polled_after_the_answer_began_is_still_part_of_the_call() {
    let stream = tokio_stream::once(()).map(|()| {
        let id = CallContext::current().map(|c| c.request_id().to_owned());
        Ok(Frame::data(Bytes::from(id.unwrap_or_default())))
    });
    let (mut body, context) = answered_by(stream, None);
    let said = next(&mut body).await.unwrap().into_data().unwrap();
    assert_eq!(said, context.request_id());
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_when_its_caller_stops_waiting() {
    let until = Instant::now() + Duration::from_secs(5);
    let (mut body, _) = answered_by(tokio_stream::pending(), Some(until));
    let trailers = next(&mut body).await.unwrap().into_trailers().unwrap();
    assert_eq!(code_of(&trailers), Some(Code::DeadlineExceeded));
    assert_eq!(Instant::now(), until);
    assert!(next(&mut body).await.is_none());
}

#[tokio::test]
async fn a_stream_that_fails_after_a_call_was_given_up_says_not_to_retry() {
    let stream = tokio_stream::once(()).map(|()| {
        CallContext::note_gave_up();
        let mut trailers = HeaderMap::new();
        trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("14"));
        Ok(Frame::trailers(trailers))
    });
    let (mut body, _) = answered_by(stream, None);
    let trailers = next(&mut body).await.unwrap().into_trailers().unwrap();
    assert_eq!(trailers[PUSHBACK], "-1");
}

#[tokio::test]
async fn retries_are_stopped_only_for_what_a_given_up_call_caused() {
    let pushback = |context: &CallContext, code| {
        let mut answer = HeaderMap::new();
        stop_retries(context, code, &mut answer);
        answer.remove(PUSHBACK)
    };
    let context = CallContext::new(None, TraceContext::root());
    assert_eq!(pushback(&context, Code::Unavailable), None);
    context.sync_scope(CallContext::note_gave_up);
    assert_eq!(pushback(&context, Code::Unavailable).unwrap(), "-1");
    assert_eq!(pushback(&context, Code::Ok), None);
    assert_eq!(pushback(&context, Code::InvalidArgument), None);
    let mut own = HeaderMap::new();
    own.insert(PUSHBACK, HeaderValue::from_static("250"));
    stop_retries(&context, Code::Unavailable, &mut own);
    assert_eq!(own[PUSHBACK], "250");
}

#[tokio::test]
async fn an_answer_leaves_in_parts_and_counts_until_the_last_of_them_is_gone() {
    let (load, way) = ways(1 << 20, 1 << 20);
    let bytes = PART_BYTES * 2 + 5;
    let (mut body, _) = answered_on(way(), tokio_stream::once(data(bytes)), None);
    let mut parts = Vec::new();
    for length in [PART_BYTES, PART_BYTES, 5] {
        let part = next(&mut body).await.unwrap().into_data().unwrap();
        assert_eq!(part.len(), length);
        assert!(!body.is_end_stream() || length == 5);
        parts.push(part);
        assert_eq!(load.unread(), bytes);
    }
    drop(body);
    // The transport still has them.
    assert_eq!((load.calls(), load.unread()), (0, bytes));
    parts.truncate(1);
    assert_eq!(load.unread(), bytes);
    parts.clear();
    assert_eq!((load.unread(), load.server().held()), (0, 0));
}

#[tokio::test]
async fn an_answer_that_has_no_room_is_refused_and_one_that_is_alone_has() {
    let (load, way) = ways(100_000, 1 << 30);
    let answer = |bytes| answered_on(way(), tokio_stream::once(data(bytes)), None).0;
    let mut large = answer(300_000);
    let _part = next(&mut large).await.unwrap().into_data().unwrap();
    let mut second = answer(2_000);
    let trailers = next(&mut second).await.unwrap().into_trailers().unwrap();
    assert_eq!(code_of(&trailers), Some(Code::ResourceExhausted));
    // What is small is no more than what a call costs by being open.
    assert!(next(&mut answer(500)).await.unwrap().is_data());
    assert_eq!(load.unread(), 300_000);
}

#[tokio::test]
async fn a_stream_that_has_begun_waits_for_room_and_is_woken_by_it() {
    let (load, way) = ways(100_000, 1 << 30);
    let stream = tokio_stream::iter([data(60_000), data(60_000)]);
    let (mut slow, _) = answered_on(way(), stream, None);
    let mut held = Vec::new();
    while load.unread() == 0 || !slow.rest.is_empty() {
        held.push(next(&mut slow).await.unwrap());
    }
    let other = Life::exempt(&load);
    let others = other.unread(40_000).unwrap();
    let mut more = poll_once(&mut slow);
    assert!(more.is_none(), "the connection is full");
    drop(others);
    more = poll_once(&mut slow);
    assert!(more.unwrap().is_data());
}

/// One poll.
fn poll_once(body: &mut ResponseBody) -> Option<Frame<Bytes>> {
    let polled = Pin::new(body).poll_frame(&mut Context::from_waker(std::task::Waker::noop()));
    match polled {
        Poll::Ready(frame) => Some(frame.unwrap().unwrap()),
        Poll::Pending => None,
    }
}

#[tokio::test]
async fn a_panic_in_an_answer_ends_that_answer() {
    let stream = tokio_stream::once(()).map(|()| panic!("a row that does not convert"));
    let (mut body, _) = answered_by(stream, None);
    let trailers = next(&mut body).await.unwrap().into_trailers().unwrap();
    assert_eq!(code_of(&trailers), Some(Code::Internal));
    assert!(next(&mut body).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_read_too_slowly_ends_at_its_deadline() {
    let until = Instant::now() + Duration::from_secs(1);
    let stream = tokio_stream::once(data(PART_BYTES * 3));
    let (mut body, _) = answered_by(stream, Some(until));
    assert!(next(&mut body).await.unwrap().is_data());
    tokio::time::advance(Duration::from_secs(1)).await;
    let trailers = next(&mut body).await.unwrap().into_trailers().unwrap();
    assert_eq!(code_of(&trailers), Some(Code::DeadlineExceeded));
}

#[test]
fn what_tonics_codec_says_is_said_as_grpc_does_and_a_handlers_own_word_stays() {
    let translated = |status: Status| {
        let mut headers = HeaderMap::new();
        status.add_header(&mut headers).unwrap();
        translate(&mut headers);
        let status = Status::from_header_map(&headers).unwrap();
        (status.code(), status.message().to_owned())
    };
    for which in ["decoded", "encoded"] {
        let message = format!(
            "Error, {which} message length too large: found 5 bytes, the limit is: 4 bytes"
        );
        let said = translated(Status::out_of_range(message.clone()));
        assert_eq!(said, (Code::ResourceExhausted, message));
    }
    let missing = translated(Status::internal("Missing request message."));
    assert_eq!(missing.0, Code::Unimplemented);
    for (code, message) in [
        (Code::OutOfRange, "page 7 of 6"),
        (Code::Internal, "missing request message."),
        (Code::ResourceExhausted, "no quota"),
        (Code::NotFound, "Missing request message."),
        (Code::Ok, ""),
    ] {
        assert_eq!(translated(Status::new(code, message)).0, code, "{message}");
    }
    let text = "Error, decoded message length too large";
    let own = status::refused(Code::OutOfRange, "OWN", text);
    assert_eq!(translated(own).0, Code::OutOfRange);
}
