//! What is read again, by whom, and what is let go.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Wake, Waker},
};

use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use proptest::prelude::*;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Code;

use super::*;

type Writer = mpsc::UnboundedSender<Result<Frame<Bytes>, Status>>;

/// A request that is written by hand.
fn written() -> (Writer, Request<Body>) {
    let (writer, reader) = mpsc::unbounded_channel();
    let body = StreamBody::new(UnboundedReceiverStream::new(reader));
    (writer, Request::new(Body::new(body)))
}

fn write(writer: &Writer, text: &'static str) {
    writer
        .send(Ok(Frame::data(Bytes::from_static(text.as_bytes()))))
        .unwrap();
}

async fn replayed(request: Request<Body>, memory: &Memory) -> Replay {
    Replay::new(request, memory).await.unwrap()
}

fn body(replay: &Replay, id: u32) -> Body {
    replay.attempt(id).unwrap().into_body()
}

async fn next(body: &mut Body) -> Option<Result<Bytes, Status>> {
    let frame = body.frame().await?;
    Some(frame.map(|frame| frame.into_data().unwrap()))
}

async fn text(body: &mut Body) -> String {
    let data = next(body).await.unwrap().unwrap();
    String::from_utf8(data.to_vec()).unwrap()
}

async fn all(body: Body) -> Bytes {
    body.collect().await.unwrap().to_bytes()
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll(body: &mut Body, count: &Arc<Count>) -> Poll<Option<Bytes>> {
    let waker = Waker::from(count.clone());
    Pin::new(body)
        .poll_frame(&mut Context::from_waker(&waker))
        .map(|frame| frame.map(|frame| frame.unwrap().into_data().unwrap()))
}

fn woken(count: &Count) -> usize {
    count.0.load(Ordering::SeqCst)
}

#[tokio::test]
async fn a_unary_request_is_kept_whole_and_shared() {
    let bytes = Bytes::from(vec![7; 10_000]);
    let memory = Memory::new(10_000, 20_000);
    let request = Request::new(Body::new(Full::new(bytes.clone())));
    let replay = replayed(request, &memory).await;
    assert_eq!(memory.left(), 10_000);
    for id in 0..3 {
        let again = all(body(&replay, id)).await;
        assert_eq!(again.as_ptr(), bytes.as_ptr(), "not copied");
        assert_eq!(again, bytes);
    }
    assert!(replay.can_be_sent());
    drop(replay);
    assert_eq!(memory.left(), 20_000);
}

#[tokio::test]
async fn headers_are_shared_and_what_an_attempt_adds_is_its_own() {
    let mut request = Request::new(Body::empty());
    request.headers_mut().insert("a", 1.into());
    let replay = replayed(request, &Memory::default()).await;
    let mut first = replay.attempt(0).unwrap();
    first.headers_mut().insert("b", 2.into());
    let second = replay.attempt(1).unwrap();
    assert!(second.headers().contains_key("a") && !second.headers().contains_key("b"));
}

#[tokio::test]
async fn a_stream_is_replayed_and_then_goes_on_live() {
    let (writer, request) = written();
    let replay = replayed(request, &Memory::default()).await;
    let mut first = body(&replay, 0);
    write(&writer, "one");
    write(&writer, "two");
    assert_eq!(text(&mut first).await, "one");
    assert_eq!(text(&mut first).await, "two");
    drop(first);
    let mut second = body(&replay, 1);
    assert_eq!(text(&mut second).await, "one");
    replay.commit(1);
    assert_eq!(text(&mut second).await, "two");
    write(&writer, "three");
    drop(writer);
    assert_eq!(text(&mut second).await, "three");
    assert!(next(&mut second).await.is_none());
}

#[tokio::test]
async fn attempts_side_by_side_read_the_same_and_wake_each_other() {
    let (writer, request) = written();
    let replay = replayed(request, &Memory::default()).await;
    let (mut first, mut second) = (body(&replay, 0), body(&replay, 1));
    let (one, two) = (Arc::default(), Arc::default());
    assert!(poll(&mut first, &one).is_pending());
    assert!(poll(&mut second, &two).is_pending());
    write(&writer, "news");
    assert_eq!((woken(&one), woken(&two)), (1, 1), "the source wakes both");
    assert_eq!(poll(&mut first, &one), Poll::Ready(Some("news".into())));
    assert_eq!(poll(&mut second, &two), Poll::Ready(Some("news".into())));
    assert!(poll(&mut first, &one).is_pending());
    assert!(poll(&mut second, &two).is_pending());
    // Whoever was asked last may go without leaving the other asleep.
    drop(second);
    write(&writer, "more");
    assert_eq!(woken(&one), 2);
    assert_eq!(poll(&mut first, &one), Poll::Ready(Some("more".into())));
}

#[tokio::test]
async fn committed_the_winner_goes_on_and_what_it_passed_is_let_go() {
    let (writer, request) = written();
    let memory = Memory::new(100, 100);
    let replay = replayed(request, &memory).await;
    let (mut first, mut second) = (body(&replay, 0), body(&replay, 1));
    write(&writer, "0123456789");
    write(&writer, "abcde");
    text(&mut first).await;
    text(&mut first).await;
    text(&mut second).await;
    assert_eq!(memory.left(), 85);
    let waits = Arc::default();
    assert!(poll(&mut first, &waits).is_pending());
    replay.commit(1);
    assert_eq!(memory.left(), 95, "what it read before is gone at once");
    assert_eq!(woken(&waits), 1, "the loser is told");
    let lost = next(&mut first).await.unwrap().unwrap_err();
    assert_eq!(lost.code(), Code::Cancelled);
    assert_eq!(text(&mut second).await, "abcde");
    assert_eq!(memory.left(), 100);
    write(&writer, "afterwards");
    assert_eq!(text(&mut second).await, "afterwards");
    assert_eq!(memory.left(), 100, "nothing is kept any more");
    assert!(!replay.can_be_sent() && replay.attempt(2).is_none());
}

#[tokio::test]
async fn beyond_the_bound_the_attempt_that_read_most_goes_on_alone() {
    let (writer, request) = written();
    let memory = Memory::new(4, 100);
    let replay = replayed(request, &memory).await;
    let (mut first, mut second) = (body(&replay, 0), body(&replay, 1));
    write(&writer, "1234");
    text(&mut first).await;
    text(&mut second).await;
    assert_eq!(replay.committed_to(), None);
    assert!(replay.can_be_sent());
    write(&writer, "5");
    assert_eq!(text(&mut second).await, "5");
    assert_eq!(replay.committed_to(), Some(1));
    assert!(!replay.can_be_sent());
    assert!(next(&mut first).await.unwrap().is_err());
    assert_eq!(memory.left(), 100);
    write(&writer, "6");
    assert_eq!(text(&mut second).await, "6");
}

#[tokio::test]
async fn the_channels_bound_counts_like_the_calls() {
    let memory = Memory::new(100, 10);
    let (other_writer, other) = written();
    let other = replayed(other, &memory).await;
    write(&other_writer, "123456789");
    text(&mut body(&other, 0)).await;
    let (writer, request) = written();
    let replay = replayed(request, &memory).await;
    write(&writer, "two");
    text(&mut body(&replay, 0)).await;
    assert!(!replay.can_be_sent(), "the channel has 1 left");
    assert!(other.can_be_sent());
    drop((other, replay));
    assert_eq!(memory.left(), 10);
}

#[tokio::test]
async fn a_request_too_large_to_keep_can_be_sent_until_it_was_read() {
    let memory = Memory::new(10, 100);
    let large = Bytes::from(vec![1; 5000]);
    for request in [
        Request::new(Body::new(Full::new(large.clone()))),
        Request::new(Body::new(Full::new(Bytes::from_static(b"12345678901")))),
    ] {
        let replay = replayed(request, &memory).await;
        drop(body(&replay, 0));
        let mut second = body(&replay, 1);
        assert!(replay.can_be_sent(), "nobody read it");
        assert!(next(&mut second).await.unwrap().unwrap().len() > 10);
        assert_eq!(replay.committed_to(), Some(1));
        assert!(next(&mut second).await.is_none());
    }
    assert_eq!(memory.left(), 100);
}

#[tokio::test]
async fn the_callers_own_error_ends_every_attempt() {
    let (writer, request) = written();
    let replay = replayed(request, &Memory::default()).await;
    let (mut first, mut second) = (body(&replay, 0), body(&replay, 1));
    write(&writer, "one");
    writer.send(Err(Status::data_loss("disk"))).unwrap();
    assert_eq!(text(&mut first).await, "one");
    let broken = next(&mut first).await.unwrap().unwrap_err();
    assert_eq!(broken.code(), Code::DataLoss);
    assert_eq!(text(&mut second).await, "one", "in its turn");
    assert!(next(&mut second).await.unwrap().is_err());
    assert!(!replay.can_be_sent());
    assert_eq!(replay.broken_off().unwrap().message(), "disk");
}

#[tokio::test]
async fn an_error_at_once_is_the_calls() {
    let (writer, request) = written();
    writer.send(Err(Status::internal("unwritable"))).unwrap();
    let error = Replay::new(request, &Memory::default()).await.unwrap_err();
    assert_eq!(error.message(), "unwritable");
}

#[tokio::test]
async fn when_the_caller_is_gone_so_is_its_stream() {
    let (writer, request) = written();
    let replay = replayed(request, &Memory::default()).await;
    let mut first = body(&replay, 0);
    assert!(poll(&mut first, &Arc::default()).is_pending());
    drop(first);
    assert!(!writer.is_closed());
    drop(replay);
    assert!(writer.is_closed(), "whoever writes it is told");
}

#[tokio::test]
async fn a_source_that_wakes_while_it_is_read_does_no_harm() {
    let mut polled = false;
    let restless = futures_util::stream::poll_fn(move |context| {
        context.waker().wake_by_ref();
        polled = !polled;
        match polled {
            true => Poll::Pending,
            false => Poll::Ready(Some(Ok::<_, Status>(Frame::data(Bytes::from_static(b"x"))))),
        }
    });
    let request = Request::new(Body::new(StreamBody::new(restless)));
    let replay = replayed(request, &Memory::default()).await;
    let mut first = body(&replay, 0);
    for _ in 0..3 {
        assert_eq!(text(&mut first).await, "x");
    }
}

#[derive(Debug, Clone)]
enum Step {
    Write(usize),
    Attempt,
    Read(usize),
    Drop(usize),
    Commit(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_usize..6).prop_map(Step::Write),
        1 => Just(Step::Attempt),
        6 => any::<usize>().prop_map(Step::Read),
        1 => any::<usize>().prop_map(Step::Drop),
        1 => any::<usize>().prop_map(Step::Commit),
    ]
}

