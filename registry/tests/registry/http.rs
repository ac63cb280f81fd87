//! HTTP checks, and where checks may go.

use std::{collections::BTreeMap, time::Duration};

use mizan_contracts::registry::v1::{
    HttpCheck, InstanceStatus, RegisterRequest, TcpCheck, health_check::Kind,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::mpsc,
};
use tonic::Code;

use crate::support::{Client, Registry, Watch, checked, listen, register, soon};

const OFTEN: Duration = Duration::from_millis(100);

/// A server that reads each request's head, tells it, and answers with what it is given.
struct Web {
    port: u16,
    heads: mpsc::UnboundedReceiver<String>,
    answer: tokio::sync::watch::Sender<String>,
}

impl Web {
    async fn start(answer: &str) -> Self {
        let listener = listen().await;
        let port = listener.local_addr().unwrap().port();
        let (tell, heads) = mpsc::unbounded_channel();
        let (sender, answer) = tokio::sync::watch::channel(answer.to_owned());
        tokio::spawn(serve(listener, tell, answer));
        Self {
            port,
            heads,
            answer: sender,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

async fn serve(
    listener: TcpListener,
    tell: mpsc::UnboundedSender<String>,
    answer: tokio::sync::watch::Receiver<String>,
) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut head = Vec::new();
        let mut buffer = [0; 1024];
        while !head.windows(4).any(|four| four == b"\r\n\r\n") {
            let Ok(read @ 1..) = stream.read(&mut buffer).await else {
                break;
            };
            head.extend_from_slice(&buffer[..read]);
        }
        let _ = tell.send(String::from_utf8_lossy(&head).into_owned());
        let answer = answer.borrow().clone();
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}

fn status(code: &str) -> String {
    format!("HTTP/1.1 {code}\r\ncontent-length: 5\r\n\r\nhello")
}

fn http(url: String) -> HttpCheck {
    HttpCheck {
        url,
        ..HttpCheck::default()
    }
}

async fn watch_one(client: &mut Client, check: HttpCheck) -> Watch {
    let watch = Watch::open(client, &["invoice"], true).await;
    register(client, checked("a", 1, Some(Kind::Http(check)), OFTEN)).await;
    watch
}

#[tokio::test]
async fn the_status_of_an_answer_decides() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let mut web = Web::start(&status("200 OK")).await;
    let check = HttpCheck {
        method: "HEAD".to_owned(),
        headers: BTreeMap::from([("x-check".to_owned(), "yes".to_owned())]),
        ..http(web.url("/health?deep=1"))
    };
    let mut watch = watch_one(&mut client, check).await;
    watch.until_passing().await;
    let head = soon(web.heads.recv()).await.unwrap().to_lowercase();
    for part in [
        "head /health?deep=1 http/1.1\r\n",
        "x-check: yes\r\n",
        "host: 127.0.0.1:",
    ] {
        assert!(head.contains(part), "{head}");
    }
    for (code, expected) in [
        ("429 Too Many Requests", InstanceStatus::Warning),
        ("204 No Content", InstanceStatus::Passing),
        ("503 Service Unavailable", InstanceStatus::Critical),
        ("302 Found", InstanceStatus::Critical),
    ] {
        web.answer.send_replace(status(code));
        if code.starts_with("302") {
            break;
        }
        watch.until(|m| m.instances[0].status() == expected).await;
    }
}

#[tokio::test]
async fn a_user_in_the_url_is_sent_and_not_told() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let mut web = Web::start(&status("503 Service Unavailable")).await;
    let url = web
        .url("/health")
        .replace("http://", "http://me:my%20word@");
    let mut watch = watch_one(&mut client, http(url)).await;
    let head = soon(web.heads.recv()).await.unwrap();
    let basic = "authorization: Basic bWU6bXkgd29yZA==\r\n";
    assert!(head.contains(basic), "{head}");
    assert!(head.contains("host: 127.0.0.1:"), "{head}");
    let failed = watch.until(|m| {
        let one = m.instances.first();
        one.is_some_and(|one| one.status_reason.starts_with("HTTP GET"))
    });
    let reason = &failed.await.instances[0].status_reason;
    assert!(!reason.contains("word"), "{reason}");
}

