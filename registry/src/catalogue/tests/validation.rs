//! The limits of a registration, on both sides.

use super::*;

fn good() -> Candidate {
    Candidate {
        node: HOME.to_owned(),
        checks: vec![("check".to_owned(), CandidateCheck::default())],
        instance_id: "invoice-10.0.0.1:50061".to_owned(),
        service: "invoice".to_owned(),
        address: "10.0.0.1".to_owned(),
        port: 50061,
        ..Candidate::default()
    }
}

/// The fields found wrong after `change`.
fn wrong(change: impl FnOnce(&mut Candidate)) -> Vec<String> {
    let mut candidate = good();
    change(&mut candidate);
    match candidate.validate() {
        Ok(_) => Vec::new(),
        Err(found) => found.into_iter().map(|v| v.field).collect(),
    }
}

fn check(
    kind: CheckKind,
    interval_ms: Option<i128>,
    timeout_ms: Option<i128>,
) -> Vec<(String, CandidateCheck)> {
    let check = CandidateCheck {
        kind: Some(kind),
        interval_nanos: interval_ms.map(|ms| ms * 1_000_000),
        timeout_nanos: timeout_ms.map(|ms| ms * 1_000_000),
        ..CandidateCheck::default()
    };
    vec![("check".to_owned(), check)]
}

#[test]
fn what_is_unset_takes_its_default() {
    let instance = good().validate().unwrap();
    assert_eq!(instance.weight, 1);
    let kind = CheckKind::Grpc {
        target: None,
        service: String::new(),
    };
    assert_eq!(*instance.checks[0], definition("grpc", kind));
}

#[test]
fn a_short_interval_shortens_the_default_timeout() {
    let mut candidate = good();
    candidate.checks = check(tcp(), Some(100), None);
    let instance = candidate.validate().unwrap();
    assert_eq!(instance.checks[0].timeout, Duration::from_millis(100));
}

#[test]
fn each_limit_holds_on_both_sides() {
    assert!(wrong(|c| c.instance_id = "a".repeat(128)).is_empty());
    assert_eq!(wrong(|c| c.instance_id = "a".repeat(129)), ["instance_id"]);
    assert_eq!(wrong(|c| c.instance_id = "a b".to_owned()), ["instance_id"]);
    assert!(wrong(|c| c.service = "s".repeat(63)).is_empty());
    assert_eq!(wrong(|c| c.service = "s".repeat(64)), ["service"]);
    assert_eq!(wrong(|c| c.service = "1a".to_owned()), ["service"]);
    assert_eq!(wrong(|c| c.service = "Invoice".to_owned()), ["service"]);
    assert!(wrong(|c| c.port = 65535).is_empty());
    assert_eq!(wrong(|c| c.port = 65536), ["port"]);
    assert!(wrong(|c| c.tags = vec!["é".repeat(128); 64]).is_empty());
    assert_eq!(wrong(|c| c.tags = vec!["t".to_owned(); 65]), ["tags"]);
    assert_eq!(
        wrong(|c| c.tags = vec!["ok".to_owned(), String::new()]),
        ["tags[1]"]
    );
    assert!(wrong(|c| c.weight = 1000).is_empty());
    assert_eq!(wrong(|c| c.weight = 1001), ["weight"]);
    assert!(wrong(|c| c.zone = "z".repeat(128)).is_empty());
    assert_eq!(wrong(|c| c.zone = "z".repeat(129)), ["zone"]);
}

#[test]
fn consul_s_tags_are_more_longer_and_maybe_empty() {
    let tagged = |tags: Vec<String>| {
        wrong(|c| {
            c.naming = Naming::Consul;
            c.tags = tags;
        })
    };
    assert!(tagged(vec!["é".repeat(4096), String::new()]).is_empty());
    assert_eq!(tagged(vec!["t".repeat(4097)]), ["tags[0]"]);
    assert!(tagged(vec!["t".to_owned(); 256]).is_empty());
    assert_eq!(tagged(vec!["t".to_owned(); 257]), ["tags"]);
    assert!(tagged(vec!["t".repeat(4096); 16]).is_empty());
    assert_eq!(tagged(vec!["t".repeat(4096); 17]), ["tags"]);
}

