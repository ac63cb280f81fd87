//! What Consul's own clients were found to need.

use mizan_contracts::registry::v1::{InstanceStatus, SetMaintenanceRequest};
use serde_json::{Value, json};

use super::client::{get, put, read, register, send};
use crate::support::{Registry, listen, soon};

async fn write(registry: &Registry, body: Value) -> super::client::Answer {
    send(registry, "PUT", "/v1/catalog/register", &body.to_string()).await
}

#[tokio::test]
async fn what_there_is_not_here_is_never_taken_for_a_key_that_is_not_there() {
    let registry = Registry::start().await;
    for (method, path) in [
        ("GET", "/v1/kv/a"),
        ("GET", "/v1/kv/a?recurse&index=7&wait=1m"),
        ("PUT", "/v1/kv/a"),
        ("DELETE", "/v1/kv/a"),
        ("PUT", "/v1/session/create"),
        ("GET", "/v1/connect/ca/roots"),
        ("GET", "/v1/query"),
        ("PUT", "/v1/txn"),
        ("GET", "/v1/agent/health/service/other/x"),
    ] {
        let answer = send(&registry, method, path, "").await;
        assert_eq!(answer.status, 501, "{method} {path}: {answer:?}");
        assert!(answer.body.ends_with('.'), "{answer:?}");
    }
    let root = get(&registry, "/").await;
    assert_eq!(root.status, 200);
    assert!(root.body.contains("/v1"), "{root:?}");
    registry.stop().await;
}

#[tokio::test]
async fn who_waits_for_the_names_learns_of_each_instance_that_comes_or_goes() {
    let registry = Registry::start().await;
    register(&registry, "a", "web").await;
    let names = "/v1/catalog/services";
    let mut index = get(&registry, names).await.index();
    // Another of a known name; it leaves; the one that is left is elsewhere now.
    let elsewhere =
        r#"{"ID": "a", "Name": "web", "Address": "127.0.0.2", "Port": 80, "Tags": ["v1"]}"#;
    for (path, body) in [
        (
            "agent/service/register",
            r#"{"ID": "b", "Name": "web", "Address": "127.0.0.1", "Port": 81, "Tags": ["v1"]}"#,
        ),
        ("agent/service/deregister/b", ""),
        ("agent/service/register", elsewhere),
    ] {
        let waiting = format!("{names}?index={index}&wait=10m");
        let path = format!("/v1/{path}");
        let (woken, ()) = tokio::join!(get(&registry, &waiting), put(&registry, &path, body));
        assert!(woken.index() > index, "{path}");
        assert_eq!(woken.json(), json!({"web": ["v1"]}));
        index = woken.index();
    }
    // The same once more, and what a check says, are no news.
    put(&registry, "/v1/agent/service/register", elsewhere).await;
    put(&registry, "/v1/agent/service/maintenance/a?enable=true", "").await;
    assert_eq!(get(&registry, names).await.index(), index);
    registry.stop().await;
}

#[tokio::test]
async fn a_node_that_is_not_to_be_updated_needs_no_address_before_it_is_there_or_after() {
    let registry = Registry::start().await;
    let service = |node: &str, id: &str| {
        json!({"Node": node, "SkipNodeUpdate": true,
            "Service": {"ID": id, "Service": "db", "Port": 5432}})
    };
    // Those that write a catalogue may begin with the services.
    assert_eq!(
        write(&registry, service("db-host", "db-1")).await.status,
        200
    );
    let held = read(&registry, "/v1/catalog/service/db").await;
    assert_eq!(held[0]["Address"], "");
    let node = json!({"Node": "db-host", "Address": "10.0.0.7", "NodeMeta": {"rack": "7"}});
    assert_eq!(write(&registry, node).await.status, 200);
    assert_eq!(
        write(&registry, service("db-host", "db-2")).await.status,
        200
    );
    let held = read(&registry, "/v1/catalog/service/db").await;
    for one in held.as_array().unwrap() {
        assert_eq!(one["Address"], "10.0.0.7");
        assert_eq!(one["NodeMeta"], json!({"rack": "7"}));
    }
    let unasked = write(&registry, json!({"Node": "db-host"})).await;
    assert_eq!(unasked.status, 500);
    assert_eq!(
        unasked.body,
        "Must provide address if SkipNodeUpdate is not set"
    );
    let nameless = write(&registry, json!({"SkipNodeUpdate": true})).await;
    assert_eq!(
        (nameless.status, &*nameless.body),
        (500, "Must provide node")
    );
    registry.stop().await;
}

