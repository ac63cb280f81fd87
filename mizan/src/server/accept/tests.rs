//! Connections of a server, by a client that speaks HTTP/2 frame by frame or goes silent.

mod full;

use std::{
    io,
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadBuf, duplex},
    sync::Notify,
    task::JoinHandle,
};

use super::*;
use crate::{
    server::{
        calls::Routers,
        layers::Wrapped,
        life::{Life, Load},
        limits::HandlerTimes,
        origin::Origins,
    },
    telemetry::metrics::Registry,
};

impl Settings {
    fn of(limits: Limits) -> Self {
        Self {
            limits,
            http2: Http2::default(),
        }
    }
}

const LIMIT: Duration = Duration::from_secs(60);

fn load() -> Arc<ConnectionLoad> {
    Arc::new(ConnectionLoad::new(
        Arc::new(Load::new(8, 1 << 20)),
        1 << 20,
    ))
}

#[tokio::test(start_paused = true)]
async fn a_connection_of_which_nothing_is_read_is_stalled_and_one_that_is_slow_is_not() {
    let load = load();
    let call = Life::exempt(&load);
    let _unread = call.unread(50_000).unwrap();
    let reads = async {
        for _ in 0..100 {
            sleep(LIMIT / 3).await;
            load.wrote();
        }
    };
    tokio::select! {
        () = stalled(&load, LIMIT) => panic!("a slow reader was taken for none"),
        () = reads => {}
    }
    let quiet = Instant::now();
    stalled(&load, LIMIT).await;
    assert!(quiet.elapsed() <= LIMIT * 3 / 2);
    // A quiet call without an answer that waits is a stream.
    drop(_unread);
    let stands = tokio::time::timeout(LIMIT * 100, stalled(&load, LIMIT));
    assert!(stands.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn short_calls_between_two_looks_keep_a_connection() {
    let load = load();
    let calls = async {
        for _ in 0..100 {
            sleep(LIMIT / 10).await;
            drop(Life::exempt(&load));
        }
    };
    tokio::select! {
        () = idle(&load, LIMIT) => panic!("a busy connection was taken for idle"),
        () = calls => {}
    }
    let quiet = Instant::now();
    idle(&load, LIMIT).await;
    assert!(quiet.elapsed() <= LIMIT * 3 / 2);
}

/// Frames of HTTP/2 by hand, so that the server finds all of them at once: a library of the client
/// would not send what it has called off already.
mod frame {
    const DATA: u8 = 0;
    pub(super) const HEADERS: u8 = 1;
    pub(super) const RST_STREAM: u8 = 3;
    pub(super) const SETTINGS: u8 = 4;
    pub(super) const GOAWAY: u8 = 7;
    pub(super) const WINDOW_UPDATE: u8 = 8;
    pub(super) const HEAD: usize = 9;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut bytes = length[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    pub(super) fn preface() -> Vec<u8> {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(SETTINGS, 0, 0, &[]));
        bytes
    }

    /// A call of "/t", without a message.
    pub(super) fn call(stream: u32) -> Vec<u8> {
        call_of("/t", stream, true)
    }

    /// The server's own settings hold from here on.
    pub(super) fn acknowledged() -> Vec<u8> {
        const ACK: u8 = 1;
        frame(SETTINGS, ACK, 0, &[])
    }

    pub(super) fn data(stream: u32, payload: &[u8]) -> Vec<u8> {
        frame(DATA, 0, stream, payload)
    }

    pub(super) fn call_of(path: &str, stream: u32, ends: bool) -> Vec<u8> {
        call_with(path, stream, ends, &[])
    }

    pub(super) fn call_with(path: &str, stream: u32, ends: bool, more: &[(&str, &str)]) -> Vec<u8> {
        // POST and http by their numbers in HPACK's table, the rest spelt out.
        let mut block = vec![0x83, 0x86];
        for (name, value) in [
            (4_u8, path),
            (1, "localhost"),
            // Two bytes of a prefixed number: 15 and 16, content-type.
            (15, "application/grpc"),
        ] {
            block.push(name);
            if name == 15 {
                block.push(16);
            }
            block.push(u8::try_from(value.len()).unwrap());
            block.extend(value.as_bytes());
        }
        for (name, value) in more {
            block.push(0);
            for text in [name, value] {
                block.push(u8::try_from(text.len()).unwrap());
                block.extend(text.as_bytes());
            }
        }
        const END_STREAM: u8 = 1;
        const END_HEADERS: u8 = 4;
        let flags = if ends {
            END_STREAM | END_HEADERS
        } else {
            END_HEADERS
        };
        frame(HEADERS, flags, stream, &block)
    }

    pub(super) fn call_off(stream: u32) -> Vec<u8> {
        const CANCEL: u32 = 8;
        frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
    }
}

fn calls(services: axum::Router, limits: &Limits, closing: &CancellationToken) -> Calls {
    let routers = Routers {
        services: Wrapped::Bare(services),
        health: axum::Router::new(),
        pages: axum::Router::new(),
        web: false,
        names: Arc::default(),
    };
    let metrics = Registry::new().server();
    Calls::new(
        routers,
        limits,
        HandlerTimes::new(limits.handler_timeout),
        Origins::default(),
        metrics,
        closing.clone(),
    )
}

/// A connection whose client has already said all of this.
async fn said(bytes: &[u8]) -> (DuplexStream, JoinHandle<()>) {
    let (mut client, server) = duplex(1 << 20);
    client.write_all(bytes).await.unwrap();
    let limits = Limits::default();
    let closing = CancellationToken::new();
    let calls = Arc::new(calls(axum::Router::new(), &limits, &closing));
    let carried = tokio::spawn(carry(
        server,
        Peer::default(),
        calls,
        Settings::of(limits),
        closing,
    ));
    (client, carried)
}

/// The first frame that answers a call or ends the connection: its kind, stream and payload.
async fn answer(client: &mut (impl AsyncRead + Unpin)) -> (u8, u32, Vec<u8>) {
    until(client, &[frame::HEADERS, frame::GOAWAY]).await
}

/// The first frame of one of these kinds.
async fn until(client: &mut (impl AsyncRead + Unpin), kinds: &[u8]) -> (u8, u32, Vec<u8>) {
    loop {
        let mut head = [0; frame::HEAD];
        client.read_exact(&mut head).await.unwrap();
        let [a, b, c, kind, _flags, stream @ ..] = head;
        let length = u32::from_be_bytes([0, a, b, c]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        client.read_exact(&mut payload).await.unwrap();
        if kinds.contains(&kind) {
            return (kind, u32::from_be_bytes(stream), payload);
        }
    }
}

/// So many calls that are called off before the server looks, and one that is not.
fn calls_of_which_the_last_is_meant(called_off: usize) -> (Vec<u8>, u32) {
    let mut bytes = frame::preface();
    let mut streams = (1..).step_by(2);
    for stream in streams.by_ref().take(called_off) {
        bytes.extend(frame::call(stream));
        bytes.extend(frame::call_off(stream));
    }
    let last = streams.next().unwrap();
    bytes.extend(frame::call(last));
    (bytes, last)
}

#[tokio::test]
async fn all_calls_of_a_client_running_out_of_time_at_once_do_not_cut_its_connection() {
    let (bytes, last) = calls_of_which_the_last_is_meant(CALLED_OFF_MAX);
    let (mut client, _carried) = said(&bytes).await;
    let (kind, stream, _) = answer(&mut client).await;
    assert_eq!((kind, stream), (frame::HEADERS, last));
}

#[tokio::test]
async fn calling_off_without_end_ends_the_connection() {
    let (bytes, _) = calls_of_which_the_last_is_meant(CALLED_OFF_MAX + 1);
    let (mut client, carried) = said(&bytes).await;
    let (kind, _, payload) = answer(&mut client).await;
    assert_eq!(kind, frame::GOAWAY);
    assert!(payload.ends_with(b"too_many_resets"), "{payload:?}");
    drop(client);
    carried.await.unwrap();
}

/// What a connection answers first to a client that knows its windows and says all of this, where the calls of "/hold" keep
/// their request and do not read it.
async fn first_answer(bytes: Vec<u8>) -> (u8, u32, Vec<u8>) {
    let hold = |request: http::Request<axum::body::Body>| async move {
        std::future::pending::<()>().await;
        drop(request);
    };
    let services = axum::Router::new()
        .route("/hold", axum::routing::post(hold))
        .fallback(|| std::future::ready(()));
    let (limits, closing) = (Limits::default(), CancellationToken::new());
    let calls = Arc::new(calls(services, &limits, &closing));
    let (client, server) = duplex(1 << 20);
    let (mut reading, mut writing) = tokio::io::split(client);
    let settings = Settings::of(limits);
    let _carried = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(carry(
        server,
        Peer::default(),
        calls,
        settings,
        closing,
    )));
    let welcomed = Arc::new(Notify::new());
    let welcome = welcomed.clone();
    let _said = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
        writing.write_all(&frame::preface()).await.unwrap();
        welcome.notified().await;
        // A connection that the server ends takes no more.
        let _ = writing.write_all(&bytes).await;
        std::future::pending::<()>().await;
    }));
    until(&mut reading, &[frame::WINDOW_UPDATE]).await;
    welcomed.notify_one();
    answer(&mut reading).await
}