#[test]
fn metadata_is_bounded_in_pairs_keys_and_values() {
    let pairs = |n: usize| (0..n).map(|i| (format!("k{i}"), "v".repeat(512))).collect();
    assert!(wrong(|c| c.metadata = pairs(64)).is_empty());
    assert_eq!(wrong(|c| c.metadata = pairs(65)), ["metadata"]);
    let one = |k: &str, v: &str| BTreeMap::from([(k.to_owned(), v.to_owned())]);
    assert_eq!(wrong(|c| c.metadata = one("", "v")), ["metadata"]);
    assert_eq!(
        wrong(|c| c.metadata = one(&"k".repeat(129), "v")),
        ["metadata"]
    );
    assert_eq!(
        wrong(|c| c.metadata = one("k", &"v".repeat(513))),
        ["metadata[\"k\"]"]
    );
}

#[test]
fn an_address_is_a_host_without_a_port() {
    for host in [
        "127.0.0.1",
        "::1",
        "localhost",
        "a.example.",
        "db_1.internal",
    ] {
        assert!(wrong(|c| c.address = host.to_owned()).is_empty(), "{host}");
    }
    for host in [
        "",
        "0.0.0.0",
        "::",
        "host:80",
        "[::1]",
        "127.0.0.256",
        "a..b",
        "-a",
        "a b",
        "http://a",
        ".",
    ] {
        assert_eq!(
            wrong(|c| c.address = host.to_owned()),
            ["address"],
            "{host}"
        );
    }
    assert_eq!(
        wrong(|c| c.address = vec!["a".repeat(63); 4].join(".")),
        ["address"]
    );
}

#[test]
fn check_times_are_bounded_and_ordered() {
    let times =
        |interval, timeout| wrong(|c| c.checks = check(tcp(), Some(interval), Some(timeout)));
    assert!(times(100, 10).is_empty());
    assert!(times(3_600_000, 60_000).is_empty());
    assert_eq!(times(99, 10), ["check.interval"]);
    assert_eq!(times(3_600_001, 10), ["check.interval"]);
    assert_eq!(times(-1, 9), ["check.interval", "check.timeout"]);
    assert_eq!(times(3_600_000, 60_001), ["check.timeout"]);
    assert_eq!(times(1000, 1001), ["check.timeout"]);
}

#[test]
fn all_violations_are_told_at_once() {
    let nothing = Candidate::default().validate().unwrap_err();
    let fields: Vec<_> = nothing.iter().map(|v| v.field.as_str()).collect();
    assert_eq!(
        fields,
        ["instance_id", "service", "node", "address", "port"]
    );
    assert_eq!(wrong(|c| c.tags = vec![String::new(); 64]).len(), 64);
}

fn of_kind(kind: CheckKind) -> Vec<String> {
    wrong(|c| c.checks = check(kind, None, None))
}

fn http(url: &str) -> CheckKind {
    CheckKind::Http {
        url: url.to_owned(),
        method: "GET".to_owned(),
        headers: Vec::new(),
        body: String::new(),
        follow_redirects: true,
    }
}

