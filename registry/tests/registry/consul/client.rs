//! A small HTTP client: one request, one connection, text in and text out.

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{Registry, soon};

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    /// A header's value.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut same = lines.filter(|(held, _)| held.eq_ignore_ascii_case(name));
        same.next().map(|(_, value)| value)
    }

    /// The revision.
    pub(super) fn index(&self) -> u64 {
        self.header("X-Consul-Index").unwrap().parse().unwrap()
    }

    /// The body as what it must be.
    pub(super) fn json(&self) -> Value {
        assert_eq!(
            self.header("Content-Type"),
            Some("application/json"),
            "{self:?}"
        );
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Sends a request, whatever its method and body.
pub(crate) async fn send(registry: &Registry, method: &str, path: &str, body: &str) -> Answer {
    let authority = registry.authority();
    let exchange = async {
        let mut stream = TcpStream::connect(&authority).await.unwrap();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = soon(exchange).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer {
        status,
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

pub(crate) async fn get(registry: &Registry, path: &str) -> Answer {
    send(registry, "GET", path, "").await
}

/// What must be done, and says nothing.
pub(super) async fn put(registry: &Registry, path: &str, body: &str) {
    let answer = send(registry, "PUT", path, body).await;
    assert_eq!(
        (answer.status, &*answer.body),
        (200, ""),
        "{path}: {answer:?}"
    );
}

/// What must be read.
pub(crate) async fn read(registry: &Registry, path: &str) -> Value {
    let answer = get(registry, path).await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.json()
}

/// Registers a service without a check.
pub(super) async fn register(registry: &Registry, id: &str, name: &str) {
    let body = format!(
        r#"{{"ID": "{id}", "Name": "{name}", "Address": "127.0.0.1", "Port": 80, "Tags": ["v1"]}}"#
    );
    put(registry, "/v1/agent/service/register", &body).await;
}
