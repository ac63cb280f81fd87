//! The parameters of a request, and what they mean to those that read.

use std::time::Duration;

use http::StatusCode;
use percent_encoding::percent_decode_str;

use super::{duration, list::Narrow, refusal::Refusal, shapes::DATACENTER};

/// How long a query blocks when nobody says (Consul's rule).
const WAIT_DEFAULT: Duration = Duration::from_secs(300);

/// How long a query may block (Consul's rule).
const WAIT_MAX: Duration = Duration::from_secs(600);

/// How many tags, or pairs of a node, a query may ask for: each is looked for in every instance.
const NARROW_MAX: usize = 32;

/// The parameters of a request, decoded, in their order.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// The parameters behind the question mark.
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let spaced = |text: &str| decode(&text.replace('+', " "));
            (spaced(name), spaced(value))
        });
        Self(pairs.collect())
    }

    /// The first of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut same = self.0.iter().filter(|(held, _)| held == name);
        same.next().map(|(_, value)| value.as_str())
    }

    /// All of this name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let same = self.0.iter().filter(move |(held, _)| held == name);
        same.map(|(_, value)| value.as_str())
    }

    /// Whether it is there at all, whatever its value.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The revision that the client holds; nothing when it does not want to wait.
    pub(crate) fn index(&self) -> Result<Option<u64>, Refusal> {
        match self.get("index").filter(|text| !text.is_empty()) {
            None => Ok(None),
            Some(text) => match text.parse() {
                Ok(0) => Ok(None),
                Ok(index) => Ok(Some(index)),
                Err(_) => Err(Refusal::bad("Invalid index")),
            },
        }
    }

    /// How long to wait for another revision.
    pub(crate) fn wait(&self) -> Result<Duration, Refusal> {
        let Some(text) = self.get("wait").filter(|text| !text.is_empty()) else {
            return Ok(WAIT_DEFAULT);
        };
        let nanos = duration::parse(text).ok_or_else(|| Refusal::bad("Invalid wait time"))?;
        Ok(match u64::try_from(nanos) {
            Ok(0) | Err(_) => WAIT_DEFAULT,
            Ok(nanos) => Duration::from_nanos(nanos).min(WAIT_MAX),
        })
    }

    /// What the answer says of its consistency. There is one node, so all answers are the leader's.
    pub(crate) fn consistency(&self) -> Result<&'static str, Refusal> {
        match (self.has("stale"), self.has("consistent")) {
            (true, true) => Err(Refusal::bad(
                "Cannot specify ?stale with ?consistent, conflicting semantics.",
            )),
            (false, true) if self.has("cached") => Err(Refusal::bad(
                "Cannot specify ?cached with ?consistent, conflicting semantics.",
            )),
            (true, false) => Ok("stale"),
            (false, true) => Ok("consistent"),
            (false, false) => Ok("leader"),
        }
    }

    /// Refuses another data centre than the one there is.
    pub(crate) fn datacenter(&self, named: &str) -> Result<(), Refusal> {
        if named.is_empty() || named == DATACENTER {
            return Ok(());
        }
        let text = "No path to datacenter";
        Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, text))
    }

    /// Whether only passing instances are wanted.
    pub(crate) fn passing(&self) -> Result<bool, Refusal> {
        self.flag("passing")
    }

    /// Whether something is wanted: there without a value means that it is.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Refusal> {
        match self.get(name) {
            None => Ok(false),
            Some("") => Ok(true),
            Some(text) => {
                parse_bool(text).ok_or_else(|| Refusal::bad(format!("Invalid value for ?{name}")))
            }
        }
    }

    /// Whether maintenance begins, or ends.
    pub(crate) fn enable(&self) -> Result<bool, Refusal> {
        let text = self.get("enable").filter(|text| !text.is_empty());
        let text = text.ok_or_else(|| Refusal::bad("Missing value for enable"))?;
        parse_bool(text).ok_or_else(|| {
            let echo: String = text.chars().take(32).collect();
            Refusal::bad(format!("Invalid value for enable: {echo:?}"))
        })
    }

    /// The pairs that nodes must have, and, of instances, the tags.
    pub(crate) fn narrow(&self, instances: bool) -> Result<Narrow, Refusal> {
        let pairs = self.all("node-meta").map(|pair| {
            let (key, value) = pair.split_once(':').unwrap_or((pair, ""));
            (key.to_owned(), value.to_owned())
        });
        let tags = self.all("tag").filter(|_| instances);
        let narrow = Narrow {
            tags: tags.map(str::to_owned).collect(),
            node_meta: pairs.collect(),
        };
        for (name, count) in [
            ("tag", narrow.tags.len()),
            ("node-meta", narrow.node_meta.len()),
        ] {
            if count > NARROW_MAX {
                return Err(Refusal::bad(format!(
                    "there are {count} of ?{name}, and {NARROW_MAX} is the most"
                )));
            }
        }
        Ok(narrow)
    }
}