#[test]
fn what_a_check_asks_is_checked() {
    for url in ["http://h", "http://h:1/x?y=z", "http://[::1]:80/"] {
        assert!(of_kind(http(url)).is_empty(), "{url}");
    }
    let long = format!("http://h/{}", "x".repeat(2048));
    for url in [
        "",
        "h",
        "https://",
        "http://",
        "http:///x",
        "http://:80",
        "http://a b",
        &long,
    ] {
        assert_eq!(of_kind(http(url)), ["check.http.url"], "{url}");
    }
    for (field, changed) in [
        (
            "check.http.method",
            with(|method, _, _| *method = "G T".to_owned()),
        ),
        (
            "check.http.headers",
            with(|_, headers, _| headers.push(("a b".to_owned(), String::new()))),
        ),
        (
            "check.http.headers",
            with(|_, headers, _| headers.push(("a".to_owned(), "x\r\ny".to_owned()))),
        ),
        (
            "check.http.body",
            with(|_, _, body| *body = "x".repeat(4097)),
        ),
    ] {
        assert_eq!(of_kind(changed), [field]);
    }
    for target in ["h:1", "[::1]:1"] {
        assert!(
            of_kind(CheckKind::Tcp {
                target: Some(target.to_owned())
            })
            .is_empty()
        );
    }
    for target in ["", "h", ":1", "h:0", "h:70000", "[]:1"] {
        let kind = CheckKind::Tcp {
            target: Some(target.to_owned()),
        };
        assert_eq!(of_kind(kind), ["check.tcp.target"], "{target}");
    }
    assert_eq!(
        of_kind(CheckKind::Ttl {
            ttl: Duration::ZERO
        }),
        ["check.ttl"]
    );
}

#[test]
fn what_an_http_check_sends_is_bounded_on_both_sides() {
    let url = |length: usize| http(&format!("http://h/{}", "x".repeat(length - 9)));
    let body = |length: usize| with(|_, _, body| *body = "x".repeat(length));
    let many = |count: usize| {
        with(|_, headers, _| headers.extend((0..count).map(|n| (format!("x-{n}"), String::new()))))
    };
    let value =
        |length: usize| with(|_, headers, _| headers.push(("a".to_owned(), "x".repeat(length))));
    for (within, beyond, field) in [
        (url(2_048), url(2_049), "check.http.url"),
        (body(4_096), body(4_097), "check.http.body"),
        (many(32), many(33), "check.http.headers"),
        (value(4_096), value(4_097), "check.http.headers"),
    ] {
        assert_eq!(of_kind(within), Vec::<String>::new(), "{field}");
        assert_eq!(of_kind(beyond), [field]);
    }
}

#[test]
fn tls_is_spoken_by_the_kinds_that_can() {
    let kept = |kind: CheckKind, tls: Option<Tls>| {
        let mut candidate = good();
        candidate.checks = check(kind, None, None);
        candidate.checks[0].1.tls = tls;
        candidate.validate().unwrap().checks[0].tls.clone()
    };
    let named = Tls {
        server_name: "svc.example".to_owned(),
        ..Tls::default()
    };
    let grpc = CheckKind::Grpc {
        target: None,
        service: String::new(),
    };
    for kind in [grpc, tcp(), http("https://h")] {
        assert_eq!(kept(kind, Some(named.clone())), Some(named.clone()));
    }
    assert_eq!(kept(tcp(), None), None);
    assert_eq!(kept(http("https://h"), None), Some(Tls::default()));
    assert_eq!(kept(http("http://h"), Some(named.clone())), None);
    assert_eq!(kept(CheckKind::Standing, Some(named)), None);
}

fn with(change: impl FnOnce(&mut String, &mut Vec<(String, String)>, &mut String)) -> CheckKind {
    let mut kind = http("http://h");
    if let CheckKind::Http {
        method,
        headers,
        body,
        ..
    } = &mut kind
    {
        change(method, headers, body);
    }
    kind
}

#[test]
fn thresholds_are_ordered_and_ids_unique() {
    let thresholds = |warning, critical| {
        wrong(|c| {
            c.checks[0].1.failures_before_warning = warning;
            c.checks[0].1.failures_before_critical = critical;
        })
    };
    assert!(thresholds(0, 0).is_empty() && thresholds(2, 3).is_empty());
    assert_eq!(thresholds(4, 3), ["check.failures_before_warning"]);
    assert_eq!(thresholds(0, 101).len(), 2);
    let twice = |c: &mut Candidate| {
        c.checks
            .push(("checks[0]".to_owned(), CandidateCheck::default()))
    };
    assert_eq!(wrong(twice), ["checks[0].check_id"]);
    let many = |c: &mut Candidate| c.checks = vec![c.checks[0].clone(); 17];
    assert_eq!(wrong(many), ["checks"]);
}

