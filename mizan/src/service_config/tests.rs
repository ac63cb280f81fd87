//! The rules of gRFC A6, A21 and A24, one by one.

use std::time::Duration;

use proptest::prelude::*;
use tonic::Code;

use super::*;
use crate::retry;

fn refused(text: &str) -> String {
    ServiceConfig::parse(text).expect_err(text).to_string()
}

const RETRY: &str = r#"{"maxAttempts": 3, "initialBackoff": "0.1s", "maxBackoff": "1s",
    "backoffMultiplier": 1.6, "retryableStatusCodes": ["UNAVAILABLE", 4]}"#;

fn method(rest: &str) -> String {
    format!(r#"{{"methodConfig": [{{"name": [{{}}], {rest}}}]}}"#)
}

#[test]
fn a_whole_config_is_read() {
    let text = format!(
        r#"{{
        "loadBalancingConfig": [{{"some_future_policy": {{}}}}, {{"round_robin": {{}}}}],
        "methodConfig": [
            {{"name": [{{"service": "a.B", "method": "C"}}, {{"service": "a.D"}}],
              "waitForReady": true, "timeout": "2s", "retryPolicy": {RETRY},
              "maxRequestMessageBytes": 1024, "mizan": {{"attemptTimeout": "0.5s"}}}},
            {{"name": [{{}}], "hedgingPolicy": {{"maxAttempts": 9}}}}
        ],
        "retryThrottling": {{"maxTokens": 10, "tokenRatio": 0.5466}},
        "healthCheckConfig": {{"serviceName": "a.B"}},
        "mizan": {{"breaker": {{"scope": "instance", "failurePercent": 50, "slow": {{"threshold": "1s", "percent": 80}}}},
                  "limiter": {{"perSecond": 2.5, "burst": 10}},
                  "concurrency": {{"algorithm": "gradient", "max": 50}},
                  "connections": 2, "panicPercent": 30}},
        "nobodyKnowsThis": [1, 2, 3]
    }}"#
    );
    let config = ServiceConfig::parse(&text).unwrap();
    assert!(config.balancing.is_some());
    let [first, rest] = &config.methods[..] else {
        panic!("{:?}", config.methods)
    };
    assert_eq!(first.names.len(), 2);
    assert_eq!(first.names[0], Name::Method("/a.B/C".to_owned()));
    assert_eq!(first.timeout, Some(Duration::from_secs(2)));
    assert_eq!(first.attempt_timeout, Some(Duration::from_millis(500)));
    let Some(retry::Policy::Retry(retry)) = first.retry else {
        panic!("{first:?}")
    };
    assert_eq!(retry.backoff_multiplier, Thousandths::new(1600));
    assert!(retry.codes.contains(Code::DeadlineExceeded));
    let Some(retry::Policy::Hedge(hedging)) = rest.retry else {
        panic!("{rest:?}")
    };
    assert_eq!(hedging.attempts_max, 5, "above the cap counts as the cap");
    assert_eq!(hedging.delay, Duration::ZERO, "all at once");
    assert_eq!(
        config.throttling.unwrap().token_ratio,
        Thousandths::new(546)
    );
    assert_eq!(config.health_check.as_deref(), Some("a.B"));
    assert!(config.layers.breaker.unwrap().config.slow.is_some());
    assert_eq!(config.layers.connections, Some(2));
}