#[tokio::test]
async fn an_agent_tells_nothing_of_a_mesh_and_enough_of_itself() {
    let config = registry::Config {
        node_meta: vec![("rack".to_owned(), "7".to_owned())],
        ..registry::Config::default()
    };
    let registry = Registry::with(listen().await, config);
    register(&registry, "a", "web").await;
    let own = read(&registry, "/v1/agent/service/a").await;
    let all = read(&registry, "/v1/agent/services").await;
    for service in [&own, &all["a"]] {
        for absent in ["Proxy", "Connect"] {
            assert_eq!(service.get(absent), None, "{service}");
        }
    }
    let itself = read(&registry, "/v1/agent/self").await;
    for name in ["Datacenter", "NodeName", "NodeID", "Revision", "Version"] {
        assert!(itself["Config"][name].is_string(), "{name}: {itself}");
    }
    assert_eq!(itself["Meta"]["rack"], "7");
    let members = read(&registry, "/v1/agent/members").await;
    for member in [&members[0], &itself["Member"]] {
        for name in [
            "ProtocolMin",
            "ProtocolMax",
            "ProtocolCur",
            "DelegateMin",
            "DelegateMax",
            "DelegateCur",
        ] {
            assert!(member[name].is_u64(), "{name}: {member}");
        }
    }
    let nodes = read(&registry, "/v1/catalog/nodes?node-meta=rack:7").await;
    let addresses = &nodes[0]["TaggedAddresses"];
    for tag in ["lan", "lan_ipv4", "wan", "wan_ipv4"] {
        assert_eq!(addresses[tag], "127.0.0.1", "{tag}");
    }
    assert_eq!(
        read(&registry, "/v1/catalog/nodes?node-meta=rack:8").await,
        json!([])
    );
    registry.stop().await;
}

#[tokio::test]
async fn what_one_client_says_of_its_node_takes_nobodys_services_out() {
    let registry = Registry::start().await;
    register(&registry, "a", "web").await;
    let path = "/v1/health/service/web?passing";
    let before = get(&registry, path).await;
    let check = r#"{"Name": "memory", "TTL": "1h", "Status": "critical"}"#;
    put(&registry, "/v1/agent/check/register", check).await;
    put(
        &registry,
        "/v1/agent/maintenance?enable=true&reason=broken",
        "",
    )
    .await;
    let checks = read(&registry, "/v1/agent/checks").await;
    assert_eq!(checks["memory"]["Status"], "critical");
    let maintenance = &checks["_node_maintenance"];
    assert_eq!(
        (&maintenance["Status"], &maintenance["Notes"]),
        (&json!("critical"), &json!("broken"))
    );
    let after = get(&registry, path).await;
    assert_eq!(after.json().as_array().unwrap().len(), 1);
    assert_eq!((after.index(), &after.body), (before.index(), &before.body));
    let state = read(&registry, "/v1/health/state/critical").await;
    assert_eq!(state.as_array().unwrap().len(), 2);
    // Who means it for all takes the node out.
    let request = SetMaintenanceRequest {
        node: "mizan".to_owned(),
        enabled: true,
        ..SetMaintenanceRequest::default()
    };
    let mut client = registry.client().await;
    soon(client.set_maintenance(request)).await.unwrap();
    assert_eq!(read(&registry, path).await, json!([]));
    registry.stop().await;
}

