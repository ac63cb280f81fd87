//! A peer says how many streams it takes.

use std::future::poll_fn;

use super::*;

/// A server that takes so many streams at once, and a connection to it.
async fn taking(streams: u32) -> (Server, Connection) {
    let net = Net::default();
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(streams);
    let server = net.serve_by("a:1", builder);
    let connection = Connection::open_with("a:1", &Config::default(), &net).await;
    (server, connection.unwrap())
}

/// Looks once at what becomes of a call.
async fn looked_at<F: Future>(call: F) -> bool {
    let mut call = pin!(call);
    poll_fn(|context| Poll::Ready(call.as_mut().poll(context).is_ready())).await
}

#[tokio::test]
async fn a_call_above_the_limit_waits_unsent_and_leaves_nothing_when_it_is_given_up() {
    let (server, connection) = taking(1).await;
    let held = tokio::spawn({
        let connection = connection.clone();
        async move { connection.send(request("/hang")).await }
    });
    until(|| server.calls() == 1).await;
    assert!(!connection.has_free_stream());
    for _ in 0..20_000 {
        assert!(!looked_at(connection.send(request("/ok"))).await);
    }
    assert_eq!(connection.streams(), (1, 1), "none of them was begun");
    // The one that waits longest goes when the stream is free, whoever gave up before.
    let late = tokio::spawn({
        let connection = connection.clone();
        async move { connection.send(request("/ok")).await }
    });
    server.release();
    assert!(held.await.unwrap().is_ok());
    assert!(late.await.unwrap().is_ok());
    assert_eq!(server.calls(), 2);
    assert!(!connection.is_closed());
}

#[tokio::test]
async fn a_stream_is_free_when_the_peer_has_said_all_read_or_not() {
    let (server, connection) = taking(1).await;
    let mut unread = Vec::new();
    for _ in 0..10 {
        unread.push(connection.send(request("/ok")).await.unwrap());
    }
    assert_eq!(server.calls(), 10);
    until(|| connection.streams() == (0, 10)).await;
}

#[tokio::test]
async fn a_stream_that_is_dropped_or_turned_away_is_free() {
    let (server, connection) = taking(1).await;
    for _ in 0..3 {
        let before = server.calls();
        let call = connection.send(request("/hang"));
        tokio::select! {
            _ = call => panic!("it hangs"),
            () = until(|| server.calls() > before) => {}
        }
        assert!(connection.send(request("/refuse")).await.is_err());
        assert!(connection.send(request("/reset")).await.is_err());
    }
    assert!(connection.send(request("/ok")).await.is_ok());
    until(|| connection.streams().0 == 0).await;
}

#[tokio::test]
async fn an_upload_keeps_its_stream_to_its_end() {
    let (_server, connection) = taking(1).await;
    let frames = std::iter::repeat_n(Bytes::from_static(b"part"), 3);
    let frames = frames.map(|c| Ok::<_, Status>(Frame::data(c)));
    let body = Body::new(StreamBody::new(tokio_stream::iter(frames)));
    let upload = request("/echo").map(|_| body);
    let answer = connection.send(upload).await.unwrap();
    assert_eq!(connection.streams(), (1, 1));
    let answer = answer.into_body().collect().await.unwrap();
    assert_eq!(answer.to_bytes().len(), 12);
    assert_eq!(connection.streams(), (0, 1));
}

#[tokio::test]
async fn a_peer_that_takes_more_is_sent_what_waits() {
    let net = Net::default();
    let mut accepted = net.listen("a:1");
    let settings = |streams: u8| [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, streams];
    let serve = async {
        let mut stream = accepted.recv().await.unwrap();
        stream.write_all(&settings(0)).await.unwrap();
        stream
    };
    let config = Config::default();
    let (mut stream, connection) = tokio::join!(serve, Connection::open_with("a:1", &config, &net));
    let connection = connection.unwrap();
    assert!(!looked_at(connection.send(request("/ok"))).await);
    let calls: Vec<_> = (0..3)
        .map(|_| {
            let connection = connection.clone();
            tokio::spawn(async move { connection.send(request("/ok")).await.map(drop) })
        })
        .collect();
    stream.write_all(&settings(2)).await.unwrap();
    until(|| connection.streams() == (2, 2)).await;
    stream.write_all(&settings(3)).await.unwrap();
    until(|| connection.streams() == (3, 3)).await;
    calls.into_iter().for_each(|call| call.abort());
}

