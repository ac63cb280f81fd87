//! What a stranger's bytes reach first, for the fuzzer: each of these must hold for any input. See
//! `fuzz/` at the root of the repository.

use std::time::Duration;

use super::{
    catalog_write, definition, duration,
    filter::{Filter, Judge, Stop, Work},
    health,
    input::Fields,
};
use crate::catalogue::validate_checks;

/// A refusal is for a person and for a log: it does not repeat all that it was given.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;

/// What a filter may cost over one answer: all 8 KiB of it, without patterns, cost less.
const FILTER_WORK_MAX: u64 = 1_000_000;

/// The bodies of every registration and report.
pub fn body(bytes: &[u8]) {
    let fields = match Fields::parse(bytes) {
        Ok(fields) => fields,
        Err(refusal) => return assert!(refusal.text.len() <= REFUSAL_BYTES_MAX),
    };
    if let Ok(candidate) = definition::service(&fields, "here") {
        let id = candidate.instance_id.clone();
        if let Ok(instance) = candidate.validate() {
            assert_eq!(instance.instance_id, id);
            assert!(instance.weight >= 1);
            let kept = serde_json::to_string(&instance).expect("what is valid can be kept");
            let read = serde_json::from_str(&kept).expect("what was kept can be read");
            assert_eq!(instance, read, "what was kept is what was registered");
        }
    }
    if let Ok(check) = definition::check(&fields, "here") {
        let mut found = Vec::new();
        for valid in validate_checks(vec![("Check".to_owned(), check)], true, &mut found) {
            assert!(valid.failures_before_warning <= valid.failures_before_critical);
            assert!(!valid.is_run() || valid.timeout <= valid.interval);
        }
    }
    let _ = catalog_write::parse(&fields);
}

/// Filter expressions: what can be read is applied to something that has all of it, and costs no
/// more than it may.
pub fn filter(text: &str) {
    for selectors in [health::INSTANCE, health::CHECK] {
        let mut work = Work::bounded(FILTER_WORK_MAX);
        let filter = Filter::parse(text, selectors).map_err(Stop::Wrong);
        let applied = filter.and_then(|filter| {
            let patterns = filter.has_patterns();
            let mut judge = Judge::from(filter);
            while judge.prepare(&mut work)? {}
            let compiled = work.used();
            let kept = judge.keeps(&sample(), &mut work);
            assert!(work.used() - compiled <= FILTER_WORK_MAX);
            // Without patterns, this little is never refused.
            assert!(patterns || kept.is_ok());
            kept
        });
        match applied {
            Ok(_) => {}
            Err(Stop::Wrong(why)) => assert!(why.to_string().len() <= REFUSAL_BYTES_MAX),
            Err(Stop::Pause) => unreachable!("nobody said that it must pause"),
        }
    }
}

/// Go's durations: what can be read is written and read again as the same.
pub fn duration(text: &str) {
    let Some(nanos) = duration::parse(text) else {
        return;
    };
    if let Ok(nanos) = u64::try_from(nanos) {
        let written = duration::format(Duration::from_nanos(nanos));
        assert_eq!(duration::parse(&written), Some(i128::from(nanos)));
    }
}

fn sample() -> serde_json::Value {
    serde_json::json!({
        "Node": {"ID": "", "Node": "n", "Address": "127.0.0.1", "Meta": {"a": "b"}},
        "Service": {"ID": "web-1", "Service": "web", "Tags": ["v1", ""], "Port": 80,
            "Meta": {"env": "prod"}, "Weights": {"Passing": 1, "Warning": 1}},
        "Checks": [{"Status": "passing", "CheckID": "c", "ServiceTags": ["v1"]}, {}],
        "CheckID": "c", "Name": "n", "Status": "passing", "ServiceTags": [],
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_the_fuzzer_runs_holds_for_its_first_inputs() {
        for text in [
            r#"{"Name": "web", "Check": {"TTL": "1s"}}"#,
            r#"{"Node": "n", "Address": "a", "Check": {"Name": "c", "Definition": {"TCP": "a:1", "Interval": "1s"}}}"#,
            r#"Service.Tags contains "v1" and not Checks.Status != `passing`"#,
            r#"CheckID matches "^c" or Name is not empty"#,
            r#"Name matches "\\pL{40}" or Name matches "((a{50}){50}){50}""#,
            "1h2m3.5s",
            "-0ns",
            "",
            "{",
        ] {
            super::body(text.as_bytes());
            super::filter(text);
            super::duration(text);
        }
    }
}