#[tokio::test]
async fn uploads_that_are_not_read_take_nothing_of_other_calls() {
    let window = usize::try_from(Http2::default().stream_window).unwrap();
    let (part, mut bytes) = (vec![0; 16 << 10], frame::acknowledged());
    // Four times what all of a connection's calls had together.
    let streams: Vec<_> = (1..).step_by(2).take(16).collect();
    for stream in &streams {
        bytes.extend(frame::call_of("/hold", *stream, false));
        for _ in 0..window / part.len() {
            bytes.extend(frame::data(*stream, &part));
        }
    }
    let other = streams.last().unwrap() + 2;
    bytes.extend(frame::call(other));
    let (kind, stream, payload) = first_answer(bytes).await;
    assert_eq!((kind, stream), (frame::HEADERS, other), "{payload:?}");
}

#[tokio::test]
async fn tiny_messages_that_wait_for_their_handler_do_not_end_the_connection() {
    let window = usize::try_from(Http2::default().stream_window).unwrap();
    // Of 2 bytes each, 20,000; and as many empty ones as a stream may send unread.
    for (message, times) in [(&[0, 0, 0, 0, 2, 8, 1][..], 20_000), (&[0; 5], window / 5)] {
        let mut bytes = frame::acknowledged();
        bytes.extend(frame::call_of("/hold", 1, false));
        for _ in 0..times {
            bytes.extend(frame::data(1, message));
        }
        bytes.extend(frame::call(3));
        let (kind, stream, payload) = first_answer(bytes).await;
        let told = String::from_utf8_lossy(&payload);
        assert_eq!((kind, stream), (frame::HEADERS, 3), "{times}: {told}");
    }
}

