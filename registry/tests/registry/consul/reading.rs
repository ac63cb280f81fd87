//! What is read beside the health of services.

use serde_json::json;

use super::client::{get, put, read, register, send};
use crate::support::Registry;

#[tokio::test]
async fn the_catalogue_lists_services_instances_and_nodes() {
    let registry = Registry::start().await;
    register(&registry, "a", "web").await;
    register(&registry, "b", "web").await;
    let api = json!({"Name": "api", "Meta": {"env": "prod"}, "Tags": ["blue"], "Port": 7});
    put(&registry, "/v1/agent/service/register", &api.to_string()).await;

    let services = read(&registry, "/v1/catalog/services").await;
    assert_eq!(services, json!({"api": ["blue"], "web": ["v1"]}));
    let some = "/v1/catalog/services?filter=ServiceName+matches+%22%5Ew%22";
    assert_eq!(read(&registry, some).await, json!({"web": ["v1"]}));
    let some = "/v1/catalog/services?filter=ServiceMeta.env+%3D%3D+prod";
    assert_eq!(read(&registry, some).await, json!({"api": ["blue"]}));
    let none = "/v1/catalog/services?node-meta=rack:1";
    assert_eq!(read(&registry, none).await, json!({}));

    let web = read(&registry, "/v1/catalog/service/web").await;
    assert_eq!(web.as_array().unwrap().len(), 2);
    assert_eq!(web[0]["ServiceID"], "a");
    assert_eq!(web[0]["Node"], "mizan");
    assert_eq!(web[0]["ServicePort"], 80);
    let tagged = read(&registry, "/v1/catalog/service/web?tag=v1&tag=v2").await;
    assert_eq!(tagged, json!([]));

    let nodes = read(&registry, "/v1/catalog/nodes").await;
    assert_eq!(nodes[0]["Node"], "mizan");
    assert_eq!(nodes[0]["Address"], "127.0.0.1");
    let node = read(&registry, "/v1/catalog/node/mizan").await;
    assert_eq!(node["Services"]["a"]["Service"], "web");
    assert!(read(&registry, "/v1/catalog/node/nobody").await.is_null());
    assert_eq!(
        read(&registry, "/v1/catalog/datacenters").await,
        json!(["dc1"])
    );

    let filtered = "/v1/health/service/web?filter=Service.ID+==+%22b%22";
    let filtered = read(&registry, filtered).await;
    assert_eq!(filtered[0]["Service"]["ID"], "b");
    assert_eq!(filtered.as_array().unwrap().len(), 1);
    // Nothing here is a proxy.
    for (path, kind) in [
        ("health/service/web", "Service.Kind"),
        ("catalog/service/web", "ServiceKind"),
        ("agent/services", "Kind"),
    ] {
        let of = async |test: &str| {
            let found = read(&registry, &format!("/v1/{path}?filter={kind}+{test}")).await;
            found
                .as_array()
                .map(Vec::len)
                .or(found.as_object().map(serde_json::Map::len))
                .unwrap()
        };
        assert!(
            of("==+%22%22").await > 0 && of("is+empty").await > 0,
            "{path}"
        );
        assert_eq!(of("==+%22connect-proxy%22").await, 0, "{path}");
    }
    let wrong = get(&registry, "/v1/health/service/web?filter=Nonsense+==+1").await;
    assert_eq!(wrong.status, 400);
    assert!(
        wrong.body.contains("Selector \"Nonsense\" is not valid"),
        "{wrong:?}"
    );
    registry.stop().await;
}

#[tokio::test]
async fn the_agent_knows_itself() {
    let registry = Registry::start().await;
    register(&registry, "a", "web").await;
    let own = read(&registry, "/v1/agent/self").await;
    assert_eq!(own["Config"]["Datacenter"], "dc1");
    assert_eq!(own["Config"]["NodeName"], "mizan");
    // Clients read an object of objects.
    assert!(
        own.as_object()
            .unwrap()
            .values()
            .all(|part| part.is_object())
    );
    assert_eq!(
        read(&registry, "/v1/agent/members").await[0]["Name"],
        "mizan"
    );
    let authority = registry.authority();
    assert_eq!(read(&registry, "/v1/status/leader").await, json!(authority));
    assert_eq!(
        read(&registry, "/v1/status/peers").await,
        json!([authority])
    );
    let services = read(&registry, "/v1/agent/services?filter=v1+in+Tags").await;
    assert_eq!(services["a"]["Service"], "web");
    assert_eq!(read(&registry, "/v1/agent/service/a").await["Port"], 80);
    assert_eq!(get(&registry, "/v1/agent/service/b").await.status, 404);
    let pretty = get(&registry, "/v1/catalog/datacenters?pretty").await;
    assert_eq!(pretty.body, "[\n    \"dc1\"\n]\n");
    registry.stop().await;
}

#[tokio::test]
async fn what_is_not_served_is_said_in_a_sentence() {
    let registry = Registry::start().await;
    for path in [
        "/v1/kv/a/b",
        "/v1/session/list",
        "/v1/",
        "/v1/agent",
        "/v1/acl/tokens",
    ] {
        let answer = get(&registry, path).await;
        assert_eq!(answer.status, 501, "{path}");
        assert!(
            answer.body.ends_with('.') && !answer.body.contains('\n'),
            "{answer:?}"
        );
        assert_eq!(
            answer.header("Content-Type"),
            Some("text/plain; charset=utf-8")
        );
    }
    let answer = get(&registry, "/v1/agent/service/register").await;
    // An id may be any word: as a path to read, this one names a service.
    assert_eq!(answer.status, 405);
    assert_eq!(answer.header("Allow"), Some("OPTIONS,PUT"));
    assert_eq!(answer.body, "method GET not allowed");
    let options = send(&registry, "OPTIONS", "/v1/agent/self", "").await;
    assert_eq!(
        (options.status, options.header("Allow")),
        (200, Some("OPTIONS,GET"))
    );
    registry.stop().await;
}
