//! Registering services, and discovering them.

use serde_json::json;

use super::client::{get, put, read, register, send};
use crate::{
    support::{Client, Registry, Watch, listen},
    target::Checked,
};

/// Asks again, blocking, until the answer is as wanted.
async fn until(registry: &Registry, path: &str, wanted: impl Fn(&serde_json::Value) -> bool) {
    let mut index = 0;
    loop {
        let answer = get(registry, &format!("{path}index={index}&wait=5s")).await;
        if wanted(&answer.json()) {
            return;
        }
        index = answer.index();
    }
}

#[tokio::test]
async fn a_service_is_registered_checked_and_discovered() {
    let registry = Registry::start().await;
    let web = Checked::start().await;
    let body = json!({
        "Name": "web", "ID": "web-1", "Address": "127.0.0.1", "Port": web.port,
        "Tags": ["v1", "blue"], "Meta": {"env": "prod"},
        "Checks": [
            {"TCP": format!("127.0.0.1:{}", web.port), "Interval": "100ms", "Timeout": "10s"},
            {"GRPC": format!("127.0.0.1:{}", web.port), "Interval": "1s", "Status": "passing"},
        ],
    });
    put(&registry, "/v1/agent/service/register", &body.to_string()).await;
    until(&registry, "/v1/health/service/web?passing=1&", |found| {
        found.as_array().unwrap().len() == 1
    })
    .await;

    let found = read(&registry, "/v1/health/service/web").await;
    let entry = &found[0];
    assert_eq!(entry["Node"]["Node"], "mizan");
    assert_eq!(entry["Node"]["Datacenter"], "dc1");
    assert!(!entry["Node"]["ID"].as_str().unwrap().is_empty());
    assert_eq!(entry["Service"]["ID"], "web-1");
    assert_eq!(entry["Service"]["Service"], "web");
    assert_eq!(entry["Service"]["Tags"], json!(["v1", "blue"]));
    assert_eq!(
        entry["Service"]["Weights"],
        json!({"Passing": 1, "Warning": 1})
    );
    let lan = &entry["Service"]["TaggedAddresses"]["lan_ipv4"];
    assert_eq!(lan, &json!({"Address": "127.0.0.1", "Port": web.port}));
    let checks = entry["Checks"].as_array().unwrap();
    let ids: Vec<_> = checks
        .iter()
        .map(|check| check["CheckID"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["serfHealth", "service:web-1:1", "service:web-1:2"]);
    assert_eq!(checks[1]["Type"], "tcp");
    assert_eq!(checks[1]["Name"], "Service 'web' check");
    assert_eq!(checks[2]["Interval"], "1s");
    registry.stop().await;
}

#[tokio::test]
async fn a_failing_check_is_left_out_of_passing_ones_and_maintenance_is_a_check() {
    let registry = Registry::start().await;
    let nobody = listen().await;
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let body = json!({
        "name": "web", "port": port, "check": {
            "http": format!("http://127.0.0.1:{port}/health"), "interval": "10s", "timeout": "2s",
            "deregister_critical_service_after": "1h",
        },
    });
    put(&registry, "/v1/agent/service/register", &body.to_string()).await;
    register(&registry, "ok", "web").await;
    let passing = read(&registry, "/v1/health/service/web?passing").await;
    assert_eq!(passing.as_array().unwrap().len(), 1);
    assert_eq!(passing[0]["Service"]["ID"], "ok");
    let all = read(&registry, "/v1/health/service/web?passing=false").await;
    assert_eq!(all.as_array().unwrap().len(), 2);

    put(
        &registry,
        "/v1/agent/service/maintenance/ok?enable=true&reason=new+disk",
        "",
    )
    .await;
    assert_eq!(
        read(&registry, "/v1/health/service/web?passing").await,
        json!([])
    );
    let checks = read(&registry, "/v1/health/checks/web").await;
    let checks = checks.as_array().unwrap();
    let maintenance = checks
        .iter()
        .find(|check| check["CheckID"] == "_service_maintenance:ok");
    let maintenance = maintenance.unwrap();
    assert_eq!(maintenance["Status"], "critical");
    assert_eq!(maintenance["Output"], "new disk");
    put(
        &registry,
        "/v1/agent/service/maintenance/ok?enable=false",
        "",
    )
    .await;
    put(&registry, "/v1/agent/maintenance?enable=true", "").await;
    let node = read(
        &registry,
        "/v1/health/node/mizan?filter=CheckID+==+_node_maintenance",
    )
    .await;
    assert_eq!(node[0]["Status"], "critical");
    // It is every client's agent: what one says of it takes nobody's services out.
    let passing = read(&registry, "/v1/health/service/web?passing").await;
    assert_eq!(passing.as_array().unwrap().len(), 1);
    put(&registry, "/v1/agent/maintenance?enable=false", "").await;
    let checks = read(&registry, "/v1/agent/checks").await;
    assert_eq!(checks.get("_node_maintenance"), None);

    put(&registry, "/v1/agent/service/deregister/ok", "").await;
    let again = send(&registry, "PUT", "/v1/agent/service/deregister/ok", "").await;
    assert_eq!(again.status, 404);
    assert!(
        again.body.starts_with("Unknown service ID \"ok\""),
        "{again:?}"
    );
    registry.stop().await;
}

#[tokio::test]
async fn checks_stay_unless_they_are_replaced() {
    let registry = Registry::start().await;
    let register = async |query: &str, check: &str| {
        let body = json!({"Name": "web", "Check": {"CheckID": check, "TTL": "1h"}});
        let path = format!("/v1/agent/service/register{query}");
        put(&registry, &path, &body.to_string()).await;
        let checks = read(&registry, "/v1/health/checks/web").await;
        checks.as_array().unwrap().len()
    };
    assert_eq!(register("", "a").await, 1);
    assert_eq!(register("", "b").await, 2);
    assert_eq!(register("?replace-existing-checks=true", "c").await, 1);
    registry.stop().await;
}

#[tokio::test]
async fn a_check_that_is_registered_anew_keeps_what_it_said() {
    let registry = Registry::start().await;
    let register = async |check: serde_json::Value| {
        let body = json!({"Name": "web", "Check": check});
        put(&registry, "/v1/agent/service/register", &body.to_string()).await;
        let checks = read(&registry, "/v1/health/checks/web").await;
        (checks[0]["Status"].clone(), checks[0]["Output"].clone())
    };
    register(json!({"CheckID": "alive", "TTL": "1h"})).await;
    put(&registry, "/v1/agent/check/pass/alive?note=fine", "").await;
    let said = (json!("passing"), json!("fine"));
    let again = json!({"CheckID": "alive", "TTL": "2h", "Notes": "why", "Status": "critical"});
    assert_eq!(register(again).await, said);
    let alone = json!({"ID": "alive", "Name": "other", "ServiceID": "web", "TTL": "3h"});
    put(&registry, "/v1/agent/check/register", &alone.to_string()).await;
    let checks = read(&registry, "/v1/health/checks/web").await;
    assert_eq!(
        (checks[0]["Status"].clone(), checks[0]["Output"].clone()),
        said
    );
    assert_eq!(checks[0]["Name"], "other");
    registry.stop().await;
}

#[tokio::test]
async fn tags_may_be_long_many_or_empty() {
    let registry = Registry::start().await;
    let rule = format!("traefik.http.routers.web.rule={}", "x".repeat(4000));
    let mut tags: Vec<_> = (0..200).map(|n| format!("t{n}")).collect();
    tags.extend([rule, String::new()]);
    let body = json!({"Name": "web", "Tags": tags});
    put(&registry, "/v1/agent/service/register", &body.to_string()).await;
    let found = read(&registry, "/v1/health/service/web").await;
    assert_eq!(found[0]["Service"]["Tags"], json!(tags));
    registry.stop().await;
}

#[tokio::test]
async fn a_service_without_an_address_is_where_its_node_is() {
    let config = registry::Config {
        advertise: Some("10.1.2.3".to_owned()),
        ..registry::Config::default()
    };
    let registry = Registry::with(listen().await, config);
    let body = json!({"Name": "web", "Port": 80});
    put(&registry, "/v1/agent/service/register", &body.to_string()).await;
    let mut client = registry.client().await;
    let address = async |client: &mut Client| {
        let mut watch = Watch::open(client, &["web"], false).await;
        watch.next().await.unwrap().instances[0].address.clone()
    };
    assert_eq!(address(&mut client).await, "10.1.2.3");
    let found = read(&registry, "/v1/catalog/service/web").await;
    assert_eq!(found[0]["ServiceAddress"], "");
    assert_eq!(found[0]["Address"], "10.1.2.3");
    // It moves with its node.
    let node = json!({"Node": "mizan", "Address": "10.1.2.4"}).to_string();
    let moved = send(&registry, "PUT", "/v1/catalog/register", &node).await;
    assert_eq!(moved.status, 200, "{moved:?}");
    assert_eq!(address(&mut client).await, "10.1.2.4");
    registry.stop().await;
}