#[tokio::test]
async fn a_check_of_a_node_that_was_written_to_the_catalogue_counts_as_ever() {
    let registry = Registry::start().await;
    let body = json!({"Node": "n", "Address": "10.0.0.7",
        "Service": {"Service": "db", "Port": 1},
        "Check": {"Name": "disk", "Status": "critical"}});
    assert_eq!(write(&registry, body).await.status, 200);
    assert_eq!(
        read(&registry, "/v1/health/service/db?passing").await,
        json!([])
    );
    registry.stop().await;
}

#[tokio::test]
async fn checks_read_as_those_of_an_agent_do() {
    let registry = Registry::start().await;
    let body = json!({"Name": "web", "Port": 80, "Check": {"TTL": "15s"}});
    put(&registry, "/v1/agent/service/register", &body.to_string()).await;
    let checks = read(&registry, "/v1/agent/checks").await;
    assert_eq!(checks.get("serfHealth"), None);
    let check = &checks["service:web"];
    assert_eq!(
        (&check["Status"], &check["Output"]),
        (&json!("critical"), &json!(""))
    );
    let health = read(&registry, "/v1/health/service/web").await;
    assert_eq!(health[0]["Checks"][1]["Output"], "");
    // By gRPC it says why.
    let held = crate::support::list(&mut registry.client().await, true).await;
    assert!(held.instances.is_empty());
    let wrong = r#"{"Name": "x", "ServiceID": "web", "TTL": "15s", "DeregisterCriticalServiceAfter": "nope"}"#;
    let refused = send(&registry, "PUT", "/v1/agent/check/register", wrong).await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.body.contains("invalid duration \"nope\""),
        "{refused:?}"
    );
    put(
        &registry,
        "/v1/agent/service/maintenance/web?enable=true&reason=broken",
        "",
    )
    .await;
    let checks = read(&registry, "/v1/agent/checks").await;
    assert_eq!(checks["_service_maintenance:web"]["Notes"], "broken");
    registry.stop().await;
}

#[tokio::test]
async fn where_a_service_is_and_its_ports_are_told_as_they_were_given() {
    let registry = Registry::start().await;
    let locality = json!({"Region": "eu-1", "Zone": "eu-1a"});
    let ports = json!([
        {"Name": "metrics", "Port": 9100, "Default": false},
        {"Name": "http", "Port": 8080, "Default": true},
    ]);
    let body = json!({"Name": "web", "Address": "10.0.0.5", "Locality": locality, "Ports": ports});
    put(&registry, "/v1/agent/service/register", &body.to_string()).await;
    let service = read(&registry, "/v1/agent/service/web").await;
    assert_eq!(
        (&service["Locality"], &service["Ports"], &service["Port"]),
        (&locality, &ports, &json!(8080))
    );
    let entry = &read(&registry, "/v1/health/service/web").await[0];
    assert_eq!(entry["Service"]["Locality"], locality);
    let listed = &read(&registry, "/v1/catalog/service/web").await[0];
    assert_eq!(
        (&listed["ServicePorts"], &listed["ServiceLocality"]),
        (&ports, &locality)
    );
    let node = json!({"Node": "n", "Address": "10.0.0.7", "Locality": locality});
    assert_eq!(write(&registry, node).await.status, 200);
    let node = read(&registry, "/v1/catalog/node/n").await;
    assert_eq!(node["Node"]["Locality"], locality);
    // Who gives none is told of none.
    register(&registry, "a", "api").await;
    let plain = read(&registry, "/v1/agent/service/a").await;
    assert_eq!((plain.get("Locality"), plain.get("Ports")), (None, None));
    registry.stop().await;
}