#[tokio::test]
async fn of_a_crowd_in_which_many_give_up_nobody_is_forgotten() {
    let (_server, connection) = taking(3).await;
    let calls: Vec<_> = (0..600_u32)
        .map(|number| {
            let connection = connection.clone();
            tokio::spawn(async move {
                let call = connection.send(request("/ok"));
                if number % 3 == 0 {
                    looked_at(call).await;
                    return true;
                }
                call.await.is_ok()
            })
        })
        .collect();
    for call in calls {
        assert!(call.await.unwrap());
    }
    until(|| connection.streams().0 == 0).await;
}

/// Answers every call when its reset has come, as an answer does that crossed it; `/kept` when it
/// may. Tells how many calls came.
async fn crossing(
    mut stream: tokio::io::DuplexStream,
    came: tokio::sync::watch::Sender<usize>,
    may: Arc<tokio::sync::Notify>,
) {
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const CANCEL: u8 = 8;
    const LAST: u8 = 4 | 1;
    /// `:status: 200`, of HPACK's own table.
    const OK: u8 = 0x88;
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await.unwrap();
    loop {
        let mut head = [0; 9];
        tokio::select! {
            read = stream.read_exact(&mut head) => if read.is_err() {
                return;
            },
            () = may.notified() => {
                let answer = [0, 0, 1, HEADERS, LAST, 0, 0, 0, 1, OK];
                stream.write_all(&answer).await.unwrap();
                continue;
            }
        }
        let length = usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await.unwrap();
        match head[3] {
            HEADERS => came.send_modify(|came| *came += 1),
            RST_STREAM if payload == [0, 0, 0, CANCEL] => {
                let [.., a, b, c, d] = head;
                let answer = [0, 0, 1, HEADERS, LAST, a, b, c, d, OK];
                stream.write_all(&answer).await.unwrap();
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn thousands_of_calls_given_up_end_no_other() {
    let net = Net::default();
    let (stream, connection) = handmade(&net).await;
    let (sender, mut came) = tokio::sync::watch::channel(0);
    let may = Arc::new(tokio::sync::Notify::new());
    tokio::spawn(crossing(stream, sender, may.clone()));
    let innocent = tokio::spawn({
        let connection = connection.clone();
        async move { connection.send(request("/kept")).await }
    });
    came.wait_for(|came| *came == 1).await.unwrap();
    for calls in 2..7_000_usize {
        tokio::select! {
            _ = connection.send(request("/given-up")) => panic!("{calls}: {}", connection.reason()),
            _ = came.wait_for(|came| *came == calls) => {}
        }
    }
    may.notify_one();
    assert!(innocent.await.unwrap().is_ok(), "{}", connection.reason());
    assert!(!connection.is_closed());
}

#[tokio::test]
async fn before_the_library_would_end_it_a_connection_is_replaced_and_finishes_what_it_carries() {
    let net = Net::default();
    let server = net.serve("a:1");
    let wire = Wire::new(true, Arc::default(), 5);
    let connection = Connection::establish("a:1", &Config::default(), &net, wire).await;
    let connection = connection.unwrap();
    let carried = tokio::spawn({
        let connection = connection.clone();
        async move { connection.send(request("/hang")).await }
    });
    until(|| server.calls() == 1).await;
    for given_up in 2..=6 {
        assert!(!connection.is_closed());
        tokio::select! {
            _ = connection.send(request("/hang")) => panic!("it hangs"),
            () = until(|| server.calls() == given_up) => {}
        }
    }
    assert!(connection.is_closed());
    assert_eq!(connection.reason(), "5 calls on it were given up");
    server.release();
    assert!(carried.await.unwrap().is_ok());
}

#[tokio::test]
async fn twenty_streams_that_nobody_reads_leave_room_for_others() {
    let net = Net::default();
    let server = net.serve("a:1");
    let config = Config::default();
    let connection = Connection::open_with("a:1", &config, &net).await.unwrap();
    let mut unread = Vec::new();
    for _ in 0..20 {
        unread.push(connection.send(request("/flood")).await.unwrap());
    }
    let windows = 20 * usize::try_from(config.stream_window).unwrap();
    until(|| server.flooded() >= windows).await;
    assert!(connection.send(request("/flood")).await.is_ok());
    let echo = connection.send(request("/echo")).await.unwrap();
    let echo = echo.into_body().collect().await.unwrap();
    assert_eq!(echo.to_bytes(), "message");
}
