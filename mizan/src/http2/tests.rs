//! Both ends of a connection in one process: ours, and a bare h2 server that does as it is told.

use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    sync::mpsc,
};
use tonic::Status;

use super::*;

type Server = h2::server::Connection<DuplexStream, Bytes>;

const SECOND: Duration = Duration::from_secs(1);

async fn pair(keep_alive: Option<KeepAlive>) -> (Handle, Server) {
    let (ours, theirs) = duplex(1 << 16);
    let (handle, server) = tokio::join!(Handle::open(ours, keep_alive), async {
        let mut server = h2::server::handshake(theirs).await.unwrap();
        // Its SETTINGS are written when it is polled.
        let accepted = poll_fn(|context| match server.poll_accept(context) {
            std::task::Poll::Pending => std::task::Poll::Ready(true),
            std::task::Poll::Ready(_) => std::task::Poll::Ready(false),
        });
        assert!(accepted.await, "no request yet");
        server
    });
    (handle.unwrap(), server)
}

fn request() -> Request<()> {
    Request::post("http://peer/s/M").body(()).unwrap()
}

fn whole() -> Payload {
    Payload::Whole(Bytes::from_static(b"hello"))
}

/// Answers every request with what it sent.
async fn echo(mut server: Server) {
    while let Some(Ok((request, mut respond))) = server.accept().await {
        tokio::spawn(async move {
            let mut body = request.into_body();
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            while let Some(Ok(data)) = body.data().await {
                body.flow_control().release_capacity(data.len()).unwrap();
                stream.send_data(data, false).unwrap();
            }
            stream.send_trailers(http::HeaderMap::new()).unwrap();
        });
    }
}

#[tokio::test]
async fn a_request_is_answered() {
    let (handle, server) = pair(None).await;
    tokio::spawn(echo(server));
    let response = handle.send(request(), whole()).await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    assert!(body.trailers().is_some());
    assert_eq!(body.to_bytes(), "hello");
}

#[tokio::test]
async fn a_stream_passes_any_window_and_is_read_while_it_is_written() {
    let (handle, server) = pair(None).await;
    tokio::spawn(echo(server));
    let (chunks, stream) = mpsc::channel(1);
    let stream = tokio_stream::wrappers::ReceiverStream::new(stream);
    let body = Body::new(StreamBody::new(stream));
    let response = handle.send(request(), Payload::Stream(body)).await.unwrap();
    let mut echoed = response.into_body();
    // Ten times the window of a stream, asked back piece by piece.
    for _ in 0..100 {
        let chunk = Bytes::from(vec![7; 100_000]);
        chunks
            .send(Ok::<_, Status>(Frame::data(chunk)))
            .await
            .unwrap();
        let mut back = 0;
        while back < 100_000 {
            let frame = echoed.frame().await.unwrap().unwrap();
            back += frame.into_data().unwrap().len();
        }
    }
    drop(chunks);
    assert!(echoed.frame().await.unwrap().unwrap().is_trailers());
    assert!(echoed.frame().await.is_none());
}

#[tokio::test]
async fn a_call_given_up_is_reset_at_the_server() {
    let (handle, mut server) = pair(None).await;
    let (_chunks, stream) = mpsc::channel::<Result<Frame<Bytes>, Status>>(1);
    let body = Body::new(StreamBody::new(
        tokio_stream::wrappers::ReceiverStream::new(stream),
    ));
    let sender = handle.clone();
    let call = tokio::spawn(async move { sender.send(request(), Payload::Stream(body)).await });
    let (incoming, mut respond) = server.accept().await.unwrap().unwrap();
    call.abort();
    let reset = tokio::select! {
        _ = server.accept() => unreachable!("one request"),
        reset = poll_fn(|context| respond.poll_reset(context)) => reset.unwrap(),
    };
    assert_eq!(reset, h2::Reason::CANCEL);
    drop(incoming);
}

#[tokio::test]
async fn a_goaway_is_noticed_while_a_call_is_under_way_and_sends_nothing_more() {
    let (handle, mut server) = pair(None).await;
    let first = tokio::spawn({
        let handle = handle.clone();
        async move { handle.send(request(), whole()).await }
    });
    let (_, mut respond) = server.accept().await.unwrap().unwrap();
    server.graceful_shutdown();
    let serving = tokio::spawn(async move { while server.accept().await.is_some() {} });
    handle.draining().await;
    assert!(handle.is_closed());
    match handle.send(request(), whole()).await {
        Err(Failure::NotSent(payload, _)) => assert!(matches!(*payload, Payload::Whole(_))),
        other => panic!("{other:?}"),
    }
    // What was under way is answered all the same.
    respond.send_response(Response::new(()), true).unwrap();
    first.await.unwrap().unwrap();
    drop(handle);
    serving.await.unwrap();
}

#[tokio::test]
async fn refused_is_told_from_broken() {
    let (handle, mut server) = pair(None).await;
    let serving = tokio::spawn(async move {
        let (_, mut refused) = server.accept().await.unwrap().unwrap();
        refused.send_reset(h2::Reason::REFUSED_STREAM);
        let (_, mut broken) = server.accept().await.unwrap().unwrap();
        broken.send_reset(h2::Reason::INTERNAL_ERROR);
        while server.accept().await.is_some() {}
    });
    let refused = handle.send(request(), whole()).await;
    assert!(
        matches!(refused, Err(Failure::RefusedUnseen(_))),
        "{refused:?}"
    );
    let broken = handle.send(request(), whole()).await;
    assert!(matches!(broken, Err(Failure::Unknown(_))), "{broken:?}");
    drop(handle);
    serving.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_falls_silent_is_given_up() {
    let keep_alive = KeepAlive {
        interval: 20 * SECOND,
        timeout: 10 * SECOND,
        while_idle: true,
    };
    // The server is not polled again, so it answers no ping.
    let (handle, _server) = pair(Some(keep_alive)).await;
    let begun = tokio::time::Instant::now();
    handle.closed().await;
    // The handshake's last bytes may count as a sign of life, once.
    let silent = begun.elapsed();
    assert!((30 * SECOND..=51 * SECOND).contains(&silent), "{silent:?}");
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_left_alone_when_asked_to() {
    let keep_alive = KeepAlive {
        interval: SECOND,
        timeout: SECOND,
        while_idle: false,
    };
    let (handle, mut server) = pair(Some(keep_alive)).await;
    tokio::time::advance(100 * SECOND).await;
    assert!(
        tokio::time::timeout(100 * SECOND, handle.closed())
            .await
            .is_err()
    );
    let call = tokio::spawn({
        let handle = handle.clone();
        async move { handle.send(request(), whole()).await }
    });
    let _begun = server.accept().await.unwrap().unwrap();
    handle.closed().await;
    assert!(call.await.unwrap().is_err());
}

#[tokio::test]
async fn what_does_not_speak_http2_is_not_open() {
    let (ours, mut theirs) = duplex(1 << 16);
    let answer = tokio::spawn(async move {
        let mut preface = [0; 24];
        theirs.read_exact(&mut preface).await.unwrap();
        theirs
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        theirs
    });
    let refused = Handle::open(ours, None).await.unwrap_err();
    assert!(refused.starts_with("no HTTP/2 there"), "{refused}");
    drop(answer);
    let (ours, theirs) = duplex(1 << 16);
    drop(theirs);
    Handle::open(ours, None).await.unwrap_err();
}