#[tokio::test]
async fn whoever_looks_for_consul_finds_the_registry_itself_and_nobody_else_does() {
    let registry = Registry::start().await;
    let port: u64 = registry
        .authority()
        .rsplit(':')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let service = read(&registry, "/v1/catalog/service/consul").await;
    assert_eq!(service[0]["ServicePort"], port);
    let health = read(&registry, "/v1/health/service/consul?passing").await;
    assert_eq!(health[0]["Checks"][0]["CheckID"], "serfHealth");
    assert_eq!(read(&registry, "/v1/catalog/services").await, json!({}));
    // A service that somebody calls so is that one.
    register(&registry, "own", "consul").await;
    let service = read(&registry, "/v1/catalog/service/consul").await;
    assert_eq!(service[0]["ServiceID"], "own");
    registry.stop().await;
}

#[tokio::test]
async fn an_agents_calls_mean_its_own_node() {
    let registry = Registry::start().await;
    let body = json!({"Node": "elsewhere", "Address": "10.0.0.7",
        "Service": {"ID": "web-1", "Service": "web", "Port": 80}});
    assert_eq!(write(&registry, body).await.status, 200);
    register(&registry, "web-1", "web").await;
    put(&registry, "/v1/agent/service/deregister/web-1", "").await;
    for (method, path, body) in [
        ("PUT", "agent/service/deregister/web-1", ""),
        ("PUT", "agent/service/maintenance/web-1?enable=true", ""),
        ("GET", "agent/service/web-1", ""),
        ("GET", "agent/health/service/id/web-1", ""),
        (
            "PUT",
            "agent/check/register",
            r#"{"Name": "x", "ServiceID": "web-1", "TTL": "15s"}"#,
        ),
    ] {
        let answer = send(&registry, method, &format!("/v1/{path}"), body).await;
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
    }
    let left = read(&registry, "/v1/health/service/web?passing").await;
    assert_eq!(left[0]["Node"]["Node"], "elsewhere");
    let mut client = registry.client().await;
    let watched = crate::support::Watch::open(&mut client, &["web"], true).await;
    let mut watched = watched;
    let told = watched.next().await.unwrap();
    assert_eq!(told.instances[0].status(), InstanceStatus::Passing);
    registry.stop().await;
}

#[tokio::test]
async fn an_empty_service_id_does_not_remove_all_that_passes_on_a_node_by_mistake() {
    let registry = Registry::start().await;
    for (count, refused) in [(4, false), (5, true)] {
        for n in 0..count {
            let body = json!({"Node": "n", "Address": "10.0.0.7",
                "Service": {"ID": format!("web-{n}"), "Service": "web", "Port": 80}});
            assert_eq!(write(&registry, body).await.status, 200);
        }
        let body = json!({"Node": "n", "ServiceID": ""}).to_string();
        let answer = send(&registry, "PUT", "/v1/catalog/deregister", &body).await;
        assert_eq!(answer.status, if refused { 409 } else { 200 }, "{answer:?}");
        let left = read(&registry, "/v1/catalog/service/web").await;
        let expected = if refused { count } else { 0 };
        assert_eq!(left.as_array().unwrap().len(), expected);
    }
    // One by one, or meant.
    let one = json!({"Node": "n", "ServiceID": "web-0"}).to_string();
    let answer = send(&registry, "PUT", "/v1/catalog/deregister", &one).await;
    assert_eq!(answer.status, 200);
    let body = json!({"Node": "n"}).to_string();
    let again = json!({"Node": "n", "Address": "10.0.0.7",
        "Service": {"ID": "web-0", "Service": "web", "Port": 80}});
    assert_eq!(write(&registry, again).await.status, 200);
    for (force, status) in [("false", 409), ("0", 409), ("yes", 400), ("", 200)] {
        let path = format!("/v1/catalog/deregister?force={force}");
        let answer = send(&registry, "PUT", &path, &body).await;
        assert_eq!(answer.status, status, "{force}: {answer:?}");
    }
    let answer = send(&registry, "PUT", "/v1/catalog/deregister?force", &body).await;
    assert_eq!(answer.status, 200);
    assert_eq!(read(&registry, "/v1/catalog/node/n").await, json!(null));
    registry.stop().await;
}

