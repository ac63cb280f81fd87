//! Bodies that are refused, with nothing changed.

use serde_json::json;

use super::client::{get, read, send};
use crate::support::Registry;

#[tokio::test]
async fn a_bad_registration_is_refused_and_changes_nothing() {
    let registry = Registry::start().await;
    let before = get(&registry, "/v1/catalog/services").await.index();
    let huge = json!({"Name": "web", "Tags": ["x".repeat(20_000)]}).to_string();
    let check = |check: serde_json::Value| json!({"Name": "web", "Check": check}).to_string();
    for (body, why) in [
        ("not json".to_owned(), "Request decode failed"),
        ("[]".to_owned(), "the body must be an object"),
        (json!({"ID": "a"}).to_string(), "Missing service name"),
        (
            json!({"Name": "web", "Port": 70_000}).to_string(),
            "port must be 0 to 65535",
        ),
        (
            json!({"Name": "web", "Port": -1}).to_string(),
            "Port must be",
        ),
        (
            json!({"Name": "web", "Port": "80"}).to_string(),
            "Port must be",
        ),
        (
            json!({"Name": "web", "Address": "0.0.0.0"}).to_string(),
            "Invalid service address",
        ),
        (
            json!({"Name": "web", "Address": "::"}).to_string(),
            "Invalid service address",
        ),
        (json!({"Name": "a/b"}).to_string(), "printable characters"),
        (huge, "tags[0] must be"),
        (
            json!({"Name": "web", "Weights": {"Passing": 0}}).to_string(),
            "Invalid Weights",
        ),
        (
            json!({"Name": "web", "Kind": "connect-proxy"}).to_string(),
            "not supported",
        ),
        (
            check(json!({"TTL": "soon"})),
            "Check.TTL must be a duration",
        ),
        (check(json!({"Name": "nothing"})), "exactly one of"),
        (
            check(json!({"TTL": "1s", "TCP": "a:1", "Interval": "1s"})),
            "exactly one of",
        ),
        (check(json!({"TCP": "a:1"})), "Interval must be > 0"),
        (check(json!({"TTL": "1s", "Interval": "1s"})), "cannot both"),
        (
            check(json!({"HTTP": "ftp://a/", "Interval": "1s"})),
            "http or https URL",
        ),
        (
            check(json!({"GRPC": "a:1", "GRPCUseTLS": true, "Interval": "1s",
                "TLSServerName": "a b"})),
            "server_name must be",
        ),
        (
            check(json!({"Args": ["sh"], "Interval": "1s"})),
            "script checks are not supported",
        ),
        (
            check(json!({"TTL": "1s", "Status": "ok"})),
            "Status for checks must",
        ),
        (
            check(
                json!({"TCP": "a:1", "Interval": "1s", "FailuresBeforeWarning": 3,
                "FailuresBeforeCritical": 2}),
            ),
            "FailuresBeforeWarning can't be higher",
        ),
    ] {
        let refused = send(&registry, "PUT", "/v1/agent/service/register", &body).await;
        assert_eq!(refused.status, 400, "{refused:?}");
        assert!(refused.body.contains(why), "{why}: {refused:?}");
        let plain = Some("text/plain; charset=utf-8");
        assert_eq!(refused.header("Content-Type"), plain);
    }
    let large = format!("{{\"Name\": \"web\", \"x\": \"{}\"}}", "x".repeat(600_000));
    let refused = send(&registry, "PUT", "/v1/agent/service/register", &large).await;
    assert_eq!(refused.status, 413);
    let after = get(&registry, "/v1/catalog/services").await;
    assert_eq!(after.json(), json!({}));
    assert_eq!(after.index(), before);
    registry.stop().await;
}

#[tokio::test]
async fn what_is_not_known_is_ignored() {
    let registry = Registry::start().await;
    let body = json!({
        "Name": "web", "Nonsense": {"a": [1]}, "Proxy": null, "Connect": {}, "Token": "x",
        "Check": {"TTL": "1h", "Args": [], "GRPCUseTLS": false, "TLSSkipVerify": true},
    });
    let answer = send(
        &registry,
        "PUT",
        "/v1/agent/service/register?ns=default&token=x",
        &body.to_string(),
    )
    .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        read(&registry, "/v1/catalog/services").await,
        json!({"web": []})
    );
    registry.stop().await;
}

#[tokio::test]
async fn bad_parameters_are_refused() {
    let registry = Registry::start().await;
    let health = "/v1/health/service/web";
    for (path, why) in [
        (format!("{health}?index=x"), "Invalid index"),
        (format!("{health}?wait=x"), "Invalid wait time"),
        (format!("{health}?passing=x"), "Invalid value for ?passing"),
        (
            format!("{health}?stale&consistent"),
            "Cannot specify ?stale with ?consistent, conflicting semantics.",
        ),
        ("/v1/health/service/".to_owned(), "Missing service name"),
        ("/v1/health/state/".to_owned(), "Missing check state"),
    ] {
        let refused = get(&registry, &path).await;
        assert_eq!((refused.status, &*refused.body), (400, why), "{path}");
    }
    let path = "/v1/agent/service/maintenance/web";
    let refused = send(&registry, "PUT", path, "").await;
    assert_eq!(refused.body, "Missing value for enable");
    let refused = send(&registry, "PUT", &format!("{path}?enable=x"), "").await;
    assert_eq!(refused.body, "Invalid value for enable: \"x\"");
    registry.stop().await;
}