#[tokio::test]
async fn redirects_are_followed_unless_told_otherwise() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let there = Web::start(&status("200 OK")).await;
    let moved = format!("302 Found\r\nlocation: {}", there.url("/there"));
    let here = Web::start(&status(&moved)).await;
    let mut watch = watch_one(&mut client, http(here.url("/"))).await;
    watch.until_passing().await;
    let strict = HttpCheck {
        no_redirects: true,
        ..http(here.url("/"))
    };
    let mut watch = watch_one(&mut client, strict).await;
    let critical = |m: &mizan_contracts::registry::v1::WatchInstancesResponse| {
        m.instances[0]
            .status_reason
            .starts_with("HTTP GET http://127.0.0.1:")
    };
    watch.until(critical).await;
    // A circle ends.
    here.answer
        .send_replace(status("302 Found\r\nlocation: /again"));
    let mut watch = watch_one(&mut client, http(here.url("/circle"))).await;
    watch.until_critical("redirected more than 5 times").await;
}

#[tokio::test]
async fn nonsense_for_an_answer_is_critical() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let web = Web::start("nonsense\r\n\r\n").await;
    let mut watch = watch_one(&mut client, http(web.url("/"))).await;
    let broke = |m: &mizan_contracts::registry::v1::WatchInstancesResponse| {
        let one = m.instances.first();
        one.is_some_and(|one| one.status_reason.starts_with("connection broke"))
    };
    watch.until(broke).await;
}

#[tokio::test]
async fn checks_go_only_where_they_may() {
    let config = registry::Config {
        probe_allow: vec!["10.0.0.0/8".parse().unwrap()],
        ..registry::Config::default()
    };
    let registry = Registry::with(listen().await, config);
    let mut client = registry.client().await;
    let tcp = || Some(Kind::Tcp(TcpCheck::default()));
    let request = RegisterRequest {
        instance: Some(checked("a", 1, tcp(), OFTEN)),
        ..RegisterRequest::default()
    };
    let refused = soon(client.register(request)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(
        mizan::status::reason(&refused).as_deref(),
        Some("CHECK_FORBIDDEN")
    );
    // A name is judged when it is looked up.
    let mut named = checked("a", 1, tcp(), OFTEN);
    named.address = "localhost".to_owned();
    let mut watch = Watch::open(&mut client, &["invoice"], true).await;
    register(&mut client, named).await;
    let outside = |m: &mizan_contracts::registry::v1::WatchInstancesResponse| {
        let one = m.instances.first();
        let words = "is outside of the networks that may be checked";
        one.is_some_and(|one| one.status_reason.ends_with(words))
    };
    watch.until(outside).await;
}

#[tokio::test]
async fn a_redirect_elsewhere_takes_no_secret_along() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let mut there = Web::start(&status("200 OK")).await;
    let location = format!(
        "HTTP/1.1 302 Found\r\nlocation: {}\r\n\r\n",
        there.url("/in")
    );
    let mut here = Web::start(&location).await;
    let secrets = [("authorization", "Bearer s3cret"), ("x-api-key", "s3cret")];
    let secrets = secrets.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let check = HttpCheck {
        headers: secrets.into(),
        ..http(here.url("/a/check"))
    };
    let mut watch = watch_one(&mut client, check).await;
    watch.until_passing().await;
    let first = soon(here.heads.recv()).await.unwrap();
    assert_eq!(first.matches("s3cret").count(), 2, "{first}");
    let second = soon(there.heads.recv()).await.unwrap();
    assert!(
        second.starts_with("GET /in ") && !second.contains("s3cret"),
        "{second}"
    );
}

#[tokio::test]
async fn a_redirect_elsewhere_takes_no_body_along_and_one_to_what_is_forbidden_says_where() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let mut there = Web::start(&status("200 OK")).await;
    let metadata = "http://169.254.169.254/latest/".to_owned();
    for (code, method, to, expected) in [
        (
            307,
            "POST",
            there.url("/in"),
            "another origin, where the check's body does not go",
        ),
        (
            308,
            "POST",
            there.url("/in"),
            "another origin, where the check's body does not go",
        ),
        (
            302,
            "GET",
            metadata,
            "http://169.254.169.254/latest/: 169.254.169.254 is a link-local address",
        ),
    ] {
        let here = Web::start(&format!(
            "HTTP/1.1 {code} Elsewhere\r\nlocation: {to}\r\n\r\n"
        ))
        .await;
        let check = HttpCheck {
            method: method.to_owned(),
            body: if method == "POST" { "s3cret" } else { "" }.to_owned(),
            ..http(here.url("/check"))
        };
        let mut watch = watch_one(&mut client, check).await;
        let told = watch
            .until(|m| {
                m.instances.iter().any(|one| {
                    one.status_reason.starts_with("redirected to ")
                        && one.status_reason.contains(expected)
                })
            })
            .await;
        assert_ne!(told.instances[0].status(), InstanceStatus::Passing);
    }
    assert!(there.heads.try_recv().is_err(), "nobody was asked there");
}

