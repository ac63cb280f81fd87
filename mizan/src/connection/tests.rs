//! Tests of a connection against peers that behave, misbehave and vanish.

use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::Code;

use super::{
    testing::{Command, Net, Server, request, until},
    *,
};

mod answers;
mod streams;

async fn connected() -> (Net, Server, Connection) {
    let net = Net::default();
    let server = net.serve("a:1");
    let connection = Connection::open_with("a:1", &Config::default(), &net).await;
    (net, server, connection.unwrap())
}

async fn reason_of_failure(net: &Net) -> String {
    let opened = Connection::open_with("a:1", &Config::default(), net).await;
    opened.unwrap_err().reason().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_is_silent_is_no_server() {
    let net = Net::default();
    let mut accepted = net.listen("a:1");
    let reason = reason_of_failure(&net).await;
    assert!(reason.contains("no HTTP/2 SETTINGS within 20s"), "{reason}");
    assert!(accepted.recv().await.is_some(), "though it accepted");
}

#[tokio::test]
async fn a_connection_is_open_when_settings_arrive_not_before() {
    let net = Net::default();
    let mut accepted = net.listen("a:1");
    let opening = tokio::spawn({
        let net = net.clone();
        async move { Connection::open_with("a:1", &Config::default(), &net).await }
    });
    let mut stream = accepted.recv().await.unwrap();
    // The whole preface of the client is read, so it has done all it can.
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await.unwrap();
    assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    stream.write_all(&[0, 0, 0, 4, 0]).await.unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!opening.is_finished());
    stream.write_all(&[0, 0, 0, 0]).await.unwrap();
    opening.await.unwrap().unwrap();
}

#[tokio::test]
async fn strangers_are_told_by_their_language() {
    let net = Net::default();
    let mut accepted = net.listen("a:1");
    tokio::spawn(async move {
        let mut kept = Vec::new();
        let answers: [&[u8]; 3] = [
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            b"\x15\x03\x01\x00\x02\x02\x46\x00\x00",
            b"220 mail.example ESMTP\r\n",
        ];
        for answer in answers {
            let mut stream = accepted.recv().await.unwrap();
            stream.write_all(answer).await.unwrap();
            kept.push(stream);
        }
        // And one that hangs up.
        drop(accepted.recv().await);
        std::future::pending::<()>().await;
    });
    assert_eq!(
        reason_of_failure(&net).await,
        "it speaks HTTP/1, not HTTP/2"
    );
    assert_eq!(reason_of_failure(&net).await, "it speaks TLS");
    assert_eq!(reason_of_failure(&net).await, "it does not speak HTTP/2");
    let reason = reason_of_failure(&net).await;
    assert_eq!(reason, "it accepts connections and closes them");
    net.unlisten("a:1");
    let reason = reason_of_failure(&net).await;
    assert_eq!(reason, "connection refused");
}

