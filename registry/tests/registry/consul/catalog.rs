//! The catalogue written directly, the health of services as a status code, and other data centres.

use serde_json::json;

use super::client::{get, put, read, register, send};
use crate::support::{Registry, listen};

async fn write(registry: &Registry, call: &str, body: serde_json::Value) {
    let path = format!("/v1/catalog/{call}");
    let answer = send(registry, "PUT", &path, &body.to_string()).await;
    assert_eq!((answer.status, &*answer.body), (200, "true"), "{answer:?}");
}

async fn passing(registry: &Registry, service: &str) -> usize {
    let path = format!("/v1/health/service/{service}?passing");
    read(registry, &path).await.as_array().unwrap().len()
}

#[tokio::test]
async fn a_node_with_its_service_and_checks_is_written_in_one_go() {
    let registry = Registry::start().await;
    let body = |status: &str| {
        json!({
            "Datacenter": "dc1", "ID": "40e4a748-2192-161a-0510-9bf59fe950b5", "Node": "db-host",
            "Address": "10.0.0.7", "NodeMeta": {"rack": "7"},
            "TaggedAddresses": {"wan": "192.0.2.7"},
            "Service": {"ID": "db-1", "Service": "db", "Tags": ["primary"], "Port": 5432,
                "Weights": {"Passing": 0, "Warning": 0}},
            "Checks": [
                {"Node": "db-host", "CheckID": "host", "Name": "Host", "Status": "passing"},
                {"Name": "db alive", "ServiceID": "db-1", "Status": status, "Output": "as told"},
            ],
        })
    };
    write(&registry, "register", body("critical")).await;
    assert_eq!(passing(&registry, "db").await, 0);
    let before = get(&registry, "/v1/health/service/db").await;
    // The same again moves nothing.
    write(&registry, "register", body("critical")).await;
    assert_eq!(
        get(&registry, "/v1/health/service/db").await.index(),
        before.index()
    );
    write(&registry, "register", body("passing")).await;
    let found = read(&registry, "/v1/health/service/db?passing&node-meta=rack:7").await;
    assert_eq!(
        found[0]["Node"]["ID"],
        "40e4a748-2192-161a-0510-9bf59fe950b5"
    );
    assert_eq!(found[0]["Node"]["Address"], "10.0.0.7");
    assert_eq!(found[0]["Node"]["TaggedAddresses"]["wan"], "192.0.2.7");
    let checks = found[0]["Checks"].as_array().unwrap();
    let ids: Vec<_> = checks
        .iter()
        .map(|check| check["CheckID"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["host", "db alive"]);
    assert_eq!(checks[1]["Output"], "as told");
    let services = read(&registry, "/v1/catalog/node-services/db-host").await;
    assert_eq!(services["Services"][0]["ID"], "db-1");

    // Another service on it, the node left as it is.
    let body = json!({
        "Node": "db-host", "Address": "10.9.9.9", "SkipNodeUpdate": true,
        "Service": {"Service": "cache"},
    });
    write(&registry, "register", body).await;
    let node = read(&registry, "/v1/catalog/node/db-host").await;
    assert_eq!(node["Node"]["Address"], "10.0.0.7");
    assert_eq!(node["Services"].as_object().unwrap().len(), 2);
    registry.stop().await;
}

#[tokio::test]
async fn a_check_that_says_what_to_ask_is_run() {
    let registry = Registry::start().await;
    let listener = listen().await;
    let target = listener.local_addr().unwrap();
    let body = json!({
        "Node": "n", "Address": "127.0.0.1", "Service": {"Service": "web"},
        "Check": {"Name": "port", "ServiceID": "web",
            "Definition": {"TCP": target.to_string(), "Interval": "1s", "Timeout": "1s"}},
    });
    write(&registry, "register", body).await;
    let mut index = 1;
    while passing(&registry, "web").await == 0 {
        let path = format!("/v1/health/service/web?passing&wait=5s&index={index}");
        index = get(&registry, &path).await.index();
    }
    registry.stop().await;
}

#[tokio::test]
async fn what_is_deregistered_is_gone_and_what_is_wrong_changes_nothing() {
    let registry = Registry::start().await;
    let body = json!({
        "Node": "n", "Address": "127.0.0.1", "Service": {"Service": "web"},
        "Checks": [{"Name": "a"}, {"Name": "b", "ServiceID": "web"}],
    });
    write(&registry, "register", body).await;
    let before = get(&registry, "/v1/catalog/nodes").await.index();
    for (body, status, why) in [
        (json!({"Address": "10.0.0.7"}), 500, "Must provide node"),
        (
            json!({"Node": "n"}),
            500,
            "Must provide address if SkipNodeUpdate is not set",
        ),
        (
            json!({"Node": "n", "Address": "0.0.0.0"}),
            400,
            "address must be",
        ),
        (
            json!({"Node": "n", "Address": "a", "ID": "x"}),
            400,
            "must be a UUID",
        ),
        (
            json!({"Node": "n", "Address": "a", "Service": {"ID": "x"}}),
            400,
            "Missing service name",
        ),
        (
            json!({"Node": "n", "Address": "a", "Check": {"Status": "passing"}}),
            400,
            "Missing check name",
        ),
        (
            json!({"Node": "n", "Address": "a", "Check": {"Name": "x", "ServiceID": "nobody"}}),
            400,
            "there is no service",
        ),
        (
            json!({"Node": "n", "Address": "a", "Check": {"Name": "x", "Status": "good"}}),
            400,
            "Status for checks must",
        ),
        (
            json!({"Node": "n", "Address": "a", "Datacenter": "dc9"}),
            500,
            "No path to datacenter",
        ),
    ] {
        let refused = send(&registry, "PUT", "/v1/catalog/register", &body.to_string()).await;
        assert_eq!(refused.status, status, "{refused:?}");
        assert!(refused.body.contains(why), "{why}: {refused:?}");
    }
    assert_eq!(get(&registry, "/v1/catalog/nodes").await.index(), before);

    write(
        &registry,
        "deregister",
        json!({"Node": "n", "CheckID": "b"}),
    )
    .await;
    assert_eq!(read(&registry, "/v1/health/checks/web").await, json!([]));
    write(
        &registry,
        "deregister",
        json!({"Node": "n", "ServiceID": "web"}),
    )
    .await;
    assert_eq!(read(&registry, "/v1/catalog/services").await, json!({}));
    write(&registry, "deregister", json!({"Node": "n"})).await;
    assert_eq!(read(&registry, "/v1/catalog/node/n").await, json!(null));
    write(&registry, "deregister", json!({"Node": "n"})).await;
    let own = json!({"Node": "mizan"}).to_string();
    let refused = send(&registry, "PUT", "/v1/catalog/deregister", &own).await;
    assert_eq!(refused.status, 400, "{refused:?}");
    registry.stop().await;
}

#[tokio::test]
async fn the_health_of_a_service_is_a_status_code() {
    let registry = Registry::start().await;
    let body = json!({"Name": "web", "ID": "web-1", "Check": {"TTL": "1h", "Status": "passing"}});
    put(&registry, "/v1/agent/service/register", &body.to_string()).await;
    let id = "/v1/agent/health/service/id/web-1";
    let name = "/v1/agent/health/service/name/web";
    for (report, code, word) in [
        ("pass", 200, "passing"),
        ("warn", 429, "warning"),
        ("fail", 503, "critical"),
    ] {
        put(
            &registry,
            &format!("/v1/agent/check/{report}/service:web-1"),
            "",
        )
        .await;
        let answer = get(&registry, id).await;
        assert_eq!(answer.status, code);
        assert_eq!(answer.json()["AggregatedStatus"], word);
        assert_eq!(answer.json()["Service"]["ID"], "web-1");
        let all = get(&registry, name).await;
        assert_eq!(
            (all.status, &all.json()[0]["AggregatedStatus"]),
            (code, &json!(word))
        );
        let text = get(&registry, &format!("{name}?format=text")).await;
        assert_eq!((text.status, &*text.body), (code, word));
    }
    put(
        &registry,
        "/v1/agent/service/maintenance/web-1?enable=true",
        "",
    )
    .await;
    let answer = get(&registry, &format!("{id}?format=text")).await;
    assert_eq!((answer.status, &*answer.body), (503, "maintenance"));
    assert_eq!(
        get(&registry, "/v1/agent/health/service/name/nobody")
            .await
            .status,
        404
    );
    registry.stop().await;
}

#[tokio::test]
async fn an_agent_s_service_is_waited_for_by_its_hash() {
    let registry = Registry::start().await;
    register(&registry, "a", "web").await;
    let first = get(&registry, "/v1/agent/service/a").await;
    let hash = first.header("X-Consul-ContentHash").unwrap().to_owned();
    assert_eq!(first.json()["ContentHash"], hash);
    // What does not change what was registered does not change the hash either.
    put(&registry, "/v1/agent/service/maintenance/a?enable=true", "").await;
    let path = format!("/v1/agent/service/a?hash={hash}&wait=10ms");
    assert_eq!(
        get(&registry, &path).await.header("X-Consul-ContentHash"),
        Some(&*hash)
    );
    let path = format!("/v1/agent/service/a?hash={hash}&wait=10m");
    let changes = async {
        let body = json!({"ID": "a", "Name": "web", "Port": 81}).to_string();
        put(&registry, "/v1/agent/service/register", &body).await;
    };
    let (answer, ()) = tokio::join!(get(&registry, &path), changes);
    assert_ne!(answer.header("X-Consul-ContentHash"), Some(&*hash));
    assert_eq!(answer.json()["Port"], 81);
    registry.stop().await;
}

#[tokio::test]
async fn there_is_one_data_centre() {
    let registry = Registry::start().await;
    let answer = get(&registry, "/v1/health/service/web?dc=elsewhere").await;
    assert_eq!(
        (answer.status, &*answer.body),
        (500, "No path to datacenter")
    );
    assert_eq!(
        get(&registry, "/v1/health/service/web?dc=dc1&near=_agent")
            .await
            .status,
        200
    );
    let answer = get(&registry, "/v1/health/service/web?cached&consistent").await;
    assert_eq!(answer.status, 400, "{answer:?}");
    registry.stop().await;
}

#[tokio::test]
async fn node_maintenance_wakes_who_waits_for_the_state_of_checks() {
    let registry = Registry::start().await;
    let path = "/v1/health/state/critical";
    let index = get(&registry, path).await.index();
    let waiting = format!("{path}?index={index}&wait=10m");
    let changes = put(
        &registry,
        "/v1/agent/maintenance?enable=true&reason=disk",
        "",
    );
    let (answer, ()) = tokio::join!(get(&registry, &waiting), changes);
    assert_eq!(answer.json()[0]["CheckID"], "_node_maintenance");
    registry.stop().await;
}