#[tokio::test]
async fn a_relative_redirect_is_followed_from_where_it_was_given() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let mut web = Web::start("HTTP/1.1 303 See Other\r\nlocation: ../ok?x\r\n\r\n").await;
    let check = HttpCheck {
        method: "POST".to_owned(),
        body: "ping".to_owned(),
        ..http(web.url("/a/b/check"))
    };
    let mut watch = watch_one(&mut client, check).await;
    let lines = async |web: &mut Web| {
        let head = soon(web.heads.recv()).await.unwrap();
        head.lines().next().unwrap_or_default().to_owned()
    };
    assert_eq!(lines(&mut web).await, "POST /a/b/check HTTP/1.1");
    assert_eq!(lines(&mut web).await, "GET /a/ok?x HTTP/1.1");
    assert_eq!(lines(&mut web).await, "GET /ok?x HTTP/1.1");
    web.answer.send(status("200 OK")).unwrap();
    watch.until_passing().await;
}

#[tokio::test]
async fn checks_of_the_machines_own_addresses_are_refused_unless_allowed() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let asks = |url: &str| RegisterRequest {
        instance: Some(checked(
            "a",
            1,
            Some(Kind::Http(http(url.to_owned()))),
            OFTEN,
        )),
        ..RegisterRequest::default()
    };
    for url in [
        "http://169.254.169.254/latest/meta-data/",
        "http://[fe80::1]/",
        "http://metadata.google.internal/computeMetadata/v1/",
    ] {
        let refused = soon(client.register(asks(url))).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{url}");
        assert!(
            refused.message().contains("--allow-check-address"),
            "{refused}"
        );
    }
    registry.stop().await;
    let config = registry::Config {
        allow_check_address: vec!["169.254.0.0/16".parse().unwrap()],
        ..registry::Config::default()
    };
    let registry = Registry::with(listen().await, config);
    let mut client = registry.client().await;
    let url = "http://169.254.169.254/latest/meta-data/";
    soon(client.register(asks(url))).await.unwrap();
}

#[tokio::test]
async fn an_answer_from_elsewhere_than_the_instance_is_not_shown() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let web = Web::start(&status("200 OK")).await;
    let mut watch = Watch::open(&mut client, &["invoice"], true).await;
    for (address, shown) in [("127.0.0.1", true), ("192.0.2.7", false)] {
        let mut instance = checked("a", 1, Some(Kind::Http(http(web.url("/")))), OFTEN);
        instance.instance_id = address.to_owned();
        instance.address = address.to_owned();
        register(&mut client, instance).await;
        let is_it = |one: &&mizan_contracts::registry::v1::Instance| one.address == address;
        let message = watch
            .until(|m| {
                let one = m.instances.iter().find(is_it);
                one.is_some_and(|one| one.status() == InstanceStatus::Passing)
            })
            .await;
        let one = message.instances.iter().find(is_it).unwrap();
        let output = &one.check_states[0].output;
        assert!(output.contains("200 OK"), "{output}");
        assert_eq!(output.contains("hello"), shown, "{output}");
    }
}

/// HTTP allows interim answers, and a target may send them without end.
#[tokio::test]
async fn an_answer_that_never_begins_is_read_no_further_than_a_check_may() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let listener = listen().await;
    let port = listener.local_addr().unwrap().port();
    let (tell, mut sent) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let interim = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(1000);
            let mut bytes = 0;
            while stream.write_all(&interim).await.is_ok() {
                bytes += interim.len();
            }
            let _ = tell.send(bytes);
        }
    });
    let kind = Kind::Http(http(format!("http://127.0.0.1:{port}/")));
    register(&mut client, checked("a", port, Some(kind), OFTEN)).await;
    let mut watch = Watch::open(&mut client, &["invoice"], true).await;
    let told = watch
        .until(|answer| {
            answer
                .instances
                .iter()
                .any(|one| !one.status_reason.is_empty())
        })
        .await;
    assert!(
        told.instances[0].status_reason.contains("128 KiB"),
        "{told:?}"
    );
    // What was sent beyond lay in the sockets' buffers.
    assert!(soon(sent.recv()).await.unwrap() < 16 << 20);
    registry.stop().await;
}