#[test]
fn one_invalid_field_refuses_the_whole_and_is_named() {
    let retry = |from: &str, to: &str| {
        let changed = RETRY.replace(from, to);
        assert_ne!(changed, RETRY);
        method(&format!(r#""retryPolicy": {changed}"#))
    };
    let policy = "methodConfig[0].retryPolicy";
    for (text, path) in [
        (
            retry(r#""maxAttempts": 3"#, r#""maxAttempts": 1"#),
            format!("{policy}.maxAttempts"),
        ),
        (
            retry(r#""maxAttempts": 3"#, r#""maxAttempts": 2.5"#),
            format!("{policy}.maxAttempts"),
        ),
        (retry(r#""maxAttempts": 3,"#, ""), policy.to_owned()),
        (
            retry(r#""0.1s""#, r#""0s""#),
            format!("{policy}.initialBackoff"),
        ),
        (retry(r#""1s""#, r#""-1s""#), format!("{policy}.maxBackoff")),
        (retry("1.6", "0"), format!("{policy}.backoffMultiplier")),
        (
            retry(r#"["UNAVAILABLE", 4]"#, "[]"),
            format!("{policy}.retryableStatusCodes"),
        ),
        (
            retry("4]", "17]"),
            format!("{policy}.retryableStatusCodes[1]"),
        ),
        (
            retry("4]", r#""OK"]"#),
            format!("{policy}.retryableStatusCodes[1]"),
        ),
        (
            method(&format!(
                r#""retryPolicy": {RETRY}, "hedgingPolicy": {{"maxAttempts": 2}}"#
            )),
            "methodConfig[0]".to_owned(),
        ),
        (
            method(r#""timeout": 5"#),
            "methodConfig[0].timeout".to_owned(),
        ),
        (
            method(r#""maxRequestMessageBytes": -1"#),
            "methodConfig[0].maxRequestMessageBytes".to_owned(),
        ),
        (
            method(r#""mizan": {"attemptTimeout": "0s"}"#),
            "methodConfig[0].mizan.attemptTimeout".to_owned(),
        ),
        (
            r#"{"methodConfig": [{"name": [{"method": "M"}]}]}"#.to_owned(),
            "methodConfig[0].name[0]".to_owned(),
        ),
        (
            r#"{"methodConfig": [{"name": [{}]}, {"name": [{}]}]}"#.to_owned(),
            "methodConfig[1]".to_owned(),
        ),
        (
            r#"{"retryThrottling": {"maxTokens": 1001, "tokenRatio": 1}}"#.to_owned(),
            "retryThrottling".to_owned(),
        ),
        (
            r#"{"retryThrottling": {"maxTokens": 10, "tokenRatio": 0}}"#.to_owned(),
            "retryThrottling.tokenRatio".to_owned(),
        ),
        (
            r#"{"loadBalancingConfig": [{"unheard_of": {}}]}"#.to_owned(),
            "loadBalancingConfig".to_owned(),
        ),
        (
            r#"{"loadBalancingConfig": [{"round_robin": {}, "pick_first": {}}]}"#.to_owned(),
            "loadBalancingConfig[0]".to_owned(),
        ),
        (
            r#"{"loadBalancingConfig": [{"least_request_experimental": {"choiceCount": 1}}]}"#
                .to_owned(),
            "loadBalancingConfig[0].least_request_experimental".to_owned(),
        ),
        (
            r#"{"mizan": {"breaker": {"failurePercent": 0}}}"#.to_owned(),
            "mizan.breaker".to_owned(),
        ),
        (
            r#"{"mizan": {"breaker": {"scope": "planet"}}}"#.to_owned(),
            "mizan.breaker.scope".to_owned(),
        ),
        (
            r#"{"mizan": {"limiter": {"perSecond": 0, "burst": 1}}}"#.to_owned(),
            "mizan.limiter.perSecond".to_owned(),
        ),
        (
            r#"{"mizan": {"connections": 65}}"#.to_owned(),
            "mizan.connections".to_owned(),
        ),
        ("[]".to_owned(), String::new()),
        ("{".to_owned(), String::new()),
    ] {
        let error = ServiceConfig::parse(&text).expect_err(&text);
        assert_eq!(error.path(), path, "{text}: {error}");
    }
}

#[test]
fn a_refusal_reads_as_a_sentence() {
    let text = method(r#""timeout": "5""#);
    assert_eq!(
        refused(&text),
        r#"service config: methodConfig[0].timeout must be a duration such as "1.5s", not negative"#
    );
}

#[test]
fn outlier_detection_wraps_a_policy() {
    let text = r#"{"loadBalancingConfig": [{"outlier_detection_experimental": {
        "interval": "5s", "maxEjectionPercent": 20,
        "childPolicy": [{"least_request_experimental": {"choiceCount": 3}}]}}]}"#;
    let config = ServiceConfig::parse(text).unwrap();
    assert_eq!(config.outlier.unwrap().interval, Duration::from_secs(5));
    assert!(format!("{:?}", config.balancing.unwrap()).contains("LeastRequest"));
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = ServiceConfig::parse(&text);
    }

    #[test]
    fn no_value_in_a_known_place_panics(
        place in prop::sample::select(vec!["methodConfig", "retryThrottling", "healthCheckConfig",
            "loadBalancingConfig", "loadBalancingPolicy", "mizan"]),
        value in prop::sample::select(vec!["null", "1", "\"x\"", "[]", "{}", "[{}]", "[[]]", "[null]",
            "{\"breaker\": []}", "[{\"name\": 1}]", "[{\"name\": [1]}]", "[{\"retryPolicy\": {}}]"]),
    ) {
        let _ = ServiceConfig::parse(&format!("{{\"{place}\": {value}}}"));
    }
}