#[test]
fn consul_s_clients_have_rules_of_their_own() {
    let consul = |change: fn(&mut Candidate)| {
        wrong(|c| {
            c.naming = Naming::Consul;
            (c.instance_id, c.service) = ("Web 1".to_owned(), "My_Service".to_owned());
            (c.address, c.port, c.weight) = (String::new(), 0, 65_535);
            c.checks.clear();
            change(c);
        })
    };
    assert!(consul(|_| ()).is_empty());
    assert_eq!(consul(|c| c.service = "a/b".to_owned()), ["service"]);
    assert_eq!(consul(|c| c.address = "0.0.0.0".to_owned()), ["address"]);
    assert_eq!(consul(|c| c.port = 70_000), ["port"]);
    assert_eq!(consul(|c| c.weight = 65_536), ["weight"]);
    assert_eq!(consul(|c| c.tags = vec!["x".repeat(1 << 13)]), ["tags[0]"]);
    let own_port = |c: &mut Candidate| c.checks = check(tcp(), None, None);
    assert_eq!(consul(own_port), ["check.tcp.target"]);
}

/// Names that look like `web-1`, or like nothing, and are none.
const LOOK_ALIKES: [&str; 14] = [
    " web-1",
    "web-1 ",
    " ",
    "web\u{200b}-1",
    "web-1\u{200d}",
    "\u{feff}web-1",
    "web\u{a0}1",
    "\u{202e}1-bew",
    "\u{2066}web-1\u{2069}",
    "web\u{ad}-1",
    "web\u{3000}1",
    "web-1\u{fe0f}",
    "web-1\u{e0041}",
    "\u{3164}",
];

#[test]
fn names_that_look_like_others_or_like_nothing_are_refused_in_a_sentence() {
    let named = |change: &dyn Fn(&mut Candidate)| {
        let mut candidate = good();
        candidate.naming = Naming::Consul;
        change(&mut candidate);
        candidate.validate()
    };
    for name in LOOK_ALIKES {
        let own = || name.to_owned();
        let wrong = [
            named(&|c| c.instance_id = own()),
            named(&|c| c.service = own()),
            named(&|c| c.node = own()),
        ];
        for (found, field) in wrong.into_iter().zip(["instance_id", "service", "node"]) {
            let found = found.unwrap_err();
            assert_eq!(found.len(), 1, "{name:?}");
            assert_eq!(found[0].field, field, "{name:?}");
            let said = &found[0].description;
            let why = said.starts_with("must have no invisible characters, as U+")
                || said == "must not begin or end with a space";
            assert!(
                why && !said.chars().any(mizan::request::is_invisible),
                "{said}"
            );
        }
        // Earlier registries took them: they are found, and removed.
        assert_eq!(check_lookup("service", name), None, "{name:?}");
        assert_eq!(check_id_lookup("instance_id", name), None, "{name:?}");
    }
    let found = named(&|c| c.service = "we\u{200b}b".to_owned()).unwrap_err();
    let expected = "must have no invisible characters, as U+200B at character 3 is";
    assert_eq!(found[0].description, expected);
    for name in ["web 1", "結算", "Überweisung", "a  b", "платёж", "🚀"] {
        let found = named(&|c| {
            c.instance_id = name.to_owned();
            c.service = name.to_owned();
        });
        assert!(found.is_ok(), "{name}: {found:?}");
    }
}

#[test]
fn what_was_kept_under_such_a_name_is_still_there_and_can_be_removed() {
    for name in LOOK_ALIKES {
        let mut before = catalogue();
        let old = Instance {
            service: name.to_owned(),
            ..standing(name, "s")
        };
        before.register(old, START).unwrap();
        let stored = before.stored(&own(name)).unwrap();
        let mut after = Catalogue::new(1_000_000, Bounds::default());
        after.restore(vec![stored], START);
        assert_eq!(
            after.snapshot(name).entries(View::All).count(),
            1,
            "{name:?}"
        );
        let gone = after.deregister_as(&key(name), None, START);
        assert!(matches!(gone, Removal::Done { .. }), "{name:?}");
    }
}
