//! Checks that are reported, and those that come by themselves.

use std::time::Duration;

use serde_json::json;

use super::client::{get, put, read, register, send};
use crate::{
    damping::ttl,
    support::{self, Registry, checked},
};

const HOUR: Duration = Duration::from_secs(3600);

async fn status(registry: &Registry, id: &str) -> String {
    let checks = read(registry, "/v1/agent/checks").await;
    checks[id]["Status"].as_str().unwrap().to_owned()
}

/// Through gRPC a check has the id of what it does, if it was given none.
#[tokio::test]
async fn an_id_that_checks_of_several_services_have_means_none_of_them() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    for id in ["a", "b"] {
        let reported = checked(id, 1, ttl(HOUR), HOUR);
        support::register(&mut client, reported).await;
    }
    for path in ["pass/ttl", "deregister/ttl"] {
        let path = format!("/v1/agent/check/{path}");
        let refused = send(&registry, "PUT", &path, "").await;
        let told = (refused.status, &*refused.body);
        let why = "Check ID \"ttl\" is that of several services";
        assert_eq!(told, (400, why), "{path}");
    }
    put(&registry, "/v1/agent/service/deregister/b", "").await;
    put(&registry, "/v1/agent/check/pass/ttl", "").await;
    assert_eq!(status(&registry, "ttl").await, "passing");
    registry.stop().await;
}

#[tokio::test]
async fn a_ttl_check_says_what_it_is_told() {
    let registry = Registry::start().await;
    let body = json!({"Name": "web", "Check": {"TTL": "1h"}});
    put(&registry, "/v1/agent/service/register", &body.to_string()).await;
    let id = "service:web";
    assert_eq!(status(&registry, id).await, "critical");
    put(&registry, "/v1/agent/check/pass/service:web", "").await;
    assert_eq!(status(&registry, id).await, "passing");
    put(
        &registry,
        "/v1/agent/check/warn/service%3Aweb?note=slow",
        "",
    )
    .await;
    let checks = read(&registry, "/v1/agent/checks").await;
    assert_eq!(checks[id]["Status"], "warning");
    assert_eq!(checks[id]["Output"], "slow");
    let update = r#"{"Status": "critical", "Output": "down"}"#;
    put(&registry, "/v1/agent/check/update/service:web", update).await;
    assert_eq!(status(&registry, id).await, "critical");
    let wrong = r#"{"Status": "fine"}"#;
    let refused = send(
        &registry,
        "PUT",
        "/v1/agent/check/update/service:web",
        wrong,
    )
    .await;
    assert_eq!(
        (refused.status, &*refused.body),
        (400, "Invalid check status: 'fine'")
    );
    // The same registration again keeps what it said.
    put(&registry, "/v1/agent/check/pass/service:web", "").await;
    put(&registry, "/v1/agent/service/register", &body.to_string()).await;
    assert_eq!(status(&registry, id).await, "passing");

    let unknown = send(&registry, "PUT", "/v1/agent/check/pass/nobody", "").await;
    assert_eq!(unknown.status, 404);
    assert!(
        unknown.body.starts_with("Unknown check ID \"nobody\"."),
        "{unknown:?}"
    );
    registry.stop().await;
}

#[tokio::test]
async fn a_ttl_check_expires() {
    let registry = Registry::start().await;
    let body = json!({"Name": "web", "Check": {"TTL": "100ms", "Status": "passing"}});
    put(&registry, "/v1/agent/service/register", &body.to_string()).await;
    loop {
        let checks = read(&registry, "/v1/health/state/critical").await;
        if let Some(check) = checks.as_array().unwrap().first() {
            assert_eq!(check["CheckID"], "service:web");
            assert_eq!(check["Output"], "TTL expired");
            break;
        }
        tokio::task::yield_now().await;
    }
    registry.stop().await;
}

