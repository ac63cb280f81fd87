//! Filters are their callers' programs: whatever one of them asks, the others are answered.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc, time::Duration};

use mizan_contracts::registry::v1::{Instance, NoCheck, health_check::Kind};
use serde_json::json;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::client::{Answer, get, put, read, register as register_small, send};
use crate::{
    metrics::page,
    support::{Client, Heartbeat, Registry, checked, list, register, soon},
};

/// Everything that takes a filter, with a selector of a text that it has.
const FILTERED: [(&str, &str); 11] = [
    ("agent/services", "Service"),
    ("agent/checks", "Name"),
    ("catalog/services", "ServiceName"),
    ("catalog/service/big", "ServiceName"),
    ("catalog/nodes", "Node"),
    ("catalog/node/mizan", "Service"),
    ("catalog/node-services/mizan", "Service"),
    ("health/service/big", "Service.Service"),
    ("health/checks/big", "Name"),
    ("health/node/mizan", "Name"),
    ("health/state/any", "Name"),
];

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        write!(escaped, "%{byte:02X}").unwrap();
    }
    escaped
}

fn filtered(path: &str, filter: &str) -> String {
    format!("/v1/{path}?filter={}", escaped(filter))
}

/// Tests of the metadata of an instance, as many as fit.
fn any_of(test: impl Fn(usize) -> String, count: usize) -> String {
    let tests = (0..count).map(|n| format!("ServiceMeta.k{} {}", n % 64, test(n)));
    let mut text = tests.collect::<Vec<_>>().join(" or ");
    if text.len() > 8_100 {
        let end = text[..8_100].rfind(" or ").unwrap();
        text.truncate(end);
    }
    text
}

/// An instance that says as much as it may.
fn big(id: &str) -> Instance {
    let mut random = u64::from(
        id.bytes()
            .fold(7_u32, |sum, b| sum * 31 % 65_521 + u32::from(b)),
    );
    let mut value = || -> String {
        let letters = (0..500).map(|_| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            if random >> 63 == 0 { 'a' } else { 'b' }
        });
        letters.collect()
    };
    let metadata: BTreeMap<_, _> = (0..64).map(|n| (format!("k{n}"), value())).collect();
    let mut instance = checked(id, 1, Some(Kind::None(NoCheck {})), Duration::from_secs(10));
    "big".clone_into(&mut instance.service);
    instance.metadata = metadata.into_iter().collect();
    instance.tags = (0..64)
        .map(|n| format!("t{n}-{}", "x".repeat(100)))
        .collect();
    instance
}

async fn fill(client: &mut Client, count: usize) {
    for n in 0..count {
        register(client, big(&format!("big-{n}"))).await;
    }
}

/// How often a metric of filters was counted.
async fn counted(registry: &Registry, line: &str) -> u64 {
    let page = page(registry).await;
    let found = page.lines().find_map(|held| held.strip_prefix(line));
    found.unwrap().trim().parse().unwrap()
}

async fn ended(registry: &Registry, end: &str) -> u64 {
    counted(
        registry,
        &format!("mizan_registry_filters_total{{end=\"{end}\"}}"),
    )
    .await
}

/// It was answered, or refused with a reason and with what to do about it.
fn told(answer: &Answer) {
    let refused = match answer.status {
        200 => return,
        400 => "The filter is too expensive",
        429 => "try again",
        503 => "use == instead",
        _ => panic!("{answer:?}"),
    };
    assert!(answer.body.contains(refused), "{answer:?}");
    assert!(!answer.body.contains('\n'), "{answer:?}");
}

