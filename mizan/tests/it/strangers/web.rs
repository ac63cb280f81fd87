//! Pages of other sites that were named, and those that were not.

use std::sync::atomic::Ordering;

use mizan::{
    Server,
    server::{Limits, ServeError},
};
use tokio::net::TcpListener;

use super::kit::{Running, message, start_server};

const ORIGIN: &str = "https://app.example";

async fn server() -> Running {
    let server = Server::builder("test").cors_origins([ORIGIN]);
    start_server(server, Limits::default(), |_| message(3)).await
}

/// The head of an answer, in lower case.
async fn head(server: &Running, request: &str) -> String {
    let answer = server.plain(request).await;
    let (head, _) = answer.split_once("\r\n\r\n").unwrap();
    head.to_ascii_lowercase()
}

fn preflight(origin: &str, path: &str) -> String {
    format!(
        "OPTIONS {path} HTTP/1.1\r\nhost: localhost\r\norigin: {origin}\r\naccess-control-request-method: POST\r\naccess-control-request-headers: content-type,x-grpc-web,grpc-timeout\r\nconnection: close\r\n\r\n"
    )
}

fn call(origin: &str) -> String {
    format!(
        "POST /test.Methods/Get HTTP/1.1\r\nhost: localhost\r\norigin: {origin}\r\nsec-fetch-site: cross-site\r\ncontent-type: application/grpc-web+proto\r\ncontent-length: 5\r\nconnection: close\r\n\r\n\0\0\0\0\0"
    )
}

#[tokio::test]
async fn a_page_of_an_origin_that_was_named_asks_calls_and_is_shown_the_status() {
    let server = server().await;
    let asked = head(&server, &preflight(ORIGIN, "/test.Methods/Get")).await;
    assert!(asked.starts_with("http/1.1 204 "), "{asked}");
    for header in [
        "access-control-allow-origin: https://app.example",
        "access-control-allow-methods: post",
        "access-control-allow-headers: content-type,x-grpc-web,grpc-timeout",
        "vary: origin",
    ] {
        assert!(asked.contains(header), "{header}: {asked}");
    }
    assert_eq!(server.calls.load(Ordering::SeqCst), 0);
    let called = head(&server, &call(ORIGIN)).await;
    assert!(called.starts_with("http/1.1 200 "), "{called}");
    for header in [
        "access-control-allow-origin: https://app.example",
        "access-control-expose-headers: grpc-status, grpc-message, grpc-status-details-bin",
        "vary: origin",
    ] {
        assert!(called.contains(header), "{header}: {called}");
    }
    assert!(!called.contains("credentials"), "{called}");
    assert_eq!(server.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn pages_of_other_origins_and_other_paths_are_told_nothing() {
    let server = server().await;
    for origin in ["https://evil.example", "http://app.example", "null"] {
        let asked = head(&server, &preflight(origin, "/test.Methods/Get")).await;
        assert!(!asked.contains("access-control"), "{origin}: {asked}");
        let called = head(&server, &call(origin)).await;
        assert!(called.starts_with("http/1.1 403 "), "{origin}: {called}");
        assert!(!called.contains("access-control"), "{origin}: {called}");
    }
    // Routes and pages are not for them.
    for path in ["/health", "/no.Such/Method"] {
        let asked = head(&server, &preflight(ORIGIN, path)).await;
        assert!(!asked.contains("access-control"), "{path}: {asked}");
    }
    let change = call(ORIGIN).replace("application/grpc-web+proto", "text/plain");
    let called = head(&server, &change).await;
    assert!(called.starts_with("http/1.1 403 "), "{called}");
    assert_eq!(server.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_origin_that_no_browser_writes_is_refused_at_the_start() {
    for origin in ["*", "app.example", "https://app.example/"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server::builder("test").cors_origins([origin]);
        let served = server
            .unregistered()
            .serve(listener, std::future::pending());
        let refused = served.await.unwrap_err();
        assert!(matches!(refused, ServeError::Settings(_)), "{refused}");
    }
}
