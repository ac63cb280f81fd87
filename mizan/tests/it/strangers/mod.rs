//! Clients that mean no well, or do not know better: what they may cost, and that it is only theirs.

mod kit;
mod web;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use mizan::{Connection, Server, server::Limits};
use mizan_contracts::registry::v1::{
    ListServicesRequest, registry_service_client::RegistryServiceClient,
    registry_service_server::RegistryServiceServer,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use self::kit::{Gone, PATIENCE, Running, call, message, read, start, start_server};
use crate::{ends::hold_the_clock, support::Scripted};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_are_cut_in_the_middle_of_their_calls_leave_every_place_free() {
    const PLACES: usize = 8;
    let limits = Limits {
        calls_max: PLACES,
        ..Limits::default()
    };
    let server = start(limits, axum::Router::new(), |_| message(3)).await;
    let mut calls = Vec::new();
    {
        // The bytes of a connection that only sends, of which as many are cut as there are places.
        let (mut kept, end) = tokio::io::duplex(1 << 20);
        let (mut requests, connection) = h2::client::handshake(end).await.unwrap();
        let speaking = tokio::spawn(connection);
        for _ in 0..300 {
            let request = server.grpc("Any").body(()).unwrap();
            drop(requests.send_request(request, true));
        }
        let mut chunk = [0; 4096];
        while let Ok(Ok(read)) =
            tokio::time::timeout(Duration::from_millis(50), kept.read(&mut chunk)).await
        {
            calls.extend_from_slice(&chunk[..read]);
        }
        speaking.abort();
    }
    for cut in 0..400_u64 {
        let mut stream = TcpStream::connect(&server.authority).await.unwrap();
        // Closing sends RST at once, whatever was not sent or read.
        stream.set_zero_linger().unwrap();
        stream.write_all(&calls).await.unwrap();
        // At every moment of what the server does with them.
        let moment = std::time::Instant::now() + Duration::from_micros(cut * 10);
        while std::time::Instant::now() < moment {
            std::hint::spin_loop();
        }
    }
    // Every place is free: so many calls at once are answered.
    let answered = async || {
        let mut requests = server.h2(1 << 16).await;
        let mut all = Vec::new();
        for _ in 0..PLACES {
            let request = server.grpc("Any").body(()).unwrap();
            all.push(requests.send_request(request, true).unwrap().0);
        }
        let mut ok = 0;
        for response in all {
            let mut response = response.await.unwrap();
            if response.headers().get("grpc-status").is_none() {
                read(response.body_mut()).await.unwrap();
                ok += 1;
            }
        }
        ok
    };
    let free = async { while answered().await < PLACES {} };
    tokio::time::timeout(PATIENCE, free)
        .await
        .expect("places are lost");
}

#[tokio::test]
async fn a_service_is_reached_by_grpc_alone() {
    let server = start(Limits::default(), axum::Router::new(), |_| message(3)).await;
    let path = "/test.Methods/Pay";
    for (version, content_type) in [
        ("HTTP/1.1", "text/plain"),
        ("HTTP/1.1", "application/x-www-form-urlencoded"),
        ("HTTP/1.1", "application/json"),
        ("HTTP/1.1", "application/grpc"),
        ("HTTP/1.1", "application/grpc-web"),
        ("HTTP/1.0", "application/grpc"),
    ] {
        let request = format!(
            "POST {path} {version}\r\nhost: localhost\r\ncontent-type: {content_type}\r\ncontent-length: 5\r\nconnection: close\r\n\r\n\0\0\0\0\0"
        );
        let answer = server.plain(&request).await;
        assert!(
            answer.starts_with(&format!("{version} 415 ")),
            "{content_type}: {answer}"
        );
    }
    let mut requests = server.h2(1 << 16).await;
    for content_type in [
        "text/plain",
        "application/json",
        "application/grpc-web+proto",
    ] {
        let response = call(&mut requests, server.request(path, content_type)).await;
        assert_eq!(
            response.status(),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "{content_type}"
        );
    }
    let get = Request::get(format!("http://{}{path}", server.authority));
    let get = get.header("content-type", "application/grpc");
    let response = call(&mut requests, get).await;
    assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(server.calls.load(Ordering::SeqCst), 0, "it was called");
    let mut response = call(&mut requests, server.grpc("Pay")).await;
    assert_eq!(read(response.body_mut()).await.unwrap().0, 3);
    assert_eq!(server.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn grpc_web_is_served_where_it_is_asked_for_and_only_to_pages_of_its_own() {
    let answer = |method: &str| match method {
        "Endless" => Body::new(StreamBody::new(tokio_stream::pending::<
            Result<Frame<Bytes>, Infallible>,
        >())),
        _ => message(3),
    };
    let limits = Limits::default();
    let server = start_server(Server::builder("test").grpc_web(), limits, answer).await;
    let post = |method: &str, headers: &str| {
        format!(
            "POST /test.Methods/{method} HTTP/1.1\r\nhost: localhost\r\n{headers}content-type: application/grpc-web+proto\r\ncontent-length: 5\r\nconnection: close\r\n\r\n\0\0\0\0\0"
        )
    };
    let answer = server.plain(&post("Get", "")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("\x07\x07\x07"), "{answer}");
    // The status is the last frame of the body, behind a byte that no text has.
    assert!(answer.contains("grpc-status:0\r\n"), "{answer}");
    // Also of a call that the server ends.
    let answer = server
        .plain(&post("Endless", "grpc-timeout: 100m\r\n"))
        .await;
    assert!(answer.contains("grpc-status:4\r\n"), "{answer}");
    let answer = server
        .plain(&post("Get", "origin: http://evil.example\r\n"))
        .await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert_eq!(server.calls.load(Ordering::SeqCst), 2);
    let answer = server
        .plain(&post("Get", "").replace("-web+proto", ""))
        .await;
    assert!(answer.starts_with("HTTP/1.1 415 "), "{answer}");
}

#[tokio::test]
async fn what_a_page_of_another_site_sends_reaches_no_route() {
    let changed = Arc::new(AtomicUsize::new(0));
    let counted = changed.clone();
    let change = move || async move {
        counted.fetch_add(1, Ordering::SeqCst);
        "changed"
    };
    let routes = axum::Router::new().route("/change", axum::routing::post(change));
    let server = start(Limits::default(), routes, |_| message(3)).await;
    let post = |headers: &str| {
        format!(
            "POST /change HTTP/1.1\r\n{headers}content-type: text/plain\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi"
        )
    };
    for (headers, code) in [
        ("host: evil.example\r\n", 421),
        ("host: localhost\r\norigin: http://evil.example\r\n", 403),
        ("host: localhost\r\nsec-fetch-site: cross-site\r\n", 403),
        ("", 400),
    ] {
        let answer = server.plain(&post(headers)).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {code} ")),
            "{headers:?}: {answer}"
        );
    }
    assert_eq!(changed.load(Ordering::SeqCst), 0);
    let answer = server.plain(&post("host: localhost\r\n")).await;
    assert!(answer.ends_with("changed"), "{answer}");
}

#[tokio::test]
async fn a_server_that_admits_nobody_says_so_until_it_does() {
    let limits = Limits {
        calls_max: 1,
        handler_timeout: PATIENCE,
        ..Limits::default()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let scripted = Scripted::silent();
    let service = RegistryServiceServer::new(scripted.clone());
    let server = Server::builder("test")
        .unregistered()
        .limits(limits)
        .add_service(service);
    tokio::spawn(server.serve(listener, std::future::pending()));
    let connection = Connection::open(&authority, PATIENCE).await.unwrap();
    let mut health = HealthClient::new(connection.clone());
    let asked = HealthCheckRequest::default();
    let mut watch = health.watch(asked.clone()).await.unwrap().into_inner();
    let mut next = async || watch.next().await.unwrap().unwrap().status();
    assert_eq!(next().await, ServingStatus::Serving);

    // The only place is taken by a call that does not end.
    let mut client = RegistryServiceClient::new(connection);
    let stuck =
        tokio::spawn(async move { client.list_services(ListServicesRequest::default()).await });
    assert_eq!(next().await, ServingStatus::NotServing);
    assert_eq!(scripted.calls(), 1);
    let answer = health.check(asked).await.unwrap().into_inner();
    assert_eq!(answer.status(), ServingStatus::NotServing);
    let running = Running {
        authority,
        calls: Arc::default(),
        _stop: CancellationToken::new().drop_guard(),
    };
    let get = "GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let page = running.plain(get).await;
    assert!(
        page.starts_with("HTTP/1.1 503 ") && page.contains("unhealthy"),
        "{page}"
    );

    // Its caller leaves, and with it the reason.
    stuck.abort();
    assert_eq!(next().await, ServingStatus::Serving);
    let page = running.plain(get).await;
    assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_not_read_are_bounded_and_end() {
    const ANSWER: usize = 1 << 20;
    let clock = hold_the_clock();
    let limits = Limits {
        unread_max: 4 * ANSWER,
        unread_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let server = start(limits, axum::Router::new(), |_| message(ANSWER)).await;
    let mut requests = server.h2(0).await;
    let mut bodies = Vec::new();
    for _ in 0..50 {
        bodies.push(call(&mut requests, server.grpc("List")).await.into_body());
    }
    drop(clock);
    // None of it is read. Those for which there was no room are told; the others are given up.
    let (mut refused, mut reset) = (0, 0);
    for body in &mut bodies {
        match tokio::time::timeout(PATIENCE, read(body)).await.unwrap() {
            Ok((0, Some(trailers))) => {
                assert_eq!(trailers["grpc-status"], "8");
                refused += 1;
            }
            Err(error) => {
                assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
                reset += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((refused, reset), (46, 4));
    // The connection is as good as it was, and whoever reads is answered.
    let _clock = hold_the_clock();
    let mut reader = server.h2(1 << 20).await;
    for _ in 0..10 {
        let mut response = call(&mut reader, server.grpc("List")).await;
        assert_eq!(read(response.body_mut()).await.unwrap().0, ANSWER);
    }
}

#[tokio::test]
async fn calls_that_are_only_open_are_bounded_too() {
    let limits = Limits {
        // A hundred calls.
        held_max: 100 * 6 * 1024,
        ..Limits::default()
    };
    let server = start(limits, axum::Router::new(), |_| message(3)).await;
    let mut innocent = server.h2(1 << 16).await;
    let mut greedy = server.h2(0).await;
    let mut answers = Vec::new();
    // None of these small answers is read; so many of them are too many.
    let cut = loop {
        let request = server.grpc("Get").body(()).unwrap();
        let Ok((answer, _)) = greedy.send_request(request, true) else {
            break answers.len();
        };
        answers.push(tokio::spawn(answer));
        match greedy.clone().ready().await {
            Ok(_) => assert!(answers.len() < 1000, "nobody stopped it"),
            Err(_) => break answers.len(),
        }
        tokio::task::yield_now().await;
    };
    assert!(cut >= 90, "after {cut} calls already");
    let mut answer = call(&mut innocent, server.grpc("Get")).await;
    assert_eq!(read(answer.body_mut()).await.unwrap().0, 3);
}

#[tokio::test]
async fn a_page_that_is_not_read_ends_too() {
    let gone = Gone::default();
    let present = gone.when_dropped();
    let present = Arc::new(std::sync::Mutex::new(Some(present)));
    let page = move || async move {
        let present = present.lock().unwrap().take();
        // Without an end; more than any socket holds.
        let chunks = tokio_stream::iter(std::iter::repeat_with(move || {
            let _ = &present;
            Ok::<_, Infallible>(Bytes::from(vec![b'x'; 1 << 20]))
        }));
        axum::body::Body::from_stream(chunks)
    };
    let routes = axum::Router::new().route("/page", axum::routing::get(page));
    let limits = Limits {
        unread_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    let server = start(limits, routes, |_| message(1)).await;
    let mut stream = TcpStream::connect(&server.authority).await.unwrap();
    let request = b"GET /page HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request).await.unwrap();
    // The connection stays open, and nobody reads.
    gone.wait().await;
    drop(stream);
}

#[tokio::test]
async fn a_stream_that_is_not_read_ends_at_its_deadline() {
    let gone = Gone::default();
    let whose = gone.clone();
    let server = start(Limits::default(), axum::Router::new(), move |_| {
        let present = whose.when_dropped();
        Body::new(StreamBody::new(tokio_stream::iter(std::iter::repeat_with(
            move || {
                let _ = &present;
                Ok::<_, Infallible>(Frame::data(Bytes::from(vec![7; 10_000])))
            },
        ))))
    })
    .await;
    let mut requests = server.h2(100).await;
    let request = server.grpc("Watch").header("grpc-timeout", "300m");
    let response = call(&mut requests, request).await;
    // Far before the time that anything may stay unread.
    gone.wait().await;
    drop(response);
}

#[tokio::test]
async fn a_panic_ends_one_call_and_not_its_connection() {
    let routes = axum::Router::new().route(
        "/panics",
        axum::routing::get(|| async {
            if true {
                panic!("a route with a bug");
            }
        }),
    );
    let server = start(Limits::default(), routes, |method| match method {
        "Panic" => panic!("a handler with a bug"),
        "PanicLater" => {
            let frames = tokio_stream::iter([7, -1]).map(|n: i32| {
                let byte = u8::try_from(n).expect("a row that does not convert");
                Ok::<_, Infallible>(Frame::data(Bytes::from(vec![byte])))
            });
            Body::new(StreamBody::new(frames))
        }
        "Wait" => Body::new(StreamBody::new(tokio_stream::pending::<
            Result<Frame<Bytes>, Infallible>,
        >())),
        _ => message(3),
    })
    .await;
    let mut requests = server.h2(1 << 16).await;
    let waiting = call(&mut requests, server.grpc("Wait")).await;
    for _ in 0..3 {
        let mut panics = call(&mut requests, server.grpc("Panic")).await;
        assert_eq!(panics.headers()["grpc-status"], "13");
        panics = call(&mut requests, server.grpc("PanicLater")).await;
        let (bytes, trailers) = read(panics.body_mut()).await.unwrap();
        assert_eq!(
            (bytes, trailers.unwrap()["grpc-status"].as_bytes()),
            (1, b"13".as_slice())
        );
        let get = Request::get(format!("http://{}/panics", server.authority));
        let page = call(&mut requests, get).await;
        assert_eq!(page.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
    // Nobody else noticed.
    let mut fine = call(&mut requests, server.grpc("Fine")).await;
    assert_eq!(read(fine.body_mut()).await.unwrap().0, 3);
    drop(waiting);
    let answer = server
        .health()
        .await
        .check(HealthCheckRequest::default())
        .await;
    assert_eq!(
        answer.unwrap().into_inner().status(),
        ServingStatus::Serving
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_that_comes_too_slowly_ends_with_408() {
    let routes = axum::Router::new().route(
        "/keep",
        axum::routing::put(|body: Bytes| async move { body.len().to_string() }),
    );
    let server = start(Limits::default(), routes, |_| message(1)).await;
    let whole = "PUT /keep HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\nconnection: close\r\n\r\nbody";
    assert!(server.plain(whole).await.ends_with("\r\n\r\n4"));
    let unfinished = "PUT /keep HTTP/1.1\r\nhost: localhost\r\ncontent-length: 500000\r\n\r\nslow";
    let begun = tokio::time::Instant::now();
    let answer = server.plain(unfinished).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("too slowly"), "{answer}");
    assert!(begun.elapsed() < Duration::from_secs(12));
    // By HTTP/2 likewise, and the connection lives.
    let mut requests = server.h2(65_535).await;
    let request = server.request("/keep", "text/plain").method("PUT");
    let (response, mut body) = requests
        .send_request(request.body(()).unwrap(), false)
        .unwrap();
    body.send_data("slow".into(), false).unwrap();
    assert_eq!(response.await.unwrap().status(), 408);
    let health = server.request("/health", "text/plain").method("GET");
    assert_eq!(call(&mut requests, health).await.status(), 200);
}

#[tokio::test]
async fn bodies_that_do_not_end_are_bounded_in_all() {
    let limits = Limits {
        held_max: 1 << 20,
        ..Limits::default()
    };
    let routes = axum::Router::new().route(
        "/keep",
        axum::routing::put(|body: Bytes| async move { body.len().to_string() }),
    );
    let server = start(limits, routes, |_| message(1)).await;
    // Thirty times 100 KB of an announced 500 KB: some of those that hold most are cut.
    let mut greedy = Vec::new();
    for _ in 0..30 {
        let mut stream = TcpStream::connect(&server.authority).await.unwrap();
        let head = "PUT /keep HTTP/1.1\r\nhost: localhost\r\ncontent-length: 500000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        // One that was cut takes no more.
        let _ = stream.write_all(&[7; 100_000]).await;
        greedy.push(stream);
    }
    let first_cut = greedy.iter_mut().map(|stream| {
        Box::pin(async move {
            let mut byte = [0; 1];
            matches!(stream.read(&mut byte).await, Ok(0) | Err(_))
        })
    });
    let first_cut = futures_util::future::select_all(first_cut);
    let (cut, ..) = tokio::time::timeout(PATIENCE, first_cut)
        .await
        .expect("one is cut");
    assert!(cut, "not answered, but closed");
    let modest = "PUT /keep HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\nconnection: close\r\n\r\nbody";
    assert!(server.plain(modest).await.ends_with("\r\n\r\n4"));
}

#[tokio::test]
async fn an_answer_before_the_request_was_read_reaches_its_client() {
    let server = start(Limits::default(), axum::Router::new(), |_| message(1)).await;
    for _ in 0..50 {
        let mut stream = TcpStream::connect(&server.authority).await.unwrap();
        let head = "PUT /nowhere HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\nconnection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        // The rest comes when the answer could have been sent long ago.
        for _ in 0..10 {
            tokio::task::yield_now().await;
            stream.write_all(&[7; 10_000]).await.expect("nobody closed");
        }
        let mut answer = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        read.unwrap().expect("no reset");
        assert!(answer.starts_with(b"HTTP/1.1 404"));
    }
}