/// A transport that breaks off so many reads after it was read to its end: the system's word that
/// the client is gone comes between two of the calls that the server takes in.
struct Cut(DuplexStream, usize);

impl AsyncRead for Cut {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.0).poll_read(context, buffer);
        if buffer.filled().len() > before {
            return read;
        }
        match self.1.checked_sub(1) {
            Some(left) => {
                self.1 = left;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            None => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }
}

impl AsyncWrite for Cut {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_connection_that_ends_gives_back_what_calls_hold_that_were_not_begun() {
    const CALLS: usize = 300;
    let limits = Limits::default();
    let closing = CancellationToken::new();
    let read = Arc::new(AtomicUsize::new(0));
    let counted = read.clone();
    let services = axum::Router::new().fallback(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        std::future::pending::<()>()
    });
    let calls = Arc::new(calls(services, &limits, &closing));
    for reads in [1, 2, 10, CALLS / 2, CALLS, CALLS + 10] {
        let mut bytes = frame::preface();
        for stream in (1..).step_by(2).take(CALLS) {
            bytes.extend(frame::call(stream));
        }
        let (mut client, server) = duplex(1 << 20);
        client.write_all(&bytes).await.unwrap();
        let (settings, closing) = (Settings::of(limits.clone()), closing.clone());
        let cut = Cut(server, reads);
        carry(cut, Peer::default(), calls.clone(), settings, closing).await;
        // Those that were begun are tasks, which end when they find their connection gone.
        let load = calls.load();
        for _ in 0..CALLS * 10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(
            (load.taken(), load.held()),
            (0, 0),
            "cut after {reads} reads"
        );
    }
    assert!(read.load(Ordering::SeqCst) > 0, "none of them was begun");
}

