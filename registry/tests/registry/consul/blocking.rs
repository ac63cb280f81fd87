//! Indexes, and queries that wait for them to move.

use serde_json::json;

use super::client::{get, put, register, send};
use crate::support::{Registry, soon};

#[tokio::test]
async fn a_blocking_query_is_woken_by_a_change_of_its_service_alone() {
    let registry = Registry::start().await;
    let path = "/v1/health/service/web";
    let empty = get(&registry, path).await;
    assert_eq!(empty.json(), json!([]));
    assert!(empty.index() > 0);
    for (name, value) in [
        ("X-Consul-KnownLeader", "true"),
        ("X-Consul-LastContact", "0"),
        ("X-Consul-Effective-Consistency", "leader"),
    ] {
        assert_eq!(empty.header(name), Some(value), "{name}");
    }

    // It waits for a service that is not there yet.
    let blocked = format!("{path}?index={}&wait=1m", empty.index());
    let (woken, ()) = tokio::join!(get(&registry, &blocked), register(&registry, "a", "web"));
    assert_eq!(woken.json().as_array().unwrap().len(), 1);
    assert!(woken.index() > empty.index());

    // Nothing elsewhere moves it, and the same registration again does not either.
    for n in 0..20 {
        register(&registry, &format!("other-{n}"), "other").await;
    }
    register(&registry, "a", "web").await;
    let still = get(&registry, path).await;
    assert_eq!(still.index(), woken.index());
    let same = get(
        &registry,
        &format!("{path}?index={}&wait=50ms", woken.index()),
    )
    .await;
    assert_eq!((same.status, same.index()), (200, woken.index()));
    assert_eq!(same.json().as_array().unwrap().len(), 1);

    // The last one to go moves it forward.
    let blocked = format!("{path}?index={}&wait=1m", woken.index());
    let leave = put(&registry, "/v1/agent/service/deregister/a", "");
    let (gone, ()) = tokio::join!(get(&registry, &blocked), leave);
    assert_eq!(gone.json(), json!([]));
    assert!(gone.index() > woken.index());
    registry.stop().await;
}

#[tokio::test]
async fn an_index_from_the_future_is_answered_at_once() {
    let registry = Registry::start().await;
    for path in [
        "/v1/health/service/web",
        "/v1/health/state/any",
        "/v1/health/checks/web",
        "/v1/health/node/mizan",
        "/v1/catalog/services",
        "/v1/catalog/service/web",
        "/v1/catalog/nodes",
        "/v1/catalog/node/mizan",
    ] {
        let ahead = format!("{path}?index={}&wait=10m", u64::MAX);
        let answer = get(&registry, &ahead).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!((1..u64::MAX).contains(&answer.index()), "{path}");
    }
    registry.stop().await;
}

#[tokio::test]
async fn output_alone_moves_nothing_and_the_list_of_services_only_with_names_and_tags() {
    let registry = Registry::start().await;
    let body = json!({"Name": "web", "Check": {"TTL": "1h", "Status": "passing"}});
    put(&registry, "/v1/agent/service/register", &body.to_string()).await;
    let indexes = async || {
        let mut indexes = Vec::new();
        for path in ["health/service/web", "health/state/any", "catalog/services"] {
            indexes.push(get(&registry, &format!("/v1/{path}")).await.index());
        }
        indexes
    };
    let before = indexes().await;
    for n in 0..20 {
        let path = format!("/v1/agent/check/pass/service:web?note=run+{n}");
        put(&registry, &path, "").await;
    }
    assert_eq!(indexes().await, before);
    put(&registry, "/v1/agent/check/fail/service:web", "").await;
    let after = indexes().await;
    assert!(after[0] > before[0] && after[1] > before[1]);
    assert_eq!(after[2], before[2]);
    registry.stop().await;
}