#[tokio::test]
async fn a_unary_call_goes_and_comes() {
    let (_net, server, connection) = connected().await;
    let response = connection.send(request("/ok")).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "0");
    assert!(http_body::Body::is_end_stream(response.body()));
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn streams_larger_than_any_window_go_both_ways() {
    let (_net, _server, connection) = connected().await;
    let chunk = Bytes::from(vec![7; 100_000]);
    let frames = std::iter::repeat_n(chunk, 100).map(|c| Ok::<_, Status>(Frame::data(c)));
    let body = Body::new(StreamBody::new(tokio_stream::iter(frames)));
    let request = request("/echo").map(|_| body);
    let response = connection.send(request).await.unwrap();
    let answer = response.into_body().collect().await.unwrap();
    assert_eq!(answer.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(answer.to_bytes().len(), 10_000_000);
}

#[tokio::test]
async fn a_call_that_is_dropped_is_cancelled_at_the_server() {
    let (_net, server, connection) = connected().await;
    let call = tokio::spawn({
        let connection = connection.clone();
        async move { connection.send(request("/hang")).await.map(drop) }
    });
    until(|| server.calls() == 1).await;
    call.abort();
    until(|| server.cancelled() == 1).await;
    // So is one whose request is a stream that goes on.
    let endless = StreamBody::new(tokio_stream::pending::<Result<Frame<Bytes>, Status>>());
    let streaming = request("/hang").map(|_| Body::new(endless));
    let call = tokio::spawn({
        let connection = connection.clone();
        async move { connection.send(streaming).await.map(drop) }
    });
    until(|| server.calls() == 2).await;
    call.abort();
    until(|| server.cancelled() == 2).await;
    assert!(!connection.is_closed(), "the connection goes on");
}

#[tokio::test]
async fn what_is_carried_is_finished_though_nobody_holds_the_connection() {
    let (_net, server, connection) = connected().await;
    let (frames, body) = tokio::sync::mpsc::unbounded_channel::<Result<Frame<Bytes>, Status>>();
    let body = StreamBody::new(tokio_stream::wrappers::UnboundedReceiverStream::new(body));
    let request = request("/echo").map(|_| Body::new(body));
    let mut answer = connection.send(request).await.unwrap().into_body();
    drop(connection);
    for _ in 0..3 {
        frames
            .send(Ok(Frame::data(Bytes::from_static(b"on"))))
            .unwrap();
        let frame = answer.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "on");
    }
    drop(frames);
    let trailers = answer.frame().await.unwrap().unwrap();
    assert!(trailers.is_trailers());
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn a_refused_stream_was_not_seen() {
    let (_net, _server, connection) = connected().await;
    let error = connection.send(request("/refuse")).await.unwrap_err();
    assert!(matches!(error, SendError::RefusedUnseen(_)), "{error:?}");
    let error = connection.send(request("/reset")).await.unwrap_err();
    let SendError::Unknown(status) = error else {
        panic!("{error:?}")
    };
    assert_eq!(status.code(), Code::Cancelled);
    assert_eq!(
        crate::status::reason(&status).as_deref(),
        Some("STREAM_RESET")
    );
}

#[tokio::test]
async fn after_goaway_calls_are_given_back_and_the_one_under_way_is_finished() {
    let (_net, server, connection) = connected().await;
    let long = tokio::spawn({
        let connection = connection.clone();
        async move { connection.send(request("/hang")).await }
    });
    until(|| server.calls() == 1).await;
    server.command(Command::Drain);
    connection.closed().await;
    assert!(connection.is_closed());
    assert_eq!(connection.reason(), "the server is going away");
    let error = connection.send(request("/ok")).await.unwrap_err();
    assert!(matches!(error, SendError::NotSent(_)), "{error:?}");
    assert_eq!(server.calls(), 1, "it never left");
    server.release();
    assert!(long.await.unwrap().is_ok());
}

#[tokio::test]
async fn of_a_connection_that_breaks_nobody_knows() {
    let (_net, server, connection) = connected().await;
    let call = tokio::spawn({
        let connection = connection.clone();
        async move { connection.send(request("/hang")).await }
    });
    until(|| server.calls() == 1).await;
    server.command(Command::Cut);
    let error = call.await.unwrap().unwrap_err();
    assert!(matches!(error, SendError::Unknown(_)), "{error:?}");
    connection.closed().await;
}

/// A server that reads everything and answers, by hand, what a test tells it to.
async fn handmade(net: &Net) -> (tokio::io::DuplexStream, Connection) {
    let mut accepted = net.listen("a:1");
    let serve = async {
        let mut stream = accepted.recv().await.unwrap();
        stream
            .write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0])
            .await
            .unwrap();
        stream
    };
    let config = Config::default();
    let opening = Connection::open_with("a:1", &config, net);
    let (stream, connection) = tokio::join!(serve, opening);
    (stream, connection.unwrap())
}

fn goaway(last: u8, code: u8, debug: &[u8]) -> Vec<u8> {
    let length = u8::try_from(8 + debug.len()).unwrap();
    let mut bytes = vec![0, 0, length, 7, 0, 0, 0, 0, 0, 0, 0, 0, last, 0, 0, 0, code];
    bytes.extend(debug);
    bytes
}

#[tokio::test]
async fn a_goaway_below_the_stream_says_that_it_was_not_seen() {
    for (last, unseen) in [(0, true), (1, false)] {
        let net = Net::default();
        let (mut stream, connection) = handmade(&net).await;
        let call = tokio::spawn(async move { connection.send(request("/ok")).await });
        // Preface, SETTINGS and WINDOW_UPDATE come first; the call's frames last.
        let mut seen = Vec::new();
        while !seen.windows(7).any(|w| w == b"message") {
            stream.read_buf(&mut seen).await.unwrap();
        }
        stream.write_all(&goaway(last, 0, b"")).await.unwrap();
        drop(stream);
        let error = call.await.unwrap().unwrap_err();
        let refused = matches!(error, SendError::RefusedUnseen(_));
        assert_eq!(refused, unseen, "last stream {last}: {error:?}");
    }
}