/// An attempt and how much it has read.
struct Following {
    id: u32,
    body: Body,
    read: Vec<u8>,
    lost: bool,
}

impl Following {
    fn read(&mut self, waker: &Waker) -> bool {
        let polled = Pin::new(&mut self.body).poll_frame(&mut Context::from_waker(waker));
        match polled {
            Poll::Ready(Some(Ok(frame))) => self.read.extend(frame.into_data().unwrap()),
            Poll::Ready(Some(Err(_))) => self.lost = true,
            Poll::Ready(None) | Poll::Pending => return false,
        }
        true
    }
}

fn check(steps: Vec<Step>, call_max: usize) -> Result<(), TestCaseError> {
    let memory = Memory::new(call_max, 1000);
    let (writer, request) = written();
    let waker = Waker::noop();
    let mut making = Box::pin(Replay::new(request, &memory));
    let Poll::Ready(replay) = making.as_mut().poll(&mut Context::from_waker(waker)) else {
        return Err(TestCaseError::fail("making a replay waits for nothing"));
    };
    drop(making);
    let replay = replay.unwrap();
    let (mut written, mut attempts, mut ids) = (Vec::new(), Vec::<Following>::new(), 0..);
    for step in steps {
        let count = attempts.len().max(1);
        match step {
            Step::Write(length) => {
                let chunk: Vec<u8> = (0..length).map(|_| fastrand::u8(..)).collect();
                written.extend_from_slice(&chunk);
                writer.send(Ok(Frame::data(chunk.into()))).unwrap();
            }
            Step::Attempt => {
                let id = ids.next().unwrap();
                let may = replay.can_be_sent();
                let request = replay.attempt(id);
                prop_assert_eq!(request.is_some(), may);
                attempts.extend(request.map(|request| Following {
                    id,
                    body: request.into_body(),
                    read: Vec::new(),
                    lost: false,
                }));
            }
            Step::Read(which) => {
                if let Some(attempt) = attempts.get_mut(which % count) {
                    attempt.read(waker);
                }
            }
            Step::Drop(which) if which < attempts.len() => drop(attempts.remove(which)),
            Step::Drop(_) => {}
            Step::Commit(which) => {
                if let Some(attempt) = attempts.get(which % count) {
                    replay.commit(attempt.id);
                }
            }
        }
        prop_assert!(memory.left() >= 1000 - call_max, "the bound holds");
        for attempt in &attempts {
            prop_assert!(
                written.starts_with(&attempt.read),
                "in order, nothing twice"
            );
            let owner = replay.committed_to();
            prop_assert!(!attempt.lost || owner.is_some_and(|owner| owner != attempt.id));
        }
    }
    drop(writer);
    for attempt in &mut attempts {
        while !attempt.lost && attempt.read(waker) {}
        prop_assert!(attempt.lost || attempt.read == written, "all of it");
    }
    drop((attempts, replay));
    prop_assert_eq!(memory.left(), 1000, "everything is given back");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn every_attempt_reads_what_was_written(
        steps in prop::collection::vec(step(), 0..80),
        call_max in 0_usize..60,
    ) {
        check(steps, call_max)?;
    }
}