#[tokio::test]
async fn no_filter_costs_another_its_heartbeat_or_its_answer() {
    let registry = Arc::new(Registry::start().await);
    let mut client = registry.client().await;
    fill(&mut client, 300).await;
    let mut beating = checked("beating", 1, None, Duration::from_secs(10));
    beating.check.as_mut().unwrap().kind = Some(Kind::None(NoCheck {}));
    register(&mut client, beating).await;
    let mut heartbeat = Heartbeat::open(&mut client).await;
    assert!(heartbeat.beat("beating").await.unwrap());

    // The filter that once silenced the registry for 90 s, and its kind.
    let filters = [
        any_of(|_| "matches `a[ab]{200}[^ab]`".to_owned(), 180),
        any_of(|_| r"matches `\pL{40}`".to_owned(), 170),
        any_of(|_| "matches `(.*z){9}`".to_owned(), 170),
        any_of(|n| format!("matches `[ab{n}]*a[ab]{{30}}x`"), 120),
    ];
    for filter in &filters {
        let answer = get(&registry, &filtered("catalog/service/big", filter)).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.body.contains("and 32 is the most"), "{answer:?}");
    }
    assert_eq!(ended(&registry, "expensive").await, 4);

    // As much as is taken of each, and tests without patterns, again and again.
    let attacks = [
        any_of(|_| "matches `a[ab]{200}[^ab]`".to_owned(), 32),
        any_of(|_| "matches `(.*z){9}`".to_owned(), 32),
        any_of(|n| format!("matches `[ab{n}]*a[ab]{{30}}x`"), 32),
        any_of(|n| format!("contains z{n}"), 1_000),
        String::new(),
    ];
    let enough = CancellationToken::new();
    let mut attackers = JoinSet::new();
    for attack in &attacks {
        let path = filtered("catalog/service/big", attack);
        let (registry, enough) = (Arc::clone(&registry), enough.clone());
        attackers.spawn(async move {
            loop {
                told(&get(&registry, &path).await);
                if enough.is_cancelled() {
                    return;
                }
            }
        });
    }
    soon(async { while counted(&registry, "mizan_registry_filters_open").await == 0 {} }).await;
    for n in 0..50 {
        assert!(heartbeat.beat("beating").await.unwrap(), "{n}");
        assert_eq!(list(&mut client, false).await.instances.len(), 1, "{n}");
        // Cheap filters do not wait for the expensive ones.
        let cheap = filtered("health/service/invoice", "Service.ID == beating");
        assert_eq!(read(&registry, &cheap).await.as_array().unwrap().len(), 1);
    }
    enough.cancel();
    soon(async {
        while let Some(done) = attackers.join_next().await {
            done.unwrap()
        }
    })
    .await;
    heartbeat.close().await;
    soon(async { while counted(&registry, "mizan_registry_filters_open").await > 0 {} }).await;
    Arc::into_inner(registry).unwrap().stop().await;
}

#[tokio::test]
async fn a_large_catalogue_is_filtered_and_answered_as_a_small_one() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    fill(&mut client, 40).await;
    // More than what is done at once.
    let all = read(&registry, "/v1/catalog/service/big").await;
    assert_eq!(all.as_array().unwrap().len(), 40);
    let ids = async |path: &str, filter: &str| {
        let found = read(&registry, &filtered(path, filter)).await;
        let found = found.as_array().unwrap().iter();
        let id = |one: &serde_json::Value| one["ServiceID"].as_str().unwrap().to_owned();
        found.map(id).collect::<Vec<_>>()
    };
    let some = ids("catalog/service/big", "ServiceID matches `^big-[12]?7$`").await;
    assert_eq!(some, ["big-17", "big-27", "big-7"]);
    let some = ids("catalog/service/big", "ServiceID == `big-7`").await;
    assert_eq!(some, ["big-7"]);
    let none = any_of(|n| format!("contains z{n}"), 300);
    let one = format!("{none} or ServiceID == `big-7`");
    assert_eq!(ids("catalog/service/big", &one).await, ["big-7"]);
    let pretty = get(&registry, "/v1/catalog/service/big?pretty").await;
    assert_eq!(pretty.json(), all);
    assert!(pretty.index() > 0);
    registry.stop().await;
}

#[tokio::test]
async fn every_filter_is_read_and_bounded_wherever_it_is_taken() {
    let registry = Registry::start().await;
    // Of "big" there is nothing: a filter is wrong all the same.
    for (path, selector) in FILTERED {
        let plain = get(&registry, &format!("/v1/{path}")).await;
        let index = plain.header("X-Consul-Index").unwrap_or_default();
        for (filter, why) in [
            (
                "Nonsense == 1".to_owned(),
                "Selector \"Nonsense\" is not valid",
            ),
            (format!("{selector} matches `(`"), "unclosed group"),
            (format!(r"{selector} matches `\pL{{40}}`"), "too expensive"),
            (
                format!("{selector} matches `((a{{50}}){{50}}){{50}}`"),
                "too expensive",
            ),
            (
                vec![format!("{selector} matches a"); 33].join(" or "),
                "33 patterns",
            ),
        ] {
            let path = filtered(path, &filter);
            // Who waits is told before it does.
            for path in [format!("{path}&index={index}&wait=10m"), path] {
                let answer = get(&registry, &path).await;
                assert_eq!(answer.status, 400, "{path}: {answer:?}");
                assert!(answer.body.contains(why), "{path}: {answer:?}");
            }
        }
        let kept = get(
            &registry,
            &filtered(path, &format!("{selector} matches `.`")),
        )
        .await;
        assert_eq!(kept.status, 200, "{path}: {kept:?}");
    }
    assert_eq!(ended(&registry, "wrong").await, 44);
    assert_eq!(ended(&registry, "expensive").await, 66);
    assert_eq!(ended(&registry, "answered").await, 11);
    assert_eq!(ended(&registry, "left").await, 0);
    let many = format!("/v1/catalog/service/big?{}", "tag=a&".repeat(1_000));
    let many = get(&registry, &many).await;
    assert_eq!(
        (many.status, &*many.body),
        (400, "there are 1000 of ?tag, and 32 is the most")
    );
    registry.stop().await;
}

