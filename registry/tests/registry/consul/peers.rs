//! What the tests of HashiCorp's own client expect.

use serde_json::{Value, json};

use super::client::{get, put, read, register, send};
use crate::support::{Registry, listen};

const NODE_ID: &str = "830fae71-9de5-bd29-901b-30fc9ebf7c21";

async fn listing() -> Registry {
    let config = registry::Config {
        consul_service: true,
        node_id: Some(NODE_ID.parse().unwrap()),
        node_meta: vec![("rack".to_owned(), "7".to_owned())],
        ..registry::Config::default()
    };
    Registry::with(listen().await, config)
}

#[tokio::test]
async fn lists_have_the_service_consul_where_that_is_asked_for() {
    let registry = listing().await;
    register(&registry, "a", "web").await;
    let both = json!({"consul": [], "web": ["v1"]});
    for narrow in [
        "",
        "?node-meta=rack:7",
        "?filter=NodeMeta.rack%20%3D%3D%207",
    ] {
        let path = format!("/v1/catalog/services{narrow}");
        assert_eq!(read(&registry, &path).await, both, "{path}");
    }
    for none in ["?node-meta=rack:8", "?filter=NodeMeta.rack%20%3D%3D%208"] {
        let path = format!("/v1/catalog/services{none}");
        assert_eq!(read(&registry, &path).await, json!({}), "{path}");
    }
    let on = read(&registry, "/v1/catalog/node/mizan").await;
    assert_eq!(on["Node"]["ID"], NODE_ID);
    let ids: Vec<_> = on["Services"].as_object().unwrap().keys().collect();
    assert_eq!(ids, ["a", "consul"]);
    let on = read(&registry, "/v1/catalog/node-services/mizan").await;
    assert_eq!(on["Services"].as_array().unwrap().len(), 2);
    // An agent was told of one.
    let told = read(&registry, "/v1/agent/services").await;
    assert_eq!(told.as_object().unwrap().len(), 1);
    // One that somebody calls so is that one, and alone.
    register(&registry, "own", "consul").await;
    let listed = read(&registry, "/v1/catalog/services").await;
    assert_eq!(listed["consul"], json!(["v1"]));
    let on = read(&registry, "/v1/catalog/node/mizan").await;
    assert_eq!(on["Services"].get("consul"), None);
    registry.stop().await;
}

#[tokio::test]
async fn nodes_that_were_written_have_their_own_checks_alone() {
    let registry = Registry::start().await;
    let body = json!({"Node": "elsewhere", "Address": "10.0.0.7",
        "Service": {"ID": "db-1", "Service": "db", "Port": 5432},
        "Check": {"Name": "ssh", "Status": "passing"}});
    let answer = send(&registry, "PUT", "/v1/catalog/register", &body.to_string()).await;
    assert_eq!(answer.status, 200);
    register(&registry, "a", "web").await;
    let ids = |checks: &Value| -> Vec<String> {
        let checks = checks.as_array().unwrap().iter();
        let ids = checks.map(|check| check["CheckID"].as_str().unwrap().to_owned());
        ids.collect()
    };
    let of = read(&registry, "/v1/health/node/elsewhere").await;
    assert_eq!(ids(&of), ["ssh"]);
    let of = read(&registry, "/v1/health/service/db").await;
    assert_eq!(ids(&of[0]["Checks"]), ["ssh"]);
    let of = read(&registry, "/v1/health/node/mizan").await;
    assert_eq!(ids(&of), ["serfHealth"]);
    let of = read(&registry, "/v1/health/service/web").await;
    assert_eq!(ids(&of[0]["Checks"]), ["serfHealth"]);
    let all = read(&registry, "/v1/health/state/any").await;
    assert_eq!(all.as_array().unwrap().len(), 2);
    registry.stop().await;
}

#[tokio::test]
async fn an_agent_tells_what_was_registered_and_no_more() {
    let registry = Registry::start().await;
    let plain = r#"{"Name": "plain", "Port": 80}"#;
    let placed = r#"{"Name": "placed", "Address": "10.0.0.5", "Port": 80}"#;
    for body in [plain, placed] {
        put(&registry, "/v1/agent/service/register", body).await;
    }
    let all = read(&registry, "/v1/agent/services").await;
    for id in ["plain", "placed"] {
        let one = read(&registry, &format!("/v1/agent/service/{id}")).await;
        for service in [&one, &all[id]] {
            for absent in ["CreateIndex", "ModifyIndex", "SocketPath"] {
                assert_eq!(service.get(absent), None, "{service}");
            }
            let told = service.get("TaggedAddresses").is_some();
            assert_eq!(told, id == "placed", "{service}");
        }
    }
    // The catalogue has them.
    let listed = &read(&registry, "/v1/health/service/plain").await[0]["Service"];
    assert!(listed["CreateIndex"].is_u64(), "{listed}");
    assert_eq!(listed["TaggedAddresses"], json!({}));
    registry.stop().await;
}

#[tokio::test]
async fn a_socket_is_told_to_those_who_ask() {
    let registry = Registry::start().await;
    let body = r#"{"Name": "local", "SocketPath": "/run/local.sock"}"#;
    put(&registry, "/v1/agent/service/register", body).await;
    let told = read(&registry, "/v1/agent/services").await;
    assert_eq!(told["local"]["SocketPath"], "/run/local.sock");
    let told = read(&registry, "/v1/catalog/service/local").await;
    assert_eq!(told[0]["ServiceSocketPath"], "/run/local.sock");
    let told = read(&registry, "/v1/health/service/local").await;
    assert_eq!(told[0]["Service"]["SocketPath"], "/run/local.sock");
    let long = json!({"Name": "long", "SocketPath": "s".repeat(513)}).to_string();
    let answer = send(&registry, "PUT", "/v1/agent/service/register", &long).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(answer.body.contains("socket_path"), "{answer:?}");
    registry.stop().await;
}

#[tokio::test]
async fn what_is_asked_for_from_memory_is_said_to_come_from_there() {
    let registry = Registry::start().await;
    for path in [
        "/v1/catalog/service/consul",
        "/v1/catalog/services",
        "/v1/health/service/web",
    ] {
        let answer = get(&registry, &format!("{path}?cached")).await;
        assert_eq!(answer.header("X-Cache"), Some("HIT"), "{answer:?}");
        assert_eq!(answer.header("Age"), Some("0"), "{answer:?}");
        assert_eq!(get(&registry, path).await.header("X-Cache"), None);
    }
    registry.stop().await;
}