#[tokio::test]
async fn checks_come_and_go_by_themselves() {
    let registry = Registry::start().await;
    register(&registry, "web-1", "web").await;
    let path = "/v1/agent/check/register";
    let of_service = r#"{"ID": "deep", "Name": "deep", "ServiceID": "web-1", "TTL": "1h"}"#;
    put(&registry, path, of_service).await;
    let of_node = r#"{"Name": "disk", "TTL": "1h", "Status": "passing"}"#;
    put(&registry, path, of_node).await;
    let alias = r#"{"Name": "mirror", "AliasService": "web-1"}"#;
    let refused = send(
        &registry,
        "PUT",
        path,
        r#"{"Name": "x", "ServiceID": "no", "TTL": "1s"}"#,
    );
    let refused = refused.await;
    assert_eq!(
        (refused.status, &*refused.body),
        (404, "ServiceID \"no\" does not exist")
    );
    register(&registry, "api-1", "api").await;
    let alias = alias.replace("}", r#", "ServiceID": "api-1"}"#);
    put(&registry, path, &alias).await;
    assert_eq!(status(&registry, "mirror").await, "critical");
    put(&registry, "/v1/agent/check/pass/deep", "").await;
    assert_eq!(status(&registry, "mirror").await, "passing");

    // A check of no service is shown, and counts for nobody: every client has the same agent here.
    let waiting = get(&registry, "/v1/health/service/web").await.index();
    put(&registry, "/v1/agent/check/fail/disk", "").await;
    assert_eq!(status(&registry, "disk").await, "critical");
    let web = get(&registry, "/v1/health/service/web?passing").await;
    assert_eq!(web.json().as_array().unwrap().len(), 1);
    let told = get(&registry, "/v1/health/service/web").await;
    assert_eq!(told.index(), waiting);
    let checks = told.json()[0]["Checks"].to_string();
    assert!(!checks.contains("disk"), "{checks}");
    assert_eq!(
        get(&registry, "/v1/agent/health/service/id/web-1")
            .await
            .status,
        200
    );
    put(&registry, "/v1/agent/check/deregister/disk", "").await;
    let passing = read(&registry, "/v1/health/service/web?passing").await;
    assert_eq!(passing.as_array().unwrap().len(), 1);

    let run = r#"{"Name": "run", "ServiceID": "web-1", "TCP": "127.0.0.1:1", "Interval": "10s"}"#;
    put(&registry, path, run).await;
    let refused = send(&registry, "PUT", "/v1/agent/check/pass/run", "").await;
    assert_eq!(refused.status, 500);
    assert_eq!(refused.body, "CheckID \"run\" does not have associated TTL");
    registry.stop().await;
}

#[tokio::test]
async fn an_owner_takes_no_more_checks_than_it_may_have() {
    let registry = Registry::start().await;
    register(&registry, "web-1", "web").await;
    let path = "/v1/agent/check/register";
    for owner in [Some("web-1"), None] {
        let body = |n: usize, ttl: &str| {
            let name = format!("{}-{n}", owner.unwrap_or("node"));
            json!({"Name": name, "ServiceID": owner, "TTL": ttl}).to_string()
        };
        for n in 0..16 {
            put(&registry, path, &body(n, "1h")).await;
        }
        let refused = send(&registry, "PUT", path, &body(16, "1h")).await;
        assert_eq!(refused.status, 400, "{refused:?}");
        assert!(refused.body.contains("has 16 checks"), "{refused:?}");
        // One of those that it has is changed all the same.
        put(&registry, path, &body(15, "2h")).await;
    }
    // Nor by another way, which judges everything before it changes anything.
    let one_more = json!({
        "Node": "mizan", "Address": "10.0.0.7", "Check": {"Name": "x", "ServiceID": "web-1"},
    });
    let call = "/v1/catalog/register";
    let refused = send(&registry, "PUT", call, &one_more.to_string()).await;
    assert_eq!(refused.status, 400, "{refused:?}");
    let nodes = read(&registry, "/v1/catalog/nodes").await;
    assert_eq!(nodes[0]["Address"], "127.0.0.1");
    registry.stop().await;
}