#[tokio::test]
async fn a_node_s_instances_are_filtered_and_the_node_stays() {
    let registry = Registry::start().await;
    register_small(&registry, "a", "web").await;
    register_small(&registry, "b", "api").await;
    let node = read(&registry, &filtered("catalog/node/mizan", "Service == web")).await;
    assert_eq!(node["Node"]["Node"], "mizan");
    let ids: Vec<_> = node["Services"].as_object().unwrap().keys().collect();
    assert_eq!(ids, ["a"]);
    let path = filtered("catalog/node-services/mizan", "Service matches `^a`");
    let services = read(&registry, &path).await;
    assert_eq!(services["Services"].as_array().unwrap().len(), 1);
    assert_eq!(services["Services"][0]["ID"], "b");
    let none = read(&registry, &filtered("catalog/node/mizan", "Service == x")).await;
    assert_eq!(
        (&none["Node"]["Node"], &none["Services"]),
        (&json!("mizan"), &json!({}))
    );
    assert!(
        read(&registry, &filtered("catalog/node/nobody", "Service == x"))
            .await
            .is_null()
    );
    registry.stop().await;
}

#[tokio::test]
async fn a_query_that_waits_filters_what_has_come_meanwhile() {
    let registry = Registry::start().await;
    for filter in ["ServiceID == b", "ServiceID matches `^b$`"] {
        register_small(&registry, "a", "web").await;
        let path = filtered("catalog/service/web", filter);
        let before = get(&registry, &path).await;
        assert_eq!(before.json(), json!([]));
        let waiting = format!("{path}&index={}&wait=10m", before.index());
        let came = register_small(&registry, "b", "web");
        let (woken, ()) = tokio::join!(get(&registry, &waiting), came);
        assert_eq!(woken.json()[0]["ServiceID"], "b", "{filter}");
        put(&registry, "/v1/agent/service/deregister/b", "").await;
    }
    registry.stop().await;
}

#[tokio::test]
async fn a_filter_ends_when_its_caller_leaves() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    fill(&mut client, 30).await;
    let path = filtered(
        "catalog/service/big",
        &any_of(|_| "matches `a[ab]{200}[^ab]`".to_owned(), 32),
    );
    let request = format!("GET {path} HTTP/1.1\r\nHost: r\r\n\r\n");
    // One may be refused before its caller could leave.
    let left = async {
        while ended(&registry, "left").await == 0 {
            let mut stream = TcpStream::connect(registry.authority()).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let before = ended(&registry, "expensive").await;
            while counted(&registry, "mizan_registry_filters_open").await == 0
                && ended(&registry, "expensive").await == before
            {}
            drop(stream);
            while counted(&registry, "mizan_registry_filters_open").await > 0 {}
        }
    };
    soon(left).await;
    registry.stop().await;
}

#[tokio::test]
async fn nothing_is_changed_by_what_a_page_can_send_without_being_asked() {
    let registry = Registry::start().await;
    register_small(&registry, "a", "web").await;
    let before = read(&registry, "/v1/agent/services").await;
    let service = json!({"ID": "b", "Name": "web", "Port": 80}).to_string();
    for path in [
        "agent/service/register",
        "agent/service/deregister/a",
        "agent/service/maintenance/a?enable=true",
        "agent/maintenance?enable=true",
        "agent/check/register",
        "agent/check/deregister/service:a",
        "agent/check/pass/service:a",
        "agent/check/warn/service:a",
        "agent/check/fail/service:a",
        "agent/check/update/service:a",
        "catalog/register",
        "catalog/deregister",
    ] {
        let path = format!("/v1/{path}");
        // A browser sends these three across origins without asking first.
        for method in ["GET", "HEAD", "POST"] {
            let answer = send(&registry, method, &path, &service).await;
            assert_eq!(answer.status, 405, "{method} {path}");
            assert_eq!(
                answer.header("Allow"),
                Some("OPTIONS,PUT"),
                "{method} {path}"
            );
        }
        // And asks this before a PUT; no origin but our own is let in.
        let asked = send(&registry, "OPTIONS", &path, "").await;
        assert_eq!(asked.header("Access-Control-Allow-Origin"), None, "{path}");
        assert_eq!(asked.header("Access-Control-Allow-Methods"), None, "{path}");
    }
    assert_eq!(read(&registry, "/v1/agent/services").await, before);
    registry.stop().await;
}