#[tokio::test]
async fn a_query_that_waits_is_answered_when_the_registry_stops() {
    let registry = Registry::start().await;
    let index = get(&registry, "/v1/catalog/services").await.index();
    let path = format!("/v1/catalog/services?index={index}&wait=10m");
    let authority = registry.authority();
    let mut stream = tokio::net::TcpStream::connect(authority).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n");
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes())
        .await
        .unwrap();
    // Once it is counted, it waits.
    let waits = "mizan_registry_watchers{api=\"consul\"} 1\n";
    while !get(&registry, "/metrics").await.body.contains(waits) {}
    registry.begin_stop();
    let mut answer = String::new();
    soon(tokio::io::AsyncReadExt::read_to_string(
        &mut stream,
        &mut answer,
    ))
    .await
    .unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
    let told = format!("x-consul-index: {index}");
    assert!(head.to_lowercase().contains(&told), "{answer}");
    assert_eq!(body, "{}");
    registry.stop().await;
}

#[tokio::test]
async fn how_long_to_wait_is_a_time() {
    let registry = Registry::start().await;
    let bad = send(&registry, "GET", "/v1/catalog/services?wait=soon", "").await;
    assert_eq!((bad.status, &*bad.body), (400, "Invalid wait time"));
    registry.stop().await;
}

/// What waits for an answer to change is woken by this.
async fn wakes(registry: &Registry, path: &str, change: impl Future<Output = ()>) {
    let index = get(registry, path).await.index();
    let waiting = format!("{path}?index={index}&wait=10m");
    let (woken, ()) = tokio::join!(get(registry, &waiting), change);
    assert!(woken.index() > index, "{path}");
}

#[tokio::test]
async fn whoever_reads_a_node_is_woken_when_it_comes_changes_or_goes() {
    let registry = Registry::start().await;
    let write = async |call: &str, body: serde_json::Value| {
        let path = format!("/v1/catalog/{call}");
        let answer = send(&registry, "PUT", &path, &body.to_string()).await;
        assert_eq!((answer.status, &*answer.body), (200, "true"));
    };
    let there = || json!({"Node": "bare", "Address": "10.0.0.7"});
    let moved = || json!({"Node": "bare", "Address": "10.0.0.8", "NodeMeta": {"rack": "7"}});
    for path in [
        "/v1/catalog/nodes",
        "/v1/catalog/node/bare",
        "/v1/catalog/node-services/bare",
        "/v1/health/node/bare",
        "/v1/health/state/passing",
    ] {
        wakes(&registry, path, write("register", there())).await;
        wakes(&registry, path, write("register", moved())).await;
        wakes(&registry, path, write("deregister", there())).await;
    }
    registry.stop().await;
}

/// A node that moves asks nothing else of its checks, and a check that falls moves no node.
#[tokio::test]
async fn whoever_lists_nodes_is_woken_by_an_address_alone_and_by_no_check() {
    let registry = Registry::start().await;
    let write = async |address: &str| {
        let body = json!({"Node": "bare", "Address": address}).to_string();
        let answer = send(&registry, "PUT", "/v1/catalog/register", &body).await;
        assert_eq!((answer.status, &*answer.body), (200, "true"));
    };
    let nodes = "/v1/catalog/nodes";
    write("10.0.0.7").await;
    wakes(&registry, nodes, write("10.0.0.8")).await;

    let body = json!({"Name": "web", "Check": {"TTL": "1h", "Status": "passing"}});
    put(&registry, "/v1/agent/service/register", &body.to_string()).await;
    let index = async |path: &str| get(&registry, path).await.index();
    let checks = "/v1/health/state/any";
    let (of_nodes, of_checks) = (index(nodes).await, index(checks).await);
    put(&registry, "/v1/agent/check/fail/service:web", "").await;
    assert!(index(checks).await > of_checks);
    assert_eq!(index(nodes).await, of_nodes);
    registry.stop().await;
}

#[tokio::test]
async fn whoever_reads_checks_is_woken_when_their_tags_or_words_change() {
    let registry = Registry::start().await;
    let web = async |tag: &str, notes: &str| {
        let check = json!({"TTL": "1h", "Notes": notes, "Status": "passing"});
        let body = json!({"Name": "web", "Tags": [tag], "Check": check});
        put(&registry, "/v1/agent/service/register", &body.to_string()).await;
    };
    web("blue", "one").await;
    for path in ["/v1/health/state/any", "/v1/health/node/mizan"] {
        wakes(&registry, path, web("green", "one")).await;
        wakes(&registry, path, web("green", "two")).await;
        web("blue", "one").await;
    }
    registry.stop().await;
}
