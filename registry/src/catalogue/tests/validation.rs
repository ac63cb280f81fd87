//! The limits of a registration, on both sides.

use std::{collections::BTreeMap, time::Duration};

use crate::catalogue::{Candidate, CandidateCheck, Check, CheckKind};

fn good() -> Candidate {
    Candidate {
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

fn check(kind: CheckKind, interval_ms: Option<i128>, timeout_ms: Option<i128>) -> CandidateCheck {
    CandidateCheck {
        kind: Some(kind),
        interval_nanos: interval_ms.map(|ms| ms * 1_000_000),
        timeout_nanos: timeout_ms.map(|ms| ms * 1_000_000),
    }
}

#[test]
fn what_is_unset_takes_its_default() {
    let instance = good().validate().unwrap();
    assert_eq!(instance.weight, 1);
    assert_eq!(
        instance.check,
        Check {
            kind: CheckKind::Grpc {
                service: String::new()
            },
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(2),
        }
    );
}

#[test]
fn a_short_interval_shortens_the_default_timeout() {
    let mut candidate = good();
    candidate.check = check(CheckKind::Tcp, Some(100), None);
    let instance = candidate.validate().unwrap();
    assert_eq!(instance.check.timeout, Duration::from_millis(100));
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
    let times = |interval, timeout| {
        wrong(|c| c.check = check(CheckKind::Tcp, Some(interval), Some(timeout)))
    };
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
    assert_eq!(fields, ["instance_id", "service", "address", "port"]);
    assert_eq!(wrong(|c| c.tags = vec![String::new(); 64]).len(), 64);
}