#[tokio::test]
async fn a_hostile_registration_stops_nobody_who_watches() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let all = mizan_contracts::registry::v1::WatchInstancesRequest {
        all_services: true,
        include_unhealthy: true,
        ..Default::default()
    };
    let mut everything = crate::support::Watch::ask(&mut client, all).await;
    let mut one = crate::support::Watch::open(&mut client, &["web"], true).await;
    let blocked = get(&registry, "/v1/health/service/web").await.index();
    // As long as it may be, in characters that take four bytes; names that look like others.
    let long = "\u{1f4a3}".repeat(512);
    let meta: serde_json::Map<_, _> = (0..64).map(|n| (format!("k{n}"), json!(long))).collect();
    let tags: Vec<_> = (0..15)
        .map(|n| format!("{n}{}", "\u{1f4a3}".repeat(1_000)))
        .collect();
    for name in [
        "\u{202e}web",
        "web\u{200b}",
        "..",
        "%2e%2e",
        "a?b#c",
        "\u{1f4a3}",
    ] {
        let body = json!({"ID": name, "Name": name, "Port": 1, "Meta": meta, "Tags": tags});
        let path = "/v1/agent/service/register";
        let answer = send(&registry, "PUT", path, &body.to_string()).await;
        assert!([200, 400].contains(&answer.status), "{name}: {answer:?}");
    }
    for wrong in [
        "{\"Name\": \"\\ud800\"}".to_owned(),
        "[".repeat(10_000),
        json!({"Name": "x".repeat(300_000)}).to_string(),
        json!({"Name": "x", "Port": 4_294_967_296_u64}).to_string(),
    ] {
        let answer = send(&registry, "PUT", "/v1/agent/service/register", &wrong).await;
        assert_eq!(answer.status, 400, "{answer:?}");
    }
    register(&registry, "a", "web").await;
    let found = |m: &mizan_contracts::registry::v1::WatchInstancesResponse| {
        m.service == "web" && m.instances.len() == 1
    };
    one.until(found).await;
    everything.until(found).await;
    let woken = get(
        &registry,
        &format!("/v1/health/service/web?index={blocked}&wait=10m"),
    )
    .await;
    assert_eq!(woken.json().as_array().unwrap().len(), 1);
    registry.stop().await;
}

#[tokio::test]
async fn members_are_filtered_and_have_their_data_centre_in_the_wide_area() {
    let registry = Registry::start().await;
    let names = async |query: &str| {
        let members = read(&registry, &format!("/v1/agent/members{query}")).await;
        let members = members.as_array().unwrap().iter();
        let names = members.map(|one| one["Name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    for (query, expected) in [
        ("", &["mizan"][..]),
        ("?wan", &["mizan"]),
        ("?wan=1", &["mizan.dc1"]),
        ("?wan=true&segment=_all", &["mizan.dc1"]),
        ("?filter=Name==mizan", &["mizan"]),
        ("?filter=Name==other", &[]),
        ("?wan=1&filter=Name==%22mizan.dc1%22", &["mizan.dc1"]),
        ("?filter=Tags.dc==dc1", &["mizan"]),
        ("?filter=Tags.dc!=dc1", &[]),
        ("?filter=Status==1%20and%20Tags.role==consul", &["mizan"]),
    ] {
        assert_eq!(names(query).await, expected, "{query}");
    }
    for wrong in [
        "?filter=nonsense",
        "?filter=Nobody==x",
        "?wan=1&segment=alpha",
    ] {
        let path = format!("/v1/agent/members{wrong}");
        let answer = send(&registry, "GET", &path, "").await;
        assert_eq!(answer.status, 400, "{wrong}");
    }
    registry.stop().await;
}
