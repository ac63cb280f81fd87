//! Answers that are too large, or broken.

use http::HeaderMap;

use super::*;

/// What a peer by the RFC answers to every call.
#[derive(Clone, Debug)]
struct Answer {
    headers: HeaderMap,
    trailers: HeaderMap,
}

impl Answer {
    fn new(headers: &[(&'static str, &str)], trailers: &[(&'static str, &str)]) -> Self {
        let map = |fields: &[(&'static str, &str)]| {
            let field = |&(name, value): &(&'static str, &str)| {
                (http::HeaderName::from_static(name), value.parse().unwrap())
            };
            fields.iter().map(field).collect()
        };
        Self {
            headers: map(headers),
            trailers: map(trailers),
        }
    }
}

async fn answering(answer: Answer) -> Connection {
    let net = Net::default();
    let mut accepted = net.listen("a:1");
    tokio::spawn(async move {
        let stream = accepted.recv().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let mut response = Response::new(());
            let ok = request.uri().path() == "/ok";
            if !ok {
                *response.headers_mut() = answer.headers.clone();
            }
            let mut stream = respond.send_response(response, false).unwrap();
            let trailers = match ok {
                true => Answer::new(&[], &[("grpc-status", "0")]).trailers,
                false => answer.trailers.clone(),
            };
            stream.send_trailers(trailers).unwrap();
        }
    });
    let connection = Connection::open_with("a:1", &Config::default(), &net).await;
    connection.unwrap()
}

async fn called(connection: &Connection) -> Result<HeaderMap, SendError> {
    let response = connection.send(request("/any")).await?;
    let body = response.into_body().collect().await;
    let body = body.map_err(SendError::Unknown)?;
    Ok(body.trailers().cloned().unwrap_or_default())
}

fn reason(error: SendError) -> (Code, String) {
    let status = error.into_status();
    let reason = crate::status::reason(&status);
    (status.code(), reason.unwrap_or_default())
}

#[tokio::test]
async fn headers_or_trailers_that_are_too_large_cost_their_own_call_only() {
    for kib in [20, 200] {
        let large = "a".repeat(kib << 10);
        let ok = ("grpc-status", "0");
        for answer in [
            Answer::new(&[("x-large", &large)], &[ok]),
            Answer::new(&[], &[ok, ("grpc-message", &large)]),
        ] {
            let connection = answering(answer).await;
            let error = called(&connection).await.unwrap_err();
            let expected = (
                Code::ResourceExhausted,
                "ANSWER_METADATA_TOO_LARGE".to_owned(),
            );
            assert_eq!(reason(error), expected, "{kib} KiB");
            assert!(connection.send(request("/ok")).await.is_ok(), "{kib} KiB");
            assert!(!connection.is_closed());
        }
    }
}

#[tokio::test]
async fn what_is_far_too_large_is_no_answer_and_ends_no_other_call() {
    let large = "a".repeat(270 << 10);
    let connection = answering(Answer::new(&[("x-large", &large)], &[])).await;
    let error = called(&connection).await.unwrap_err();
    // Not the server's reset, but our own.
    let expected = (Code::Internal, "ANSWER_MALFORMED".to_owned());
    assert_eq!(reason(error), expected);
    assert!(connection.send(request("/ok")).await.is_ok());
}

#[tokio::test]
async fn details_that_are_no_base64_are_left_out() {
    let broken = [
        ("grpc-status", "9"),
        ("grpc-message", "why"),
        ("grpc-status-details-bin", "!!! not base64 !!!"),
    ];
    let connection = answering(Answer::new(&[], &broken)).await;
    let trailers = called(&connection).await.unwrap();
    assert!(!trailers.contains_key("grpc-status-details-bin"));
    let status = Status::from_header_map(&trailers).unwrap();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(status.message(), "why");
    // And in the headers, of an answer that is nothing else.
    let connection = answering(Answer::new(&broken, &[])).await;
    let response = connection.send(request("/any")).await.unwrap();
    assert!(Status::from_header_map(response.headers()).is_some());
}

#[tokio::test]
async fn a_request_with_more_metadata_than_the_peer_takes_is_not_sent() {
    let net = Net::default();
    let mut builder = h2::server::Builder::new();
    builder.max_header_list_size(1_000);
    let server = net.serve_by("a:1", builder);
    let connection = Connection::open_with("a:1", &Config::default(), &net).await;
    let connection = connection.unwrap();
    let mut large = request("/ok");
    let token = "t".repeat(1_000).parse().unwrap();
    large.headers_mut().insert("x-token", token);
    let error = connection.send(large).await.unwrap_err();
    assert!(matches!(error, SendError::Ours(_)), "{error:?}");
    let expected = (Code::ResourceExhausted, "METADATA_TOO_LARGE".to_owned());
    assert_eq!(reason(error), expected);
    assert!(connection.send(request("/ok")).await.is_ok());
    assert_eq!(server.calls(), 1);
}

/// T9: a reset by our own library is no word of the peer's.
#[tokio::test]
async fn a_malformed_answer_is_not_taken_for_the_servers_reset() {
    let net = Net::default();
    let (mut stream, connection) = handmade(&net).await;
    let call = tokio::spawn({
        let connection = connection.clone();
        async move { connection.send(request("/any")).await }
    });
    let mut seen = Vec::new();
    while !seen.windows(7).any(|w| w == b"message") {
        stream.read_buf(&mut seen).await.unwrap();
    }
    // Trailers, marked as the last, of a response that has no headers: its status is missing.
    const HEADERS: u8 = 1;
    let block = [0x40, 1, b'x', 1, b'y'];
    let mut bytes = vec![0, 0, 5, HEADERS, 4 | 1, 0, 0, 0, 1];
    bytes.extend(block);
    stream.write_all(&bytes).await.unwrap();
    let error = call.await.unwrap().unwrap_err();
    let expected = (Code::Internal, "ANSWER_MALFORMED".to_owned());
    assert_eq!(reason(error), expected);
    assert!(!connection.is_closed(), "the connection goes on");
}