/// A connection that says something and goes silent, and the token that has its server drain.
async fn silent(bytes: &[u8]) -> (DuplexStream, JoinHandle<()>, CancellationToken) {
    let (mut client, server) = duplex(1 << 20);
    client.write_all(bytes).await.unwrap();
    let (limits, closing) = (Limits::default(), CancellationToken::new());
    let hold = axum::Router::new().fallback(std::future::pending::<()>);
    let calls = Arc::new(calls(hold, &limits, &closing));
    let settings = Settings::of(limits);
    let carried = carry(server, Peer::default(), calls, settings, closing.clone());
    (client, tokio::spawn(carried), closing)
}

/// The beginning of HTTP/2, and so much of a call.
fn part_of_a_call(length: usize) -> Vec<u8> {
    [frame::preface(), frame::call(1)[..length].to_vec()].concat()
}

/// All that is owed: nothing said, a part of the preface, of SETTINGS, of a frame's head, of headers.
fn unfinished() -> Vec<Vec<u8>> {
    let preface = frame::preface();
    let parts = [1, 10, 24, 28].map(|length| preface[..length].to_vec());
    let frames = [4, frame::HEAD, 20].map(part_of_a_call);
    let http1 = b"GET /health HTTP/1.1\r\nhost: a".to_vec();
    [Vec::new(), http1]
        .into_iter()
        .chain(parts)
        .chain(frames)
        .collect()
}

async fn took(carried: JoinHandle<()>) -> Duration {
    let start = Instant::now();
    carried.await.unwrap();
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_without_a_call_does_not_hold_up_a_drain() {
    // It may have begun well, and not acknowledge anything.
    for said in unfinished().into_iter().chain([frame::preface()]) {
        let (_client, carried, closing) = silent(&said).await;
        sleep(Duration::from_millis(100)).await;
        closing.cancel();
        let took = took(carried).await;
        assert!(took <= Duration::from_secs(2), "{said:?}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_with_a_call_keeps_the_drains_time() {
    let said = [frame::preface(), frame::acknowledged(), frame::call(1)].concat();
    let (client, carried, closing) = silent(&said).await;
    sleep(Duration::from_millis(100)).await;
    closing.cancel();
    sleep(Duration::from_secs(5)).await;
    assert!(!carried.is_finished());
    drop(client);
    carried.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_a_client_begins_to_say_must_come_in_ten_seconds() {
    for said in unfinished() {
        let (_client, carried, _closing) = silent(&said).await;
        let took = took(carried).await;
        let ten = Duration::from_secs(10)..=Duration::from_secs(11);
        assert!(ten.contains(&took), "{said:?}: {took:?}");
    }
    // Whoever owes nothing has the time of idle connections.
    let (_client, carried, _closing) = silent(&frame::preface()).await;
    assert!(took(carried).await >= Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn headers_byte_by_byte_are_as_late() {
    let (mut client, carried, _closing) = silent(&frame::preface()).await;
    let trickle = tokio::spawn(async move {
        // Each byte a second, of a call that would be whole after 40.
        for byte in frame::call(1) {
            sleep(Duration::from_secs(1)).await;
            if client.write_all(&[byte]).await.is_err() {
                break;
            }
        }
    });
    let took = took(carried).await;
    assert!(took <= Duration::from_secs(12), "{took:?}");
    trickle.abort();
}