#[tokio::test]
async fn a_complaint_about_pings_is_understood() {
    let net = Net::default();
    let (mut stream, connection) = handmade(&net).await;
    stream
        .write_all(&goaway(0, 11, b"too_many_pings"))
        .await
        .unwrap();
    connection.closed().await;
    assert!(connection.pinged_too_often());
    assert!(
        connection.reason().contains("too_many_pings"),
        "{}",
        connection.reason()
    );
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_vanished_is_noticed() {
    let net = Net::default();
    let before = Instant::now();
    let (_stream, connection) = handmade(&net).await;
    connection.closed().await;
    let config = Config::default();
    let interval = config.keep_alive_interval.unwrap();
    let elapsed = before.elapsed();
    assert!(elapsed >= interval + config.keep_alive_timeout);
    assert!(elapsed <= interval * 5 / 4 + config.keep_alive_timeout + Duration::from_millis(10));
    assert!(connection.reason().contains("keepalive"));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_pings_is_kept() {
    let (_net, _server, connection) = connected().await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(!connection.is_closed());
    assert!(connection.send(request("/ok")).await.is_ok());
}

/// Reads what the client sends until a whole frame of this kind came; how many of another kind
/// came by then.
async fn read_until(stream: &mut tokio::io::DuplexStream, kind: u8, counted: u8) -> usize {
    let mut count = 0;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let length = usize::from(head[1]) << 8 | usize::from(head[2]);
        stream.read_exact(&mut vec![0; length]).await.unwrap();
        count += usize::from(head[3] == counted);
        if head[3] == kind {
            return count;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn calls_given_up_on_a_silent_peer_are_followed_by_a_question_and_not_by_more() {
    const RST_STREAM: u8 = 3;
    const PING: u8 = 6;
    let net = Net::default();
    let (mut stream, connection) = handmade(&net).await;
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await.unwrap();
    let begun = Instant::now();
    let call = async |limit| {
        let sent = connection.send(request("/hang"));
        tokio::time::timeout(limit, sent).await
    };
    let brief = Duration::from_millis(10);
    for _ in 0..wire::GIVEN_UP_MAX {
        assert!(!connection.is_stalled());
        assert!(call(brief).await.is_err());
    }
    assert!(connection.is_stalled());
    // What is given up now was never sent, and so is not reset either.
    for _ in 0..100 {
        assert!(call(brief).await.is_err());
    }
    let before = read_until(&mut stream, PING, RST_STREAM).await;
    // A sign of life, whatever it is, and calls go again.
    let waiting = call(Duration::from_secs(5));
    let answer = async {
        const PING_ACK: [u8; 9] = [0, 0, 8, PING, 1, 0, 0, 0, 0];
        stream.write_all(&PING_ACK).await.unwrap();
        stream.write_all(&[0; 8]).await.unwrap();
        const HEADERS: u8 = 1;
        read_until(&mut stream, HEADERS, RST_STREAM).await
    };
    let (late, after) = tokio::join!(waiting, answer);
    assert!(late.is_err() && !connection.is_stalled());
    // The question may overtake the last of them.
    let resets = u32::try_from(before + after).unwrap();
    assert_eq!(resets, wire::GIVEN_UP_MAX);
    // And a peer that stays silent is noticed sooner than by keepalive alone.
    for _ in 0..wire::GIVEN_UP_MAX {
        let _ = call(brief).await;
    }
    let error = connection.send(request("/hang")).await.unwrap_err();
    assert!(matches!(error, SendError::NotSent(_)), "{error:?}");
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[tokio::test(start_paused = true)]
async fn without_keepalive_nobody_could_ask_so_nobody_waits() {
    let net = Net::default();
    let server = net.serve("a:1");
    let config = Config {
        keep_alive_interval: None,
        ..Config::default()
    };
    let connection = Connection::open_with("a:1", &config, &net).await.unwrap();
    for _ in 0..3 * wire::GIVEN_UP_MAX {
        let sent = connection.send(request("/hang"));
        assert!(
            tokio::time::timeout(Duration::from_millis(10), sent)
                .await
                .is_err()
        );
    }
    assert!(!connection.is_stalled());
    until(|| server.calls() == usize::try_from(3 * wire::GIVEN_UP_MAX).unwrap()).await;
}

#[tokio::test(start_paused = true)]
async fn without_calls_nobody_is_asked_if_so_wished() {
    let net = Net::default();
    let mut accepted = net.listen("a:1");
    let config = Config {
        keep_alive_while_idle: false,
        ..Config::default()
    };
    let serve = async {
        let mut stream = accepted.recv().await.unwrap();
        stream
            .write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0])
            .await
            .unwrap();
        stream
    };
    let (_stream, connection) = tokio::join!(serve, Connection::open_with("a:1", &config, &net));
    let connection = connection.unwrap();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(!connection.is_closed(), "idle: not asked");
    let error = connection.send(request("/hang")).await.unwrap_err();
    assert!(matches!(error, SendError::Unknown(_)), "{error:?}");
    assert!(error.into_status().message().contains("keepalive"));
}

#[tokio::test]
async fn an_authority_that_is_none_is_said_to_be_none() {
    let error = Connection::open("no authority", Duration::from_secs(1)).await;
    assert_eq!(error.unwrap_err().reason(), "not a HOST:PORT");
}