/// A part of a URL, decoded. What is no UTF-8 is replaced: it matches no name.
pub(crate) fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// The values that Go takes for a boolean.
fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_bounded_and_what_is_no_duration_is_refused() {
        let wait = |text: &str| Query::parse(text).wait().map(|wait| wait.as_secs());
        assert_eq!(wait(""), Ok(300));
        assert_eq!(wait("wait="), Ok(300));
        assert_eq!(wait("wait=0s"), Ok(300));
        assert_eq!(wait("wait=-1s"), Ok(300));
        assert_eq!(wait("wait=120000ms"), Ok(120));
        assert_eq!(wait("wait=24h"), Ok(600));
        assert_eq!(wait("wait=soon").unwrap_err().text, "Invalid wait time");
    }

    #[test]
    fn parameters_are_decoded_and_may_come_again() {
        let query = Query::parse("tag=a%3Db&tag=c+d&stale&filter=%FF&index=7");
        assert_eq!(query.all("tag").collect::<Vec<_>>(), ["a=b", "c d"]);
        assert_eq!(query.consistency(), Ok("stale"));
        assert_eq!(query.index(), Ok(Some(7)));
        assert_eq!(Query::parse("index=0").index(), Ok(None));
        assert!(Query::parse("index=-1").index().is_err());
        assert!(Query::parse("stale&consistent").consistency().is_err());
        assert_eq!(Query::parse("passing").passing(), Ok(true));
        assert_eq!(Query::parse("passing=0").passing(), Ok(false));
        assert!(Query::parse("passing=2").passing().is_err());
        let force = |text: &str| Query::parse(text).flag("force");
        for (text, wanted) in [
            ("", false),
            ("force", true),
            ("force=", true),
            ("force=1", true),
            ("force=T", true),
            ("force=true", true),
            ("force=0", false),
            ("force=f", false),
            ("force=False", false),
        ] {
            assert_eq!(force(text), Ok(wanted), "{text}");
        }
        for text in ["force=yes", "force=fAlse", "force=+", "force=on"] {
            let refused = force(text).unwrap_err();
            assert_eq!(refused.text, "Invalid value for ?force", "{text}");
        }
        assert!(Query::parse("").enable().is_err());
        let narrow = Query::parse("tag=a&node-meta=rack:7&node-meta=b")
            .narrow(true)
            .unwrap();
        assert_eq!(narrow.tags, ["a"]);
        let pairs = [("rack", "7"), ("b", "")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(narrow.node_meta, pairs);
        let many = "tag=a&".repeat(NARROW_MAX + 1);
        assert!(
            Query::parse(&many)
                .narrow(true)
                .unwrap_err()
                .text
                .contains("33 of ?tag")
        );
        assert_eq!(Query::parse(&many).narrow(false), Ok(Narrow::default()));
    }
}
